//! Typed names: one registry, one rule (a DNS label as in RFC 1123, at most 63 octets), one type per noun so that a tenant's name cannot be passed for a cell's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a string is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The string was empty.
    #[error("a name must not be empty")]
    Empty,
    /// The string was longer than 63 octets.
    #[error("a name has at most 63 characters, this one has {0}")]
    TooLong(usize),
    /// A character outside `a-z 0-9 -`.
    #[error("a name holds only a-z, 0-9 and '-', found {0:?}")]
    Character(char),
    /// A hyphen at either end.
    #[error("a name must not begin or end with '-'")]
    Hyphen,
}

/// Checks the one rule for names.
fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > 63 {
        return Err(NameError::TooLong(text.len()));
    }
    if let Some(c) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(NameError::Character(c));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Hyphen);
    }
    Ok(())
}

macro_rules! typed_names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`NameError`] when the text is not a DNS label of at most 63 octets.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                check(text.as_ref())?;
                Ok(Self(text.as_ref().into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl From<&$name> for DocumentName {
            fn from(name: &$name) -> Self {
                Self(name.0.clone())
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" })
            }
        }
    )*};
}

/// The name of any document; domains are the one kind whose document name is not a label (see [`crate::DomainName::document_name`]).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct DocumentName(pub(crate) std::sync::Arc<str>);

impl DocumentName {
    /// Checks and wraps a document's name: one or more DNS labels joined by dots, at most 253 octets.
    ///
    /// # Errors
    /// [`NameError`] when a label breaks the rule for names.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        let text = text.as_ref();
        if text.len() > 253 {
            return Err(NameError::TooLong(text.len()));
        }
        text.split('.').try_for_each(check)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for DocumentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for DocumentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl std::str::FromStr for DocumentName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for DocumentName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<DocumentName> for String {
    fn from(name: DocumentName) -> Self {
        name.0.as_ref().to_owned()
    }
}

typed_names! {
    /// A customer of the SaaS.
    TenantName;
    /// An isolated environment.
    CellName;
    /// A blueprint, without its version.
    BlueprintName;
    /// A named part of a cell: `web`, `php`, `cache`.
    ServiceName;
    /// One running copy of a service, unique within its cell: `web-1`.
    InstanceName;
    /// One of a cell's gates: `gate-1`.
    GateName;
    /// One database node of a cell: `n1`.
    NodeName;
    /// A host that holds data.
    MachineName;
    /// A piece of durable work.
    OperationName;
    /// The whole installation; prefix of everything it makes on a shared engine.
    PlatformName;
}
