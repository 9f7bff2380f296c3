//! Connections that wait for their next request.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use rustix::net::RecvFlags;
use tokio::net::TcpStream;

use crate::buffer::tune_stream;
use crate::stream::Stream;
use crate::trunk::Channel;

/// How long an upstream may acknowledge nothing.
const VANISHED: Duration = Duration::from_secs(30);

/// A connection to an upstream, between messages when it is in the pool. What is read from it stands on the desk of whoever uses it.
#[derive(Debug)]
pub(crate) struct Link {
    /// What carries it.
    pub stream: Hop,
    /// It carried a request before.
    pub used: bool,
}

/// What carries requests to an upstream.
#[derive(Debug)]
pub(crate) enum Hop {
    /// A connection of its own.
    Own(TcpStream),
    /// One of many in one connection.
    Shared(Channel),
}

impl Hop {
    /// Open, and nothing was sent: an octet nobody asked for belongs to no answer of ours.
    fn is_silent(&self, surely: bool) -> bool {
        match self {
            Self::Own(stream) => is_silent(stream, surely),
            Self::Shared(channel) => channel.is_silent(),
        }
    }
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
            if now.saturating_duration_since(next.since) < self.within && next.link.stream.is_silent(surely) {
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
            links.retain(|idle| now.saturating_duration_since(idle.since) < self.within && idle.link.stream.is_silent(true));
            !links.is_empty()
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Vec<Idle>, FixedState>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Opens a connection.
pub(crate) async fn connect(address: SocketAddr, within: Duration) -> io::Result<Link> {
    Ok(Link { stream: Hop::Own(connect_tcp(address, within).await?), used: false })
}

/// Opens a socket.
pub(crate) async fn connect_tcp(address: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(within, TcpStream::connect(address)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    tune_stream(&stream);
    // An upstream whose machine or network vanished acknowledges nothing; it must not hold a request for the quarter of an hour that TCP would try.
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(VANISHED));
    Ok(stream)
}

fn is_silent(stream: &TcpStream, surely: bool) -> bool {
    let would_block = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    // The first look costs no call where nothing was reported since the connection was last read.
    let nothing_reported = stream.try_read(&mut [0]).is_err_and(|error| would_block(&error));
    let nothing_there = || rustix::net::recv(stream, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_err_and(|error| would_block(&error.into()));
    nothing_reported && (!surely || nothing_there())
}

impl Stream for Hop {
    const SECURE: bool = false;

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Own(stream) => Stream::readable(stream).await,
            Self::Shared(channel) => channel.readable().await,
        }
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Own(stream) => Stream::try_read(stream, into),
            Self::Shared(channel) => channel.try_read(into),
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Own(stream) => Stream::writable(stream).await,
            Self::Shared(channel) => channel.writable().await,
        }
    }

    fn try_write(&self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Own(stream) => Stream::try_write(stream, from),
            Self::Shared(channel) => channel.try_write(from),
        }
    }

    fn try_write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Own(stream) => Stream::try_write_vectored(stream, from),
            Self::Shared(channel) => channel.try_write_vectored(from),
        }
    }

    async fn closed(&self) {
        match self {
            Self::Own(stream) => stream.closed().await,
            Self::Shared(channel) => channel.closed().await,
        }
    }

    async fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Own(stream) => Stream::shutdown(stream).await,
            Self::Shared(channel) => channel.shutdown().await,
        }
    }

    fn reset_on_drop(&self) {
        match self {
            Self::Own(stream) => stream.reset_on_drop(),
            Self::Shared(channel) => channel.reset_on_drop(),
        }
    }
}
