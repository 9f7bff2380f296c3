//! Certificates: the book's way in from control, and what handshakes are answered with.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use certs::{Book, BookError, Line, Presenter, Told};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use identity::{HttpsClient, RequestError, Role, Sealer};
use proxy::{Errand, Handshakes, Shaken};
use rustls::ServerConfig;
use rustls::server::ClientHello;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::run::Error;

/// A feed that says nothing for so long is given up; control says that it is alive every few seconds.
const SILENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Control forgets an edge that says nothing; so it says now and then that it is where it was.
const WORD_EVERY: Duration = Duration::from_secs(10);
const WORD_WITHIN: Duration = Duration::from_secs(5);
/// Lines taken at once.
const TOGETHER: usize = 512;
/// Longest line: a chain of certificates, many times over.
const LONGEST_LINE: usize = 1024 * 1024;
/// Parsed certificates kept in memory: some kilobytes each.
const REMEMBER: usize = 8192;

/// Opens the book in an edge's folder. One that is damaged is put aside: control tells everything again.
pub(crate) fn open(folder: &Path) -> Result<Book, Error> {
    let path = folder.join("certificates.db");
    let sealer = || Sealer::create_or_open(&folder.join("certificates.key"));
    match Book::open(&path, sealer()?, REMEMBER) {
        Err(BookError::Damaged(..)) => {
            let beside = Book::put_aside(&path).map_err(|error| Error::Folder(folder.to_owned(), error))?;
            tracing::error!(path = %path.display(), kept_as = %beside.display(), "the certificates are of no use; the edge waits for control");
            Ok(Book::open(&path, sealer()?, REMEMBER)?)
        }
        opened => Ok(opened?),
    }
}

/// Answers visitors' handshakes, and counts them.
#[derive(Debug)]
pub(crate) struct Shaking {
    presenter: Presenter,
    full: AtomicU64,
    resumed: AtomicU64,
    failed: AtomicU64,
}

impl Shaking {
    pub(crate) fn new(book: Arc<Book>) -> Result<Self, Error> {
        let presenter = Presenter::new(book, &[b"h2", b"http/1.1"]).map_err(|error| Error::Public(std::io::Error::other(error)))?;
        Ok(Self { presenter, full: AtomicU64::default(), resumed: AtomicU64::default(), failed: AtomicU64::default() })
    }

    /// Handshakes in full, by a ticket, and failed.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        [("full", self.full.load(Relaxed)), ("resumed", self.resumed.load(Relaxed)), ("failed", self.failed.load(Relaxed))]
    }

    pub(crate) fn book(&self) -> &Arc<Book> {
        self.presenter.book()
    }
}

impl Handshakes for Shaking {
    fn settings(&self, hello: &ClientHello<'_>) -> (Arc<ServerConfig>, Option<Errand>) {
        let (settings, missing) = self.presenter.settings(hello);
        let errand = missing.map(|name| {
            let book = self.book().clone();
            // One that is of no use is told where it is read.
            Box::new(move || drop(book.load(name.as_deref()))) as Errand
        });
        (settings, errand)
    }

