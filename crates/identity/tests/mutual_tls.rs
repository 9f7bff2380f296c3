//! Certificates, roles, and the client and server that check them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use identity::{CA_FILE, Ca, HttpsClient, IDENTITY_FILE, IdentityError, RequestError, Role, serve, tls};
use jiff::{SignedDuration, Timestamp};
use model::PlatformName;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct World {
    folder: TempDir,
    ca: Ca,
}

fn platform() -> PlatformName {
    PlatformName::new("atoll").unwrap()
}

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::create_or_open(&folder.path().join("ca"), &platform(), Timestamp::now()).unwrap();
        Self { folder, ca }
    }

    fn identity(&self, text: &str) -> PathBuf {
        let folder = self.folder.path().join(text.replace('/', "-"));
        self.ca.ensure(&folder, &role(text), None, Timestamp::now()).unwrap();
        folder
    }

    fn client(&self, text: &str) -> HttpsClient {
        HttpsClient::new(&self.identity(text)).unwrap().within(Duration::from_secs(10))
    }
}

/// A server with the role of its folder that lets only control in.
struct Server {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn server(folder: &Path) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let config = tls::server_config(folder).unwrap();
    let router = Router::new()
        .route("/who", get(|Extension(role): Extension<Role>| async move { role.to_string() }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/stream", get(stream));
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, config, router, |role| *role == Role::Control, stop.clone()));
    Server { addr, stop, task }
}

/// A first piece at once, the second never.
async fn stream() -> Response<Body> {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    sender.send(Ok(Bytes::from_static(b"first"))).await.unwrap();
    tokio::spawn(async move { sender.closed().await });
    Response::new(Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver)))
}

fn ask(path: &str) -> Request<Bytes> {
    Request::get(path).body(Bytes::new()).unwrap()
}

#[test]
fn roles_are_written_and_read() {
    for text in ["control", "agent/m1", "edge/e1", "gate/shop/gate-1", "operator"] {
        let role = role(text);
        assert_eq!(role.to_string(), text);
        assert_eq!(Role::from_uri(&role.uri("atoll")).unwrap(), role);
        assert!(tls::server_name(&role).is_ok());
    }
    for text in ["", "root", "agent", "agent/", "agent/A", "gate/shop", "control/x", "edge/a/b"] {
        assert!(text.parse::<Role>().is_err(), "{text}");
        assert!(Role::from_uri(&format!("https://atoll/{text}")).is_err());
    }
}

#[tokio::test]
async fn both_sides_are_proved_and_the_handler_knows_the_caller() {
    let world = World::new();
    let server = server(&world.identity("agent/m1")).await;
    let control = world.client("control");
    let answer = control.request(server.addr, &role("agent/m1"), ask("/who")).await.unwrap();
    assert_eq!((answer.status(), answer.body().as_ref()), (StatusCode::OK, b"control".as_slice()));
    let big = Bytes::from(vec![b'x'; 1 << 20]);
    let echo = Request::post("/echo").body(big.clone()).unwrap();
    assert_eq!(control.request(server.addr, &role("agent/m1"), echo).await.unwrap().into_body(), big);
}

#[tokio::test]
async fn another_role_is_refused_on_either_side() {
    let world = World::new();
    let server = server(&world.identity("agent/m1")).await;
    let edge = world.client("edge/e1").request(server.addr, &role("agent/m1"), ask("/who")).await.unwrap();
    assert_eq!(edge.status(), StatusCode::FORBIDDEN);
    for other in ["agent/m2", "control", "gate/shop/gate-1"] {
        let wrong = world.client("control").request(server.addr, &role(other), ask("/who")).await;
        assert!(matches!(wrong, Err(RequestError::Untrusted { .. })), "{other}: {wrong:?}");
    }
}

#[tokio::test]
async fn another_ca_is_not_trusted_on_either_side() {
    let (ours, theirs) = (World::new(), World::new());
    let server = server(&ours.identity("agent/m1")).await;
    let wrong = theirs.client("control").request(server.addr, &role("agent/m1"), ask("/who")).await;
    assert!(matches!(wrong, Err(RequestError::Untrusted { .. })), "{wrong:?}");
    // A client that trusts us but whose certificate their CA signed.
    let folder = theirs.identity("control");
    fs::copy(ours.identity("control").join(CA_FILE), folder.join(CA_FILE)).unwrap();
    let wrong = HttpsClient::new(&folder).unwrap().request(server.addr, &role("agent/m1"), ask("/who")).await;
    assert!(matches!(wrong, Err(RequestError::Untrusted { .. })), "{wrong:?}");
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_silence_is_unknown() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let client = world.client("control").within(Duration::from_millis(200));
    let silent = client.request(addr, &role("agent/m1"), ask("/who")).await;
    assert!(matches!(silent, Err(RequestError::Unknown { .. })), "{silent:?}");
    drop(listener);
    let gone = client.request(addr, &role("agent/m1"), ask("/who")).await;
    assert!(matches!(gone, Err(RequestError::Unreachable { .. })), "{gone:?}");
}

