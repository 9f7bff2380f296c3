//! Readiness: questions to an instance's address from the host, one task an instance.

use std::net::SocketAddr;
use std::time::Duration;

use engine::roll::Probed;
use model::v1alpha1::{Probe, ProbeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// Pause between questions until the first good answer, where the probe's own is longer: a start should not wait for a slow rhythm.
const EAGER: Duration = Duration::from_millis(250);
/// As much of an answer as is read.
const HEAD: usize = 1024;

/// Whom to ask, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) probe: Probe,
}

/// Asks for ever and tells each change. An adopted instance that was ready must fail as often in a row as a probed one before it counts as not ready:
/// nothing is told of it before that is known.
pub(crate) async fn run(question: Question, tell: impl AsyncFn(Probed)) {
    let Question { address, probe } = question;
    let (mut failures, mut told) = (0, None);
    let mut now = Probed::default();
    let mut next = Instant::now();
    loop {
        sleep_until(next).await;
        let asked = Instant::now();
        match ask(address, &probe).await {
            Ok(()) => {
                failures = 0;
                now = Probed { ready: true, ever_ready: true, words: String::new() };
            }
            Err(words) => {
                failures += 1;
                now.words = words;
                if failures >= probe.failures.max(1) {
                    now.ready = false;
                }
            }
        }
        let known = failures == 0 || failures >= probe.failures.max(1) || told.is_some();
        if known && told.as_ref() != Some(&now) {
            tell(now.clone()).await;
            told = Some(now.clone());
        }
        let every = probe.every.duration().max(Duration::from_millis(50));
        next = asked + if now.ever_ready && failures == 0 { every } else { every.min(EAGER) };
    }
}

/// One question.
async fn ask(address: Option<SocketAddr>, probe: &Probe) -> Result<(), String> {
    let within = probe.within.duration();
    let Some(address) = address.filter(|address| address.port() != 0) else { return Ok(()) };
    let answer = async {
        match &probe.check {
            Some(ProbeKind::Running {}) => Ok(()),
            Some(ProbeKind::Tcp {}) | None => connect(address).await.map(drop),
            Some(ProbeKind::Http(path)) => http(address, path).await,
        }
    };
    timeout(within, answer).await.unwrap_or_else(|_| Err(format!("no answer from {address} within {}", probe.within)))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| format!("no connection to {address}: {error}"))
}

/// A GET whose answer begins with a status of 200 to 399.
async fn http(address: SocketAddr, path: &str) -> Result<(), String> {
    let mut stream = connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: atoll-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    let failed = |error: std::io::Error| format!("GET {path} of {address}: {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::with_capacity(HEAD);
    while head.len() < HEAD && !head.contains(&b'\n') {
        let mut part = [0; 256];
        let length = stream.read(&mut part).await.map_err(failed)?;
        if length == 0 {
            break;
        }
        head.extend_from_slice(&part[..length]);
    }
    match status(&head) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("GET {path} of {address} answers {status}")),
        None => Err(format!("GET {path} of {address}: the answer is no HTTP")),
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\n').next()?).ok()?;
    let (version, rest) = line.split_once(' ')?;
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    rest.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests;
