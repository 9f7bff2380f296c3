//! A read buffer, and reads and writes that wait.

use std::io::{self, IoSlice};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::stream::Stream;

/// Octets that were read and not used yet.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read filled all room: there is more where it came from.
    full: bool,
}

/// Usual size of a read.
pub(crate) const READ: usize = 16 * 1024;
/// Size of a read of something long: fewer calls for the same octets.
const LONG_READ: usize = 64 * 1024;

impl Buffer {
    /// What is there.
    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Whether nothing is there.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes octets off the front.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Forgets what is there and keeps the memory.
    #[inline]
    pub(crate) const fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Room for at least `READ / 2` octets, and for many where many are coming.
    #[inline]
    fn room(&mut self) -> &mut [u8] {
        let (least, size) = if self.full { (LONG_READ / 2, LONG_READ) } else { (READ / 2, READ) };
        if self.data.len() - self.end < least {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.data.len() - self.end < least {
                self.data.resize(self.end + size, 0);
            }
        }
        &mut self.data[self.end..]
    }

    /// Reads what is there; 0 is the end, `None` means that nothing is there yet.
    pub(crate) fn try_read(&mut self, stream: &impl Stream) -> io::Result<Option<usize>> {
        loop {
            let room = self.room();
            let all = room.len();
            match stream.try_read(room) {
                Ok(count) => {
                    self.full = count == all;
                    self.end += count;
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what is there, or waits for it. 0 is the end.
    pub(crate) async fn read(&mut self, stream: &impl Stream) -> io::Result<usize> {
        loop {
            if let Some(count) = self.try_read(stream)? {
                return Ok(count);
            }
            stream.readable().await?;
        }
    }
}

/// Writes all; `TimedOut` when nothing is taken for so long.
pub(crate) async fn write_all(stream: &impl Stream, bytes: &[u8], within: Duration) -> io::Result<()> {
    write_both(stream, bytes, &[], within).await
}

/// Writes two parts, the second right behind the first, without copying them together.
pub(crate) async fn write_both(stream: &impl Stream, mut first: &[u8], mut second: &[u8], within: Duration) -> io::Result<()> {
    if first.is_empty() {
        (first, second) = (second, first);
    }
    while !first.is_empty() {
        let written =
            if second.is_empty() { stream.try_write(first) } else { stream.try_write_vectored(&[IoSlice::new(first), IoSlice::new(second)]) };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) if count < first.len() => first = &first[count..],
            Ok(count) => (first, second) = (&second[count - first.len()..], &[]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match tokio::time::timeout(within, stream.writable()).await {
                Ok(ready) => ready?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sets what every connection of ours has: no delay of small writes, and an end to idle peers that vanished without a word.
/// (No time-out for data that is not taken: a visitor may pause a download.) A listening socket hands it on to what it accepts.
pub(crate) fn tune(socket: &socket2::SockRef<'_>) {
    let alive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(20)).with_interval(Duration::from_secs(5)).with_retries(3);
    // Failures cost latency or patience, not correctness.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&alive);
}

/// As [`tune`], for one connection.
pub(crate) fn tune_stream(stream: &TcpStream) {
    tune(&socket2::SockRef::from(stream));
}
