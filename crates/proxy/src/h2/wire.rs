//! A visitor's connection as the library of frames uses it: what it writes in one turn goes out in one piece.
//!
//! The library flushes behind every DATA frame, which would be a record and a call for each answer. Of eight answers that are ready together one call sends all, and
//! one record holds what fits.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::Stream as _;
use crate::tls::TlsStream;

/// Octets that are gathered before they are sent: what one record holds (RFC 8446, 5.1).
const RECORD: usize = 16 * 1024;
/// How long a visitor's end is waited for after ours, and how much is read meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 1024 * 1024;

/// The connection, which is left after the library has let go of it.
#[derive(Clone)]
pub(super) struct Wire(Arc<Inner>);

struct Inner {
    stream: TlsStream,
    // Never contended: all of a connection happens on one thread.
    gathered: Mutex<Gathered>,
}

/// What was written and not sent, without memory while that is nothing.
#[derive(Default)]
struct Gathered {
    octets: Vec<u8>,
    sent: usize,
}

impl Wire {
    pub(super) fn new(stream: TlsStream) -> Self {
        Self(Arc::new(Inner { stream, gathered: Mutex::default() }))
    }

    /// Drives work of the library's; what it wrote is sent when it has nothing more to do. All of its work must be driven so.
    pub(super) async fn drive<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            let done = work.as_mut().poll(cx);
            if done.is_pending() {
                // What keeps it from being sent also ends the next read or write.
                let _ = self.send(cx);
            }
            done
        })
        .await
    }

    /// Reads on until the visitor has ended too: a socket closed with unread octets resets the connection, and may destroy what is on its way.
    pub(super) async fn linger(&self) {
        let stream = &self.0.stream;
        let read = async {
            let mut space = [0; 1024];
            let mut octets = 0;
            while octets < LINGER_OCTETS {
                match stream.try_read(&mut space) {
                    Ok(0) => return,
                    Ok(count) => octets += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock && stream.readable().await.is_ok() => {}
                    Err(_) => return,
                }
            }
        };
        // The end of patience is an end like any other.
        let _ = tokio::time::timeout(LINGER, Box::pin(read)).await;
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends everything that was gathered.
    fn send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = self.gathered();
        while gathered.sent < gathered.octets.len() {
            let part = IoSlice::new(&gathered.octets[gathered.sent..]);
            gathered.sent += ready!(self.0.stream.poll_write(cx, &[part]))?;
        }
        *gathered = Gathered::default();
        self.0.stream.flushed(cx)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.stream.poll_read(cx, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(from)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let all: usize = from.iter().map(|part| part.len()).sum();
        let waiting = self.gathered().octets.len();
        if waiting > 0 && waiting + all > RECORD {
            ready!(self.send(cx))?;
        }
        // What fills records by itself is not copied together.
        if all >= RECORD {
            return self.0.stream.poll_write(cx, from);
        }
        let octets = &mut self.gathered().octets;
        octets.reserve_exact(RECORD.saturating_sub(octets.len()));
        for part in from {
            octets.extend_from_slice(part);
        }
        Poll::Ready(Ok(all))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The library's own turn ends later: [`Wire::drive`] sends.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(cx))?;
        self.0.stream.poll_end(cx)
    }
}
