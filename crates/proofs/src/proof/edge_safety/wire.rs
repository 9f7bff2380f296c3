//! A connection of plain octets: nothing is tidied up on the way, and everything that came is kept.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for anything that is expected, where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// One end of a connection.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Everything that came.
    pub all: Vec<u8>,
    /// Longest wait for anything.
    pub patience: Duration,
}

/// A final answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// It came to the end that its head announced.
    pub whole: bool,
}

impl Answer {
    /// Value of the first field of this name.
    pub fn find(&self, name: &str) -> Option<&str> {
        find(&self.head, name)
    }
}

/// Value of the first field of this name in a head.
fn find<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(this, _)| this.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self::over(TcpStream::connect(address).await?))
    }

    pub fn over(stream: TcpStream) -> Self {
        // What was sent must be on its way when it is said that it was, not when the other side has spoken. Where this fails, cases about that fail.
        let _ = stream.set_nodelay(true);
        Self { stream, unread: Vec::new(), all: Vec::new(), patience: PATIENCE }
    }

    /// Sends; `false` when the other side takes nothing more, which is often what is wanted.
    pub async fn send(&mut self, octets: &[u8]) -> bool {
        matches!(tokio::time::timeout(self.patience, self.stream.write_all(octets)).await, Ok(Ok(())))
    }

    /// Ends this direction.
    pub async fn end(&mut self) {
        // The other side may have gone before.
        let _ = self.stream.shutdown().await;
    }

    /// What came and was not taken.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Takes octets off the front.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        self.unread.drain(..count).collect()
    }

    /// Reads more; `false` at the end, however it came.
    pub async fn more(&mut self) -> Result<bool> {
        let mut part = [0; 16 * 1024];
        let read = tokio::time::timeout(self.patience, self.stream.read(&mut part)).await;
        let count = read.context("nothing came, and no end")?.unwrap_or(0);
        self.unread.extend_from_slice(&part[..count]);
        self.all.extend_from_slice(&part[..count]);
        Ok(count > 0)
    }

    /// Waits until this came, taking nothing that follows it.
    pub async fn until(&mut self, end: &[u8]) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Ok(self.take(at + end.len()));
            }
            if !self.more().await? {
                bail!("the connection ended before {:?}; left over: {:?}", show(end), show(&self.unread));
            }
        }
    }

    /// Waits until this came, and takes nothing.
    pub async fn see(&mut self, text: &[u8]) -> Result<()> {
        while !self.all.windows(text.len()).any(|window| window == text) {
            ensure!(self.more().await?, "the connection ended before {:?} came; there came {:?}", show(text), show(&self.all));
        }
        Ok(())
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> Result<Vec<u8>> {
        while self.more().await? {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// The next final answer, read as strictly as its specification; `None` where the connection ends before it.
    pub async fn answer(&mut self, bodiless: bool) -> Result<Option<Answer>> {
        loop {
            while self.unread.is_empty() {
                if !self.more().await? {
                    return Ok(None);
                }
            }
            let head = String::from_utf8_lossy(&self.until(b"\r\n\r\n").await?).into_owned();
            let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
            let status = status.with_context(|| format!("this is no head of an answer: {head:?}"))?;
            ensure!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']), "a head with control characters: {head:?}");
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let (body, whole) = if bodiless || matches!(status, 101 | 204 | 304) { (Vec::new(), true) } else { self.body(&head).await? };
            return Ok(Some(Answer { status, head, body, whole }));
        }
    }

    async fn body(&mut self, head: &str) -> Result<(Vec<u8>, bool)> {
        let (length, coding) = (find(head, "content-length"), find(head, "transfer-encoding"));
        ensure!(length.is_none() || coding.is_none(), "an answer with both a length and chunks: {head:?}");
        if let Some(length) = length {
            let length: usize = length.parse().with_context(|| format!("an odd length: {head:?}"))?;
            while self.unread.len() < length {
                if !self.more().await? {
                    return Ok((std::mem::take(&mut self.unread), false));
                }
            }
            return Ok((self.take(length), true));
        }
        if coding.is_none() {
            return Ok((self.rest().await?, true));
        }
        let mut body = Vec::new();
        loop {
            let Ok(line) = self.until(b"\r\n").await else { return Ok((body, false)) };
            let size =
                usize::from_str_radix(std::str::from_utf8(&line)?.trim_end(), 16).with_context(|| format!("an odd chunk: {:?}", show(&line)))?;
            if size == 0 {
                while self.until(b"\r\n").await? != b"\r\n" {}
                return Ok((body, true));
            }
            while self.unread.len() < size + 2 {
                if !self.more().await? {
                    body.append(&mut self.unread);
                    return Ok((body, false));
                }
            }
            body.extend(self.take(size));
            ensure!(self.take(2) == b"\r\n", "a chunk without its end");
        }
    }
}

/// Octets for people, not too many.
pub fn show(octets: &[u8]) -> String {
    const MOST: usize = 700;
    let text = octets[..octets.len().min(MOST)].escape_ascii().to_string();
    if octets.len() > MOST { format!("{text}... ({} octets)", octets.len()) } else { text }
}