#[tokio::test]
async fn renewed_certificates_and_roots_are_picked_up_without_a_restart() {
    let world = World::new();
    let (agent, control) = (world.identity("agent/m1"), world.identity("control"));
    let server = server(&agent).await;
    let client = HttpsClient::new(&control).unwrap();
    client.request(server.addr, &role("agent/m1"), ask("/who")).await.unwrap();
    // Everything is replaced: another CA, both identities.
    let next = World::new();
    next.ca.ensure(&agent, &role("agent/m1"), None, Timestamp::now()).unwrap();
    let between = client.request(server.addr, &role("agent/m1"), ask("/who")).await;
    assert!(matches!(between, Err(RequestError::Untrusted { .. })), "{between:?}");
    next.ca.ensure(&control, &Role::Control, None, Timestamp::now()).unwrap();
    client.request(server.addr, &role("agent/m1"), ask("/who")).await.unwrap();
    // A broken file changes nothing for those who run.
    fs::write(agent.join(IDENTITY_FILE), "garbage").unwrap();
    client.request(server.addr, &role("agent/m1"), ask("/who")).await.unwrap();
    assert!(tls::server_config(&agent).is_err());
}

#[tokio::test]
async fn a_stream_flows_and_a_stop_ends_in_time() {
    let world = World::new();
    let server = server(&world.identity("agent/m1")).await;
    let answer = world.client("control").stream(server.addr, &role("agent/m1"), ask("/stream")).await.unwrap();
    let mut body = answer.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    server.stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), server.task).await.unwrap().unwrap();
    let gone = world.client("control").request(server.addr, &role("agent/m1"), ask("/who")).await;
    assert!(matches!(gone, Err(RequestError::Unreachable { .. })));
}

#[test]
fn ensure_writes_only_when_it_must() {
    let world = World::new();
    let folder = world.folder.path().join("x");
    let now = Timestamp::now();
    let later = |days: i64| now + SignedDuration::from_hours(24 * days);
    let ensure = |role: &Role, at| world.ca.ensure(&folder, role, None, at).unwrap();
    assert!(ensure(&Role::Control, now));
    assert!(!ensure(&Role::Control, later(19)));
    assert!(ensure(&Role::Control, later(21)), "less than ten days are left");
    assert!(!ensure(&Role::Control, later(21)));
    assert!(ensure(&Role::Operator, later(21)), "another role");
    fs::write(folder.join(IDENTITY_FILE), "half a fi").unwrap();
    assert!(ensure(&Role::Operator, later(21)), "a damaged file");
    assert!(World::new().ca.ensure(&folder, &Role::Operator, None, later(21)).unwrap(), "another CA");
    assert_eq!(fs::metadata(folder.join(IDENTITY_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A platform that was started while the clock ran a year ahead works on when the clock is set right, and when it jumps ahead.
#[tokio::test]
async fn a_jump_of_the_clock_is_mended_by_the_next_look() {
    let folder = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let ahead = now + SignedDuration::from_hours(24 * 365);
    let world = World { ca: Ca::create_or_open(&folder.path().join("ca"), &platform(), ahead).unwrap(), folder };
    let (agent, control) = (world.folder.path().join("agent"), world.folder.path().join("control"));
    for (folder, name) in [(&agent, "agent/m1"), (&control, "control")] {
        assert!(world.ca.ensure(folder, &role(name), None, ahead).unwrap());
        assert!(world.ca.ensure(folder, &role(name), None, now).unwrap(), "a certificate that begins next year is of no use now");
        assert!(!world.ca.ensure(folder, &role(name), None, now).unwrap());
        assert!(world.ca.ensure(folder, &role(name), None, ahead).unwrap(), "nor one that ended long ago");
        world.ca.ensure(folder, &role(name), None, now).unwrap();
    }
    let server = server(&agent).await;
    let client = HttpsClient::new(&control).unwrap().within(Duration::from_secs(10));
    assert!(client.request(server.addr, &role("agent/m1"), ask("/who")).await.is_ok(), "also under an authority that was made ahead");
}

#[tokio::test]
async fn an_expired_certificate_is_not_trusted() {
    let world = World::new();
    let folder = world.folder.path().join("old");
    let past = Timestamp::now() - SignedDuration::from_hours(24 * 40);
    world.ca.ensure(&folder, &role("agent/m1"), None, past).unwrap();
    let server = server(&folder).await;
    let wrong = world.client("control").request(server.addr, &role("agent/m1"), ask("/who")).await;
    assert!(matches!(wrong, Err(RequestError::Untrusted { .. })), "{wrong:?}");
}

#[test]
fn the_ca_survives_restarts_and_refuses_what_is_not_whole() {
    let world = World::new();
    let folder = world.folder.path().join("ca");
    let open = || Ca::create_or_open(&folder, &platform(), Timestamp::now());
    assert_eq!(open().unwrap().roots(), world.ca.roots());
    assert_eq!(fs::metadata(folder.join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(folder.join("ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(open(), Err(IdentityError::Mode { .. })));
    fs::remove_file(folder.join("ca.key")).unwrap();
    assert!(matches!(open(), Err(IdentityError::Content { .. })), "a certificate whose key is gone is not overwritten");
    assert_eq!(fs::read_to_string(folder.join(CA_FILE)).unwrap(), world.ca.roots());
    let other = World::new();
    fs::copy(other.folder.path().join("ca/ca.key"), folder.join("ca.key")).unwrap();
    assert!(matches!(open(), Err(IdentityError::Content { .. })), "the key of another CA");
    // A crash between key and certificate is completed.
    fs::remove_file(folder.join(CA_FILE)).unwrap();
    open().unwrap();
    open().unwrap();
}
