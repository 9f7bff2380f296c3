//! A gate between real sockets: control pushes, edges ask, instances answer.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gate::client::{GateClient, GateClientError};
use identity::{Ca, Role};
use jiff::Timestamp;
use model::{CellName, Epoch, GateName, Generation, InstanceName, PlatformName, ServiceName, TenantName};
use routes::{
    CellKey, GateEgress, GateHealth, GateInstance, GateKey, GateProbe, GateReport, GateService, GateState, GateTenant, GateTenantState, KeyId,
    TenantHeader,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);
/// So few that a test can take them all.
const REQUESTS: usize = 8;
const PHP: u16 = 9000;
const BEYOND: u16 = 2525;

fn cell() -> CellName {
    CellName::new("a").unwrap()
}

fn name() -> GateName {
    GateName::new("gate-1").unwrap()
}

/// An address of the loopback network that nobody else has.
fn own_address() -> Ipv4Addr {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(std::process::id()).to_le_bytes();
    Ipv4Addr::new(127, random[0].max(1), random[1], random[2].clamp(1, 254))
}

struct World {
    folder: tempfile::TempDir,
    at: Ipv4Addr,
    client: GateClient,
    gate: Option<(CancellationToken, JoinHandle<Result<(), gate::Error>>)>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::create_or_open(&folder.path().join("ca"), &PlatformName::new("atoll").unwrap(), Timestamp::now()).unwrap();
        for (role, at) in [(Role::Control, "control"), (Role::Gate(cell(), name()), "gate"), (Role::Edge("e".parse().unwrap()), "edge")] {
            ca.ensure(&folder.path().join(at), &role, None, Timestamp::now()).unwrap();
        }
        let client = GateClient::new(&folder.path().join("control")).unwrap();
        let mut world = Self { folder, at: own_address(), client, gate: None };
        world.start();
        world
    }

    fn path(&self, of: &str) -> PathBuf {
        self.folder.path().join(of)
    }

    fn start(&mut self) {
        let options = gate::Options {
            cell: cell(),
            name: name(),
            state: self.path("gate"),
            identity: self.path("gate"),
            entry: (self.at, 8080).into(),
            admin: self.admin(),
            requests: REQUESTS,
            log_one_in: std::num::NonZeroU32::MIN,
        };
        let stop = CancellationToken::new();
        self.gate = Some((stop.clone(), tokio::spawn(gate::run(options, stop))));
    }

    /// Ends the gate at once, as a kill does.
    async fn kill(&mut self) {
        let (stop, task) = self.gate.take().unwrap();
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    fn entry(&self) -> SocketAddr {
        (self.at, 8080).into()
    }

    fn admin(&self) -> SocketAddr {
        (self.at, 9443).into()
    }

    async fn push(&self, state: &GateState) -> Result<GateReport, GateClientError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.client.push(self.admin(), &name(), state).await {
                Err(GateClientError::Request(_)) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(10)).await,
                other => return other,
            }
        }
    }

    async fn report(&self) -> GateReport {
        self.client.report(self.admin(), &cell(), &name()).await.unwrap()
    }

    /// Sends a request as an edge does; status and whole answer.
    async fn ask(&self, header: Option<&str>, path: &str) -> (u16, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut stream = loop {
            match TcpStream::connect(self.entry()).await {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let header = header.map(|value| format!("Atoll-Tenant: {value}\r\n")).unwrap_or_default();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{header}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
    }

    /// A WebSocket as an edge opens it.
    async fn socket(&self, header: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.entry()).await.unwrap();
        let ask = format!("GET / HTTP/1.1\r\nHost: a.example\r\nAtoll-Tenant: {header}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        stream
    }
}

/// The word by which a WebSocket ends, to come again.
async fn is_told_to_come_again(mut stream: TcpStream) -> bool {
    let mut word = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut word)).await.unwrap().unwrap();
    word.len() > 3 && (word[0], &word[2..4]) == (0x88, &[0x03, 0xf4][..])
}

fn key(n: u8) -> GateKey {
    GateKey { id: KeyId::new(format!("k{n}")).unwrap(), key: CellKey::new([n; 32]) }
}

fn header(epoch: u64, key: &GateKey) -> String {
    header_of("acme", "a", epoch, key)
}

fn header_of(tenant: &str, cell: &str, epoch: u64, key: &GateKey) -> String {
    let tenant = TenantName::new(tenant).unwrap();
    TenantHeader { tenant, cell: CellName::new(cell).unwrap(), epoch: Epoch(epoch), key_id: key.id.clone() }.sign(&key.key)
}

