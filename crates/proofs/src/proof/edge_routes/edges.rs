//! Edges of the real binary, and what stands around them: control's feed, and a gate that answers with the epoch it was sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use control::RouteFeed;
use identity::{Ca, Role};
use jiff::Timestamp;
use model::{Epoch, Generation, PlatformName};
use routes::Table;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// How often something is looked at again.
const AGAIN: Duration = Duration::from_millis(2);
const SLOWLY: Duration = Duration::from_millis(250);

/// What all edges of the proof share.
pub struct Platform {
    /// Where the gate listens.
    pub gate: SocketAddr,
    requests: Arc<AtomicU64>,
    atoll: PathBuf,
    folder: tempfile::TempDir,
    ca: Ca,
}

/// Control's feed, served.
pub struct Feed {
    /// What is published.
    pub routes: Arc<RouteFeed>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Platform {
    /// With a gate, without edges.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("atoll-proof-").tempdir()?;
        let atoll = crate::world::program()?;
        let ca = Ca::create_or_open(&folder.path().join("ca"), &PlatformName::new("atoll")?, Timestamp::now())?;
        ca.ensure(&folder.path().join("control"), &Role::Control, None, Timestamp::now())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (gate, requests) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        tokio::spawn(serve_gate(listener, requests.clone()));
        Ok(Self { gate, requests, atoll, folder, ca })
    }

    /// Requests that the gate has answered.
    pub fn gate_requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Serves a feed that begins with this table.
    pub async fn serve(&self, table: Table) -> Result<Feed> {
        let (routes, stop) = (RouteFeed::new(), CancellationToken::new());
        routes.begin(table);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let tls = identity::tls::server_config(&self.folder.path().join("control"))?;
        tokio::spawn(identity::serve(listener, tls, control::router(routes.clone()), |role| matches!(role, Role::Edge(_)), stop.clone()));
        Ok(Feed { routes, address, stop })
    }
}

impl Feed {
    /// Control is gone.
    pub fn end(&self) {
        self.stop.cancel();
    }

