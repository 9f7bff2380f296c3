//! An identity as it lies in a folder, read anew when it was replaced.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

use crate::{IdentityError, Role, files};

/// Name of the file with private key and certificate in an identity's folder.
pub const IDENTITY_FILE: &str = "identity.pem";
/// Name of the file with the trusted roots in an identity's folder.
pub const CA_FILE: &str = "ca.pem";

/// A certificate of ours, read.
pub(crate) struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
    pub role: Option<Role>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Leaf {
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(IDENTITY_FILE);
        let text = files::read_private(&path)?.ok_or_else(|| IdentityError::content(&path, "there is no such file"))?;
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|e| IdentityError::content(&path, e))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|e| IdentityError::content(&path, e))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|e| IdentityError::content(&path, e))?;
        let moment = |at: x509_parser::time::ASN1Time| Timestamp::from_second(at.timestamp()).map_err(|e| IdentityError::content(&path, e));
        let (not_before, not_after) = (moment(parsed.validity().not_before)?, moment(parsed.validity().not_after)?);
        let role = role_of(&certificate);
        Ok(Self { certificate, key, role, not_before, not_after })
    }
}

/// The role in a certificate's alternative names. Says nothing about who signed it.
pub(crate) fn role_of(certificate: &CertificateDer<'_>) -> Option<Role> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        x509_parser::extensions::GeneralName::URI(uri) => Role::from_uri(uri).ok(),
        _ => None,
    })
}

/// Everything a handshake needs.
pub(crate) struct Material {
    pub certified: Arc<CertifiedKey>,
    pub servers: Arc<dyn ServerCertVerifier>,
    pub clients: Arc<dyn ClientCertVerifier>,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Material")
    }
}

impl Material {
    fn load(folder: &Path, provider: &Arc<CryptoProvider>) -> Result<Self, IdentityError> {
        let leaf = Leaf::load(folder)?;
        let path = folder.join(CA_FILE);
        let roots = files::read(&path)?.ok_or_else(|| IdentityError::content(&path, "there is no such file"))?;
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
            let root = root.map_err(|e| IdentityError::content(&path, e))?;
            store.add(root).map_err(|e| IdentityError::content(&path, e))?;
        }
        let store = Arc::new(store);
        let invalid = |e: &dyn std::fmt::Display| IdentityError::content(&path, e.to_string());
        let servers = WebPkiServerVerifier::builder_with_provider(store.clone(), provider.clone()).build().map_err(|e| invalid(&e))?;
        let clients = WebPkiClientVerifier::builder_with_provider(store, provider.clone()).build().map_err(|e| invalid(&e))?;
        let own = folder.join(IDENTITY_FILE);
        let certified = CertifiedKey::from_der(vec![leaf.certificate], leaf.key, provider).map_err(|e| IdentityError::content(own, e))?;
        Ok(Self { certified: Arc::new(certified), servers, clients })
    }
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

fn stamp(folder: &Path, file: &str) -> Option<Stamp> {
    let meta = std::fs::metadata(folder.join(file)).ok()?;
    Some(Stamp { inode: meta.ino(), modified: (meta.mtime(), meta.mtime_nsec()), length: meta.len() })
}

type Stamps = [Option<Stamp>; 2];

/// The material of a folder as it lies there now. Where a new version cannot be used, the last good one goes on and a warning is logged once.
#[derive(Debug)]
pub(crate) struct Reloading {
    folder: PathBuf,
    provider: Arc<CryptoProvider>,
    state: RwLock<State>,
}

struct State {
    stamps: Stamps,
    material: Arc<Material>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

impl Reloading {
    pub fn open(folder: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<Self>, IdentityError> {
        let stamps = stamps(folder);
        let material = Arc::new(Material::load(folder, &provider)?);
        Ok(Arc::new(Self { folder: folder.to_owned(), provider, state: RwLock::new(State { stamps, material }) }))
    }

    /// The newest good material: two `stat` calls where nothing changed.
    pub fn current(&self) -> Arc<Material> {
        // Stamped before it is read: a file replaced in between is read again at the next handshake.
        let found = stamps(&self.folder);
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if state.stamps == found {
                return state.material.clone();
            }
        }
        let loaded = Material::load(&self.folder, &self.provider);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.stamps = found;
        match loaded {
            Ok(material) => {
                tracing::info!(folder = %self.folder.display(), "a renewed identity was picked up");
                state.material = Arc::new(material);
            }
            Err(error) => tracing::warn!(%error, "a changed identity cannot be used; the last good one goes on"),
        }
        state.material.clone()
    }
}

fn stamps(folder: &Path) -> Stamps {
    [stamp(folder, IDENTITY_FILE), stamp(folder, CA_FILE)]
}
