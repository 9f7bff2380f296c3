//! The certificate by which an edge proves a domain over TLS (RFC 8737, `tls-alpn-01`).

use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use crate::{Challenge, PairError};

/// The protocol by which an authority asks.
pub const ALPN: &[u8] = b"acme-tls/1";
/// `id-pe-acmeIdentifier`.
const OID: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 31];

/// What the certificate must carry for an answer.
#[must_use]
pub fn digest(answer: &str) -> [u8; 32] {
    Sha256::digest(answer.as_bytes()).into()
}

/// The digest that a certificate of this kind carries, where it does.
#[must_use]
pub fn proof_of(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let oid = x509_parser::der_parser::oid::Oid::from(&OID).ok()?;
    let extension = parsed.get_extension_unique(&oid).ok()??;
    // An octet string of 32 octets.
    extension.value.strip_prefix(&[4, 32]).map(<[u8]>::to_vec)
}

impl Challenge {
    /// A certificate that answers it.
    ///
    /// # Errors
    /// [`PairError`] when the key generator fails.
    pub fn certificate(&self) -> Result<Arc<CertifiedKey>, PairError> {
        let failed = |error: rcgen::Error| PairError::Key(error.to_string());
        let mut params = CertificateParams::new([self.domain.clone()]).map_err(failed)?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest(&self.answer))];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = rustls::crypto::ring::sign::any_supported_type(&der).map_err(|error| PairError::Key(error.to_string()))?;
        Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
    }
}
