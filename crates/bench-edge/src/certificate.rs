//! The certificate that every proxy shows, in the forms in which they read it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use certs::{Book, Pair, What, self_signed};
use identity::Sealer;
use jiff::Timestamp;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CipherSuite, ClientConfig};

use crate::world::PARENTS;

/// What servers offer, in the order that visitors have as well.
pub const SUITES: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/// Files of a certificate for all domains, signed by its own key (ECDSA on P-256).
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Both in one, as HAProxy reads them.
    pub both: PathBuf,
}

impl Files {
    /// Where they are in a folder.
    pub fn at(folder: &Path) -> Self {
        Self { chain: folder.join("certificate.pem"), key: folder.join("certificate.key"), both: folder.join("certificate-and-key.pem") }
    }

    /// Makes them.
    pub fn create(folder: &Path) -> Result<Self> {
        let names: Vec<_> = PARENTS.iter().map(|parent| format!("*.{parent}")).collect();
        let (chain, key) = self_signed(&names.iter().map(String::as_str).collect::<Vec<_>>(), Timestamp::now())?;
        let files = Self::at(folder);
        fs_err::write(&files.chain, &chain)?;
        fs_err::write(&files.key, key.reveal())?;
        fs_err::write(&files.both, format!("{chain}{}", key.reveal()))?;
        Ok(files)
    }

    /// Puts it into the book of an edge.
    pub fn enter(&self, edge: &Path) -> Result<()> {
        let pair = Pair::read_file(&fs_err::read_to_string(&self.both)?)?;
        let key = fs_err::read_to_string(&self.key)?;
        let book = Book::open(&edge.join("certificates.db"), Sealer::create_or_open(&edge.join("certificates.key"))?, 16)?;
        let certificate = pair.certificate(fs_err::read_to_string(&self.chain)?, model::Sensitive::new(key));
        book.put(vec![("bench".to_owned(), What::Certificate(Box::new(certificate)))])?;
        Ok(())
    }
}

/// A visitor's settings: TLS 1.3, this certificate and no other, a handshake in full each time.
pub fn visitor(chain: &Path, protocol: &[u8]) -> Result<Arc<ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(chain).with_context(|| format!("reading {}", chain.display()))?)?;
    let mut provider = rustls::crypto::ring::default_provider();
    // As browsers order them where AES is in hardware.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
