//! An edge's door under TLS: handshakes from control's book, relayed octets, the way from HTTP to HTTPS, answers to authorities.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod balancer;
mod behind;
mod frames;
mod raw;
mod streams;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use certs::{Book, Challenge, EVERYBODY, Https, Kind, Pair, What, self_signed};
use identity::{Ca, Role, Sealer, tls};
use issuer::CertificateFeed;
use jiff::Timestamp;
use model::{CellName, Epoch, GateName, Generation, PlatformName, TenantName};
use routes::{CellEndpoint, CellKey, Feed, GateEndpoint, HostPattern, KeyId, Record, RouteState};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    folder: tempfile::TempDir,
    at: Ipv4Addr,
    book: Arc<Book>,
    control: SocketAddr,
    stop: CancellationToken,
    feed: Mutex<Feed>,
    record: Record,
    later: tokio::sync::watch::Sender<String>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An address of the loopback range of this test's own.
fn own_address() -> Ipv4Addr {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(std::process::id()).to_le_bytes();
    Ipv4Addr::new(127, random[0].max(1), random[1], random[2].clamp(1, 254))
}

fn book(folder: &Path) -> Book {
    Book::open(&folder.join("book.db"), Sealer::create_or_open(&folder.join("book.key")).unwrap(), 16).unwrap()
}

fn certificate(names: &[&str]) -> What {
    let (chain, key) = self_signed(names, Timestamp::now()).unwrap();
    What::Certificate(Box::new(Pair::read(&chain, key.reveal()).unwrap().certificate(chain, key)))
}

