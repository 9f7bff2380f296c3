//! A visitor's connection as the relay uses it. Every wait, read and write on one goes through [`Stream`], so that it may be plain or encrypted.
//!
//! Nothing here polls: a try either does something at once or says `WouldBlock`, and the two waits say when it makes sense to try again. All methods take
//! `&self`, because an answer is sent while a body is still read.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::time::Duration;

use rustix::io::writev;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Both directions of a connection.
pub(crate) trait Stream: Send + Sync + 'static {
    /// Whether nobody on the way can read it.
    const SECURE: bool;

    /// Waits until [`Stream::try_read`] may find something. It may be wrong.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Reads what is there; 0 is the end.
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Waits until [`Stream::try_write`] may take something. It may be wrong.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Writes what finds room.
    fn try_write(&self, from: &[u8]) -> io::Result<usize>;

    /// Writes what finds room of several parts, in order.
    fn try_write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Waits until the other side has closed; for ever when it sends instead. Nothing is lost of what it sends.
    fn closed(&self) -> impl Future<Output = ()> + Send;

    /// Says that nothing more will be written.
    fn shutdown(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// From now on the connection's end is a reset, which tells the other side that something is missing.
    fn reset_on_drop(&self);
}

impl Stream for TcpStream {
    const SECURE: bool = false;

    // All that waits for one direction of a connection is one task's: the place for its one waker is cheaper than the list of many.
    async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_read_ready(cx)).await
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let room = into.len();
        drained(self, Interest::READABLE, room, || Ok(recv(self, into, RecvFlags::empty())?.0))
    }

    async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write_ready(cx)).await
    }

    fn try_write(&self, from: &[u8]) -> io::Result<usize> {
        drained(self, Interest::WRITABLE, from.len(), || send(self, from, SendFlags::NOSIGNAL))
    }

    fn try_write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let all = from.iter().map(|part| part.len()).sum();
        drained(self, Interest::WRITABLE, all, || writev(self, from))
    }

    async fn closed(&self) {
        let mut octet = [0];
        loop {
            if poll_fn(|cx| self.poll_read_ready(cx)).await.is_err() {
                return;
            }
            match self.try_io(Interest::READABLE, || Ok(recv(self, &mut octet, RecvFlags::PEEK)?.0)) {
                Ok(0) => return,
                Ok(_) => return std::future::pending().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    async fn shutdown(&self) -> io::Result<()> {
        socket2::SockRef::from(self).shutdown(std::net::Shutdown::Write)
    }

    fn reset_on_drop(&self) {
        // Where it fails the end is an ordinary one.
        let _ = socket2::SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

/// A read that did not fill its room, or a write that was not taken whole, leaves nothing to do until the kernel reports the socket anew (its reports are
/// edges). Noting that at once spares the call that would only learn it: one in three on the way of a small request.
fn drained(stream: &TcpStream, interest: Interest, all: usize, call: impl FnOnce() -> rustix::io::Result<usize>) -> io::Result<usize> {
    let mut part = None;
    let done = stream.try_io(interest, || match call() {
        Ok(count) if 0 < count && count < all => {
            part = Some(count);
            Err(io::ErrorKind::WouldBlock.into())
        }
        other => Ok(other?),
    });
    part.map_or(done, Ok)
}
