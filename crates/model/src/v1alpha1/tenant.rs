//! Tenant: a customer of the SaaS.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HttpsSpec;

use crate::{BlueprintName, CellName, Conditions, DomainName, Epoch, Generation, Kind, OperationName, Resource};

/// Kind `Tenant`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant;

/// What an operator wants of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantSpec {
    /// The product: name of a blueprint, without version.
    pub blueprint: BlueprintName,
    /// Domains, the first is the primary one.
    #[schemars(length(min = 1, max = 50))]
    pub domains: Vec<DomainName>,
    /// Title of the site.
    #[serde(default)]
    pub title: String,
    /// Mail address of the administrator.
    pub contact: String,
    /// Language tag such as `en` or `cs-CZ`.
    #[serde(default = "default_language")]
    pub language: String,
    /// Plan, free text that templates and limits may use.
    #[serde(default = "default_plan")]
    pub plan: String,
    /// Region in which its data must stay; any where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The one cell it may be placed in; any where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<CellName>,
    /// Tenants of one group are spread over cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What its visitors are told about HTTPS; what the platform says where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<HttpsSpec>,
    /// Whether it is served.
    #[serde(default)]
    pub state: TenantState,
}

/// Whether a tenant is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TenantState {
    /// Served.
    #[default]
    Active,
    /// Visitors see that it is suspended; data is kept.
    Suspended,
    /// Not served; its data is deleted after the platform's grace period, until then it can be made active again.
    Removed,
}

/// What is known of a tenant. Written by control alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantStatus {
    /// `Placed`, `DomainsOwned`, `Installed`, `Ready`.
    pub conditions: Conditions,
    /// Spec generation this status speaks of.
    pub observed_generation: Generation,
    /// The owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<CellName>,
    /// Number of the ownership.
    pub epoch: Epoch,
    /// Database schema, `t_` and the short uid; chosen once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// How often its creation failed; none once it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation: Option<FailedCreation>,
    /// State that routes and gates were last told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<TenantState>,
    /// The running operation on this tenant, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationName>,
    /// When its data is deleted for good, after a removal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub purge_at: Option<Timestamp>,
}

/// A creation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedCreation {
    /// Of which spec.
    pub generation: Generation,
    /// How often in a row.
    pub failed: u32,
    /// When it is tried again; none: not before the spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub next_try_at: Option<Timestamp>,
}

impl Resource for Tenant {
    const KIND: Kind = Kind::Tenant;
    type Spec = TenantSpec;
    type Status = TenantStatus;
}

fn default_language() -> String {
    "en".to_owned()
}
fn default_plan() -> String {
    "standard".to_owned()
}
