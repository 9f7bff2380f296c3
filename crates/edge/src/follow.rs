//! Control's long answers: lines that come for as long as the connection holds, asked for again and again. Routes and certificates come this way.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use identity::{HttpsClient, Incoming, RequestError, Role};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// An answer that says nothing for so long is given up; control says that it is alive every few seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// First and longest pause between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An attempt that lasted so long was a good one. A shorter one may have cost a whole table that could not be taken.
const WELL: Duration = Duration::from_secs(10);

/// Where an edge follows.
#[derive(Clone)]
pub(crate) struct Source {
    /// Who asks.
    pub client: HttpsClient,
    /// Where control is.
    pub control: SocketAddr,
    /// The edge's own name.
    pub name: String,
}

/// Why lines come no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("control answered {0}")]
    Status(StatusCode),
    #[error("control closed the feed")]
    Closed,
    #[error("control said nothing for {} s", SILENCE.as_secs())]
    Silent,
    #[error("a line of the feed is too long")]
    LongLine,
}

/// One answer, line by line.
pub(crate) struct Lines {
    body: Incoming,
    waiting: BytesMut,
    /// Octets of it that hold no line feed.
    searched: usize,
    longest: usize,
}

impl Source {
    /// Asks for lines of at most so many octets.
    pub(crate) async fn lines(&self, target: &str, longest: usize) -> Result<Lines, Broken> {
        let request = Request::get(target).body(Bytes::new()).unwrap_or_default();
        let answer = self.client.stream(self.control, &Role::Control, request).await?;
        if answer.status() != StatusCode::OK {
            return Err(Broken::Status(answer.status()));
        }
        Ok(Lines { body: answer.into_body(), waiting: BytesMut::new(), searched: 0, longest })
    }
}

impl Lines {
    /// The next line where it has come already, without its line feed.
    pub(crate) fn at_hand(&mut self) -> Option<BytesMut> {
        let Some(at) = self.waiting[self.searched..].iter().position(|&b| b == b'\n') else {
            self.searched = self.waiting.len();
            return None;
        };
        let line = self.waiting.split_to(self.searched + at);
        self.waiting.advance(1);
        self.searched = 0;
        Some(line)
    }

    /// Waits until more has come; a line need not be whole then.
    pub(crate) async fn more(&mut self) -> Result<(), Broken> {
        if self.waiting.len() > self.longest {
            return Err(Broken::LongLine);
        }
        let frame = tokio::time::timeout(SILENCE, self.body.frame()).await.map_err(|_| Broken::Silent)?;
        let data = frame.ok_or(Broken::Closed)?.map_err(|_| Broken::Closed)?.into_data().unwrap_or_default();
        self.waiting.extend_from_slice(&data);
        Ok(())
    }
}

/// Attempts to follow, one after another.
pub(crate) struct Attempts {
    begun: Instant,
    pause: Duration,
    said: String,
}

impl Attempts {
    /// The first begins now.
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), pause: FIRST_PAUSE, said: String::new() }
    }

    /// One has ended; whether that is news, which the same problem again is not.
    pub(crate) fn ended(&mut self, problem: &str) -> bool {
        if self.begun.elapsed() > WELL {
            self.pause = FIRST_PAUSE;
            self.said.clear();
        }
        let news = problem != self.said;
        problem.clone_into(&mut self.said);
        news
    }

    /// Waits for the time of the next one, a little different from edge to edge; none at the stop.
    pub(crate) async fn next(&mut self, stop: &CancellationToken) -> Option<()> {
        let wait = self.pause.mul_f64(0.75 + f64::from(jitter()) / 512.0);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
        self.begun = Instant::now();
        Some(())
    }
}

/// Percent-encodes what is no letter, digit, dash, dot or underscore.
pub(crate) fn escape(text: &str) -> String {
    let one = |b: u8| if b.is_ascii_alphanumeric() || b"-._".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(one).collect()
}

/// 0 to 255, different from edge to edge and from time to time.
fn jitter() -> u8 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0).to_le_bytes()[0]
}