    /// Waits until both edges stand at a generation.
    pub async fn settled(&self, generation: Generation, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let edges = self.routes.edges();
            let there = edges.values().filter(|edge| edge.applied.generation >= generation).count();
            if there >= 2 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("only {there} edges reached {generation} within {within:?}; stopped: {:?}", self.routes.stopped());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// One edge.
pub struct Edge {
    /// Where visitors come in.
    pub public: SocketAddr,
    name: String,
    state: PathBuf,
    child: Child,
    log: PathBuf,
}

impl Edge {
    /// Starts an edge in a folder of its own.
    pub async fn start(platform: &Platform, feed: &Feed, name: &str) -> Result<Self> {
        let state = platform.folder.path().join(format!("{name}-{}", feed.address.port()));
        fs_err::create_dir_all(state.join("edge"))?;
        let free = || async { anyhow::Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port()) };
        let (public, admin) = (free().await?, free().await?);
        let file = serde_json::json!({ "format": 1, "platform": "atoll", "ports": { "feed": feed.address.port(), "agent": 1, "edgeAdmin": admin } });
        fs_err::write(state.join("platform.json"), file.to_string())?;
        platform.ca.ensure(&state.join("identity/edge"), &Role::Edge("edge".parse()?), None, Timestamp::now())?;
        let (public, log) = (SocketAddr::from((Ipv4Addr::LOCALHOST, public)), state.join("log"));
        let child = spawn(platform, &state, public, name, &log)?;
        Ok(Self { public, name: name.to_owned(), state, child, log })
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("the edge has ended")
    }

    /// Resident memory, once it no longer changes.
    pub async fn settled_memory(&self) -> Result<u64> {
        let mut before = 0;
        for _ in 0..120 {
            tokio::time::sleep(SLOWLY * 8).await;
            let now = self.memory()?;
            if now.abs_diff(before) < 256 * 1024 {
                return Ok(now);
            }
            before = now;
        }
        bail!("the memory of {} does not settle; see {}", self.name, self.log.display())
    }

    fn memory(&self) -> Result<u64> {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// Processor time so far.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = fs_err::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        // Linux counts in hundredths of a second on every platform that we run on.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Octets of the routes' files.
    pub fn disk_written(&self) -> Result<u64> {
        let io = fs_err::read_to_string(format!("/proc/{}/io", self.pid()?))?;
        // Octets passed to write calls that reached files: the log of requests goes to a file too, but nobody asks anything meanwhile.
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("no write_bytes")?;
        Ok(line.parse()?)
    }

    /// Waits until nothing more is written.
    pub async fn log_is_quiet(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        let mut before = None;
        while Instant::now() < deadline {
            let now = self.disk_written()?;
            if before == Some(now) {
                return Ok(());
            }
            before = Some(now);
            tokio::time::sleep(SLOWLY * 4).await;
        }
        bail!("{} writes on and on", self.name)
    }

    /// Kills it, starts it again and asks for a host until the gate answers. Seconds from the start of the process.
    pub async fn restart(&mut self, platform: &Platform, host: &str) -> Result<f64> {
        self.child.kill().await?;
        let began = Instant::now();
        self.child = spawn(platform, &self.state, self.public, &self.name, &self.log)?;
        while Instant::now() < began + Duration::from_secs(60) {
            if let Ok(stream) = TcpStream::connect(self.public).await
                && let Ok((200, _)) = ask(&mut BufReader::new(stream), host).await
            {
                return Ok(began.elapsed().as_secs_f64());
            }
            tokio::time::sleep(AGAIN).await;
        }
        bail!("{} does not serve {host} from disk within a minute; see {}", self.name, self.log.display())
    }

    /// The table on disk.
    pub fn written(&self) -> Result<Table> {
        let folder = self.state.join("edge");
        let files = fs_err::read_dir(&folder)?.flatten();
        let number = |name: String| name.strip_prefix("routes-")?.strip_suffix(".base")?.parse::<u64>().ok();
        let newest = files.filter_map(|file| number(file.file_name().into_string().ok()?)).max().context("no routes on disk")?;
        let mut table = routes::disk::load(&fs_err::read(folder.join(format!("routes-{newest}.base")))?)?;
        routes::disk::replay(&mut table, &fs_err::read(folder.join(format!("routes-{newest}.log")))?);
        Ok(table)
    }

    /// Ends it.
    pub async fn stop(&mut self) -> Result<()> {
        self.child.kill().await?;
        fs_err::remove_dir_all(&self.state)?;
        Ok(())
    }
}

fn spawn(platform: &Platform, state: &std::path::Path, public: SocketAddr, name: &str, log: &std::path::Path) -> Result<Child> {
    let log = fs_err::OpenOptions::new().create(true).append(true).open(log)?.into_parts().0;
    let mut command = Command::new(&platform.atoll);
    command.arg("--state").arg(state).args(["edge", "--listen", &public.to_string(), "--name", name]);
    let child = command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(log).kill_on_drop(true).spawn();
    child.context("the edge does not start")
}

/// Asks an edge for a host until its gate says that it was sent this epoch, or a later one.
pub async fn until_epoch(edge: SocketAddr, host: String, epoch: Epoch, within: Duration) -> Result<()> {
    let mut connection = BufReader::new(TcpStream::connect(edge).await?);
    connection.get_ref().set_nodelay(true)?;
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        let (status, body) = ask(&mut connection, &host).await?;
        ensure!(status == 200, "{host}: {status} {body}");
        if body.parse::<u64>()? >= epoch.0 {
            return Ok(());
        }
        tokio::time::sleep(AGAIN).await;
    }
    bail!("{host} is not at {epoch} within {within:?}")
}

/// One request on a connection that is kept: status and body.
async fn ask(connection: &mut BufReader<TcpStream>, host: &str) -> Result<(u16, String)> {
    connection.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let (status, length) = head(connection).await?.context("the connection was closed")?;
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    let status = status.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, String::from_utf8(body)?))
}

/// First line of a message, and the length of its body; none at the end of the connection.
async fn head(connection: &mut BufReader<TcpStream>) -> Result<Option<(String, usize)>> {
    let lines = lines(connection).await?;
    let Some(first) = lines.first() else { return Ok(None) };
    let length = lines.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    Ok(Some((first.clone(), length.map_or(Ok(0), |length| length.trim().parse())?)))
}

async fn lines(connection: &mut BufReader<TcpStream>) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Ok(Vec::new());
        }
        if line == "\r\n" {
            return Ok(lines);
        }
        lines.push(line.trim_end().to_owned());
    }
}

/// Answers with the epoch of the tenant header.
async fn serve_gate(listener: TcpListener, requests: Arc<AtomicU64>) {
    while let Ok((stream, _)) = listener.accept().await {
        let requests = requests.clone();
        tokio::spawn(async move {
            // A failure only costs some latency.
            let _ = stream.set_nodelay(true);
            let mut connection = BufReader::new(stream);
            while let Ok(lines) = lines(&mut connection).await
                && !lines.is_empty()
            {
                let tenant = lines.iter().find_map(|line| line.strip_prefix("Atoll-Tenant: "));
                let epoch = tenant.and_then(|header| header.split(';').find_map(|field| field.strip_prefix("e="))).unwrap_or("0");
                requests.fetch_add(1, Relaxed);
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{epoch}", epoch.len());
                if connection.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}
