//! Connections that wait for their next request.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::buffer::{Buffer, tune};

/// How long an upstream may acknowledge nothing.
const VANISHED: Duration = Duration::from_secs(30);

/// A connection to an upstream, between messages when it is in the pool.
#[derive(Debug)]
pub(crate) struct Link {
    /// The socket.
    pub stream: TcpStream,
    /// What was read from it.
    pub buffer: Buffer,
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
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
    most: usize,
    within: Duration,
}

impl Pool {
    pub(crate) fn new(most: usize, within: Duration) -> Self {
        Self { idle: Mutex::default(), most, within }
    }

    /// A connection that is still open and silent.
    pub(crate) fn take(&self, address: SocketAddr) -> Option<Link> {
        let mut idle = self.lock();
        let links = idle.get_mut(&address)?;
        while let Some(next) = links.pop() {
            if next.since.elapsed() < self.within && is_silent(&next.link.stream) {
                return Some(next.link);
            }
        }
        None
    }

    /// Keeps a connection; one that brought more than its message is dropped.
    pub(crate) fn put(&self, address: SocketAddr, mut link: Link) {
        if !link.buffer.is_empty() {
            return;
        }
        link.buffer.release();
        link.used = true;
        let mut idle = self.lock();
        let links = idle.entry(address).or_default();
        if links.len() < self.most {
            links.push(Idle { link, since: Instant::now() });
        }
    }

    /// Drops those that waited too long or were closed.
    pub(crate) fn sweep(&self) {
        let mut idle = self.lock();
        idle.retain(|_, links| {
            links.retain(|idle| idle.since.elapsed() < self.within && is_silent(&idle.link.stream));
            !links.is_empty()
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Opens a connection.
pub(crate) async fn connect(address: SocketAddr, within: Duration) -> io::Result<Link> {
    let stream = tokio::time::timeout(within, TcpStream::connect(address)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    tune(&stream);
    // An upstream whose machine or network vanished acknowledges nothing; it must not hold a request for the quarter of an hour that TCP would try.
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(VANISHED));
    Ok(Link { stream, buffer: Buffer::default(), used: false })
}

/// Open, and nothing was sent: an octet nobody asked for belongs to no answer of ours.
fn is_silent(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