fn instance(name: &str, address: SocketAddr) -> GateInstance {
    GateInstance { name: InstanceName::new(name).unwrap(), address, ready: true, draining: false, probe: None }
}

fn state(number: u64, epoch: u64, tenant: GateTenantState, web: Vec<GateInstance>, php: Vec<GateInstance>) -> GateState {
    let service = |name: &str, port, entry, probe, instances| GateService {
        name: ServiceName::new(name).unwrap(),
        port,
        also: Vec::new(),
        entry,
        probe,
        instances,
    };
    GateState {
        egress: Vec::new(),
        number: Generation(number),
        incarnation: "i".to_owned(),
        cell: cell(),
        keys: vec![key(1)],
        tenants: vec![GateTenant { tenant: TenantName::new("acme").unwrap(), epoch: Epoch(epoch), state: tenant }],
        services: vec![service("web", 8080, true, GateProbe::Http("/healthz".to_owned()), web), service("php", PHP, false, GateProbe::Tcp, php)],
    }
}

/// An HTTP instance that answers with the head it got; `/slow` waits for the word.
async fn web(go: Arc<tokio::sync::Notify>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let go = go.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let head = String::from_utf8(head).unwrap();
                if head.contains("/slow") {
                    go.notified().await;
                }
                let answer =
                    format!("HTTP/1.1 200 OK\r\nAtoll-Refusal: moved;e=99\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{head}", head.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

/// A TCP instance that says its name and then repeats what it hears.
async fn php(word: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(word.as_bytes()).await;
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn only_proved_tenants_of_the_right_epoch_are_served() {
    use GateTenantState::{Moved, Open, Suspended};
    let world = World::new();
    assert_eq!(world.ask(None, "/.atoll/ready").await.0, 503, "no state yet");
    let web = web(Arc::default()).await;
    let with = |number, epoch, tenant| state(number, epoch, tenant, vec![instance("web-1", web)], vec![]);
    let report = world.push(&with(1, 5, Open)).await.unwrap();
    assert_eq!((report.number, report.ready), (Generation(1), true));
    assert_eq!(world.ask(None, "/.atoll/ready").await.0, 200);
    let good = header(5, &key(1));
    let (status, text) = world.ask(Some(&good), "/x?y=1").await;
    assert_eq!(status, 200);
    assert!(text.contains("GET /x?y=1 HTTP/1.1") && text.contains("X-Atoll-Tenant: acme\r\n"), "{text}");
    assert!(!text.contains("Atoll-Refusal") && !text.contains("v1;t="), "an instance has no say in refusals and does not see the header: {text}");
    let cases = [
        (None, 421, "bad-mac"),
        (Some(header(5, &key(2))), 421, "bad-mac"),
        (Some(good.replace("e=5", "e=6")), 421, "bad-mac"),
        (Some(header_of("acme", "b", 5, &key(1))), 421, "bad-mac"),
        (Some(header_of("other", "a", 5, &key(1))), 421, "unknown-tenant"),
        (Some(header(4, &key(1))), 421, "moved;e=5"),
        (Some(header(6, &key(1))), 503, "not-yet"),
    ];
    for (header, status, refusal) in cases {
        let (got, text) = world.ask(header.as_deref(), "/").await;
        assert_eq!(got, status, "{header:?}");
        assert!(text.contains(&format!("Atoll-Refusal: {refusal}\r\n")), "{refusal}: {text}");
    }
    world.push(&with(2, 5, Suspended)).await.unwrap();
    assert!(world.ask(Some(&good), "/").await.1.contains("Atoll-Refusal: suspended"));
    world.push(&with(3, 6, Moved)).await.unwrap();
    assert!(world.ask(Some(&good), "/").await.1.contains("Atoll-Refusal: moved;e=6"));
}

#[tokio::test]
async fn a_request_waits_a_moment_for_the_push_that_is_on_its_way() {
    let world = World::new();
    let web = web(Arc::default()).await;
    let with = |number, epoch| state(number, epoch, GateTenantState::Open, vec![instance("web-1", web)], vec![]);
    world.push(&with(1, 5)).await.unwrap();
    let header = header(6, &key(1));
    let (asked, pushed) = tokio::join!(world.ask(Some(&header), "/"), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let next = with(2, 6);
        world.push(&next).await
    });
    pushed.unwrap();
    assert_eq!(asked.0, 200, "{}", asked.1);
}

#[tokio::test]
async fn an_older_state_is_refused_and_the_last_one_survives_without_control() {
    let mut world = World::new();
    let web = web(Arc::default()).await;
    let with = |number, epoch| state(number, epoch, GateTenantState::Open, vec![instance("web-1", web)], vec![]);
    world.push(&with(7, 5)).await.unwrap();
    world.push(&with(7, 5)).await.unwrap();
    for older in [with(6, 5), with(7, 6)] {
        let Err(GateClientError::Older(report)) = world.push(&older).await else { panic!("an older state was taken") };
        assert_eq!(report.number, Generation(7));
    }
    let restored = |epoch| GateState { incarnation: "j".to_owned(), ..with(1, epoch) };
    assert!(matches!(world.push(&restored(4)).await, Err(GateClientError::Refused { .. })), "a restored store may not take a tenant back");
    let foreign = GateState { cell: CellName::new("b").unwrap(), ..with(8, 5) };
    let refused = world.client.push(world.admin(), &name(), &foreign).await;
    assert!(refused.is_err(), "another cell's state");
    world.kill().await;
    world.start();
    assert_eq!(world.ask(Some(&header(5, &key(1))), "/").await.0, 200, "from disk");
    world.push(&restored(5)).await.unwrap();
    let edge = GateClient::new(&world.path("edge")).unwrap();
    assert!(edge.push(world.admin(), &name(), &with(9, 5)).await.is_err(), "only control may push");
}

#[tokio::test]
async fn an_instance_is_let_go_when_nothing_is_under_way() {
    let world = World::new();
    let go = Arc::new(tokio::sync::Notify::new());
    let (old, new) = (web(go.clone()).await, web(Arc::default()).await);
    let header = header(5, &key(1));
    world.push(&state(1, 5, GateTenantState::Open, vec![instance("old", old)], vec![])).await.unwrap();
    let slow = async {
        let answer = world.ask(Some(&header), "/slow").await;
        assert_eq!(answer.0, 200);
    };
    let leave = async {
        let old_name = InstanceName::new("old").unwrap();
        while world.report().await.instances[0].in_flight == 0 {
            tokio::task::yield_now().await;
        }
        let leaving = GateInstance { draining: true, ..instance("old", old) };
        let report = world.push(&state(2, 5, GateTenantState::Open, vec![leaving, instance("new", new)], vec![])).await.unwrap();
        assert!(!report.drained(Generation(2), &old_name), "{report:?}");
        assert_eq!(world.ask(Some(&header), "/").await.0, 200);
        // Also one that is in the state no more is still spoken of.
        let report = world.push(&state(3, 5, GateTenantState::Open, vec![instance("new", new)], vec![])).await.unwrap();
        assert!(!report.drained(Generation(3), &old_name), "{report:?}");
        go.notify_one();
        let deadline = Instant::now() + PATIENCE;
        while !world.report().await.drained(Generation(3), &old_name) {
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(slow, leave);
}

#[tokio::test]
async fn a_crowded_gate_refuses_the_heaviest_and_lets_others_in() {
    let world = World::new();
    let go = Arc::new(tokio::sync::Notify::new());
    let web = web(go.clone()).await;
    // What reads is served, and the report tells how much of it is under way.
    let mut with = state(1, 5, GateTenantState::ReadOnly, vec![instance("web-1", web)], vec![]);
    with.tenants.push(GateTenant { tenant: TenantName::new("light").unwrap(), epoch: Epoch(5), state: GateTenantState::ReadOnly });
    world.push(&with).await.unwrap();
    let (heavy, light) = (header(5, &key(1)), header_of("light", "a", 5, &key(1)));
    let reach = async |wanted: &[(&str, u64)]| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = world.report().await;
            let under_way: Vec<_> = report.tenants.iter().map(|tenant| (tenant.tenant.as_str(), tenant.in_flight)).collect();
            if under_way == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{under_way:?}, not {wanted:?}");
            tokio::task::yield_now().await;
        }
    };
    let fill = async {
        let ask = || world.ask(Some(&heavy), "/slow");
        let six = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask());
        for (status, text) in <[_; 6]>::from(six) {
            assert_eq!(status, 200, "{text}");
        }
    };
    let others = async {
        reach(&[("acme", 6)]).await;
        let (status, text) = world.ask(Some(&heavy), "/").await;
        assert!(status == 503 && text.contains("Atoll-Reason: Overloaded\r\n") && text.contains("Retry-After: "), "{status} {text}");
        assert!(!text.contains("Atoll-Refusal"), "no edge is to ask again: {text}");
        for _ in 0..20 {
            assert_eq!(world.ask(Some(&light), "/").await.0, 200);
        }
        // One of another epoch is told so: it costs nothing here.
        assert_eq!(world.ask(Some(&header(4, &key(1))), "/").await.0, 421);
        reach(&[("acme", 6)]).await;
        let deadline = Instant::now() + PATIENCE;
        // What is counted here may not have come to the instance yet, and would miss the word.
        while !world.report().await.tenants.is_empty() {
            assert!(Instant::now() < deadline);
            go.notify_waiters();
        }
        assert_eq!(world.ask(Some(&heavy), "/").await.0, 200);
    };
    tokio::join!(fill, others);
}

#[tokio::test]
async fn inner_services_are_relayed_to_ready_instances() {
    let world = World::new();
    let (one, two) = (php("one").await, php("two").await);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.push(&state(1, 5, GateTenantState::Open, vec![], vec![instance("p0", dead), instance("p1", one)])).await.unwrap();
    let connect = || async {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(mut stream) = TcpStream::connect((world.at, PHP)).await {
                let mut word = [0; 3];
                stream.read_exact(&mut word).await.unwrap();
                return (stream, String::from_utf8(word.to_vec()).unwrap());
            }
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    for _ in 0..6 {
        assert_eq!(connect().await.1, "one");
    }
    let (mut kept, _) = connect().await;
    world.push(&state(2, 5, GateTenantState::Open, vec![], vec![instance("p2", two)])).await.unwrap();
    assert_eq!(connect().await.1, "two");
    kept.write_all(b"still").await.unwrap();
    let mut echo = [0; 5];
    kept.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"still", "connections under way stay");
    let deadline = Instant::now() + PATIENCE;
    while world.report().await.instances.iter().find(|i| i.name.as_str() == "p2").unwrap().health != GateHealth::Up {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_destination_beyond_the_cell_is_reached_by_its_port_and_only_while_the_state_names_it() {
    let world = World::new();
    let relay = php("out").await;
    let way = GateEgress { name: ServiceName::new("mail-relay").unwrap(), port: BEYOND, host: "localhost".to_owned(), host_port: relay.port() };
    let with = |number, egress| GateState { egress, ..state(number, 5, GateTenantState::Open, vec![], vec![]) };
    world.push(&with(1, vec![way.clone()])).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    // Until the name is resolved, connections are reset.
    let word = loop {
        assert!(Instant::now() < deadline);
        let Ok(mut stream) = TcpStream::connect((world.at, BEYOND)).await else { continue };
        let mut word = [0; 3];
        if stream.read_exact(&mut word).await.is_ok() {
            break word;
        }
    };
    assert_eq!(&word, b"out");
    let clash = GateEgress { port: PHP, ..way.clone() };
    let refused = world.push(&GateState { egress: vec![clash], ..state(2, 5, GateTenantState::Open, vec![], vec![instance("p", relay)]) }).await;
    assert!(refused.is_err(), "a service has that port");
    world.push(&with(3, vec![])).await.unwrap();
    while TcpStream::connect((world.at, BEYOND)).await.is_ok() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An instance that takes every WebSocket and says nothing.
async fn sockets() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes()).await;
                while stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
            });
        }
    });
    address
}

