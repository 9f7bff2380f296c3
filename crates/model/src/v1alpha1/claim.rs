//! Domain claims and sealed secrets: documents that no file states; control makes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Kind, Resource, TenantName};

/// Kind `Domain`: named by the domain; whoever's claim was committed first owns it.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain;

/// A tenant's claim on a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DomainClaim {
    /// The owner.
    pub tenant: TenantName,
    /// The owner's uid, so that a later tenant of the same name inherits nothing.
    pub tenant_uid: String,
}

impl Resource for Domain {
    const KIND: Kind = Kind::Domain;
    type Spec = DomainClaim;
    type Status = Option<()>;
}

/// Kind `Secret`: sealed under the installation's master key.
#[derive(Debug, Clone, PartialEq)]
pub struct Secret;

/// A sealed secret; its plain form is a JSON object of strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealedSecret {
    /// Which master key sealed it.
    pub key: String,
    /// Nonce and ciphertext, base64.
    pub sealed: String,
}

impl Resource for Secret {
    const KIND: Kind = Kind::Secret;
    type Spec = SealedSecret;
    type Status = Option<()>;
}
