//! A cell's key for the tenant header.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Why a text is not a key or a key id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not base64url of 32 octets. The text is not repeated: it may be most of a secret.
    #[error("a cell key is 32 octets in base64url")]
    Key,
    /// Not 1 to 32 characters of `a-z A-Z 0-9 - _`.
    #[error("a key id is 1 to 32 characters of a-z, A-Z, 0-9, '-' and '_'")]
    Id,
}

/// 32 octets shared by edges and the gates of one cell. `Debug` prints `***`; serialisation writes base64url, for authenticated wires and 0600 files only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CellKey([u8; 32]);

impl CellKey {
    /// Wraps octets that came from a cryptographic source of randomness.
    #[must_use]
    pub const fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// Reads base64url.
    ///
    /// # Errors
    /// [`KeyError::Key`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let octets = URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Key)?;
        octets.try_into().map(Self).map_err(|_| KeyError::Key)
    }

    /// The octets, for computing a MAC.
    #[must_use]
    pub const fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key as base64url, for a sealed store or an authenticated wire.
    #[must_use]
    pub fn reveal_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl std::fmt::Debug for CellKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl TryFrom<String> for CellKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::parse(&text)
    }
}

impl From<CellKey> for String {
    fn from(key: CellKey) -> Self {
        key.reveal_text()
    }
}

/// Which of a cell's keys: two are valid during a rotation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(std::sync::Arc<str>);

impl KeyId {
    /// Checks and wraps an id.
    ///
    /// # Errors
    /// [`KeyError::Id`].
    pub fn new(text: impl AsRef<str>) -> Result<Self, KeyError> {
        let text = text.as_ref();
        let valid = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if valid { Ok(Self(text.into())) } else { Err(KeyError::Id) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0.as_ref().to_owned()
    }
}
