//! Edges and gates of the real program without a platform around them: control's own feed and gate client on one side, backends of the proof on the other.
//!
//! For proofs about routes and ownership that need thousands of changes, which whole cells could not make in minutes.

mod application;
mod cell;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use certs::{Book, Pair, What, self_signed};
use control::RouteFeed;
use gate::client::GateClient;
use identity::{Ca, Role, Sealer, tls};
use issuer::CertificateFeed;
use jiff::Timestamp;
use model::{CellName, Epoch, GateName, Generation, PlatformName, TenantName};
use rand::Rng as _;
use routes::{CellKey, GateKey, GateReport, GateState, KeyId, Record, RouteState};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::fault::wait_for;

pub use application::serve;
pub use cell::{Cell, open};

const WITHIN: Duration = Duration::from_secs(30);
const INCARNATION: &str = "proof";

/// Edges, the gates of some cells, and what control would be to them.
pub struct Fleet {
    /// What edges follow.
    pub feed: Arc<RouteFeed>,
    /// Where each edge takes visitors.
    pub edges: Vec<SocketAddr>,
    /// Where each edge takes those who shake hands, if it has a certificate.
    pub secure: Vec<SocketAddr>,
    /// The cells, one gate each.
    pub cells: Vec<Cell>,
    client: GateClient,
    children: Vec<Child>,
    /// Each edge's folder, and which of the children it is.
    edge_folders: Vec<(PathBuf, usize)>,
    stop: CancellationToken,
    atoll: PathBuf,
    folder: tempfile::TempDir,
    feed_port: u16,
}

