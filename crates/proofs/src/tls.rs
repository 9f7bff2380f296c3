//! What the proof of TLS works with: edges of the real binary with a control of their own, certificate authorities, visitors who shake hands.

pub mod authority;
pub mod peers;
pub mod visitor;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use certs::Book;
use identity::{Ca, Role, Sealer};
use issuer::CertificateFeed;
use jiff::Timestamp;
use model::PlatformName;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// Where edges listen, each on an address of its own.
pub const PLAIN: u16 = 8080;
/// The same under TLS.
pub const SECURE: u16 = 8443;

/// A port of the loopback address that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// An address of the loopback range of this run's own; `number` tells several apart.
pub fn own_address(number: u8) -> Ipv4Addr {
    let id = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, 100 + id[1] % 100, id[0], number)
}

/// Control as far as edges know it here: a book of certificates and its feed.
pub struct Control {
    pub folder: tempfile::TempDir,
    pub book: Arc<Book>,
    pub feed: Arc<CertificateFeed>,
    pub port: u16,
    ca: Ca,
    stop: CancellationToken,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Control {
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let platform = PlatformName::new("proof")?;
        let ca = Ca::create_or_open(&folder.path().join("ca"), &platform, Timestamp::now())?;
        ca.ensure(&folder.path().join("control"), &Role::Control, None, Timestamp::now())?;
        let sealer = Sealer::create_or_open(&folder.path().join("master.key"))?;
        let book = Arc::new(Book::open(&folder.path().join("certificates.db"), sealer, 16)?);
        let feed = CertificateFeed::new(book.clone());
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (port, stop) = (listener.local_addr()?.port(), CancellationToken::new());
        let config = identity::tls::server_config(&folder.path().join("control"))?;
        let only_edges = |role: &Role| matches!(role, Role::Edge(_));
        tokio::spawn(identity::serve(listener, config, issuer::router(feed.clone()), only_edges, stop.clone()));
        Ok(Self { folder, book, feed, port, ca, stop })
    }

    /// The state folder of an edge.
    pub fn edge_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(name);
        fs_err::create_dir_all(folder.join("edge"))?;
        self.ca.ensure(&folder.join("identity/edge"), &Role::Edge(name.parse()?), None, Timestamp::now())?;
        let ports = json!({ "feed": self.port, "agent": 1, "edgeAdmin": free_port()? });
        fs_err::write(folder.join("platform.json"), json!({ "format": 1, "platform": "proof", "ports": ports }).to_string())?;
        Ok(folder)
    }
}

/// A running edge of the real binary.
pub struct Edge {
    pub at: Ipv4Addr,
    pub started: Instant,
    process: Child,
    log: PathBuf,
}

impl Edge {
    /// Starts an edge over a state folder; returns at once.
    pub fn start(folder: &Path, name: &str, at: Ipv4Addr) -> Result<Self> {
        let binary = std::env::var_os("ATOLL_BIN").context("ATOLL_BIN names the binary to prove; start this with cargo xtask prove")?;
        let log = folder.join("edge.log");
        let output = fs_err::OpenOptions::new().create(true).append(true).open(&log)?;
        let started = Instant::now();
        let process = Command::new(binary)
            .arg("--state")
            .arg(folder)
            .args(["edge", "--listen", &SocketAddr::new(IpAddr::V4(at), PLAIN).to_string()])
            .args(["--secure", &SocketAddr::new(IpAddr::V4(at), SECURE).to_string(), "--name", name])
            .stdout(Stdio::null())
            .stderr(Stdio::from(output.into_parts().0))
            .kill_on_drop(true)
            .spawn()
            .context("the edge could not be started")?;
        Ok(Self { at, started, process, log })
    }

    /// Where visitors shake hands.
    pub const fn secure(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.at), SECURE)
    }

    pub fn pid(&self) -> Result<u32> {
        self.process.id().with_context(|| format!("the edge has ended: {}", fs_err::read_to_string(&self.log).unwrap_or_default()))
    }

    pub async fn stop(mut self) -> Result<()> {
        self.process.start_kill()?;
        self.process.wait().await?;
        Ok(())
    }
}

/// User and system time that a process has used.
pub fn cpu(pid: u32) -> Result<Duration> {
    let mut all = 0;
    for task in fs_err::read_dir(format!("/proc/{pid}/task"))? {
        // Nanoseconds on a processor; the usual counts are in hundredths of a second. A thread that has just ended is not missed.
        let Ok(text) = fs_err::read_to_string(task?.path().join("schedstat")) else { continue };
        all += text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).context("/proc's schedstat is not as it was")?;
    }
    Ok(Duration::from_nanos(all))
}

/// Open descriptors and resident mebibytes of a process.
pub fn held(pid: u32) -> Result<(usize, f64)> {
    let open = fs_err::read_dir(format!("/proc/{pid}/fd"))?.count();
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    let resident = resident.context("no VmRSS")? / 1024.0;
    ensure!(open > 0, "no descriptors");
    Ok((open, resident))
}
