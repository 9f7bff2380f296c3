//! Whom a request may go to: health, load, and the choice among several.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// First and longest time for which one that refused a connection is passed over.
const FIRST_PAUSE_MS: u64 = 250;
const LONGEST_PAUSE_MS: u64 = 4000;

/// What a probe last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Not probed yet.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// One gate, or one instance. It is shared by everybody who sends to it, and counts what is under way.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    address: SocketAddr,
    ready: AtomicBool,
    draining: AtomicBool,
    weight: AtomicU32,
    health: AtomicU8,
    misses: AtomicU32,
    failures: AtomicU32,
    paused_until: AtomicU64,
    in_flight: AtomicU64,
}

impl Upstream {
    /// One that is taken to be ready, of weight 100.
    #[must_use]
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            address,
            ready: AtomicBool::new(true),
            draining: AtomicBool::new(false),
            weight: AtomicU32::new(100),
            health: AtomicU8::new(0),
            misses: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            paused_until: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it answers.
    #[must_use]
    #[inline]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests and connections under way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Takes nothing new.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// What is wanted of it: whether whoever runs it calls it ready, whether it is about to leave, and its share.
    pub fn set(&self, ready: bool, draining: bool, weight: u16) {
        self.ready.store(ready, Relaxed);
        self.draining.store(draining, Relaxed);
        self.weight.store(u32::from(weight), Relaxed);
    }

    /// What its probe last said.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.health.load(Relaxed) {
            1 => Health::Up,
            2 => Health::Down,
            _ => Health::Unknown,
        }
    }

    /// Notes a probe: one good answer is enough to be up, `misses` bad ones in a row are needed to be down.
    pub fn probed(&self, good: bool, misses: u32) {
        if good {
            self.misses.store(0, Relaxed);
            self.health.store(1, Relaxed);
            self.succeeded();
        } else if self.misses.fetch_add(1, Relaxed) + 1 >= misses {
            self.health.store(2, Relaxed);
        }
    }

    /// Notes that it refused a connection: it is passed over for a moment that grows.
    pub fn failed(&self) {
        let failures = self.failures.fetch_add(1, Relaxed).min(4);
        self.paused_until.store(now_ms() + (FIRST_PAUSE_MS << failures).min(LONGEST_PAUSE_MS), Relaxed);
    }

    /// Notes that it answers.
    pub fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
            self.paused_until.store(0, Relaxed);
        }
    }

    /// How willingly it is chosen, best first; `None` where never.
    fn rank(&self) -> Option<u8> {
        if self.is_draining() {
            return None;
        }
        // The clock is read only for those that failed.
        let paused = match self.paused_until.load(Relaxed) {
            0 => false,
            until => until > now_ms(),
        };
        match (self.ready.load(Relaxed), self.health(), paused) {
            (true, Health::Up | Health::Unknown, false) => Some(0),
            // Whoever calls it not ready may be away; its own answer counts then.
            (false, Health::Up, false) => Some(1),
            (true, _, _) => Some(2),
            (false, _, _) => None,
        }
    }
}

/// Counts one request or connection for as long as it lives.
#[derive(Debug)]
pub struct InFlight(Arc<Upstream>);

impl InFlight {
    /// Counts one more.
    #[must_use]
    #[inline]
    pub fn begin(upstream: &Arc<Upstream>) -> Self {
        upstream.in_flight.fetch_add(1, Relaxed);
        Self(upstream.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Several that can take each other's place.
#[derive(Debug, Clone, Default)]
pub struct Group(Arc<Several>);

#[derive(Debug, Default)]
struct Several {
    members: Box<[Arc<Upstream>]>,
    turn: AtomicUsize,
}

impl Group {
    /// Of these.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = Arc<Upstream>>) -> Self {
        Self(Arc::new(Several { members: members.into_iter().collect(), turn: AtomicUsize::default() }))
    }

    /// All of them.
    #[must_use]
    pub fn members(&self) -> &[Arc<Upstream>] {
        &self.0.members
    }

    /// The one with the least under way for its weight among the healthiest that were not tried; equals take turns. Weight 0 is chosen where nothing else is left.
    #[must_use]
    #[inline]
    pub fn pick(&self, tried: &[SocketAddr]) -> Option<Arc<Upstream>> {
        let Several { members, turn } = &*self.0;
        let count = members.len();
        let first = if count > 1 { turn.fetch_add(1, Relaxed) % count } else { 0 };
        let turned = members[first..].iter().chain(&members[..first]);
        let open = turned.filter(|member| !tried.contains(&member.address));
        let key = |member: &Arc<Upstream>| {
            let weight = u64::from(member.weight.load(Relaxed));
            member.rank().map(|rank| (rank, weight == 0, (member.in_flight() + 1) * 1000 / weight.max(1)))
        };
        // The first of equals is kept, so that turns count.
        let best = open.filter_map(|member| Some((key(member)?, member))).reduce(|best, next| if next.0 < best.0 { next } else { best });
        best.map(|(_, member)| member.clone())
    }
}

/// Milliseconds of a clock that never goes back.
fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// How a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The port accepts a connection.
    Tcp,
    /// A GET of this path answers 200 to 399.
    Http(String),
}

impl Probe {
    /// Asks once.
    pub async fn ask(&self, address: SocketAddr, within: Duration) -> bool {
        tokio::time::timeout(within, self.answer(address)).await.is_ok_and(|answer| answer.is_ok_and(|good| good))
    }

    async fn answer(&self, address: SocketAddr) -> std::io::Result<bool> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let Self::Http(path) = self else { return Ok(true) };
        let request = format!("GET {path} HTTP/1.1\r\nHost: probe.atoll.internal\r\nConnection: close\r\nUser-Agent: atoll-probe\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut line = [0; 12];
        stream.read_exact(&mut line).await?;
        Ok(line.starts_with(b"HTTP/1.") && matches!(line[9], b'2' | b'3'))
    }
}