    fn ended(&self, shaken: Shaken) {
        let counter = match shaken {
            Shaken::Full => &self.full,
            Shaken::Resumed => &self.resumed,
            Shaken::Failed | Shaken::Late => &self.failed,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// Why a feed ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("control answered {0}")]
    Status(StatusCode),
    #[error("control closed the feed of certificates")]
    Closed,
    #[error("control said nothing about certificates for {} s", SILENCE.as_secs())]
    Silent,
    #[error("a line of the feed of certificates does not parse")]
    Line,
    #[error("control's book of certificates is another one, or went back")]
    Apart,
    #[error("{0}")]
    Book(String),
}

/// Follows control's book until the stop.
pub(crate) async fn follow(book: Arc<Book>, client: HttpsClient, control: SocketAddr, name: String, stop: CancellationToken) {
    let (mut pause, mut anew, mut said) = (FIRST_PAUSE, false, String::new());
    loop {
        let begun = tokio::time::Instant::now();
        let Some(ended) = stop.run_until_cancelled(session(&book, &client, control, &name, anew)).await else { return };
        anew = matches!(ended, Ended::Apart);
        if begun.elapsed() > SILENCE {
            (pause, said) = (FIRST_PAUSE, String::new());
        }
        // No parsed text is shown: it may hold keys.
        let problem = ended.to_string();
        if problem != said {
            tracing::warn!(problem, "the feed of certificates ended; the edge serves on with those it has");
            said = problem;
        }
        let wait = pause.mul_f64(0.75 + f64::from(crate::feed::jitter()) / 512.0);
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One feed to its end.
async fn session(book: &Arc<Book>, client: &HttpsClient, control: SocketAddr, name: &str, anew: bool) -> Ended {
    match lines(book, client, control, name, anew).await {
        Ok(()) => Ended::Closed,
        Err(ended) => ended,
    }
}

async fn lines(book: &Arc<Book>, client: &HttpsClient, control: SocketAddr, name: &str, anew: bool) -> Result<(), Ended> {
    let place = book.place().filter(|_| !anew);
    let target = place.map_or_else(
        || "/v1/certificates".to_owned(),
        |(incarnation, number)| format!("/v1/certificates?after={number}&incarnation={}", crate::feed::escape(&incarnation)),
    );
    let request = Request::get(target).body(Bytes::new()).unwrap_or_default();
    let answer = client.stream(control, &Role::Control, request).await?;
    if answer.status() != StatusCode::OK {
        return Err(Ended::Status(answer.status()));
    }
    let word = client.clone().within(WORD_WITHIN);
    let (mut body, mut waiting, mut lines) = (answer.into_body(), BytesMut::new(), Vec::new());
    let mut spoken: Option<(u64, tokio::time::Instant)> = None;
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await.map_err(|_| Ended::Silent)?;
        let Some(frame) = frame else { return Ok(()) };
        waiting.extend_from_slice(&frame.map_err(|_| Ended::Closed)?.into_data().unwrap_or_default());
        while let Some(at) = waiting.iter().position(|&b| b == b'\n') {
            let line = waiting.split_to(at);
            waiting.advance(1);
            lines.push(Line::decode(&line).map_err(|_| Ended::Line)?);
            if lines.len() == TOGETHER {
                take(book, std::mem::take(&mut lines)).await?;
            }
        }
        if waiting.len() > LONGEST_LINE {
            return Err(Ended::Line);
        }
        take(book, std::mem::take(&mut lines)).await?;
        let number = book.number();
        if spoken.is_none_or(|(said, at)| said != number || at.elapsed() > WORD_EVERY) && say(&word, control, name, book).await {
            spoken = Some((number, tokio::time::Instant::now()));
        }
    }
}

async fn take(book: &Arc<Book>, lines: Vec<Line>) -> Result<(), Ended> {
    if lines.is_empty() {
        return Ok(());
    }
    let writer = book.clone();
    let taken = tokio::task::spawn_blocking(move || writer.take(lines)).await;
    let told = taken.map_err(|error| Ended::Book(error.to_string()))?.map_err(|error| Ended::Book(error.to_string()))?;
    for one in told {
        match one {
            Told::Taken => {}
            Told::Useless(problem) => tracing::warn!(name = problem.name, reason = problem.reason, "a certificate is of no use"),
            Told::Apart => return Err(Ended::Apart),
        }
    }
    Ok(())
}

/// Tells control how far this edge is; whether that was heard.
async fn say(client: &HttpsClient, control: SocketAddr, name: &str, book: &Book) -> bool {
    let body = json!({ "incarnation": book.incarnation(), "number": book.number() }).to_string();
    let request = Request::post(format!("/v1/edges/{name}/certificates")).header("content-type", "application/json").body(body.into());
    let Ok(request) = request else { return true };
    client.request(control, &Role::Control, request).await.is_ok_and(|answer| answer.status().is_success())
}
