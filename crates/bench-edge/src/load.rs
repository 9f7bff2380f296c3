//! The load: connections that ask, wait for the whole answer, look at it, and ask again.

mod h2;
mod wire;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::backend::length;
use crate::cases::{Case, Transport};
use crate::report::say;
use crate::world::{Random, domain};
use wire::{Stream, Wire};

/// Before anything counts.
const WARM: Duration = Duration::from_millis(500);
/// Requests a second of the paced case.
const PACE: u64 = 8000;
/// Octets of an upload.
const UPLOAD: usize = 8 * 1024 * 1024;
/// Octets of a message.
const MESSAGE: usize = 128;
/// Latencies are counted by ten microseconds, up to a second.
const STEP_US: u64 = 10;
const STEPS: usize = 100_000;

/// What is asked of the load.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[arg(long)]
    target: SocketAddr,
    #[arg(long)]
    case: Case,
    #[arg(long)]
    seconds: f64,
    #[arg(long)]
    domains: usize,
    #[arg(long)]
    seed: u64,
    /// The certificate that is shown under TLS.
    #[arg(long)]
    certificate: PathBuf,
    /// Ask once for every domain, and nothing else.
    #[arg(long)]
    once: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// How many units were done.
    pub done: u64,
    /// How many failed.
    pub failed: u64,
    /// The first failure.
    pub failure: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// Microseconds within which so many were answered.
    pub p50: u64,
    /// As `p50`.
    pub p99: u64,
    /// As `p50`.
    pub p999: u64,
}

/// What all connections share.
struct Shared {
    options: Options,
    wire: Wire,
    domains: Vec<String>,
    counting: Cell<bool>,
    end: Cell<Option<Instant>>,
    done: Cell<u64>,
    failed: Cell<u64>,
    failure: RefCell<Option<String>>,
    latencies: RefCell<Vec<u32>>,
}

/// Says `begin` when what follows counts, and the outcome at the end.
pub fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, drive(options.clone()))
}

async fn drive(options: Options) -> Result<()> {
    let (case, seconds) = (options.case, options.seconds);
    let shared = Rc::new(Shared {
        wire: Wire::new(options.target, case.transport(), &options.certificate)?,
        domains: (0..options.domains).map(domain).collect(),
        options,
        counting: Cell::new(false),
        end: Cell::new(None),
        done: Cell::new(0),
        failed: Cell::new(0),
        failure: RefCell::new(None),
        latencies: RefCell::new(vec![0; STEPS]),
    });
    if shared.options.once {
        return once(&shared).await;
    }
    if case.work() == Case::Idle {
        return idle(&shared).await;
    }
    let tasks: Vec<_> = (0..case.connections()).map(|n| tokio::task::spawn_local(connection(shared.clone(), n))).collect();
    tokio::time::sleep(WARM).await;
    let began = Instant::now();
    shared.end.set(Some(began + Duration::from_secs_f64(seconds)));
    shared.counting.set(true);
    say("begin");
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    shared.counting.set(false);
    let took = began.elapsed().as_secs_f64();
    say(&serde_json::to_string(&shared.outcome(took))?);
    for task in tasks {
        task.abort();
    }
    Ok(())
}

impl Shared {
    fn host(&self, random: &mut Random) -> &str {
        &self.domains[usize::try_from(random.next()).unwrap_or_default() % self.domains.len()]
    }

    async fn open(&self, random: &mut Random) -> Result<Stream> {
        let host = self.host(random).to_owned();
        self.wire.open(&host, random).await
    }

    fn count(&self, began: Instant, units: u64) {
        if self.counting.get() {
            self.done.set(self.done.get() + units);
            let step = usize::try_from(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX) / STEP_US).unwrap_or(STEPS);
            self.latencies.borrow_mut()[step.min(STEPS - 1)] += 1;
        }
    }

    fn outcome(&self, seconds: f64) -> Outcome {
        let latencies = self.latencies.borrow();
        let all: u64 = latencies.iter().map(|&count| u64::from(count)).sum();
        let within = |share: f64| {
            let (mut seen, wanted) = (0, (all as f64 * share) as u64);
            let step = latencies.iter().position(|&count| {
                seen += u64::from(count);
                seen > wanted
            });
            step.map_or(0, |step| (step as u64 + 1) * STEP_US)
        };
        Outcome {
            done: self.done.get(),
            failed: self.failed.get(),
            failure: self.failure.borrow().clone(),
            seconds,
            p50: within(0.5),
            p99: within(0.99),
            p999: within(0.999),
        }
    }
}

