//! HTTP/2: requests and frames by hand, under TLS, before the same backends.
//!
//! What each of them must come to is in the table with the section that asks for it. Where a malformed request costs its stream and nothing else, the same
//! connection serves the next one; broken frames and floods cost their connection. Nothing may stand at the backend but what the table says.

mod broken;
mod fields;
mod whole;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::frames::{END_HEADERS, END_STREAM, Frames, Got, HEADERS, PREFACE, PROTOCOL_ERROR, SETTINGS, block, frame};
use tokio::io::ReadHalf;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::case::{HOST, for_host};
use super::run::{Target, still_in_step};
use super::wire::show;
use crate::tls::visitor::Visitor;

const PATIENCE: Duration = Duration::from_secs(20);
/// A stream that no case has used.
const NEXT: u32 = 1_000_001;
/// A request on its way when its connection ends may still reach the backend so long.
const QUIET: Duration = Duration::from_millis(300);

/// A request's fields.
type Fields = Vec<(&'static str, &'static str)>;

/// What must come of a case's first stream.
#[derive(Debug, Clone)]
enum Taken {
    /// An answer of this status.
    Answered(u16),
    /// The stream ends with PROTOCOL_ERROR, or is answered 400 (RFC 9113, 8.1.1); or the connection ends so, as for any error of a stream it may (5.4.1).
    Malformed,
    /// The stream ends with one of these codes, or the connection.
    Reset(&'static [u32]),
    /// The connection ends with one of these codes. A visitor who still writes may see the end before the word.
    Ended(&'static [u32]),
    /// As `Reset`; and the connection may end at any moment.
    Over(&'static [u32]),
    /// It is borne, or the connection ends with one of these codes.
    Borne(&'static [u32]),
}

/// A case.
struct Case {
    name: String,
    /// The section that asks for it.
    asks: &'static str,
    /// What the visitor sends behind the preface.
    octets: Vec<u8>,
    /// What it sends before: the preface and its settings, where the case is not about them.
    opening: Vec<u8>,
    taken: Taken,
    /// First lines of the requests that the backend finds.
    seen: Vec<&'static str>,
    /// The same of those that it may find, any number of times: their bodies break off, or they are taken back.
    perhaps: Option<&'static str>,
    /// What stands, and does not stand, in what the backend got; in lower case.
    has: Vec<&'static str>,
    lacks: Vec<&'static str>,
    /// The last body at the backend.
    upload: Option<Vec<u8>>,
}

impl Case {
    fn new(name: impl Into<String>, asks: &'static str, octets: Vec<u8>, taken: Taken) -> Self {
        Self {
            name: name.into(),
            asks,
            octets,
            opening: [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat(),
            taken,
            seen: Vec::new(),
            perhaps: None,
            has: Vec::new(),
            lacks: Vec::new(),
            upload: None,
        }
    }

    fn seen(mut self, line: &'static str) -> Self {
        self.seen.push(line);
        self
    }

    const fn perhaps(mut self, line: &'static str) -> Self {
        self.perhaps = Some(line);
        self
    }

    fn has(mut self, text: &'static str) -> Self {
        self.has.push(text);
        self
    }

    fn lacks(mut self, text: &'static str) -> Self {
        self.lacks.push(text);
        self
    }

    fn upload(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.upload = Some(body.into());
        self
    }
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/")];
const POST: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/")];

/// A good request with more fields.
fn with(more: &[(&'static str, &'static str)]) -> Fields {
    [&GET[..], more].concat()
}

/// A good request with another value of one field; without it where there is none.
fn but(name: &str, value: Option<&'static str>) -> Fields {
    let changed = |(this, own): &(&'static str, &'static str)| if *this == name { value.map(|value| (*this, value)) } else { Some((*this, *own)) };
    GET.iter().filter_map(changed).collect()
}

/// A request without a body.
fn ask(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))
}

/// A request whose body follows.
fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &block(&[&POST[..], fields].concat()))
}

/// A connection in frames to the edge.
async fn connect(visitor: &Visitor, target: &Target) -> Result<Frames<ReadHalf<TlsStream<TcpStream>>>> {
    let stream = visitor.connect(target.secure, target.host).await?;
    ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "the edge does not speak HTTP/2");
    Ok(Frames::over(stream))
}

/// Runs the table before each target; how many ran and what differed.
pub async fn run_all(targets: &[std::sync::Arc<Target>]) -> Result<(usize, usize, Vec<String>)> {
    let visitor = Visitor::speaking("h2", false)?;
    let cases: Vec<Case> = fields::cases().into_iter().chain(whole::cases()).chain(broken::cases()).collect();
    let (mut runs, mut failed) = (0, Vec::new());
    for case in &cases {
        for target in targets {
            runs += 1;
            if let Err(differs) = run(case, target, &visitor).await {
                failed.push(format!("{} (RFC {}) [{:?}]: {differs:#}", case.name, case.asks, target.backend.reader));
                target.backend.reset();
            }
        }
    }
    Ok((cases.len(), runs, failed))
}

async fn run(case: &Case, target: &Target, visitor: &Visitor) -> Result<()> {
    target.backend.take();
    let mut frames = connect(visitor, target).await?;
    frames.send(for_host(&[case.opening.as_slice(), &case.octets].concat(), target.host));
    let got = frames.end_of(1, PATIENCE).await;
    let goes_on = judge(&case.taken, &got)?;
    let allowed = |line: &String| Some(line.as_str()) == case.perhaps;
    let seen = if goes_on {
        let line = canary(&mut frames, target, NEXT, Vec::new()).await?;
        let mut seen = target.backend.take();
        // One whose body breaks off may be found behind the next.
        seen.lines.retain(|line| !allowed(line));
        ensure!(seen.lines.pop() == Some(line), "the next request on the same connection was found behind {:?}", seen.lines);
        seen
    } else {
        if case.perhaps.is_some() {
            tokio::time::sleep(QUIET).await;
        }
        target.backend.take()
    };
    let found: Vec<&String> = seen.lines.iter().filter(|line| !allowed(line)).collect();
    ensure!(found == case.seen.iter().collect::<Vec<_>>(), "the backend found {:?} in {}", seen.lines, show(&seen.octets));
    let text = String::from_utf8_lossy(&seen.octets).to_lowercase();
    for (texts, wanted) in [(&case.has, true), (&case.lacks, false)] {
        for part in texts {
            ensure!(text.contains(part) == wanted, "the backend's request {} {part:?}: {text}", if wanted { "lacks" } else { "has" });
        }
    }
    if let Some(body) = &case.upload {
        let (body, asked) = (for_host(body, target.host), for_host(&case.octets, target.host));
        ensure!(seen.uploads.contains(&body), "the body is not among {:?}, of {}", seen.uploads, show(&asked));
    }
    // The next visitors, one in frames and one without.
    let mut frames = connect(visitor, target).await?;
    let line = canary(&mut frames, target, 1, [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await?;
    let seen = target.backend.take().lines;
    ensure!(seen.iter().filter(|line| !allowed(line)).eq([&line]), "the request of the next visitor was found as {seen:?}");
    still_in_step(target).await
}

/// Whether it is as expected; whether the connection goes on.
fn judge(taken: &Taken, got: &Got) -> Result<bool> {
    let goes_on = matches!(got, Got::Answer(..) | Got::Reset(_)) && !matches!(taken, Taken::Over(_));
    let right = match (taken, got) {
        (Taken::Answered(wanted), Got::Answer(status, _)) => status == wanted,
        (Taken::Malformed, Got::Answer(400, _) | Got::Reset(PROTOCOL_ERROR) | Got::Goaway(PROTOCOL_ERROR)) => true,
        (Taken::Reset(codes) | Taken::Over(codes), Got::Reset(code))
        | (Taken::Reset(codes) | Taken::Over(codes) | Taken::Ended(codes) | Taken::Borne(codes), Got::Goaway(code)) => codes.contains(code),
        (Taken::Ended(_) | Taken::Borne(_), Got::Closed) | (Taken::Borne(_), Got::Answer(200, _)) => true,
        _ => false,
    };
    ensure!(right, "expected {taken:?}, got {got:?}");
    Ok(goes_on)
}

/// A plain request that must get its own answer; its line at the backend.
async fn canary(frames: &mut Frames<ReadHalf<TlsStream<TcpStream>>>, target: &Target, stream: u32, before: Vec<u8>) -> Result<String> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let path = format!("/frames-{}", NUMBER.fetch_add(1, Relaxed));
    let fields = [GET[0], GET[1], (":authority", target.host), (":path", path.as_str())];
    frames.send([before, frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))].concat());
    let (line, got) = (format!("GET {path} HTTP/1.1"), frames.end_of(stream, PATIENCE).await);
    ensure!(got == Got::Answer(200, line.clone().into_bytes()), "the next request got {got:?}");
    Ok(line)
}