#[tokio::test]
async fn a_closed_tenants_socket_counts_as_a_writer_and_is_ended_after_a_while() {
    use GateTenantState::{Closed, Open};
    let world = World::new();
    let instance_at = sockets().await;
    let with = |number, tenant| state(number, 5, tenant, vec![instance("web-1", instance_at)], vec![]);
    world.push(&with(1, Open)).await.unwrap();
    let stream = world.socket(&header(5, &key(1))).await;
    let under_way = |report: &GateReport| report.tenants.first().map(|tenant| (tenant.in_flight, tenant.writes));
    let began = Instant::now();
    assert_eq!(under_way(&world.push(&with(2, Closed)).await.unwrap()), Some((1, 1)));
    // Opened again in time, it goes on.
    world.push(&with(3, Open)).await.unwrap();
    assert_eq!(under_way(&world.push(&with(4, Closed)).await.unwrap()), Some((1, 1)));
    assert!(is_told_to_come_again(stream).await);
    assert!(began.elapsed() >= Duration::from_secs(5), "edges have their time: {:?}", began.elapsed());
    let deadline = Instant::now() + PATIENCE;
    while under_way(&world.report().await).is_some() {
        assert!(Instant::now() < deadline, "it is still under way");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_gate_that_stops_ends_its_sockets_with_a_word() {
    let mut world = World::new();
    let instance_at = sockets().await;
    world.push(&state(1, 5, GateTenantState::Open, vec![instance("web-1", instance_at)], vec![])).await.unwrap();
    let stream = world.socket(&header(5, &key(1))).await;
    let word = tokio::spawn(is_told_to_come_again(stream));
    // The stop waits for what it ended.
    tokio::time::timeout(PATIENCE, world.kill()).await.unwrap();
    assert!(word.await.unwrap());
}