/// One connection, opened anew when it fails: the failure is counted.
async fn connection(shared: Rc<Shared>, n: usize) {
    let mut random = Random::new(shared.options.seed.wrapping_mul(1000) + n as u64);
    loop {
        if let Err(error) = requests(&shared, &mut random).await {
            shared.failed.set(shared.failed.get() + 1);
            shared.failure.borrow_mut().get_or_insert(format!("{error:#}"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn requests(shared: &Rc<Shared>, random: &mut Random) -> Result<()> {
    let case = shared.options.case;
    if case.transport() == Transport::H2 {
        return h2::requests(shared, random).await;
    }
    match case.work() {
        Case::Small | Case::Pair => keep_asking(shared, random, "/small", 1024, None).await,
        Case::Large => keep_asking(shared, random, "/large", 64 * 1024, None).await,
        Case::Paced => {
            let each = Duration::from_micros(1_000_000 * Case::Paced.connections() as u64 / PACE);
            keep_asking(shared, random, "/small", 1024, Some(each)).await
        }
        Case::Connect => {
            let began = Instant::now();
            let mut stream = shared.open(random).await?;
            stream.write_all(&request(shared, random, "GET /small", "Connection: close\r\n")).await?;
            stream.flush().await?;
            answer(&mut stream, &mut vec![0; 8192], 1024).await?;
            shared.count(began, 1);
            Ok(())
        }
        Case::Upload => upload(shared, random).await,
        Case::Websocket => websocket(shared, random).await,
        _ => bail!("no load"),
    }
}

/// A browser's request for one of the domains. It also says whose it claims to be, which must not be believed.
fn request(shared: &Shared, random: &mut Random, line: &str, more: &str) -> Vec<u8> {
    request_for(shared.host(random), line, more)
}

fn request_for(host: &str, line: &str, more: &str) -> Vec<u8> {
    format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n\
         Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nAtoll-Tenant: forged\r\n{more}\r\n"
    )
    .into_bytes()
}

async fn keep_asking(shared: &Shared, random: &mut Random, path: &str, body: usize, each: Option<Duration>) -> Result<()> {
    let mut stream = shared.open(random).await?;
    let mut data = vec![0; body + 8192];
    let line = format!("GET {path}");
    let mut pace = each.map(|each| {
        let first = each.mul_f64((random.next() % 1000) as f64 / 1000.0);
        let mut pace = tokio::time::interval_at(tokio::time::Instant::now() + first, each);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        pace
    });
    loop {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let request = request(shared, random, &line, "");
        let began = Instant::now();
        stream.write_all(&request).await?;
        stream.flush().await?;
        answer(&mut stream, &mut data, body).await?;
        shared.count(began, 1);
    }
}

/// Reads one whole answer and looks at its status and length.
async fn answer(stream: &mut Stream, data: &mut Vec<u8>, body: usize) -> Result<()> {
    let (mut end, mut all) = (0, None);
    loop {
        if end == data.len() {
            data.resize(end + 8192, 0);
        }
        let count = stream.read(&mut data[end..]).await?;
        ensure!(count > 0, "the connection ended within an answer");
        end += count;
        if all.is_none()
            && let Some(at) = data[..end].windows(4).position(|window| window == b"\r\n\r\n")
        {
            let head = &data[..at + 4];
            ensure!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head[..at.min(60)]));
            let length = length(head).context("an answer without Content-Length")?;
            ensure!(length == body, "{length} octets instead of {body}");
            all = Some(at + 4 + body);
        }
        if let Some(all) = all {
            ensure!(end <= all, "more than an answer");
            if end == all {
                return Ok(());
            }
        }
    }
}

async fn upload(shared: &Shared, random: &mut Random) -> Result<()> {
    let mut stream = shared.open(random).await?;
    let (part, mut data) = (vec![b'x'; 256 * 1024], vec![0; 8192]);
    loop {
        let began = Instant::now();
        stream.write_all(&request(shared, random, "POST /upload", &format!("Content-Length: {UPLOAD}\r\n"))).await?;
        for _ in 0..UPLOAD / part.len() {
            stream.write_all(&part).await?;
        }
        stream.flush().await?;
        answer(&mut stream, &mut data, UPLOAD.to_string().len()).await?;
        shared.count(began, (UPLOAD / (1024 * 1024)) as u64);
    }
}

async fn websocket(shared: &Shared, random: &mut Random) -> Result<()> {
    let mut stream = shared.open(random).await?;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    stream.write_all(&request(shared, random, "GET /socket", upgrade)).await?;
    stream.flush().await?;
    let (mut data, mut end) = (vec![0; 8192], 0);
    while !data[..end].ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut data[end..]).await?;
        ensure!(count > 0, "no upgrade");
        end += count;
    }
    ensure!(data.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&data[..end.min(60)]));
    let message = [b'm'; MESSAGE];
    loop {
        let began = Instant::now();
        stream.write_all(&message).await?;
        stream.flush().await?;
        stream.read_exact(&mut data[..MESSAGE]).await?;
        ensure!(data[..MESSAGE] == message, "another message came back");
        shared.count(began, 1);
    }
}

/// Every domain once, one after the other: what is computed at a domain's first request is not what a request costs.
async fn once(shared: &Shared) -> Result<()> {
    let mut stream = shared.open(&mut Random::new(shared.options.seed)).await?;
    let mut data = vec![0; 8192];
    for host in &shared.domains {
        stream.write_all(&request_for(host, "GET /small", "")).await?;
        stream.flush().await?;
        stream.flush().await?;
        answer(&mut stream, &mut data, 1024).await?;
    }
    Ok(())
}

/// Opens connections, asks once on each, and holds them. `begin` is said before the first, the outcome when all are silent.
async fn idle(shared: &Shared) -> Result<()> {
    let mut random = Random::new(shared.options.seed);
    say("begin");
    let mut kept = Vec::new();
    for _ in 0..shared.options.case.connections() {
        let mut stream = shared.open(&mut random).await?;
        stream.write_all(&request(shared, &mut random, "GET /small", "")).await?;
        stream.flush().await?;
        answer(&mut stream, &mut vec![0; 8192], 1024).await?;
        kept.push(stream);
    }
    // Whatever a proxy gives back, it does so after a moment.
    tokio::time::sleep(Duration::from_secs_f64(shared.options.seconds)).await;
    say(&serde_json::to_string(&Outcome { done: kept.len() as u64, seconds: shared.options.seconds, ..Outcome::default() })?);
    // They stay open until the measurement has looked.
    std::io::stdin().read_line(&mut String::new())?;
    drop(kept);
    Ok(())
}
