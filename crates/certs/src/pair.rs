//! A certificate and the key that belongs to it.

use std::sync::Arc;

use jiff::Timestamp;
use model::{DomainName, Sensitive};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

use crate::Certificate;

/// Why a certificate with its key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// No certificate, or something else under that head.
    #[error("the chain holds no certificate that can be read: {0}")]
    Chain(String),
    /// No key, or one of a kind that TLS does not use.
    #[error("the private key cannot be read: {0}")]
    Key(String),
    /// They do not belong together.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// It names no host.
    #[error("the certificate names no host (it has no DNS name among its subject alternative names)")]
    Nameless,
}

/// A certificate, its key, and what is read from them.
#[derive(Debug, Clone)]
pub struct Pair {
    /// As TLS uses them.
    pub certified: Arc<CertifiedKey>,
    /// DNS names it is good for, in lower case.
    pub names: Vec<String>,
    /// From when.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

impl Pair {
    /// Reads a chain and a key from PEM, and makes sure that they belong together.
    ///
    /// # Errors
    /// [`PairError`].
    pub fn read(chain: &str, key: &str) -> Result<Self, PairError> {
        let unreadable = |error: pem::Error| PairError::Chain(error.to_string());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().map_err(unreadable)?;
        let Some(leaf) = chain.first().cloned() else { return Err(PairError::Chain("it is empty".to_owned())) };
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| PairError::Key(error.to_string()))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| PairError::Key(error.to_string()))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => return Err(PairError::Mismatch),
            Err(error) => return Err(PairError::Chain(error.to_string())),
        }
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).map_err(|error| PairError::Chain(error.to_string()))?;
        let names = names(&parsed);
        if names.is_empty() {
            return Err(PairError::Nameless);
        }
        let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH);
        let validity = parsed.validity();
        Ok(Self { certified: Arc::new(certified), names, not_before: at(validity.not_before), not_after: at(validity.not_after) })
    }

    /// Reads one file that holds both, in any order.
    ///
    /// # Errors
    /// [`PairError`].
    pub fn read_file(text: &str) -> Result<Self, PairError> {
        Self::read(text, text)
    }

    /// The entry of a book.
    #[must_use]
    pub fn certificate(&self, chain: String, key: Sensitive<String>) -> Certificate {
        Certificate { names: self.names.clone(), not_before: self.not_before, not_after: self.not_after, chain, key }
    }
}

fn names(parsed: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternatives)) = parsed.subject_alternative_name() else { return Vec::new() };
    let dns = alternatives.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.filter(|name| DomainName::new(name.strip_prefix("*.").unwrap_or(name)).is_ok()).collect()
}

/// A certificate that nobody vouches for, good for a year: what an installation shows until it has a better one, where it was told to.
///
/// # Errors
/// [`PairError::Key`] when the key generator fails.
pub fn self_signed(names: &[&str], now: Timestamp) -> Result<(String, Sensitive<String>), PairError> {
    let failed = |error: rcgen::Error| PairError::Key(error.to_string());
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "Atoll, signed by nobody");
    let second = u64::try_from(now.as_second()).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + std::time::Duration::from_secs(second.saturating_sub(86_400));
    params.not_after = epoch + std::time::Duration::from_secs(second + 365 * 86_400);
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate.pem(), Sensitive::new(key.serialize_pem())))
}
