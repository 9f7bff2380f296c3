//! The edge's side: which gates are reached by trunk, and the channels that wait for their next request.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::HELLO;
use super::channel::Trunk;
use super::drive::drive;
use super::state::Side;
use crate::metrics::Counts;
use crate::pool::{Hop, Link, Pool, connect_tcp};

/// Requests under way to one gate from which on a trunk pays.
const PAYS: u64 = 4;
/// How long nobody is asked again who did not know of trunks, or did not answer.
const REFUSED: Duration = Duration::from_secs(60);
/// How long the answer to a hello may take.
const HELLO_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum Known {
    Asking,
    Open(Arc<Trunk>),
    Refused(Instant),
}

/// One thread's trunks.
#[derive(Debug)]
pub(crate) struct Trunks {
    known: Arc<Mutex<Table>>,
    pool: Pool,
    counts: Arc<Counts>,
}

type Table = HashMap<SocketAddr, Known, FixedState>;

impl Trunks {
    pub(crate) fn new(most: usize, within: Duration, counts: Arc<Counts>) -> Self {
        Self { known: Arc::default(), pool: Pool::new(most, within), counts }
    }

    /// A channel to there, where there is a trunk; where one would pay it is asked for.
    #[inline]
    pub(crate) fn take(&self, address: SocketAddr, now: Instant, under_way: u64) -> Option<Link> {
        if let Some(link) = self.pool.take(address, now, false) {
            return Some(link);
        }
        let mut known = self.lock();
        match known.get(&address) {
            Some(Known::Asking) => return None,
            Some(Known::Refused(at)) if now.saturating_duration_since(*at) < REFUSED => return None,
            Some(Known::Open(trunk)) => {
                if let Some(channel) = trunk.open() {
                    return Some(Link { stream: Hop::Shared(channel), used: true });
                }
            }
            Some(Known::Refused(_)) | None => {}
        }
        if under_way >= PAYS {
            known.insert(address, Known::Asking);
            let (known, counts) = (self.known.clone(), self.counts.clone());
            tokio::spawn(async move { run(address, &known, &counts).await });
        }
        None
    }

    /// Keeps a channel for the next request.
    #[inline]
    pub(crate) fn put(&self, address: SocketAddr, link: Link, now: Instant) {
        self.pool.put(address, link, now);
    }

    /// Drops channels that waited too long, and trunks without any.
    pub(crate) fn sweep(&self) {
        self.pool.sweep();
        self.lock().retain(|_, known| match known {
            Known::Asking => true,
            Known::Refused(at) => at.elapsed() < REFUSED,
            Known::Open(trunk) => trunk.with(|state| {
                if state.is_unused() {
                    state.retire();
                }
                !state.is_over()
            }),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(address: SocketAddr, known: &Mutex<Table>, counts: &Counts) {
    let note = |what| known.lock().unwrap_or_else(PoisonError::into_inner).insert(address, what);
    match tokio::time::timeout(HELLO_WITHIN, ask(address)).await {
        Ok(Ok(stream)) => {
            let trunk = Trunk::new(Side::Opens);
            note(Known::Open(trunk.clone()));
            counts.trunk();
            if let Err(error) = drive(&stream, &trunk, |_| {}).await {
                tracing::debug!(%address, %error, "a trunk broke");
            }
        }
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "no trunk");
            note(Known::Refused(Instant::now()));
        }
        Err(_) => {
            note(Known::Refused(Instant::now()));
        }
    }
}

async fn ask(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect_tcp(address, HELLO_WITHIN).await?;
    stream.write_all(&HELLO).await?;
    let mut hello = [0; HELLO.len()];
    // The first octet says it: others answer with more or less.
    stream.read_exact(&mut hello[..1]).await?;
    if hello[0] == HELLO[0] {
        stream.read_exact(&mut hello[1..]).await?;
    }
    if hello == HELLO { Ok(stream) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "it does not know of trunks")) }
}
