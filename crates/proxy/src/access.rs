//! The access log: one line of JSON a request, written by a thread of its own. Requests never wait for it; lines that find no room are counted and dropped.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde::Serialize;

/// Lines that may wait.
const WAITING: usize = 8192;

/// What is known of a request at its end.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    pub time: jiff::Timestamp,
    pub log: &'static str,
    pub id: &'a str,
    pub client: IpAddr,
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<SocketAddr>,
    #[serde(skip_serializing_if = "is_one")]
    pub tries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The answer was cut short.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_one(tries: &u32) -> bool {
    *tries <= 1
}

/// Where lines go.
#[derive(Debug, Clone)]
pub struct AccessLog(Option<SyncSender<Vec<u8>>>);

impl AccessLog {
    /// Nowhere.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// To standard output.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn stdout() -> std::io::Result<Self> {
        Self::to(std::io::stdout())
    }

    /// To any writer, which the log's thread keeps until the last clone of the log is gone.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn to(writer: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write(&receiver, writer))?;
        Ok(Self(Some(sender)))
    }

    /// Whether anybody reads.
    pub(crate) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Hands a line over; `false` where there is no room.
    pub(crate) fn send(&self, line: &Line<'_>) -> bool {
        let Some(sender) = &self.0 else { return true };
        match serde_json::to_vec(line) {
            Ok(mut text) => {
                text.push(b'\n');
                sender.try_send(text).is_ok()
            }
            Err(_) => false,
        }
    }
}

/// Writes what waits as one, then waits.
fn write(lines: &Receiver<Vec<u8>>, mut writer: impl Write) {
    let mut batch = Vec::new();
    while let Ok(line) = lines.recv() {
        batch.clear();
        batch.extend_from_slice(&line);
        while batch.len() < 64 * 1024
            && let Ok(line) = lines.try_recv()
        {
            batch.extend_from_slice(&line);
        }
        // A log that cannot be written must not stop requests; the thread goes on for the case that it can be again.
        let _ = writer.write_all(&batch).and_then(|()| writer.flush());
    }
}
