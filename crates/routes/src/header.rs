//! The tenant header: `Atoll-Tenant: v1;t=<tenant>;c=<cell>;e=<epoch>;k=<key id>;m=<base64url mac>`.
//!
//! The MAC is HMAC-SHA-256 under the cell's key over everything before `;m=`. An edge computes it when a route is loaded, a gate verifies it once and
//! remembers the exact text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use model::{CellName, Epoch, TenantName};
use sha2::Sha256;

use crate::{CellKey, KeyId};

/// Name of the header.
pub const TENANT_HEADER: &str = "Atoll-Tenant";

/// Longest value a gate looks at: two names of 63, a number of 20, an id of 32, a MAC of 43, and the words between.
const LONGEST: usize = 256;

/// Why a header is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not of the form above.
    #[error("the tenant header does not parse")]
    Form,
    /// Signed under a key that is not ours.
    #[error("the tenant header names an unknown key")]
    UnknownKey,
    /// The MAC does not fit.
    #[error("the tenant header's MAC does not fit")]
    Mac,
}

/// Whose request it is, by whose word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantHeader {
    /// The tenant.
    pub tenant: TenantName,
    /// The cell that owns it.
    pub cell: CellName,
    /// Number of that ownership.
    pub epoch: Epoch,
    /// Key of the MAC.
    pub key_id: KeyId,
}

impl TenantHeader {
    /// The header's value.
    #[must_use]
    pub fn sign(&self, key: &CellKey) -> String {
        Self::sign_parts(self.tenant.as_str(), self.cell.as_str(), self.epoch, &self.key_id, key)
    }

    /// The same from its parts.
    pub(crate) fn sign_parts(tenant: &str, cell: &str, epoch: Epoch, key_id: &KeyId, key: &CellKey) -> String {
        let mut text = format!("v1;t={tenant};c={cell};e={epoch};k={key_id}");
        let mac = mac(key, text.as_bytes()).finalize().into_bytes();
        text.push_str(";m=");
        URL_SAFE_NO_PAD.encode_string(mac, &mut text);
        text
    }

    /// Reads a value and checks its MAC in constant time, under the key that `key_of` gives for its id.
    ///
    /// # Errors
    /// [`HeaderError`]; nothing of an unverified header is returned.
    pub fn verify<'k>(value: &str, key_of: impl FnOnce(&KeyId) -> Option<&'k CellKey>) -> Result<Self, HeaderError> {
        let (header, signed, tag) = Self::parse(value)?;
        let key = key_of(&header.key_id).ok_or(HeaderError::UnknownKey)?;
        mac(key, signed.as_bytes()).verify_slice(&tag).map_err(|_| HeaderError::Mac)?;
        Ok(header)
    }

    /// Takes a value apart: the header, the signed text, the MAC.
    fn parse(value: &str) -> Result<(Self, &str, Vec<u8>), HeaderError> {
        if value.len() > LONGEST {
            return Err(HeaderError::Form);
        }
        let (signed, tag) = value.split_once(";m=").ok_or(HeaderError::Form)?;
        let mut fields = signed.split(';');
        if fields.next() != Some("v1") {
            return Err(HeaderError::Form);
        }
        let mut field = |prefix: &str| fields.next().and_then(|text| text.strip_prefix(prefix)).ok_or(HeaderError::Form);
        let (tenant, cell, epoch, key_id) = (field("t=")?, field("c=")?, field("e=")?, field("k=")?);
        if fields.next().is_some() {
            return Err(HeaderError::Form);
        }
        let header = Self {
            tenant: TenantName::new(tenant).map_err(|_| HeaderError::Form)?,
            cell: CellName::new(cell).map_err(|_| HeaderError::Form)?,
            epoch: Epoch(epoch.parse().map_err(|_| HeaderError::Form)?),
            key_id: KeyId::new(key_id).map_err(|_| HeaderError::Form)?,
        };
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| HeaderError::Form)?;
        Ok((header, signed, tag))
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length; ours has 32 octets")]
fn mac(key: &CellKey, text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.reveal()).expect("a key of 32 octets");
    mac.update(text);
    mac
}
