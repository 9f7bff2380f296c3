//! What a record answers for: one host, or all direct children of one.

use model::{DomainError, DomainName};
use serde::{Deserialize, Serialize};

/// Why a text is not a host pattern.
pub type HostPatternError = DomainError;

/// One host, or every host one label below a domain (`*.shop.example` answers for `a.shop.example`, not for `shop.example` or `a.b.shop.example`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// This host alone.
    Exact(DomainName),
    /// Hosts one label below.
    Wildcard(DomainName),
}

impl HostPattern {
    /// Parses `shop.example` or `*.shop.example`.
    ///
    /// # Errors
    /// [`DomainError`] of the domain part.
    pub fn new(text: &str) -> Result<Self, HostPatternError> {
        match text.strip_prefix("*.") {
            Some(parent) => DomainName::new(parent).map(Self::Wildcard),
            None => DomainName::new(text).map(Self::Exact),
        }
    }

    /// The domain without the star.
    #[must_use]
    pub const fn domain(&self) -> &DomainName {
        match self {
            Self::Exact(domain) | Self::Wildcard(domain) => domain,
        }
    }
}

impl From<DomainName> for HostPattern {
    fn from(domain: DomainName) -> Self {
        Self::Exact(domain)
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(domain) => f.write_str(domain.as_str()),
            Self::Wildcard(domain) => write!(f, "*.{domain}"),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}
