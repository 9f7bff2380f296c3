//! Visitors who shake hands, and look at what they are shown without judging it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, HandshakeKind, RootCertStore, SignatureScheme, WantsVerifier};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
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
        let mut config = builder()?.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        config.resumption = if tickets { Resumption::store(Arc::new(ClientSessionMemoryCache::new(64))) } else { Resumption::disabled() };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// One who trusts this root alone, as browsers do theirs.
    pub fn trusting(root: CertificateDer<'static>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(root)?;
        let mut config = builder()?.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec!["http/1.1".into()];
        config.resumption = Resumption::disabled();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands and stays.
    pub async fn connect(&self, at: SocketAddr, host: &str) -> Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(at).await?;
        tcp.set_nodelay(true)?;
        Ok(self.0.connect(ServerName::try_from(host.to_owned())?, tcp).await?)
    }

    /// Asks for a page; the certificate that was shown, and the whole answer.
    pub async fn ask(&self, at: SocketAddr, host: &str, path: &str) -> Result<(CertificateDer<'static>, String)> {
        let stream = self.connect(at, host).await?;
        let certificate = shown(&stream)?;
        Ok((certificate, ask(stream, &format!("{host}:{}", at.port()), path).await?))
    }

    /// Shakes hands and says goodbye.
    pub async fn meet(&self, at: SocketAddr, host: &str) -> Result<Seen> {
        let meeting = async {
            let mut stream = self.connect(at, host).await?;
            let certificate = shown(&stream)?;
            let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
            stream.shutdown().await?;
            // The ticket comes behind the handshake; the other side's end is waited for so that nothing of one meeting falls into the next.
            let _ = stream.read(&mut [0; 64]).await;
            Ok(Seen { certificate, resumed })
        };
        tokio::time::timeout(PATIENCE, meeting).await.with_context(|| format!("{host} at {at}: no handshake in time"))?
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?)
}

fn shown(stream: &TlsStream<TcpStream>) -> Result<CertificateDer<'static>> {
    let chain = stream.get_ref().1.peer_certificates();
    Ok(chain.and_then(|chain| chain.first()).context("no certificate was shown")?.clone().into_owned())
}

/// Asks for a page over a connection of its own; the whole answer.
pub async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str, path: &str) -> Result<String> {
    let asking = async {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(PATIENCE, asking).await.with_context(|| format!("{host}{path}: no answer in time"))?
}
