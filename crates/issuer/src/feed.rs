//! The book's way to the edges, over the connection that they have with control: lines of JSON, and their word how far they are.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use certs::{Book, Line};
use futures::stream;
use http::StatusCode;
use model::MachineName;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

/// A sign of life is sent when nothing else was for so long.
const ALIVE: Duration = Duration::from_secs(5);
/// Entries read at once.
const BATCH: usize = 256;
/// An edge that was not heard for so long is not waited for.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The book as edges follow it.
pub struct CertificateFeed {
    book: Arc<Book>,
    edges: Mutex<BTreeMap<String, (Place, Instant)>>,
    heard: watch::Sender<u64>,
}

/// How far an edge's book is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    incarnation: String,
    number: u64,
}

impl CertificateFeed {
    /// The feed of this book.
    #[must_use]
    pub fn new(book: Arc<Book>) -> Arc<Self> {
        Arc::new(Self { book, edges: Mutex::default(), heard: watch::Sender::new(0) })
    }

    fn edges(&self) -> MutexGuard<'_, BTreeMap<String, (Place, Instant)>> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every edge that was heard lately has everything up to a number, and there is one. `false`: not in time.
    pub(crate) async fn settled(&self, number: u64, within: Duration) -> bool {
        let mut heard = self.heard.subscribe();
        let incarnation = self.book.incarnation();
        let all = || {
            let edges = self.edges();
            let mut alive = edges.values().filter(|(_, at)| at.elapsed() < FORGOTTEN).peekable();
            alive.peek().is_some() && alive.all(|(place, _)| place.incarnation == incarnation && place.number >= number)
        };
        let wait = async {
            while !all() {
                // The sender lives as long as this feed.
                let _ = heard.changed().await;
            }
        };
        tokio::time::timeout(within, wait).await.is_ok()
    }
}

/// One follower.
struct Reader {
    book: Arc<Book>,
    changes: watch::Receiver<u64>,
    number: u64,
    pending: VecDeque<Line>,
    /// Whether the end of what stands was told since the last entry.
    told: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<String, serde_json::Error>> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Some(line.encode());
            }
            self.changes.borrow_and_update();
            let (book, number) = (self.book.clone(), self.number);
            let read = tokio::task::spawn_blocking(move || book.after(number, BATCH)).await;
            let (entries, reached) = match read {
                Ok(Ok(read)) => read,
                // The follower asks again.
                Ok(Err(error)) => {
                    tracing::error!(%error, "the book of certificates cannot be read");
                    return None;
                }
                Err(_) => return None,
            };
            if reached > self.number {
                (self.number, self.told) = (reached, false);
                self.pending.extend(entries.into_iter().map(|entry| Line::Entry(Box::new(entry))));
                continue;
            }
            let alive = Line::Alive { number: self.number };
            if !self.told {
                self.told = true;
                return Some(alive.encode());
            }
            match tokio::time::timeout(ALIVE, self.changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(alive.encode()),
            }
        }
    }
}

#[derive(Deserialize)]
struct From {
    after: Option<u64>,
    #[serde(default)]
    incarnation: String,
}

/// `GET /v1/certificates?after=&incarnation=` (JSON lines) and `POST /v1/edges/{name}/certificates`. To be served over mutual TLS to edges only: private keys
/// travel here.
pub fn router(feed: Arc<CertificateFeed>) -> Router {
    async fn lines(State(feed): State<Arc<CertificateFeed>>, Query(query): Query<From>) -> axum::response::Response {
        let book = feed.book.clone();
        let from = query.after.filter(|after| book.continues(&query.incarnation, *after));
        let begin = from.is_none().then(|| Line::Begin { incarnation: book.incarnation() });
        let reader = Reader { changes: book.changes(), book, number: from.unwrap_or(0), pending: begin.into_iter().collect(), told: false };
        let lines = stream::unfold(reader, |mut reader| async move {
            let line = reader.next().await?;
            Some((line, reader))
        });
        let mut response = axum::response::Response::new(Body::from_stream(lines));
        response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/jsonl"));
        response
    }
    async fn place(State(feed): State<Arc<CertificateFeed>>, Path(name): Path<MachineName>, axum::Json(place): axum::Json<Place>) -> StatusCode {
        feed.edges().insert(name.to_string(), (place, Instant::now()));
        feed.heard.send_modify(|n| *n += 1);
        StatusCode::NO_CONTENT
    }
    Router::new().route("/v1/certificates", get(lines)).route("/v1/edges/{name}/certificates", post(place)).with_state(feed)
}
