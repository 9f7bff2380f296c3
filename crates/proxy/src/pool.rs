//! Connections that wait for their next request.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use rustix::net::RecvFlags;
use tokio::net::TcpStream;

use crate::buffer::tune_stream;

/// How long an upstream may acknowledge nothing.
const VANISHED: Duration = Duration::from_secs(30);

/// A connection to an upstream, between messages when it is in the pool. What is read from it stands on the desk of whoever uses it.
#[derive(Debug)]
pub(crate) struct Link {
    /// The socket.
    pub stream: TcpStream,
    /// It carried a request before.
    pub used: bool,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

/// One thread's idle connections, the latest used first.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>, FixedState>>,
    most: usize,
    within: Duration,
}

impl Pool {
    pub(crate) fn new(most: usize, within: Duration) -> Self {
        Self { idle: Mutex::default(), most, within }
    }

    /// A connection that is still open and silent, as far as is known; `surely` asks the kernel and not only what it said in this turn.
    #[inline]
    pub(crate) fn take(&self, address: SocketAddr, now: Instant, surely: bool) -> Option<Link> {
        let mut idle = self.lock();
        let links = idle.get_mut(&address)?;
        while let Some(next) = links.pop() {
            if now.saturating_duration_since(next.since) < self.within && is_silent(&next.link.stream, surely) {
                return Some(next.link);
            }
        }
        None
    }

    /// Keeps a connection that brought nothing but its message.
    #[inline]
    pub(crate) fn put(&self, address: SocketAddr, mut link: Link, now: Instant) {
        link.used = true;
        let mut idle = self.lock();
        let links = idle.entry(address).or_default();
        if links.len() < self.most {
            links.push(Idle { link, since: now });
        }
    }

    /// Drops those that waited too long or were closed.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut idle = self.lock();
        idle.retain(|_, links| {
            links.retain(|idle| now.saturating_duration_since(idle.since) < self.within && is_silent(&idle.link.stream, true));
            !links.is_empty()
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Vec<Idle>, FixedState>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Opens a connection.
pub(crate) async fn connect(address: SocketAddr, within: Duration) -> io::Result<Link> {
    let stream = tokio::time::timeout(within, TcpStream::connect(address)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    tune_stream(&stream);
    // An upstream whose machine or network vanished acknowledges nothing; it must not hold a request for the quarter of an hour that TCP would try.
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(VANISHED));
    Ok(Link { stream, used: false })
}

/// Open, and nothing was sent: an octet nobody asked for belongs to no answer of ours.
fn is_silent(stream: &TcpStream, surely: bool) -> bool {
    let would_block = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    // The first look costs no call where nothing was reported since the connection was last read.
    let nothing_reported = stream.try_read(&mut [0]).is_err_and(|error| would_block(&error));
    let nothing_there = || rustix::net::recv(stream, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_err_and(|error| would_block(&error.into()));
    nothing_reported && (!surely || nothing_there())
}
