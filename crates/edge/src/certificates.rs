//! Certificates: the book's way in from control, and what handshakes are answered with.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use certs::{Book, BookError, Line, Presenter, Told};
use http::Request;
use identity::{HttpsClient, Role, Sealer};
use proxy::{Errand, Handshakes, Shaken};
use rustls::ServerConfig;
use rustls::server::ClientHello;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::follow::{Attempts, Broken, Source, escape};
use crate::run::Error;

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
    Broken(#[from] Broken),
    #[error("a line of the feed of certificates does not parse")]
    Line,
    #[error("control's book of certificates is another one, or went back")]
    Apart,
    #[error("{0}")]
    Book(String),
}

/// Follows control's book until the stop.
pub(crate) async fn follow(book: Arc<Book>, source: Source, stop: CancellationToken) {
    let (mut attempts, mut anew) = (Attempts::new(), false);
    loop {
        let Some(Err(ended)) = stop.run_until_cancelled(lines(&book, &source, anew)).await else { return };
        anew = matches!(ended, Ended::Apart);
        // No parsed text is shown: it may hold keys.
        let problem = ended.to_string();
        if attempts.ended(&problem) {
            tracing::warn!(problem, "the feed of certificates ended; the edge serves on with those it has");
        }
        if attempts.next(&stop).await.is_none() {
            return;
        }
    }
}

/// One feed to its end.
async fn lines(book: &Arc<Book>, source: &Source, anew: bool) -> Result<Infallible, Ended> {
    let place = book.place().filter(|_| !anew);
    let target = place.map_or_else(
        || "/v1/certificates".to_owned(),
        |(incarnation, number)| format!("/v1/certificates?after={number}&incarnation={}", escape(&incarnation)),
    );
    let mut lines = source.lines(&target, LONGEST_LINE).await?;
    let word = source.client.within(WORD_WITHIN);
    let mut spoken: Option<(u64, Instant)> = None;
    loop {
        let mut together = Vec::new();
        while let Some(line) = lines.at_hand() {
            together.push(Line::decode(&line).map_err(|_| Ended::Line)?);
            if together.len() == TOGETHER {
                take(book, std::mem::take(&mut together)).await?;
            }
        }
        take(book, together).await?;
        let number = book.number();
        if spoken.is_none_or(|(said, at)| said != number || at.elapsed() > WORD_EVERY) && say(&word, source, book).await {
            spoken = Some((number, Instant::now()));
        }
        lines.more().await?;
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
async fn say(client: &HttpsClient, source: &Source, book: &Book) -> bool {
    let body = json!({ "incarnation": book.incarnation(), "number": book.number() }).to_string();
    let target = format!("/v1/edges/{}/certificates", source.name);
    let Ok(request) = Request::post(target).header("content-type", "application/json").body(body.into()) else { return true };
    client.request(source.control, &Role::Control, request).await.is_ok_and(|answer| answer.status().is_success())
}
