//! Handshakes in memory: which certificate, which protocol, which tickets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::Arc;

use certs::{Book, CHALLENGE_ALPN, Challenge, DEFAULT, Pair, Presenter, TicketKey, TicketKeys, What, digest, proof_of, self_signed};
use identity::Sealer;
use jiff::{SignedDuration, Timestamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, ServerConnection, SignatureScheme};

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
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn client(protocols: &[&[u8]], versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    Arc::new(config)
}

fn presenter(folder: &Path, name: &str, keys: &TicketKeys) -> Presenter {
    let sealer = Sealer::create_or_open(&folder.join(format!("{name}.key"))).unwrap();
    let book = Book::open(&folder.join(format!("{name}.db")), sealer, 16).unwrap();
    let (chain, key) = self_signed(&["a.example"], Timestamp::now()).unwrap();
    let certificate = Pair::read(&chain, key.reveal()).unwrap().certificate(chain, key);
    book.put(vec![("a".to_owned(), What::Certificate(Box::new(certificate))), ("tickets".to_owned(), What::Tickets(keys.clone()))]).unwrap();
    Presenter::new(Arc::new(book), &[b"h2", b"http/1.1"]).unwrap()
}

/// A whole handshake; the server's side, or the alert's words.
fn meet(presenter: &Presenter, config: &Arc<ClientConfig>, host: &str) -> Result<(ClientConnection, ServerConnection), String> {
    let mut client = ClientConnection::new(config.clone(), ServerName::try_from(host.to_owned()).unwrap()).unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &*wire).unwrap();
    let accepted = acceptor.accept().map_err(|(e, _)| e.to_string())?.expect("the whole hello was sent");
    let (settings, missing) = presenter.settings(&accepted.client_hello());
    if let Some(name) = missing {
        let _ = presenter.book().load(name.as_deref());
    }
    let mut server = accepted.into_connection(settings).map_err(|(e, _)| e.to_string())?;
    for _ in 0..4 {
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &*wire;
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|e| e.to_string())?;
        }
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &*wire;
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().map_err(|e| e.to_string())?;
        }
    }
    Ok((client, server))
}

fn key(hours: i64) -> TicketKey {
    TicketKey { key: identity::token(32), from: Timestamp::now() + SignedDuration::from_hours(hours) }
}

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

#[test]
fn a_visitor_gets_the_host_s_certificate_and_the_best_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let presenter = presenter(folder.path(), "one", &TicketKeys::default());
    for versions in [&BOTH[..1], &BOTH[1..]] {
        let (client, server) = meet(&presenter, &client(&[b"http/1.1", b"h2"], versions), "a.example").unwrap();
        assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]), "ours is the order");
        let (_, parsed) = x509_parser::parse_x509_certificate(&client.peer_certificates().unwrap()[0]).unwrap();
        assert!(parsed.subject_alternative_name().unwrap().unwrap().value.general_names[0].to_string().contains("a.example"));
    }
    let refused = meet(&presenter, &client(&[b"h2"], &BOTH), "nobody.example");
    assert!(refused.is_err(), "no certificate, no default");
}

#[test]
fn a_session_begun_at_one_edge_goes_on_at_another() {
    let folder = tempfile::tempdir().unwrap();
    let keys = TicketKeys(vec![key(-20), key(-2), key(10)]);
    let one = presenter(folder.path(), "one", &keys);
    let two = presenter(folder.path(), "two", &TicketKeys(keys.0[1..].to_vec()));
    let stranger = presenter(folder.path(), "three", &TicketKeys(vec![key(-1)]));
    for versions in [&BOTH[..1], &BOTH[1..]] {
        let config = client(&[b"h2"], versions);
        let (_, first) = meet(&one, &config, "a.example").unwrap();
        assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
        let (_, second) = meet(&two, &config, "a.example").unwrap();
        assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed), "{versions:?}");
        let (_, third) = meet(&stranger, &config, "a.example").unwrap();
        assert_ne!(third.handshake_kind(), Some(HandshakeKind::Resumed), "under other keys it begins anew");
    }
}

#[test]
fn an_authority_sees_the_proof_and_nobody_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let presenter = presenter(folder.path(), "one", &TicketKeys::default());
    let config = client(&[CHALLENGE_ALPN], &BOTH);
    assert!(meet(&presenter, &config, "new.example").is_err(), "nothing is asked for now");
    let challenge = Challenge { domain: "new.example".to_owned(), answer: "token.thumb".to_owned() };
    presenter.book().put(vec![("token".to_owned(), What::Challenge(challenge))]).unwrap();
    let (seen, server) = meet(&presenter, &config, "new.example").unwrap();
    assert_eq!(server.alpn_protocol(), Some(CHALLENGE_ALPN));
    assert_eq!(proof_of(&seen.peer_certificates().unwrap()[0]).unwrap(), digest("token.thumb"));
    assert!(meet(&presenter, &client(&[b"http/1.1"], &BOTH), "new.example").is_err(), "visitors get no proof");
    let (chain, key) = self_signed(&["platform.example"], Timestamp::now()).unwrap();
    let default = Pair::read(&chain, key.reveal()).unwrap().certificate(chain, key);
    presenter.book().put(vec![(DEFAULT.to_owned(), What::Certificate(Box::new(default)))]).unwrap();
    let (seen, _) = meet(&presenter, &client(&[b"http/1.1"], &BOTH), "new.example").unwrap();
    assert_eq!(proof_of(&seen.peer_certificates().unwrap()[0]), None);
}
