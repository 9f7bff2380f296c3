//! An edge between real sockets: control feeds, visitors ask, gates answer.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod adverse;
mod compressed;
mod facts;
mod held;
mod kept;
mod streams;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use cache::orders::Orders;
use identity::{Ca, Role, tls};
use jiff::Timestamp;
use model::v1alpha1::EdgeSpec;
use model::{CellName, Epoch, GateName, Generation, PlatformName, TenantName};
use routes::{
    CellEndpoint, CellKey, EdgeApplied, Feed, GateEndpoint, HostPattern, KeyId, Record, Redirect, RedirectStatus, RouteState, Table, TenantHeader,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(40);

fn own_address() -> Ipv4Addr {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(std::process::id()).to_le_bytes();
    Ipv4Addr::new(127, random[0].max(1), random[1], random[2].clamp(1, 254))
}

/// Control as an edge sees it.
struct Control {
    feed: Mutex<Feed>,
    changed: watch::Sender<()>,
    applied: Mutex<Vec<(String, EdgeApplied)>>,
    /// Sent once, behind what is right.
    next_line: Mutex<String>,
    cells: Mutex<Vec<CellEndpoint>>,
    orders: Mutex<Arc<Orders>>,
    heard: Arc<facts::Heard>,
}

#[derive(serde::Deserialize)]
struct Place {
    from: Option<u64>,
    #[serde(default)]
    incarnation: String,
}

impl Control {
    fn publish(&self, cells: &[CellEndpoint], records: Vec<Record>) {
        *self.cells.lock().unwrap() = cells.to_vec();
        self.feed.lock().unwrap().publish(cells.to_vec(), records).unwrap();
        self.changed.send_replace(());
    }

    fn records(&self, records: Vec<Record>) {
        let cells = self.cells.lock().unwrap().clone();
        self.publish(&cells, records);
    }

    fn generation(&self) -> Generation {
        self.feed.lock().unwrap().table().generation()
    }
}

async fn follow(State(control): State<Arc<Control>>, Query(place): Query<Place>) -> Response {
    let changes = control.changed.subscribe();
    let mut place = (place.from.map(Generation), place.incarnation);
    let lines = tokio_stream::wrappers::WatchStream::new(changes).map(move |()| {
        let mut feed = control.feed.lock().unwrap();
        let mut lines = feed.catch_up(place.0, &place.1).lines().unwrap();
        place = (Some(feed.table().generation()), feed.table().incarnation().to_owned());
        lines.push(feed.alive().encode().unwrap());
        lines.push(std::mem::take(&mut *control.next_line.lock().unwrap()));
        Ok::<_, std::io::Error>(lines.concat())
    });
    Response::new(Body::from_stream(lines))
}

async fn applied(State(control): State<Arc<Control>>, Path(name): Path<String>, Json(word): Json<EdgeApplied>) {
    control.applied.lock().unwrap().push((name, word));
}

struct World {
    folder: tempfile::TempDir,
    at: Ipv4Addr,
    control: Arc<Control>,
    control_address: SocketAddr,
    control_stop: CancellationToken,
}

type Running = (CancellationToken, JoinHandle<Result<(), edge::Error>>);

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::create_or_open(&folder.path().join("ca"), &PlatformName::new("atoll").unwrap(), Timestamp::now()).unwrap();
        for (role, at) in [(Role::Control, "control"), (Role::Edge("edge".parse().unwrap()), "identity")] {
            ca.ensure(&folder.path().join(at), &role, None, Timestamp::now()).unwrap();
        }
        let (feed, _) = Feed::new("i", Generation(1), [], [], 100);
        let control = Arc::new(Control {
            feed: Mutex::new(feed),
            changed: watch::Sender::new(()),
            applied: Mutex::default(),
            next_line: Mutex::default(),
            cells: Mutex::default(),
            orders: Mutex::new(Arc::new(Orders::new("first".to_owned()))),
            heard: Arc::new(facts::Heard::open(folder.path())),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let control_address = listener.local_addr().unwrap();
        let world = Self { folder, at: own_address(), control, control_address, control_stop: CancellationToken::new() };
        world.control_serves(listener, world.control_stop.clone());
        world
    }

    fn control_serves(&self, listener: TcpListener, stop: CancellationToken) {
        let router =
            Router::new().route("/v1/routes", get(follow)).route("/v1/edges/{name}/applied", post(applied)).route("/v1/purges", get(kept::purges));
        let router = router.with_state(self.control.clone()).merge(control::facts::router(self.control.heard.clone()));
        let config = tls::server_config(&self.folder.path().join("control")).unwrap();
        tokio::spawn(identity::serve(listener, config, router, |role| matches!(role, Role::Edge(_)), stop));
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("edge")
    }

    /// What stands on disk.
    fn written(&self) -> Option<Table> {
        let number = |file: std::fs::DirEntry| file.file_name().to_str()?.strip_prefix("routes-")?.strip_suffix(".base")?.parse::<u64>().ok();
        let newest = std::fs::read_dir(self.state()).ok()?.flatten().filter_map(number).max()?;
        let read = |kind| std::fs::read(self.state().join(format!("routes-{newest}.{kind}"))).unwrap_or_default();
        let mut table = routes::disk::load(&read("base")).ok()?;
        routes::disk::replay(&mut table, &read("log"));
        Some(table)
    }

    fn start(&self, name: &str) -> Running {
        let options = edge::Options {
            name: name.to_owned(),
            listen: (self.at, 8080).into(),
            admin: (self.at, 9090).into(),
            state: self.state(),
            identity: self.folder.path().join("identity"),
            feed: self.control_address,
            secure: None,
            behind: None,
            workers: 2,
            log_one_in: std::num::NonZeroU32::MIN,
            cache: 64 << 20,
        };
        let stop = CancellationToken::new();
        (stop.clone(), tokio::spawn(edge::run(options, stop)))
    }

    async fn ready(&self, name: &str) {
        let marker = self.state().join(format!("{name}.ready"));
        eventually(&format!("{name} is ready"), || marker.exists()).await;
    }

    async fn visitor(&self) -> Visitor {
        Visitor { stream: TcpStream::connect((self.at, 8080)).await.unwrap(), read: Vec::new() }
    }

    /// One request on its own connection.
    async fn get(&self, host: &str) -> (u16, String) {
        self.visitor().await.get(host, "/").await.unwrap()
    }

    async fn get_until(&self, host: &str, wanted: u16) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(stream) = TcpStream::connect((self.at, 8080)).await {
                let (status, text) = Visitor { stream, read: Vec::new() }.get(host, "/").await.unwrap();
                if status == wanted {
                    return text;
                }
                assert!(Instant::now() < deadline, "{status} {text}");
            }
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn end(running: Running) {
    running.0.cancel();
    tokio::time::timeout(PATIENCE, running.1).await.unwrap().unwrap().unwrap();
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Visitor {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Visitor {
    async fn get(&mut self, host: &str, path: &str) -> std::io::Result<(u16, String)> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
    }

    async fn send(&mut self, request: &str) -> std::io::Result<(u16, String)> {
        self.stream.write_all(request.as_bytes()).await?;
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.read[..end + 4]).into_owned();
                let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(|n| n.parse::<usize>().unwrap()));
                let whole = end + 4 + length.expect("a length");
                if self.read.len() >= whole {
                    let text = String::from_utf8_lossy(&self.read.drain(..whole).collect::<Vec<_>>()).into_owned();
                    return Ok((text.split(' ').nth(1).unwrap().parse().unwrap(), text));
                }
            }
            if tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.unwrap()? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// A gate that answers with what a script says of each tenant header and the number of requests before.
async fn gate(script: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (script, count) = (Arc::new(script), Arc::new(AtomicUsize::new(0)));
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let (script, count) = (script.clone(), count.clone());
            connections.spawn(async move {
                let mut read = Vec::new();
                loop {
                    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
                        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                            return;
                        }
                        continue;
                    };
                    let head = String::from_utf8(read.drain(..end + 4).collect()).unwrap();
                    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                    let length = field("Content-Length: ").map_or(0, |n| n.parse::<usize>().unwrap());
                    while read.len() < length {
                        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let body = String::from_utf8(read.drain(..length).collect()).unwrap();
                    let answer = if head.starts_with("GET /.atoll/ready ") {
                        "200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()
                    } else {
                        script(&field("Atoll-Tenant: ").unwrap_or_default(), count.fetch_add(1, Relaxed)) + &body
                    };
                    if stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, task)
}

fn ok(word: &str) -> String {
    format!("200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len())
}

fn key(n: u8) -> CellKey {
    CellKey::new([n; 32])
}

fn cell(name: &str, n: u8, gates: &[SocketAddr]) -> CellEndpoint {
    let gate = |(number, address): (usize, &SocketAddr)| GateEndpoint {
        name: GateName::new(format!("gate-{}", number + 1)).unwrap(),
        address: *address,
        weight: 100,
        draining: false,
        region: None,
    };
    let gates = gates.iter().enumerate().map(gate).collect();
    CellEndpoint { cell: CellName::new(name).unwrap(), gates, key_id: KeyId::new(format!("k{n}")).unwrap(), key: key(n) }
}

fn record(host: &str, cell: &str, epoch: u64, state: RouteState) -> Record {
    Record {
        host: HostPattern::new(host).unwrap(),
        tenant: TenantName::new("acme").unwrap(),
        cell: CellName::new(cell).unwrap(),
        epoch: Epoch(epoch),
        state,
        redirect: None,
        class: None,
        edge: EdgeSpec::default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_come_by_feed_and_stay_without_control() {
    let (address, _gate) = gate(|header, _| {
        let known = key(1);
        let header = TenantHeader::verify(header, |_| Some(&known));
        ok(&header.map_or_else(|error| error.to_string(), |header| format!("{} at {}", header.tenant, header.epoch)))
    })
    .await;
    let world = World::new().await;
    let running = world.start("e1");
    world.ready("e1").await;
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 3, RouteState::Open)]);
    assert!(world.get_until("SHOP.example.:8080", 200).await.ends_with("acme at 3"));
    assert!(world.get("nobody.example").await.1.contains("Atoll-Reason: UnknownHost"));
    world.control.records(vec![record("shop.example", "a", 4, RouteState::Suspended)]);
    assert!(world.get_until("shop.example", 503).await.contains("Atoll-Reason: TenantSuspended"));
    world.control.records(vec![record("shop.example", "a", 5, RouteState::Open)]);
    assert!(world.get_until("shop.example", 200).await.ends_with("acme at 5"));
    let wanted = world.control.generation();
    let control = world.control.clone();
    eventually("applied", || control.applied.lock().unwrap().iter().any(|(name, word)| name == "e1" && word.generation == wanted)).await;
    let admin = |path: &'static str| async move {
        let mut visitor = Visitor { stream: TcpStream::connect((world.at, 9090)).await.unwrap(), read: Vec::new() };
        visitor.get("admin", path).await.unwrap()
    };
    let (status, text) = admin("/routes").await;
    assert!(status == 200 && text.contains("\"hosts\":1") && !text.contains("v1;t="), "{text}");
    assert!(admin("/routes?host=shop.example").await.1.contains("\"tenant\":\"acme\""));
    let acme = async {
        loop {
            // A turn is told until the next one ends; then what was asked in it is gone.
            world.get("shop.example").await;
            let took = edge::client::tenants((world.at, 9090).into()).await.unwrap();
            if let Some(acme) = took.into_iter().find(|took| took.tenant == "acme") {
                return acme.facts;
            }
        }
    };
    let facts = tokio::time::timeout(Duration::from_secs(30), acme).await.expect("what acme took is told");
    assert!(facts.requests > 0 && facts.bytes_out > 0 && facts.busy_us > 0, "{facts:?}");
    let text = admin("/metrics").await.1;
    assert!(text.contains("atoll_edge_refusals_total{reason=\"UnknownHost\"} ") && !text.contains("{reason=\"UnknownHost\"} 0\n"), "{text}");
    let text = admin("/healthz").await.1;
    assert!(text.contains(&format!("generation {wanted}")), "{text}");
    eventually("written", || world.written().is_some_and(|table| table.generation() == wanted)).await;
    world.control_stop.cancel();
    end(running).await;
    let again = World { control_stop: world.control_stop.clone(), ..world };
    let running = again.start("e1");
    assert!(again.get_until("shop.example", 200).await.ends_with("acme at 5"), "from disk, without control");
    end(running).await;
    assert!(!again.state().join("e1.ready").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_tenants_request_is_sent_again_to_its_new_cell() {
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let (old, _one) = gate(move |_, _| {
        let _ = told.send(());
        "421 Misdirected\r\nAtoll-Refusal: moved;e=2\r\nContent-Length: 0\r\n\r\n".to_owned()
    })
    .await;
    let (new, _two) = gate(|header, _| format!("200 OK\r\nX-Epoch: {}\r\nContent-Length: 4\r\n\r\n", u8::from(header.contains(";c=b;e=2;")))).await;
    let world = World::new().await;
    let running = world.start("e1");
    let cells = [cell("a", 1, &[old]), cell("b", 2, &[new])];
    world.control.publish(&cells, vec![record("shop.example", "a", 1, RouteState::Open), record("sync.example", "b", 9, RouteState::Open)]);
    world.get_until("nobody.example", 404).await;
    let control = world.control.clone();
    let publish = async {
        tell.recv().await.unwrap();
        control.records(vec![record("shop.example", "b", 2, RouteState::Open)]);
    };
    let mut visitor = world.visitor().await;
    let ask = visitor.send("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\r\nbody");
    let (answer, ()) = tokio::join!(ask, publish);
    let (status, text) = answer.unwrap();
    assert!(status == 200 && text.contains("X-Epoch: 1\r\n") && text.ends_with("\r\n\r\nbody"), "{text}");
    end(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_tenants_requests_wait_for_the_release() {
    let (address, _gate) = gate(|_, _| ok("hi")).await;
    let world = World::new().await;
    let running = world.start("e1");
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    world.get_until("shop.example", 200).await;
    world.control.records(vec![record("shop.example", "a", 1, RouteState::Held), record("sign.example", "a", 1, RouteState::Open)]);
    world.get_until("sign.example", 200).await;
    let began = Instant::now();
    let release = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.control.records(vec![record("shop.example", "a", 2, RouteState::Open)]);
    };
    let (answer, ()) = tokio::join!(world.get("shop.example"), release);
    assert_eq!(answer.0, 200);
    assert!(began.elapsed() >= Duration::from_millis(200));
    end(running).await;
}

/// Visitors who ask without a pause, half of them on new connections, until the end; how many requests failed, and how many there were.
fn load(world: &World, stop: &CancellationToken) -> JoinHandle<(Vec<String>, usize)> {
    let (at, stop) = (world.at, stop.clone());
    tokio::spawn(async move {
        let mut visitors = tokio::task::JoinSet::new();
        for number in 0..8 {
            let stop = stop.clone();
            visitors.spawn(async move {
                let (mut failed, mut count, mut kept) = (Vec::new(), 0, None::<Visitor>);
                while !stop.is_cancelled() {
                    count += 1;
                    let mut visitor = match kept.take() {
                        Some(visitor) => visitor,
                        None => match TcpStream::connect((at, 8080)).await {
                            Ok(stream) => Visitor { stream, read: Vec::new() },
                            Err(error) => {
                                failed.push(format!("connect: {error}"));
                                continue;
                            }
                        },
                    };
                    match visitor.get("shop.example", "/").await {
                        Ok((200, text)) if number % 2 == 0 && !text.contains("Connection: close") => kept = Some(visitor),
                        Ok((200, _)) => {}
                        Ok((_, text)) => failed.push(text),
                        Err(error) => failed.push(error.to_string()),
                    }
                }
                (failed, count)
            });
        }
        let each = visitors.join_all().await;
        (each.iter().flat_map(|one| one.0.clone()).collect(), each.iter().map(|one| one.1).sum())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_dies_fails_no_request() {
    let (one, first) = gate(|_, _| ok("one")).await;
    let (two, _second) = gate(|_, _| ok("two")).await;
    let world = World::new().await;
    let running = world.start("e1");
    world.control.publish(&[cell("a", 1, &[one, two])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    world.get_until("shop.example", 200).await;
    let stop = CancellationToken::new();
    let load = load(&world, &stop);
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.abort();
    tokio::time::sleep(Duration::from_millis(700)).await;
    stop.cancel();
    let (failed, count) = load.await.unwrap();
    assert!(failed.is_empty() && count > 100, "{} of {count} failed, first {:?}", failed.len(), failed.first());
    end(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_fail_no_request_and_a_failed_upgrade_is_undone() {
    let (address, _gate) = gate(|_, _| ok("hi")).await;
    let world = World::new().await;
    let mut running = world.start("e0");
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    world.get_until("shop.example", 200).await;
    eventually("written", || world.written().is_some_and(|table| table.len() == 1)).await;
    let stop = CancellationToken::new();
    let load = load(&world, &stop);
    for number in 1..4 {
        let name = format!("e{number}");
        let next = world.start(&name);
        world.ready(&name).await;
        let before = world.state().join(format!("e{}.ready", number - 1));
        eventually(&format!("the one before {name} gives way"), || !before.exists()).await;
        end(std::mem::replace(&mut running, next)).await;
    }
    // The next one goes as soon as it serves; the one before serves again.
    let failed_upgrade = world.start("e4");
    world.ready("e4").await;
    let marker = world.state().join("e3.ready");
    eventually("e3 gives way", || !marker.exists()).await;
    end(failed_upgrade).await;
    world.ready("e3").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    let (failed, count) = load.await.unwrap();
    assert!(failed.is_empty() && count > 100, "{} of {count} failed, first {:?}", failed.len(), failed.first());
    println!("{count} requests, none failed");
    end(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_leads_to_its_domain_with_path_and_port() {
    let (address, _gate) = gate(|_, _| ok("hi")).await;
    let world = World::new().await;
    let running = world.start("e1");
    let mut alias = record("www.shop.example", "a", 1, RouteState::Open);
    alias.redirect = Some(Redirect { to: "shop.example".parse().unwrap(), status: RedirectStatus::Moved });
    world.control.publish(
        &[cell("a", 1, &[address])],
        vec![record("shop.example", "a", 1, RouteState::Open), alias, record("*.shop.example", "a", 1, RouteState::Open)],
    );
    world.get_until("shop.example", 200).await;
    let (status, text) = world.visitor().await.get("www.shop.example:8080", "/a/b?c=d").await.unwrap();
    assert!(status == 301 && text.contains("\r\nLocation: http://shop.example:8080/a/b?c=d\r\n"), "{text}");
    assert_eq!(world.get("img.shop.example").await.0, 200);
    assert_eq!(world.get("a.img.shop.example").await.0, 404);
    end(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_is_told_and_changes_nothing_and_the_edge_comes_back() {
    let (address, _gate) = gate(|_, _| ok("hi")).await;
    let world = World::new().await;
    let running = world.start("e1");
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    world.get_until("shop.example", 200).await;
    let halted = |control: &Control| control.applied.lock().unwrap().iter().filter_map(|(_, word)| word.halted.clone()).next_back();
    for bad in ["{\"delta\":{\"nonsense\":1}}\n", "{\"part\":[]}\n", "\"end\"\n"] {
        world.control.applied.lock().unwrap().clear();
        *world.control.next_line.lock().unwrap() = bad.to_owned();
        world.control.changed.send_replace(());
        let control = world.control.clone();
        eventually(&format!("told of {bad}"), || halted(&control).is_some()).await;
        assert_eq!(world.get("shop.example").await.0, 200);
        let host = format!("next-{}.example", bad.len());
        world.control.records(vec![record("shop.example", "a", 1, RouteState::Open), record(&host, "a", 1, RouteState::Open)]);
        world.get_until(&host, 200).await;
        let wanted = world.control.generation();
        eventually("no longer halted", || {
            control.applied.lock().unwrap().last().is_some_and(|(_, word)| word.halted.is_none() && word.generation == wanted)
        })
        .await;
    }
    end(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_that_does_not_read_falls_back_to_the_one_before() {
    let (address, _gate) = gate(|_, _| ok("hi")).await;
    let world = World::new().await;
    let running = world.start("e1");
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    eventually("written", || world.written().is_some_and(|table| table.len() == 1)).await;
    end(running).await;
    // Another edge, another pair of files: its base is damaged then.
    let running = world.start("e2");
    world.get_until("shop.example", 200).await;
    let before = world.written().unwrap().generation();
    *world.control.next_line.lock().unwrap() = "\"end\"\n".to_owned();
    world.control.records(vec![record("shop.example", "a", 1, RouteState::Open), record("late.example", "a", 1, RouteState::Open)]);
    world.get_until("late.example", 200).await;
    let bases = || {
        let mut files: Vec<_> = std::fs::read_dir(world.state()).unwrap().flatten().map(|file| file.file_name().into_string().unwrap()).collect();
        files.retain(|file| file.ends_with(".base"));
        files.sort();
        files
    };
    // The change itself goes to the log; the table fetched for the refusal begins a new pair.
    eventually("written anew", || bases().len() == 2 && world.written().is_some_and(|table| table.generation() > before)).await;
    end(running).await;
    world.control_stop.cancel();
    let newest = world.state().join(bases().pop().unwrap());
    let mut octets = std::fs::read(&newest).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    std::fs::write(&newest, octets).unwrap();
    let running = world.start("e3");
    assert!(world.get_until("shop.example", 200).await.ends_with("hi"), "from the pair before, without control");
    assert!(newest.with_extension("unusable").exists());
    end(running).await;
}
