//! A platform of its own for each test: names, networks, folder, and their end.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use data::{ClusterOrder, ClusterReport, ClusterState, Data as _, NodeOrder, TenantAccess, TenantOrder};
use mariadb::{Mariadb, Options, Uids};
use model::{CellName, Cpu, Epoch, Generation, Memory, Sensitive, Span};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use rand::Rng as _;

pub const MARIADB: &str = "localhost/atoll/mariadb:10.11";
pub const HAPROXY: &str = "localhost/atoll/haproxy:2.6";

/// Runs `docker` and gives its output.
pub fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).output().map_err(|error| format!("docker: {error}; install it (scripts/setup)"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// A platform that is gone when it is dropped.
pub struct World {
    pub platform: String,
    pub order: ClusterOrder,
    folder: tempfile::TempDir,
}

impl World {
    pub fn new(nodes: usize) -> Self {
        let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::INFO).try_init();
        for image in [MARIADB, HAPROXY] {
            docker(&["image", "inspect", image])
                .unwrap_or_else(|error| panic!("{error}: these tests need Docker and its images (scripts/setup, scripts/images)"));
        }
        let platform = format!("atolltest-{:08x}", rand::rng().random::<u32>());
        let cell: CellName = "c1".parse().unwrap();
        let app = network(&platform, &format!("{platform}-{cell}"));
        let scout = format!("{platform}-scout");
        let data_network = network(&platform, &scout);
        docker(&["network", "rm", &scout]).unwrap();
        let order = ClusterOrder {
            cell,
            membership: Epoch(1),
            generation: Generation(5),
            nodes: (1..=nodes).map(|index| NodeOrder { name: format!("n{index}").parse().unwrap(), machine: "local".parse().unwrap() }).collect(),
            data_network,
            app_network: app,
            mariadb_image: MARIADB.to_owned(),
            haproxy_image: HAPROXY.to_owned(),
            memory: Memory::mebi(64),
            cpu: Cpu(2000),
            connections: 40,
            gtid_domain: 7,
            grace: Span::seconds(3600),
        };
        Self { platform, order, folder: tempfile::tempdir().unwrap() }
    }

    pub async fn open(&self) -> Arc<Mariadb> {
        let options =
            Options { platform: self.platform.clone(), state: self.state(), docker: PathBuf::from("/var/run/docker.sock"), uids: Uids::default() };
        Arc::new(Mariadb::open(options).await.unwrap())
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn container(&self, part: &str) -> String {
        format!("{}-{}-{part}", self.platform, self.order.cell)
    }

    pub fn data(&self, node: &str) -> PathBuf {
        self.state().join("data").join(self.order.cell.as_str()).join(node).join("data")
    }

    /// Waits until the report is as wanted.
    pub async fn until(&self, data: &Mariadb, what: &str, within: Duration, good: impl Fn(&ClusterReport) -> bool) -> (ClusterReport, Duration) {
        let began = Instant::now();
        loop {
            let report = data.observe(&self.order.cell).await.unwrap();
            if good(&report) {
                return (report, began.elapsed());
            }
            assert!(began.elapsed() < within, "not {what} within {within:?}: {report:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn synced(&self, data: &Mariadb) -> (ClusterReport, Duration) {
        self.until(data, "synced", Duration::from_secs(120), |report| report.state == ClusterState::Synced).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let label = format!("label=dev.atoll.platform={}", self.platform);
        let containers = docker(&["ps", "-aq", "--filter", &label]).unwrap_or_default();
        if std::thread::panicking() {
            for container in containers.lines() {
                let name = docker(&["inspect", "-f", "{{.Name}}", container]).unwrap_or_default();
                let log = Command::new("docker").args(["logs", "--tail", "40", container]).output();
                let text =
                    log.map(|log| String::from_utf8_lossy(&log.stderr).into_owned() + &String::from_utf8_lossy(&log.stdout)).unwrap_or_default();
                println!("--- log of {name}\n{text}");
            }
        }
        for container in containers.lines() {
            let _ = docker(&["rm", "-f", "-v", container]);
        }
        for network in docker(&["network", "ls", "-q", "--filter", &label]).unwrap_or_default().lines() {
            let _ = docker(&["network", "rm", network]);
        }
    }
}

/// Makes an internal network on a free subnet.
fn network(platform: &str, name: &str) -> ipnet::Ipv4Net {
    for _ in 0..50 {
        let third = rand::rng().random_range(0..=255);
        let subnet = format!("10.92.{third}.0/24");
        let gateway = format!("10.92.{third}.1");
        let label = format!("dev.atoll.platform={platform}");
        match docker(&["network", "create", "--internal", "--label", &label, "--subnet", &subnet, "--gateway", &gateway, name]) {
            Ok(_) => return subnet.parse().unwrap(),
            Err(error) if error.contains("overlap") => {}
            Err(error) => panic!("a network for the test: {error}"),
        }
    }
    panic!("no free subnet under 10.92.0.0/16; see `docker network ls`")
}

/// The next order about a tenant.
pub fn tenant(schema: &str, access: TenantAccess) -> TenantOrder {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let generation = Generation(NUMBER.fetch_add(1, Ordering::Relaxed));
    TenantOrder { schema: schema.to_owned(), password: Sensitive::new("open sesame".to_owned()), connections: 20, access, generation }
}

/// Connects as a tenant, through the endpoint.
pub async fn connect(endpoint: SocketAddr, schema: &str) -> Result<Conn, mysql_async::Error> {
    connect_as(endpoint.ip().to_string(), endpoint.port(), schema, "open sesame", Some(schema)).await
}

pub async fn connect_as(host: String, port: u16, user: &str, password: &str, schema: Option<&str>) -> Result<Conn, mysql_async::Error> {
    let options =
        OptsBuilder::default().ip_or_hostname(host).tcp_port(port).user(Some(user)).pass(Some(password)).db_name(schema).prefer_socket(false);
    Conn::new(options).await
}

/// Writers that note what was acknowledged, and the longest time between two acknowledgements.
pub struct Ledger {
    stop: Arc<AtomicBool>,
    last: Arc<AtomicU64>,
    gap: Arc<AtomicU64>,
    began: Instant,
    writers: Vec<tokio::task::JoinHandle<BTreeSet<u64>>>,
}

impl Ledger {
    pub fn start(endpoint: SocketAddr, schema: &'static str, writers: u64) -> Self {
        let (stop, last, gap) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let began = Instant::now();
        let write = |writer: u64| {
            let (stop, last, gap) = (stop.clone(), last.clone(), gap.clone());
            tokio::spawn(async move {
                let mut acknowledged = BTreeSet::new();
                let mut conn = None;
                let mut number = writer << 40;
                while !stop.load(Ordering::Relaxed) {
                    if conn.is_none() {
                        conn = within(connect(endpoint, schema)).await;
                    }
                    let Some(open) = conn.as_mut() else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    };
                    number += 1;
                    if within(open.query_drop(format!("INSERT INTO ledger VALUES ({number})"))).await.is_none() {
                        conn = None;
                        continue;
                    }
                    acknowledged.insert(number);
                    let now = u64::try_from(began.elapsed().as_millis()).unwrap();
                    let before = last.swap(now, Ordering::Relaxed);
                    gap.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                acknowledged
            })
        };
        let writers = (0..writers).map(write).collect();
        Self { stop, last, gap, began, writers }
    }

    /// The longest gap since the last question, with the one that is open.
    pub fn gap(&self) -> Duration {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        let open = now.saturating_sub(self.last.load(Ordering::Relaxed));
        Duration::from_millis(self.gap.swap(0, Ordering::Relaxed).max(open))
    }

    /// Waits until something is acknowledged that was sent after now.
    pub async fn next(&self, within: Duration) {
        let before = self.last.load(Ordering::Relaxed);
        let began = Instant::now();
        while self.last.load(Ordering::Relaxed) == before {
            assert!(began.elapsed() < within, "nothing acknowledged within {within:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn end(self) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        for writer in self.writers {
            all.extend(writer.await.unwrap());
        }
        all
    }
}

async fn within<T>(work: impl Future<Output = Result<T, mysql_async::Error>>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(20), work).await.ok()?.ok()
}

/// The rows of the ledger as one node has them.
pub async fn rows(address: Ipv4Addr, schema: &str) -> BTreeSet<u64> {
    let mut conn = connect_as(address.to_string(), 3306, schema, "open sesame", Some(schema)).await.unwrap();
    conn.query_drop("SET SESSION wsrep_sync_wait = 1").await.unwrap();
    conn.query::<u64, _>("SELECT id FROM ledger").await.unwrap().into_iter().collect()
}
