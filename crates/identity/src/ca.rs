//! The platform's own small certificate authority.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::{PlatformName, Sensitive};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::files;
use crate::material::{CA_FILE, IDENTITY_FILE, Leaf};
use crate::{IdentityError, Role};

/// The CA's private key, beside [`CA_FILE`].
const CA_KEY: &str = "ca.key";
/// How long a certificate is good.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A certificate is renewed when less than this is left.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(10 * 24);
/// Certificates begin in the past, for clocks that differ.
const SKEW: SignedDuration = SignedDuration::from_hours(24);
/// How long the CA is good.
const CA_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// A certificate authority that lives in a folder: `ca.pem` (for everybody) and `ca.key` (mode 0600).
pub struct Ca {
    platform: PlatformName,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, not yet given to its owner.
#[derive(Debug, Clone)]
pub struct Issued {
    /// For whom.
    pub role: Role,
    /// Content of [`IDENTITY_FILE`]: key and certificate together, so that one rename replaces both.
    pub identity: Sensitive<String>,
    /// Content of [`CA_FILE`].
    pub ca: String,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Ca {
    /// Opens the CA of a folder; creates it where there is none.
    ///
    /// # Errors
    /// [`IdentityError`]: a key open to others, a key without its certificate (nothing is overwritten then), or files that cannot be used.
    pub fn create_or_open(folder: &Path, platform: &PlatformName, now: Timestamp) -> Result<Self, IdentityError> {
        files::make_folder(folder)?;
        let (key_path, certificate_path) = (folder.join(CA_KEY), folder.join(CA_FILE));
        let existing = files::read(&certificate_path)?;
        let key_pem = match (files::read_private(&key_path)?, &existing) {
            (Some(key), _) => key,
            (None, None) => {
                let key = KeyPair::generate().map_err(|source| IdentityError::Issue { role: "the CA".to_owned(), source })?;
                files::create_private(&key_path, &key.serialize_pem())?
            }
            (None, Some(_)) => return Err(IdentityError::content(&certificate_path, format!("its key {} is gone", key_path.display()))),
        };
        let key = KeyPair::from_pem(&key_pem).map_err(|e| IdentityError::content(&key_path, e))?;
        // A crash between the two files leaves a key without certificate, which is completed here.
        let certificate = match existing {
            Some(certificate) => certificate,
            None => {
                let certificate = root(platform, &key, now)?;
                files::replace(&certificate_path, &certificate, 0o644, None)?;
                certificate
            }
        };
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(|e| IdentityError::content(&certificate_path, e))?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|e| IdentityError::content(&certificate_path, e))?;
        check_key(&der, issuer.key(), &certificate_path)?;
        Ok(Self { platform: platform.clone(), certificate, issuer })
    }

    /// The roots that everybody of the platform trusts, as PEM.
    #[must_use]
    pub fn roots(&self) -> &str {
        &self.certificate
    }

    /// Makes a key and a certificate for a role, good for 30 days.
    ///
    /// # Errors
    /// [`IdentityError::Issue`].
    pub fn issue(&self, role: &Role, now: Timestamp) -> Result<Issued, IdentityError> {
        let failed = |source| IdentityError::Issue { role: role.to_string(), source };
        let text = |text: String| Ia5String::try_from(text).map_err(failed);
        let not_after = after(now, LEAF_LIFE);
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("{role} of {}", self.platform));
        params.subject_alt_names = vec![SanType::DnsName(text(role.dns_name())?), SanType::URI(text(role.uri(self.platform.as_str()))?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, after(now, -SKEW), not_after);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let identity = Sensitive::new(format!("{}{}", key.serialize_pem(), certificate.pem()));
        Ok(Issued { role: role.clone(), identity, ca: self.certificate.clone(), not_after })
    }

    /// Makes sure that a folder holds a good identity of this role, and renews it when less than ten days are left. Gives whether it wrote.
    ///
    /// # Errors
    /// [`IdentityError`] when it cannot be written. What stands there but cannot be used is replaced.
    pub fn ensure(&self, folder: &Path, role: &Role, owner: Option<u32>, now: Timestamp) -> Result<bool, IdentityError> {
        if self.good(folder, role, now) {
            return Ok(false);
        }
        self.issue(role, now)?.write(folder, owner)?;
        Ok(true)
    }

    fn good(&self, folder: &Path, role: &Role, now: Timestamp) -> bool {
        let roots = files::read(&folder.join(CA_FILE)).ok().flatten();
        let leaf = Leaf::load(folder);
        roots.as_deref() == Some(&self.certificate)
            && leaf.is_ok_and(|leaf| leaf.role.as_ref() == Some(role) && Self::lasts(&leaf, now) && self.signed(&leaf))
    }

    /// Whether a certificate is good now and for a while. One that was made while the clock ran far ahead begins too late, once the clock is set right.
    fn lasts(leaf: &Leaf, now: Timestamp) -> bool {
        leaf.not_before <= now && leaf.not_after > after(now, RENEW_BEFORE)
    }

    /// Whether this CA signed a certificate: one of an earlier CA in the same folder did not.
    fn signed(&self, leaf: &Leaf) -> bool {
        let root = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        let Ok(root) = root else { return false };
        let Ok((_, root)) = x509_parser::parse_x509_certificate(&root) else { return false };
        let Ok((_, own)) = x509_parser::parse_x509_certificate(&leaf.certificate) else { return false };
        own.issuer() == root.subject() && own.verify_signature(Some(root.public_key())).is_ok()
    }
}

impl Issued {
    /// Writes [`IDENTITY_FILE`] (mode 0600, for `owner` where given) and [`CA_FILE`] into a folder, each replaced whole.
    ///
    /// # Errors
    /// [`IdentityError::File`].
    pub fn write(&self, folder: &Path, owner: Option<u32>) -> Result<(), IdentityError> {
        files::make_folder(folder)?;
        files::replace(&folder.join(CA_FILE), &self.ca, 0o644, owner)?;
        files::replace(&folder.join(IDENTITY_FILE), self.identity.reveal(), 0o600, owner)
    }
}

fn root(platform: &PlatformName, key: &KeyPair, now: Timestamp) -> Result<String, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("Atoll CA of {platform} {}", crate::alphanumeric(8).reveal()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, after(now, -SKEW), after(now, CA_LIFE));
    let certificate = params.self_signed(key).map_err(|source| IdentityError::Issue { role: "the CA".to_owned(), source })?;
    Ok(certificate.pem())
}

fn check_key(certificate: &CertificateDer<'_>, key: &KeyPair, path: &Path) -> Result<(), IdentityError> {
    use rcgen::PublicKeyData as _;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|e| IdentityError::content(path, e))?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(IdentityError::content(PathBuf::from(path), format!("it does not belong to the key {CA_KEY} beside it")));
    }
    Ok(())
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn after(now: Timestamp, span: SignedDuration) -> Timestamp {
    now.saturating_add(span).unwrap_or(now)
}

/// Sets from when until when a certificate is good.
fn validity(params: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let since = |at: Timestamp| Duration::try_from(at.as_duration()).unwrap_or(Duration::ZERO);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since(from);
    params.not_after = epoch + since(until);
}
