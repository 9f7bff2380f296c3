//! The proxies that are measured: ours, and those that an expert would take instead.

pub mod envoy;
pub mod haproxy;
pub mod nginx;
pub mod ours;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::certificate::Files;
use crate::check;
use crate::world::FIELD;

/// One proxy, or two in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// The edge, its access log written.
    Edge,
    /// HAProxy with a map; forwarding fields and a request id as the edge sets them; no log.
    Haproxy,
    /// HAProxy with a map that sets the tenant's field and nothing else.
    HaproxyBare,
    /// nginx with a Lua shared dictionary; no log.
    NginxLua,
    /// Envoy with a virtual host for each domain; no log.
    Envoy,
    /// Edge and gate, both logs written.
    EdgeGate,
    /// nginx with Lua, and HAProxy behind it as a balancer.
    NginxHaproxy,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it is two hops.
    pub const fn is_pair(self) -> bool {
        matches!(self, Self::EdgeGate | Self::NginxHaproxy)
    }
}

/// Where a proxy is asked.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// By HTTP/1.1 over TCP.
    pub plain: SocketAddr,
    /// Under TLS, by HTTP/1.1 and HTTP/2; a balancer behind another proxy has none.
    pub secure: Option<SocketAddr>,
}

/// A proxy that runs.
#[derive(Debug)]
pub struct Peer {
    /// Which.
    pub kind: Kind,
    /// Where it answers.
    pub at: Doors,
    children: Vec<Running>,
}

/// A process that ends with its handle.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first: nginx's workers end with their master's word, not with its death.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        for _ in 0..100 {
            if matches!(self.0.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = (self.0.kill(), self.0.wait());
    }
}

impl Peer {
    /// Starts it on `core`, and looks whether it answers right.
    pub fn start(kind: Kind, place: &Place<'_>) -> Result<Self> {
        let folder = place.folder.join(kind.name());
        fs_err::create_dir_all(&folder)?;
        let place = Place { folder: &folder, ..*place };
        let (at, behind) = (Doors { plain: free()?, secure: Some(free()?) }, Doors { plain: free()?, secure: None });
        let (children, field) = match kind {
            Kind::Edge => (vec![ours::edge(&place, at, place.backend)?], FIELD),
            Kind::Haproxy => (vec![haproxy::start(&place, at, haproxy::Form::Full)?], FIELD),
            Kind::HaproxyBare => (vec![haproxy::start(&place, at, haproxy::Form::Bare)?], FIELD),
            Kind::NginxLua => (vec![nginx::start(&place, at, place.backend)?], FIELD),
            Kind::Envoy => (vec![envoy::start(&place, at)?], FIELD),
            Kind::EdgeGate => (vec![ours::gate(&place, behind.plain)?, ours::edge(&place, at, behind.plain)?], ours::APPLICATION_FIELD),
            Kind::NginxHaproxy => (vec![haproxy::start(&place, behind, haproxy::Form::Balancer)?, nginx::start(&place, at, behind.plain)?], FIELD),
        };
        let peer = Self { kind, at, children };
        // Envoy takes a while with so many domains.
        check::answers(at.plain, Duration::from_secs(90)).and_then(|()| check::right(at, place.certificate, place.domains, field)).with_context(
            || {
                let log = fs_err::read_to_string(folder.join("stderr")).unwrap_or_default();
                format!("{} does not answer right; it says:\n{}", kind.name(), log.lines().rev().take(5).collect::<Vec<_>>().join("\n"))
            },
        )?;
        Ok(peer)
    }

    /// Its processes.
    pub fn roots(&self) -> Vec<u32> {
        self.children.iter().map(|child| child.0.id()).collect()
    }
}

/// Where and for what a proxy is started.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its folder.
    pub folder: &'a Path,
    /// Its processor.
    pub core: usize,
    /// The backend.
    pub backend: SocketAddr,
    /// How many domains it must know.
    pub domains: usize,
    /// What it shows visitors under TLS.
    pub certificate: &'a Files,
    /// Envoy's program, where it could be had.
    pub envoy: Option<&'a Path>,
}

impl Place<'_> {
    /// A program on the proxy's processor; what it says goes to files in its folder.
    pub fn spawn(&self, program: &Path, arguments: &[String]) -> Result<Running> {
        spawn(self.core, self.folder, program, arguments)
    }
}

/// A program on one processor, its output in files of the folder.
pub fn spawn(core: usize, folder: &Path, program: &Path, arguments: &[String]) -> Result<Running> {
    let file = |name| fs_err::File::options().create(true).append(true).open(folder.join(name)).map(|file| Stdio::from(file.into_parts().0));
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program).args(arguments);
    let child = command.stdin(Stdio::null()).stdout(file("stdout")?).stderr(file("stderr")?).spawn();
    child.map(Running).with_context(|| format!("starting {} (through taskset of util-linux)", program.display()))
}

/// An address that is free now.
pub fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A program of Debian; where it is missing, what to install.
pub fn program(name: &str, package: &str) -> Result<std::path::PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
        .with_context(|| format!("{name} is not installed; `make bench-edge` installs it, or: apt-get install {package}"))
}
