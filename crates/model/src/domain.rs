//! Domain names as visitors type them and as routers compare them.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DocumentName;

/// Why a text is not a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Empty, or nothing but a dot.
    #[error("a domain must not be empty")]
    Empty,
    /// Longer than 253 octets in its ASCII form.
    #[error("a domain has at most 253 characters, this one has {0}")]
    TooLong(usize),
    /// An address is not a name.
    #[error("{0:?} is an address, not a domain")]
    Address(String),
    /// The rules of IDNA (UTS 46) refuse it.
    #[error("{0:?} is not a valid domain name (labels of letters, digits and '-', joined by dots)")]
    Syntax(String),
}

/// A domain in its one canonical form: lower case, IDNA ASCII (`xn--`), without the final dot, at most 253 octets.
///
/// Uppercase and international spellings of one name are equal after parsing, so two tenants cannot claim the "same" name twice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(Arc<str>);

impl DomainName {
    /// Parses any spelling of a domain into its canonical form.
    ///
    /// # Errors
    /// [`DomainError`] says which rule refused the text.
    pub fn new(text: impl AsRef<str>) -> Result<Self, DomainError> {
        let text = text.as_ref().trim_end_matches('.');
        if text.is_empty() {
            return Err(DomainError::Empty);
        }
        if text.parse::<std::net::IpAddr>().is_ok() || text.starts_with('[') {
            return Err(DomainError::Address(text.to_owned()));
        }
        let ascii = idna::domain_to_ascii_strict(text).map_err(|_| DomainError::Syntax(text.to_owned()))?;
        if ascii.len() > 253 {
            return Err(DomainError::TooLong(ascii.len()));
        }
        DocumentName::new(&ascii).map_err(|_| DomainError::Syntax(text.to_owned()))?;
        Ok(Self(ascii.into()))
    }

    /// The canonical form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the claim document of this domain: the domain itself.
    #[must_use]
    pub fn document_name(&self) -> DocumentName {
        DocumentName(self.0.clone())
    }
}

impl std::borrow::Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for DomainName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for DomainName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl std::str::FromStr for DomainName {
    type Err = DomainError;
    fn from_str(text: &str) -> Result<Self, DomainError> {
        Self::new(text)
    }
}

impl TryFrom<String> for DomainName {
    type Error = DomainError;
    fn try_from(text: String) -> Result<Self, DomainError> {
        Self::new(text)
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl JsonSchema for DomainName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DomainName".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "minLength": 1, "maxLength": 254, "description": "a domain such as shop.example; international names and upper case are accepted" })
    }
}
