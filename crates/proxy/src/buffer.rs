//! A read buffer, and reads and writes on a shared socket.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// Octets that were read and not used yet.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

/// Usual size of a read.
pub(crate) const READ: usize = 16 * 1024;

impl Buffer {
    /// What is there.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Whether nothing is there.
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes octets off the front.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Gives the memory back while nothing is there.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Room for at least `READ / 2` octets.
    fn room(&mut self) -> &mut [u8] {
        if self.data.len() - self.end < READ / 2 {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.data.len() - self.end < READ / 2 {
                self.data.resize(self.end + READ, 0);
            }
        }
        &mut self.data[self.end..]
    }

    /// Reads what is there, or waits for it. 0 is the end.
    pub(crate) async fn read(&mut self, stream: &TcpStream) -> io::Result<usize> {
        loop {
            match stream.try_read(self.room()) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`Buffer::read`]; `TimedOut` when nothing comes for so long.
    pub(crate) async fn read_within(&mut self, stream: &TcpStream, within: Duration) -> io::Result<usize> {
        match tokio::time::timeout(within, self.read(stream)).await {
            Ok(read) => read,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Writes all; `TimedOut` when nothing is taken for so long.
pub(crate) async fn write_all(stream: &TcpStream, mut bytes: &[u8], within: Duration) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
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

/// Waits until the other side has closed; for ever when it sends instead.
pub(crate) async fn closed(stream: &TcpStream) {
    let mut octet = [0];
    loop {
        match stream.peek(&mut octet).await {
            Ok(0) | Err(_) => return,
            Ok(_) => std::future::pending::<()>().await,
        }
    }
}

/// Sets what every connection of ours has: no delay of small writes, and an end to idle peers that vanished without a word.
/// (No time-out for data that is not taken: a visitor may pause a download.)
pub(crate) fn tune(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let alive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(20)).with_interval(Duration::from_secs(5)).with_retries(3);
    // Failures cost latency or patience, not correctness.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&alive);
}
