//! Visitors who shake hands, and look at what they are shown without judging it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme};
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whoever waits longer has met a fault.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes any certificate: what is measured is the server.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A visitor; with tickets, the second handshake with a host is a short one.
#[derive(Clone)]
pub struct Visitor(TlsConnector);

/// What a visitor saw.
pub struct Seen {
    pub certificate: CertificateDer<'static>,
    pub resumed: bool,
}

impl Visitor {
    pub fn new(tickets: bool) -> Result<Self> {
        Self::speaking("http/1.1", tickets)
    }

    /// One who speaks this protocol.
    pub fn speaking(protocol: &str, tickets: bool) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        config.resumption = if tickets { Resumption::store(Arc::new(ClientSessionMemoryCache::new(64))) } else { Resumption::disabled() };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands and stays.
    pub async fn connect(&self, at: SocketAddr, host: &str) -> Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(at).await?;
        tcp.set_nodelay(true)?;
        Ok(self.0.connect(ServerName::try_from(host.to_owned())?, tcp).await?)
    }

    /// Shakes hands and says goodbye.
    pub async fn meet(&self, at: SocketAddr, host: &str) -> Result<Seen> {
        let meeting = async {
            let mut stream = self.connect(at, host).await?;
            let shaken = stream.get_ref().1;
            let certificate = shaken.peer_certificates().and_then(|chain| chain.first()).context("no certificate was shown")?.clone().into_owned();
            let resumed = shaken.handshake_kind() == Some(HandshakeKind::Resumed);
            stream.shutdown().await?;
            // The ticket comes behind the handshake; the other side's end is waited for so that nothing of one meeting falls into the next.
            let _ = stream.read(&mut [0; 64]).await;
            Ok(Seen { certificate, resumed })
        };
        tokio::time::timeout(PATIENCE, meeting).await.with_context(|| format!("{host} at {at}: no handshake in time"))?
    }
}
