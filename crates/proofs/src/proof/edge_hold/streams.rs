//! WebSockets and event streams of the tenant, on both sides.
//!
//! What a stream says holds whether its cell owns the tenant at that moment. After a last word a visitor comes again at once; without one the stream was cut.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Application, HOST};
use crate::fleet::Answer;

/// Between two messages of a stream.
const PAUSE: Duration = Duration::from_millis(5);
/// Time for anything that a visitor waits for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The frame that closes a WebSocket, and its word: service restart.
const CLOSE: u8 = 8;
const RESTART: [u8; 2] = 1012_u16.to_be_bytes();

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Socket,
    Events,
}

/// What visitors of streams saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Streams that ended with a word to come again.
    pub ended: usize,
    /// Those that ended without.
    pub cut: usize,
    /// What was said by a cell that does not own the tenant.
    pub wrong: usize,
    /// Streams that could not be opened.
    pub failed: Vec<String>,
}

/// How one stream ended.
enum End {
    Told,
    Cut,
    /// The proof is over.
    Over,
}

impl Seen {
    pub fn add(&mut self, other: Self) {
        self.ended += other.ended;
        self.cut += other.cut;
        self.wrong += other.wrong;
        self.failed.extend(other.failed);
    }

    fn hear(&mut self, said: &[u8]) {
        self.wrong += usize::from(said.windows(WRONG.len()).any(|part| part == WRONG.as_bytes()));
    }
}

const OWNED: &str = "owned";
const WRONG: &str = "wrong";

impl Kind {
    pub const fn of(number: usize) -> Self {
        // Two at each edge.
        if (number / 2).is_multiple_of(2) { Self::Socket } else { Self::Events }
    }

    /// The stream that a request asks for.
    pub fn asked(request: &Request<Incoming>) -> Option<Self> {
        match request.uri().path() {
            "/socket" => Some(Self::Socket),
            "/events" => Some(Self::Events),
            _ => None,
        }
    }
}

fn word(application: &Application) -> &'static str {
    if application.owns.load(SeqCst) { OWNED } else { WRONG }
}

/// The application's side.
pub fn answer(application: Arc<Application>, kind: Kind, request: Request<Incoming>) -> Answer {
    let mut answer = match kind {
        Kind::Socket => {
            tokio::spawn(async move {
                if let Ok(upgraded) = hyper::upgrade::on(request).await {
                    // Its end is the visitor's affair.
                    let _ = echo(&application, TokioIo::new(upgraded)).await;
                }
            });
            let mut answer = crate::fleet::whole(Bytes::new());
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            answer
        }
        Kind::Events => {
            let events = futures::stream::unfold(application, |application| async move {
                tokio::time::sleep(PAUSE).await;
                let event = Bytes::from(format!("data: {}\n\n", word(&application)));
                Some((Ok::<_, Infallible>(Frame::data(event)), application))
            });
            Response::new(StreamBody::new(events).boxed_unsync())
        }
    };
    let fields: &[(&'static str, &'static str)] = match kind {
        Kind::Socket => &[("upgrade", "websocket"), ("connection", "Upgrade")],
        Kind::Events => &[("content-type", "text/event-stream")],
    };
    for (name, value) in fields {
        answer.headers_mut().insert(*name, http::HeaderValue::from_static(value));
    }
    answer
}

async fn echo(application: &Application, mut stream: impl AsyncRead + tokio::io::AsyncWrite + Unpin) -> std::io::Result<()> {
    loop {
        let (opcode, text) = frame(&mut stream).await?;
        let said = if opcode == CLOSE { text } else { word(application).as_bytes().to_vec() };
        stream.write_all(&whole_frame(opcode, 0, &said)).await?;
        if opcode == CLOSE {
            return stream.shutdown().await;
        }
    }
}

/// A frame of up to 125 octets, without its mask (RFC 6455, 5.2).
async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let (first, length) = (stream.read_u8().await?, stream.read_u8().await?);
    let mut mask = [0; 4];
    if length > 127 {
        stream.read_exact(&mut mask).await?;
    }
    let mut text = vec![0; usize::from(length & 127)];
    stream.read_exact(&mut text).await?;
    text.iter_mut().zip(mask.iter().cycle()).for_each(|(octet, mask)| *octet ^= mask);
    Ok((first & 15, text))
}

/// A frame in one piece; a visitor's is masked, here by zeros.
fn whole_frame(opcode: u8, masked: u8, text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(125).min(125);
    let mask: &[u8] = if masked == 0 { &[] } else { &[0; 4] };
    [&[0x80 | opcode, masked | length], mask, &text[..usize::from(length)]].concat()
}

/// The visitor's side: one stream after the other, until the proof is over.
pub async fn visit(edge: SocketAddr, kind: Kind, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(SeqCst) {
        let mut stream = match tokio::time::timeout(PATIENCE, open(edge, kind)).await.unwrap_or_else(|_| bail!("a stream was not opened in time")) {
            Ok(stream) => stream,
            Err(error) => {
                seen.failed.push(format!("{kind:?}: {error:#}"));
                continue;
            }
        };
        let end = match kind {
            Kind::Socket => talk(&mut stream, &mut seen, &stop).await,
            Kind::Events => listen(&mut stream, &mut seen, &stop).await,
        };
        match end {
            Ok(End::Over) => {}
            Ok(End::Told) => seen.ended += 1,
            Ok(End::Cut) | Err(_) => seen.cut += 1,
        }
    }
    seen
}

async fn open(edge: SocketAddr, kind: Kind) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(edge).await?;
    let (path, fields, status) = match kind {
        Kind::Socket => (
            "/socket",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
            "HTTP/1.1 101 ",
        ),
        Kind::Events => ("/events", "Accept: text/event-stream\r\n", "HTTP/1.1 200 "),
    };
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n").as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    ensure!(head.starts_with(status.as_bytes()), "{}", String::from_utf8_lossy(&head).lines().next().unwrap_or_default());
    Ok(stream)
}

async fn talk(stream: &mut TcpStream, seen: &mut Seen, stop: &AtomicBool) -> Result<End> {
    let late = || anyhow::anyhow!("a WebSocket fell silent");
    while !stop.load(SeqCst) {
        // After the other side's last word nobody listens any more; that word is read next.
        let _ = stream.write_all(&whole_frame(1, 0x80, b"hello")).await;
        let (opcode, said) = tokio::time::timeout(PATIENCE, frame(stream)).await.map_err(|_| late())??;
        seen.hear(&said);
        if opcode == CLOSE {
            let told = said.starts_with(&RESTART);
            let _ = stream.write_all(&whole_frame(CLOSE, 0x80, &said)).await;
            return Ok(if told { End::Told } else { End::Cut });
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(End::Over)
}

async fn listen(stream: &mut TcpStream, seen: &mut Seen, stop: &AtomicBool) -> Result<End> {
    let mut hint = false;
    while !stop.load(SeqCst) {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await??);
        }
        let length = usize::from_str_radix(std::str::from_utf8(&line)?.trim(), 16)?;
        let mut part = vec![0; length + 2];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut part)).await??;
        if length == 0 {
            return Ok(if hint { End::Told } else { End::Cut });
        }
        seen.hear(&part);
        hint = part.windows(7).any(|part| part == b"retry: ");
    }
    Ok(End::Over)
}
