//! Visitors with WebSockets and event streams, who come again whenever they are told to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::HOST;
use super::application::{CLOSE, frame};

/// How many there are; each edge has as many WebSockets as event streams.
pub const STREAMS: usize = 8;
/// Time for whatever a stream waits for, generous: an edge holds a request for 10 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two words, and before the next attempt of one that was cut.
const PAUSE: Duration = Duration::from_millis(5);
/// "Service restart".
const RESTART: [u8; 2] = 1012_u16.to_be_bytes();
/// What is kept of the end of an event stream: more than a hint and the end of the event before it.
const TAIL: usize = 64;

/// The streams.
#[derive(Debug)]
pub struct Streams {
    heard: Arc<Heard>,
    tasks: JoinSet<()>,
}

/// What their visitors heard.
#[derive(Debug, Default)]
pub struct Heard {
    stop: AtomicBool,
    begun: AtomicUsize,
    /// Streams that ended with the word to come again.
    pub ended: AtomicUsize,
    /// How others ended.
    cut: Mutex<Vec<String>>,
}

impl Heard {
    /// How streams ended without the word, or did not begin.
    pub fn cut(&self) -> Vec<String> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Streams {
    /// Opens them, half at each of two edges.
    pub fn open(edges: &[SocketAddr]) -> Self {
        let (heard, mut tasks) = (Arc::new(Heard::default()), JoinSet::new());
        for number in 0..STREAMS {
            let path = if number % 4 < 2 { "/socket" } else { "/events" };
            tasks.spawn(visit(edges[number % edges.len()], path, heard.clone()));
        }
        Self { heard, tasks }
    }

    /// Whether all of them have begun for the n-th time.
    pub fn have_begun(&self, times: usize) -> bool {
        self.heard.begun.load(SeqCst) >= STREAMS * times
    }

    /// Leaves them; what was heard.
    pub async fn leave(self) -> Arc<Heard> {
        self.heard.stop.store(true, SeqCst);
        self.tasks.join_all().await;
        self.heard
    }
}

/// Comes again until the end. An event stream says after which time to do so; here it is done at once, so that every change meets every stream.
async fn visit(edge: SocketAddr, path: &'static str, heard: Arc<Heard>) {
    while !heard.stop.load(SeqCst) {
        match stay(edge, path, &heard).await {
            Ok(()) if heard.stop.load(SeqCst) => {}
            Ok(()) => {
                heard.ended.fetch_add(1, SeqCst);
            }
            Err(error) => {
                heard.cut.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{path}: {error:#}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One stream, until it is told to end or left. An error means that it ended otherwise.
async fn stay(edge: SocketAddr, path: &str, heard: &Heard) -> Result<()> {
    let mut stream = soon(open(edge, path)).await.context("it did not begin")?;
    heard.begun.fetch_add(1, SeqCst);
    if path == "/socket" { socket(&mut stream, heard).await } else { events(&mut stream, heard).await }
}

async fn open(edge: SocketAddr, path: &str) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(edge).await?;
    // As browsers do: else an answer to the last word waits in the kernel while the tenant is held.
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let upgrade = if path == "/socket" { "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" } else { "" };
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{upgrade}\r\n").as_bytes()).await?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(stream.read_line(&mut head).await? > 0, "no answer");
    }
    let wanted = if path == "/socket" { "HTTP/1.1 101 " } else { "HTTP/1.1 200 " };
    ensure!(head.starts_with(wanted), "{head}");
    Ok(stream)
}

/// Says a word and hears it back, again and again.
async fn socket(stream: &mut BufReader<TcpStream>, heard: &Heard) -> Result<()> {
    while !heard.stop.load(SeqCst) {
        say(stream, 1, b"hello").await?;
        let (opcode, text) = soon(frame(stream)).await?;
        if opcode == CLOSE {
            ensure!(text.starts_with(&RESTART), "closed by {text:?}");
            say(stream, CLOSE, &RESTART).await?;
            ensure!(soon(async { Ok(stream.read(&mut [0]).await?) }).await? == 0, "something behind the last word");
            return Ok(());
        }
        ensure!(text == b"hello", "another word came back");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn say(stream: &mut BufReader<TcpStream>, opcode: u8, text: &[u8]) -> Result<()> {
    // A mask of zeros is a mask, and changes nothing.
    let head = [0x80 | opcode, 0x80 | u8::try_from(text.len())?, 0, 0, 0, 0];
    Ok(stream.write_all(&[&head, text].concat()).await?)
}

/// Hears events up to the end of the answer, before which the word must stand.
async fn events(stream: &mut BufReader<TcpStream>, heard: &Heard) -> Result<()> {
    let mut tail = Vec::new();
    while !heard.stop.load(SeqCst) {
        let piece = soon(piece(stream)).await?;
        if piece.is_empty() {
            return hinted(&tail).with_context(|| format!("it ended by {:?}", String::from_utf8_lossy(&tail)));
        }
        tail.extend(piece);
        tail.drain(..tail.len().saturating_sub(TAIL));
    }
    Ok(())
}

/// Whether this ends with the word when to come again, between two events.
fn hinted(tail: &[u8]) -> Result<()> {
    let (before, after) = std::str::from_utf8(tail)?.rsplit_once("retry: ").context("no word to come again")?;
    ensure!(before.is_empty() || before.ends_with("\n\n"), "the word stands within an event");
    let after: u32 = after.strip_suffix("\n\n").context("an unfinished word")?.parse()?;
    ensure!(after < 10_000, "it says to come again after {after} ms");
    Ok(())
}

/// The next chunk of a body; an empty one is its end.
async fn piece(stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut line = String::new();
    ensure!(stream.read_line(&mut line).await? > 0, "it broke off");
    let mut piece = vec![0; usize::from_str_radix(line.trim_end(), 16)? + 2];
    stream.read_exact(&mut piece).await?;
    piece.truncate(piece.len() - 2);
    Ok(piece)
}

async fn soon<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, what).await.unwrap_or_else(|_| bail!("nothing came for {} s", PATIENCE.as_secs()))
}
