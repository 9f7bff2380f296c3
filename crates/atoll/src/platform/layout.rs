//! The state folder: who keeps what where, and the choices made once at the first start.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use model::PlatformName;
use serde::{Deserialize, Serialize};

/// Format of the state folder; a folder of a newer one is refused.
const FORMAT: u32 = 1;

/// Ports of our own parts on the loopback address, chosen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ports {
    /// Control's route feed (mutual TLS).
    pub feed: u16,
    /// The agent (mutual TLS).
    pub agent: u16,
    /// The edge's metrics and health.
    pub edge_admin: u16,
}

/// What `platform.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlatformFile {
    format: u32,
    platform: PlatformName,
    ports: Ports,
}

/// The state folder of one platform.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The folder, absolute.
    pub root: PathBuf,
    /// Name and prefix of everything this platform makes on the engine.
    pub platform: PlatformName,
    /// Ports of our own parts.
    pub ports: Ports,
}

impl Layout {
    /// Opens the folder of a platform, or makes it: free ports are chosen and written down before anything uses them.
    ///
    /// # Errors
    /// When the folder belongs to another platform or a newer release, or cannot be written.
    pub fn create_or_open(root: &Path, platform: &PlatformName) -> Result<Self> {
        fs_err::create_dir_all(root)?;
        let root = fs_err::canonicalize(root)?;
        if !Self::file(&root).exists() {
            let ports = free_ports()?;
            let file = PlatformFile { format: FORMAT, platform: platform.clone(), ports };
            write_whole(&Self::file(&root), &serde_json::to_vec_pretty(&file)?)?;
        }
        Self::refuse_other(&root, platform)?;
        let layout = Self::open(&root)?;
        for folder in ["control", "agent", "edge", "identity", "cells", "data", "gates"] {
            fs_err::create_dir_all(root.join(folder))?;
        }
        Ok(layout)
    }

    /// Refuses a folder that belongs to another platform or to a newer release; one that belongs to nobody yet is fine.
    ///
    /// # Errors
    /// With whose it is.
    pub fn refuse_other(root: &Path, platform: &PlatformName) -> Result<()> {
        if !Self::file(root).exists() {
            return Ok(());
        }
        let layout = Self::open(root)?;
        if layout.platform != *platform {
            bail!("{} belongs to platform {}, not {platform}: choose another folder with --state", root.display(), layout.platform);
        }
        Ok(())
    }

    /// Opens the folder of a platform.
    ///
    /// # Errors
    /// When there is none, or it was written by a newer release.
    pub fn open(root: &Path) -> Result<Self> {
        let root = fs_err::canonicalize(root).with_context(|| format!("no platform was started in {}", root.display()))?;
        let path = Self::file(&root);
        let bytes = fs_err::read(&path).with_context(|| format!("no platform was started in {}", root.display()))?;
        let format: serde_json::Value = serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
        match format["format"].as_u64() {
            Some(known) if known <= u64::from(FORMAT) => {}
            Some(newer) => bail!("{} has format {newer}, this release knows {FORMAT}: use the newer release that wrote it", path.display()),
            None => bail!("{} is damaged: it names no format", path.display()),
        }
        let file: PlatformFile = serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
        Ok(Self { root, platform: file.platform, ports: file.ports })
    }

    fn file(root: &Path) -> PathBuf {
        root.join("platform.json")
    }

    /// Socket of control's API.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.root.join("control").join("api.sock")
    }

    /// The store's file.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        store(&self.root)
    }

    /// What tenants took.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.root.join("control").join("ledger.db")
    }

    /// Visitors' certificates.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.root.join("control").join("certificates.db")
    }

    /// Where people lay certificates of their own, one `<name>.pem` each.
    #[must_use]
    pub fn own_certificates(&self) -> PathBuf {
        self.root.join("certificates")
    }

    /// Key that seals secrets.
    #[must_use]
    pub fn master_key(&self) -> PathBuf {
        self.root.join("control").join("master.key")
    }

    /// Folder of the certificate authority; only control reads it.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.root.join("control").join("ca")
    }

    /// Folder of a role's certificate and key.
    #[must_use]
    pub fn identity(&self, role: &str) -> PathBuf {
        self.root.join("identity").join(role)
    }

    /// Folder of those who may use the API over TCP, one folder each.
    #[must_use]
    pub fn operators(&self) -> PathBuf {
        operators(&self.root)
    }

    /// An address of ours on the loopback interface.
    #[must_use]
    pub const fn local(port: u16) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }

    /// Where the edge keeps its route snapshot and its hand-over socket.
    #[must_use]
    pub fn edge(&self) -> PathBuf {
        self.root.join("edge")
    }
}

/// Where a state folder keeps those who may use the API over TCP.
#[must_use]
pub fn operators(state: &Path) -> PathBuf {
    state.join("operators")
}

/// Where a state folder keeps the store.
#[must_use]
pub fn store(state: &Path) -> PathBuf {
    state.join("control").join("store.db")
}

/// Three different free ports, held together while they are chosen.
fn free_ports() -> Result<Ports> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on the loopback address");
    let (feed, agent, edge_admin) = (listen()?, listen()?, listen()?);
    let port = |listener: &TcpListener| anyhow::Ok(listener.local_addr()?.port());
    Ok(Ports { feed: port(&feed)?, agent: port(&agent)?, edge_admin: port(&edge_admin)? })
}

/// Writes a file beside, flushes it and renames it into place.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let beside = path.with_extension("new");
    let mut file = fs_err::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs_err::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        fs_err::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