impl World {
    /// Control with one tenant `shop.example`, whose gate is [`gate`].
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = own_address();
        let platform = PlatformName::new("atoll").unwrap();
        let ca = Ca::create_or_open(&folder.path().join("ca"), &platform, Timestamp::now()).unwrap();
        let edge = Role::Edge("edge".parse().unwrap());
        for (role, name) in [(Role::Control, "control"), (edge, "identity")] {
            ca.ensure(&folder.path().join(name), &role, None, Timestamp::now()).unwrap();
        }
        let gates = TcpListener::bind((at, 0)).await.unwrap();
        let (cell, gate_address) = (CellName::new("cell-a").unwrap(), gates.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = gates.accept().await {
                tokio::spawn(gate(stream));
            }
        });
        let gate = GateEndpoint { name: GateName::new("gate-1").unwrap(), address: gate_address, weight: 100, draining: false, region: None };
        let endpoint = CellEndpoint { cell: cell.clone(), gates: vec![gate], key_id: KeyId::new("k1").unwrap(), key: CellKey::new([7; 32]) };
        let record = Record {
            host: HostPattern::Exact("shop.example".parse().unwrap()),
            tenant: TenantName::new("shop").unwrap(),
            cell,
            epoch: Epoch(1),
            state: RouteState::Open,
            redirect: None,
            class: None,
            edge: model::v1alpha1::EdgeSpec::default(),
        };
        let (mut feed, _) = Feed::new("one", Generation(1), [endpoint], [record.clone()], 10);
        let lines: String = feed.catch_up(None, "").lines().unwrap().concat();
        let (later, told) = tokio::sync::watch::channel(String::new());
        let routes = get(move || {
            use tokio_stream::StreamExt as _;
            let later = tokio_stream::wrappers::WatchStream::from_changes(told).map(Ok);
            let lines = tokio_stream::once(Ok::<_, std::io::Error>(lines)).chain(later);
            async { Response::new(Body::from_stream(lines)) }
        });
        let book = Arc::new(book(folder.path()));
        let router = Router::new()
            .route("/v1/routes", routes)
            .route("/v1/edges/{name}/applied", post(|_: Json<serde_json::Value>| async {}))
            .merge(issuer::router(CertificateFeed::new(book.clone())));
        let listener = TcpListener::bind((at, 0)).await.unwrap();
        let (control, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let config = tls::server_config(&folder.path().join("control")).unwrap();
        tokio::spawn(identity::serve(listener, config, router, |role| matches!(role, Role::Edge(_)), stop.clone()));
        Self { folder, at, book, control, stop, feed: Mutex::new(feed), record, later }
    }

    /// Holds the tenant.
    fn hold(&self) {
        let mut feed = self.feed.lock().unwrap();
        let (generation, cells) = (feed.table().generation(), feed.table().cells().map(|cell| CellEndpoint::clone(cell)).collect::<Vec<_>>());
        feed.publish(cells, [Record { state: RouteState::Held, ..self.record.clone() }]).unwrap();
        self.later.send_replace(feed.catch_up(Some(generation), "one").lines().unwrap().concat());
    }

    async fn start(&self, name: &str) -> CancellationToken {
        self.start_behind(name, None).await
    }

    async fn start_behind(&self, name: &str, behind: Option<edge::Behind>) -> CancellationToken {
        let state = self.folder.path().join("edge");
        let options = edge::Options {
            name: name.to_owned(),
            listen: (self.at, 8080).into(),
            admin: (self.at, 9090).into(),
            state: state.clone(),
            identity: self.folder.path().join("identity"),
            feed: self.control,
            secure: Some(edge::Secure { listen: (self.at, 8443).into(), port: 8443 }),
            behind,
            workers: 1,
            log_one_in: std::num::NonZeroU32::MIN,
            cache: 64 << 20,
        };
        let stop = self.stop.child_token();
        tokio::spawn(edge::run(options, stop.clone()));
        let marker = state.join(format!("{name}.ready"));
        eventually("the edge is ready", async || marker.exists()).await;
        stop
    }

    /// A visitor under TLS, who trusts what the book holds of this name.
    async fn visit(&self, host: &str) -> Result<TlsStream<TcpStream>, std::io::Error> {
        self.visit_speaking(host, b"http/1.1").await
    }

    /// With an edge that has the tenant's certificate and serves it.
    async fn serving() -> Self {
        let world = Self::new().await;
        world.book.put(vec![("shop".to_owned(), certificate(&["shop.example"]))]).unwrap();
        world.start("one").await;
        world.served().await;
        world
    }

    async fn visit_speaking(&self, host: &str, protocol: &[u8]) -> Result<TlsStream<TcpStream>, std::io::Error> {
        self.shake(host, protocol, TcpStream::connect((self.at, 8443)).await?).await
    }

    async fn shake<S: AsyncRead + AsyncWrite + Unpin>(&self, host: &str, protocol: &[u8], tcp: S) -> Result<TlsStream<S>, std::io::Error> {
        let mut roots = rustls::RootCertStore::empty();
        if let Ok(Some(entry)) = self.book.read(Kind::Certificate, "shop")
            && let What::Certificate(certificate) = entry.what
        {
            roots.add(Pair::read(&certificate.chain, certificate.key.reveal()).unwrap().certified.cert[0].clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(host.to_owned()).unwrap(), tcp).await
    }

    async fn plain(&self, target: &str) -> String {
        let mut stream = TcpStream::connect((self.at, 8080)).await.unwrap();
        ask(&mut stream, &format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")).await
    }

    async fn served(&self) {
        eventually("the certificate and the route are there", async || match self.visit("shop.example").await {
            Ok(mut stream) => ask(&mut stream, "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n").await.starts_with("HTTP/1.1 200"),
            Err(_) => false,
        })
        .await;
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// Tells the head it saw, as the type that was asked for, says its own HSTS, echoes bodies and, after an upgrade, everything.
async fn gate(mut stream: TcpStream) {
    let mut head = Vec::new();
    loop {
        let mut octet = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read(&mut octet).await, Ok(1)) {
                return;
            }
            head.push(octet[0]);
        }
        let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
        if text.contains("Upgrade: ") && !text.starts_with("GET /shut ") {
            let protocol = if text.contains("Upgrade: echo") { "echo" } else { "websocket" };
            let answer = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            return;
        }
        if text.starts_with("GET /events ") {
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            while stream.read(&mut octet).await.is_ok_and(|count| count > 0) {}
            return;
        }
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        let media = field("x-answer-type: ").map_or_else(String::new, |media| format!("Content-Type: {media}\r\n"));
        let length: usize = field("Content-Length: ").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        if length == 0 {
            body = text.into_bytes();
        }
        let answer = format!("HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\n{media}Content-Length: {}\r\n\r\n", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() || stream.write_all(&body).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_answer_of_a_connection_ends_with_tls_s_own_goodbye() {
    let world = World::serving().await;
    for version in ["1.1", "1.0"] {
        let mut stream = world.visit("shop.example").await.unwrap();
        stream.write_all(format!("GET / HTTP/{version}\r\nHost: shop.example\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // An end without that word is an error here: it could be anybody's who cuts the connection.
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_is_served_over_tls_and_sent_there() {
    let world = World::new().await;
    world.book.put(vec![("shop".to_owned(), certificate(&["shop.example"]))]).unwrap();
    world.start("one").await;
    world.served().await;
    let mut stream = world.visit("shop.example").await.unwrap();
    let answer = ask(&mut stream, "GET /a HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Proto: http\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("X-Forwarded-Proto: https") && !answer.contains("X-Forwarded-Proto: http\r"), "{answer}");
    assert!(answer.contains("Strict-Transport-Security: max-age=1\r\n"), "an instance's own word passes: {answer}");
    assert!(world.plain("/a").await.starts_with("HTTP/1.1 200"), "nobody asked for a redirect");
    assert!(world.visit("other.example").await.is_err(), "no certificate covers it, and there is no default");

    let number = world.book.put(vec![(EVERYBODY.to_owned(), What::Policy(Https { redirect: true, hsts: 0 }))]).unwrap();
    eventually("sent to HTTPS", async || world.plain("/a?b=c").await.contains("Location: https://shop.example:8443/a?b=c\r\n")).await;
    assert!(world.plain("/").await.starts_with("HTTP/1.1 307"), "not for good without the word to stay; {number}");
    world.book.put(vec![("shop.example".to_owned(), What::Policy(Https { redirect: true, hsts: 31_536_000 }))]).unwrap();
    eventually("for good", async || world.plain("/").await.starts_with("HTTP/1.1 308")).await;
    let mut stream = world.visit("shop.example").await.unwrap();
    let answer = ask(&mut stream, "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n").await;
    let words: Vec<_> = answer.lines().take_while(|line| !line.is_empty()).filter(|line| line.starts_with("Strict-Transport")).collect();
    assert_eq!(words, ["Strict-Transport-Security: max-age=31536000"], "ours instead of the instance's");

    world
        .book
        .put(vec![("token".to_owned(), What::Challenge(Challenge { domain: "shop.example".to_owned(), answer: "token.thumb".to_owned() }))])
        .unwrap();
    eventually("answered to authorities", async || world.plain("/.well-known/acme-challenge/token").await.ends_with("token.thumb")).await;
    assert!(world.plain("/.well-known/acme-challenge/foreign").await.starts_with("HTTP/1.1 200"), "a foreign token is the tenant's business");
    world.book.put(vec![("shop".to_owned(), What::Gone(Kind::Certificate))]).unwrap();
    eventually("nobody is sent where no handshake succeeds", async || world.plain("/").await.starts_with("HTTP/1.1 200")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_and_tunnels_pass_whole_with_slow_visitors() {
    let world = World::new().await;
    world.book.put(vec![("shop".to_owned(), certificate(&["shop.example"]))]).unwrap();
    world.start("one").await;
    world.served().await;
    // More than any buffer on the way holds, read only after all is sent where that is possible, in pieces of odd sizes.
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let stream = world.visit("shop.example").await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let sent = body.clone();
    let sending = tokio::spawn(async move {
        write.write_all(format!("POST /echo HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {}\r\n\r\n", sent.len()).as_bytes()).await.unwrap();
        write.write_all(&sent).await.unwrap();
        write.flush().await.unwrap();
        write
    });
    let mut got = Vec::new();
    let mut piece = vec![0; 7919];
    let head_end = loop {
        let count = read.read(&mut piece).await.unwrap();
        assert!(count > 0);
        got.extend_from_slice(&piece[..count]);
        if let Some(at) = got.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    while got.len() < head_end + body.len() {
        let count = read.read(&mut piece).await.unwrap();
        assert!(count > 0, "cut after {}", got.len());
        got.extend_from_slice(&piece[..count]);
    }
    assert!(got[head_end..] == body[..], "every octet in its place");
    let mut write = sending.await.unwrap();

    // The same connection, now for another protocol.
    write.write_all(b"GET /up HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(read.read_u8().await.unwrap());
    }
    assert!(got.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&got));
    for word in [&b"one"[..], &body[..100_000]] {
        write.write_all(word).await.unwrap();
        write.flush().await.unwrap();
        let mut back = vec![0; word.len()];
        read.read_exact(&mut back).await.unwrap();
        assert!(back == word);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_passes_to_the_next_edge_and_certificates_outlive_control() {
    let world = World::new().await;
    world.book.put(vec![("shop".to_owned(), certificate(&["shop.example"]))]).unwrap();
    let first = world.start("one").await;
    world.served().await;
    let second = world.start("two").await;
    first.cancel();
    world.served().await;
    second.cancel();
    let gone = world.folder.path().join("edge/two.ready");
    eventually("the edge has ended", async || !gone.exists()).await;
    // An edge that knows no control serves what it has.
    std::fs::remove_file(world.folder.path().join("book.db")).unwrap();
    let alone = World {
        control: (world.at, 1).into(),
        folder: tempfile::tempdir().unwrap(),
        at: world.at,
        book: world.book.clone(),
        stop: CancellationToken::new(),
        feed: Mutex::new(Feed::new("none", Generation(1), [], [], 10).0),
        record: world.record.clone(),
        later: world.later.clone(),
    };
    for name in ["edge", "identity"] {
        std::fs::rename(world.folder.path().join(name), alone.folder.path().join(name)).unwrap();
    }
    alone.start("three").await;
    alone.served().await;
}
