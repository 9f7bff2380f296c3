//! TLS 1.3 with both sides proved by the platform's CA, over an identity's folder that may be renewed at any time.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use crate::material::{Reloading, role_of};
use crate::{IdentityError, Role};

/// A server's side: proves the identity of `folder` and demands a client certificate of the same CA.
///
/// # Errors
/// [`IdentityError`] when the folder holds no usable identity now; later renewals that cannot be used are logged and passed over.
pub fn server_config(folder: &Path) -> Result<Arc<ServerConfig>, IdentityError> {
    let provider = provider();
    let reloading = Reloading::open(folder, provider.clone())?;
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let mut config = builder
        .map_err(|e| IdentityError::Tls(e.to_string()))?
        .with_client_cert_verifier(Arc::new(Clients(reloading.clone())))
        .with_cert_resolver(Arc::new(Own(reloading)));
    // No resumption: each connection proves both sides anew, so a certificate that was replaced is not trusted through an old ticket.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A client's side: proves the identity of `folder` and demands a server certificate of the same CA in the name dialled ([`server_name`]).
///
/// # Errors
/// As [`server_config`].
pub fn client_config(folder: &Path) -> Result<Arc<ClientConfig>, IdentityError> {
    let provider = provider();
    let reloading = Reloading::open(folder, provider.clone())?;
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let mut config = builder
        .map_err(|e| IdentityError::Tls(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Servers(reloading.clone())))
        .with_client_cert_resolver(Arc::new(Own(reloading)));
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name to dial a role by.
///
/// # Errors
/// [`IdentityError::Tls`] when the role's name is too long for a DNS name.
pub fn server_name(role: &Role) -> Result<ServerName<'static>, IdentityError> {
    ServerName::try_from(role.dns_name()).map_err(|e| IdentityError::Tls(format!("{role}: {e}")))
}

/// Who is on the other side of a finished handshake.
#[must_use]
pub fn peer_role(connection: &CommonState) -> Option<Role> {
    role_of(connection.peer_certificates()?.first()?)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Our own certificate, to whoever asks.
#[derive(Debug)]
struct Own(Arc<Reloading>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified.clone())
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Checks servers against the roots that lie in the folder now.
#[derive(Debug)]
struct Servers(Arc<Reloading>);

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.current().servers.verify_server_cert(end, between, name, ocsp, now)
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.current().servers.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.current().servers.supported_verify_schemes()
    }
}

/// Checks clients against the roots that lie in the folder now.
#[derive(Debug)]
struct Clients(Arc<Reloading>);

impl ClientCertVerifier for Clients {
    // Clients of the platform have one certificate each and need no hint which one to show.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(&self, end: &CertificateDer<'_>, between: &[CertificateDer<'_>], now: UnixTime) -> Result<ClientCertVerified, Error> {
        self.0.current().clients.verify_client_cert(end, between, now)
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.current().clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.current().clients.supported_verify_schemes()
    }
}