impl Fleet {
    /// Starts so many edges and cells; nothing is published yet.
    pub async fn start(edges: usize, cells: &[&str]) -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, edges, cells).await
    }

    /// The same with gates that edges find at this address of the machine.
    pub async fn start_at(gates: Ipv4Addr, edges: usize, cells: &[&str]) -> Result<Self> {
        Self::start_with(gates, edges, cells, &[]).await
    }

    /// The same with edges that have a certificate for these hosts.
    pub async fn start_secure(edges: usize, cells: &[&str], hosts: &[&str]) -> Result<Self> {
        Self::start_with(Ipv4Addr::LOCALHOST, edges, cells, hosts).await
    }

    async fn start_with(gates: Ipv4Addr, edges: usize, cells: &[&str], hosts: &[&str]) -> Result<Self> {
        let atoll = crate::world::program()?;
        let folder = tempfile::Builder::new().prefix("atoll-proof-").tempdir()?;
        let ca = Ca::create_or_open(&folder.path().join("ca"), &PlatformName::new("proof")?, Timestamp::now())?;
        ca.ensure(&folder.path().join("control"), &Role::Control, None, Timestamp::now())?;
        let feed = RouteFeed::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let feed_port = listener.local_addr()?.port();
        let stop = CancellationToken::new();
        let config = tls::server_config(&folder.path().join("control"))?;
        let mut router = control::router(feed.clone());
        if !hosts.is_empty() {
            router = router.merge(issuer::router(CertificateFeed::new(certified(folder.path(), hosts)?)));
        }
        tokio::spawn(identity::serve(listener, config, router, |role| matches!(role, Role::Edge(_)), stop.clone()));
        let client = GateClient::new(&folder.path().join("control"))?;
        let mut fleet = Self {
            feed,
            edges: Vec::new(),
            secure: Vec::new(),
            cells: Vec::new(),
            client,
            children: Vec::new(),
            edge_folders: Vec::new(),
            stop,
            atoll,
            folder,
            feed_port,
        };
        for (number, name) in cells.iter().enumerate() {
            fleet.start_gate(&ca, gates, number, name)?;
        }
        for number in 0..edges {
            fleet.start_edge(&ca, number, !hosts.is_empty())?;
        }
        Ok(fleet)
    }

    fn start_gate(&mut self, ca: &Ca, at: Ipv4Addr, number: usize, name: &str) -> Result<()> {
        let (name, gate) = (CellName::new(name)?, GateName::new("gate-1")?);
        let folder = self.folder.path().join(format!("gate-{name}"));
        ca.ensure(&folder.join("identity"), &Role::Gate(name.clone(), gate.clone()), None, Timestamp::now())?;
        let (entry, admin) = (free_port(at)?, free_port(Ipv4Addr::LOCALHOST)?);
        self.spawn(
            &["gate", "--cell", name.as_str(), "--name", gate.as_str()],
            &[("--folder", folder.display().to_string()), ("--entry", entry.to_string()), ("--admin", admin.to_string())],
        )?;
        let key = GateKey { id: KeyId::new(format!("k{number}"))?, key: CellKey::new(rand::rng().random()) };
        self.cells.push(Cell { name, key, gate, entry, admin });
        Ok(())
    }

    fn start_edge(&mut self, ca: &Ca, number: usize, secure: bool) -> Result<()> {
        let state = self.folder.path().join(format!("edge-{number}"));
        let name = format!("edge-{number}");
        ca.ensure(&state.join("identity/edge"), &Role::Edge(name.parse()?), None, Timestamp::now())?;
        let ports =
            json!({ "feed": self.feed_port, "agent": free_port(Ipv4Addr::LOCALHOST)?.port(), "edgeAdmin": free_port(Ipv4Addr::LOCALHOST)?.port() });
        fs_err::write(state.join("platform.json"), json!({ "format": 1, "platform": "proof", "ports": ports }).to_string())?;
        let listen = free_port(Ipv4Addr::LOCALHOST)?;
        let mut options = vec![("--state", state.display().to_string()), ("--listen", listen.to_string())];
        if secure {
            let door = free_port(Ipv4Addr::LOCALHOST)?;
            options.push(("--secure", door.to_string()));
            self.secure.push(door);
        }
        self.spawn(&["edge", "--name", &name], &options)?;
        self.edge_folders.push((state, self.children.len() - 1));
        self.edges.push(listen);
        Ok(())
    }

    fn spawn(&mut self, arguments: &[&str], options: &[(&str, String)]) -> Result<()> {
        let log = self.folder.path().join(format!("{}-{}.log", arguments[0], self.children.len()));
        let log = fs_err::File::create(log)?.into_parts().0;
        let mut command = Command::new(&self.atoll);
        command.args(arguments);
        for (name, value) in options {
            command.args([name, value.as_str()]);
        }
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        self.children.push(child.with_context(|| format!("{} could not be started", self.atoll.display()))?);
        Ok(())
    }

    /// Ends the edges for good once the routes are on their disks, so that others can be started from their folders, which it returns.
    pub async fn retire_edges(&mut self) -> Result<Vec<PathBuf>> {
        self.edges.clear();
        let mut folders = Vec::new();
        for (folder, child) in self.edge_folders.drain(..) {
            // A file that carries the edge's name is still being written.
            let whole = |name: &str| name.starts_with("routes") && !name.contains(".edge-");
            let kept = |entry: std::io::Result<fs_err::DirEntry>| {
                entry.is_ok_and(|entry| whole(&entry.file_name().to_string_lossy()) && entry.metadata().is_ok_and(|file| file.len() > 0))
            };
            wait_for("the routes to be on the disk", WITHIN, async || Ok(fs_err::read_dir(folder.join("edge"))?.any(kept))).await?;
            self.children[child].kill()?;
            self.children[child].wait()?;
            folders.push(folder);
        }
        Ok(folders)
    }

    /// Publishes a whole table; its generation.
    pub fn publish(&self, records: Vec<Record>) -> Result<Generation> {
        let cells = self.cells.iter().map(Cell::endpoint).collect();
        let (generation, refused) = self.feed.publish(INCARNATION, Generation(1), cells, records);
        ensure!(refused.is_empty(), "records are refused: {refused:?}");
        Ok(generation)
    }

    /// Opens tenants in a cell, each with its host, and publishes them as the whole table.
    pub async fn open(&self, cell: &Cell, application: SocketAddr, tenants: &[(TenantName, String)]) -> Result<()> {
        let all = tenants.iter().map(|(tenant, _)| open(tenant.clone())).collect();
        self.push(cell, &cell.state(Generation(1), application, all)?).await?;
        let record = |(tenant, host): &(TenantName, String)| cell.record(host, tenant, Epoch(1), RouteState::Open);
        let generation = self.publish(tenants.iter().map(record).collect::<Result<_>>()?)?;
        self.applied(generation).await
    }

    /// Waits until every edge works by this generation.
    pub async fn applied(&self, generation: Generation) -> Result<()> {
        let mut reports = self.feed.reports();
        let all = async {
            loop {
                reports.borrow_and_update();
                let there = self.feed.edges().values().filter(|edge| edge.applied.generation >= generation).count();
                if there >= self.edges.len() {
                    return Ok(());
                }
                reports.changed().await.context("the feed is gone")?;
            }
        };
        tokio::time::timeout(WITHIN, all).await.unwrap_or_else(|_| bail!("an edge never worked by generation {generation}"))
    }

    /// Gives a cell's gate its state, waiting for a gate that has just been started.
    pub async fn push(&self, cell: &Cell, state: &GateState) -> Result<GateReport> {
        let mut report = None;
        wait_for("the gate to take its state", WITHIN, async || {
            report = Some(self.client.push(cell.admin, &cell.gate, state).await?);
            Ok(true)
        })
        .await?;
        report.context("no report")
    }

    /// How a cell's gate stands.
    pub async fn report(&self, cell: &Cell) -> Result<GateReport> {
        Ok(self.client.report(cell.admin, &cell.name, &cell.gate).await?)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
        for child in &mut self.children {
            // One that ended already is what is wanted.
            let _ = child.kill().and_then(|()| child.wait());
        }
        if let Some(logs) = std::env::var_os("ATOLL_PROOF_LOGS") {
            let copy = Command::new("sh")
                .args(["-c", "mkdir -p \"$2\" && cp -r \"$1\" \"$2\" && find \"$2\" -type f ! -name '*.log' -delete", "sh"])
                .arg(self.folder.path())
                .arg(logs)
                .status();
            if let Err(error) = copy {
                crate::outcome::say(&format!("logs could not be kept: {error}"));
            }
        }
    }
}

/// A book with one certificate for all these hosts.
fn certified(folder: &Path, hosts: &[&str]) -> Result<Arc<Book>> {
    let book = Book::open(&folder.join("certificates.db"), Sealer::create_or_open(&folder.join("master.key"))?, 16)?;
    let (chain, key) = self_signed(hosts, Timestamp::now())?;
    let certificate = Pair::read(&chain, key.reveal())?.certificate(chain, key);
    book.put(vec![("proof".to_owned(), What::Certificate(Box::new(certificate)))])?;
    Ok(Arc::new(book))
}

/// An address that was free a moment ago.
fn free_port(at: Ipv4Addr) -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind((at, 0))?.local_addr()?)
}
