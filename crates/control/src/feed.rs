//! The source of the route feed: what is published, who follows it, how far edges are.
//!
//! Purpose: one table for all edges, in numbered steps; a reader a little behind gets the steps it lacks, any other the whole table.
//! Invariants: nothing is sent before the first publication, so that a control that has just started never shows an empty table; numbers only rise.
//! Entry points: [`RouteFeed`], [`router`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use futures::{Stream, StreamExt as _, stream};
use http::StatusCode;
use model::Generation;
use model::v1alpha1::LimitsSpec;
use routes::{CellEndpoint, EdgeApplied, Feed, Line, Record, Refused, TableHash};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

/// How many steps are kept for readers that are a little behind.
const KEEP: usize = 4096;
/// A sign of life is sent when nothing else was for so long.
const ALIVE: Duration = Duration::from_secs(5);
/// An edge that has not applied a publication after so long is not waited for until it reports again.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is published, and who has it.
pub struct RouteFeed {
    inner: Mutex<Inner>,
    limits: Mutex<LimitsSpec>,
    /// Rises with each publication.
    told: watch::Sender<u64>,
    /// Rises with each report of an edge.
    heard: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    feed: Option<Feed>,
    readers: usize,
    edges: BTreeMap<String, EdgeStand>,
    /// When the present generation was published.
    published: Option<Instant>,
}

/// How far an edge is.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeStand {
    /// What it last said.
    pub applied: EdgeApplied,
    /// When it said so.
    pub at: Instant,
    /// Whether it is waited for.
    pub awaited: bool,
}

impl Default for RouteFeed {
    fn default() -> Self {
        Self { inner: Mutex::default(), limits: Mutex::default(), told: watch::Sender::new(0), heard: watch::Sender::new(0) }
    }
}

impl RouteFeed {
    /// A feed that has nothing to tell yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that holds this lock can leave it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes what is wanted as a whole. `floor` is the lowest generation with which a feed of this incarnation may begin. Gives the generation that
    /// stands afterwards, and the records that are not served with the reason.
    pub fn publish(&self, incarnation: &str, floor: Generation, cells: Vec<CellEndpoint>, records: Vec<Record>) -> (Generation, Vec<Refused>) {
        let mut inner = self.lock();
        let changed;
        let refused;
        match &mut inner.feed {
            Some(feed) if feed.table().incarnation() == incarnation => {
                let (delta, all) = feed.publish(cells, records);
                changed = delta.is_some();
                refused = all;
            }
            _ => {
                let (feed, all) = Feed::new(incarnation, floor, cells, records, KEEP);
                inner.feed = Some(feed);
                changed = true;
                refused = all;
            }
        }
        if changed {
            inner.published = Some(Instant::now());
        }
        let generation = inner.feed.as_ref().map_or(Generation(0), |feed| feed.table().generation());
        drop(inner);
        if changed {
            self.told.send_modify(|n| *n += 1);
        }
        (generation, refused)
    }

    /// Tells edges what tenants and visitors may take.
    pub fn limit(&self, limits: LimitsSpec) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// What tenants and visitors may take.
    fn limits(&self) -> LimitsSpec {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The generation and hash that stand; none before the first publication.
    #[must_use]
    pub fn stands(&self) -> Option<(Generation, TableHash)> {
        self.lock().feed.as_ref().map(|feed| (feed.table().generation(), feed.table().hash()))
    }

    /// The whole table that stands; none before the first publication.
    #[must_use]
    pub fn snapshot(&self) -> Option<routes::Snapshot> {
        self.lock().feed.as_ref().map(|feed| feed.table().snapshot())
    }

    /// What each edge last said.
    #[must_use]
    pub fn edges(&self) -> BTreeMap<String, EdgeStand> {
        self.lock().edges.clone()
    }

    /// Notes how far an edge is.
    pub fn applied(&self, edge: &str, applied: EdgeApplied) {
        let stand = EdgeStand { applied, at: Instant::now(), awaited: true };
        self.lock().edges.insert(edge.to_owned(), stand);
        self.heard.send_modify(|n| *n += 1);
    }

    /// A receiver that changes when an edge reports.
    #[must_use]
    pub fn reports(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// Whether every edge that follows has applied this generation. An edge that stays behind is not waited for longer than two seconds.
    pub(crate) fn settled(&self, generation: Generation) -> bool {
        let mut inner = self.lock();
        let Inner { feed: Some(feed), readers, edges, published } = &mut *inner else { return false };
        if *readers == 0 {
            return true;
        }
        let late = published.is_none_or(|at| at.elapsed() >= PATIENCE);
        let incarnation = feed.table().incarnation();
        let mut settled = true;
        for edge in edges.values_mut().filter(|edge| edge.awaited) {
            if edge.applied.incarnation == incarnation && edge.applied.generation >= generation {
                continue;
            }
            if late {
                edge.awaited = false;
            } else {
                settled = false;
            }
        }
        settled
    }

    /// Lines for a reader that stands at `from` of `incarnation`; ends never.
    pub fn follow(self: &Arc<Self>, from: Option<Generation>, incarnation: String) -> impl Stream<Item = Line> + Send + use<> {
        self.lock().readers += 1;
        let reader = Reader { feed: self.clone(), told: self.told.subscribe(), from, incarnation, pending: VecDeque::new() };
        stream::unfold(reader, |mut reader| async move {
            let line = reader.next().await?;
            Some((line, reader))
        })
    }
}

/// One reader of the feed.
struct Reader {
    feed: Arc<RouteFeed>,
    told: watch::Receiver<u64>,
    from: Option<Generation>,
    incarnation: String,
    pending: VecDeque<Line>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut inner = self.feed.lock();
        inner.readers = inner.readers.saturating_sub(1);
    }
}

impl Reader {
    async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                match &line {
                    Line::Snapshot(snapshot) => {
                        self.from = Some(snapshot.generation);
                        self.incarnation.clone_from(&snapshot.incarnation);
                    }
                    Line::Delta(delta) => self.from = Some(delta.to),
                    Line::Alive { .. } => {}
                }
                return Some(line);
            }
            self.told.borrow_and_update();
            {
                let mut inner = self.feed.lock();
                if let Some(feed) = &mut inner.feed {
                    self.pending.extend(feed.catch_up(self.from, &self.incarnation).lines());
                }
            }
            if !self.pending.is_empty() {
                continue;
            }
            match tokio::time::timeout(ALIVE, self.told.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => {
                    if let Some(feed) = &self.feed.lock().feed {
                        return Some(feed.alive());
                    }
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct From {
    from: Option<u64>,
    #[serde(default)]
    incarnation: String,
}

/// The feed over HTTP: `GET /v1/routes?from=&incarnation=` (JSON lines) and `POST /v1/edges/{name}/applied`. To be served over mutual TLS to edges only.
pub fn router(feed: Arc<RouteFeed>) -> Router {
    async fn routes(State(feed): State<Arc<RouteFeed>>, Query(query): Query<From>) -> axum::response::Response {
        let lines = feed.follow(query.from.map(Generation), query.incarnation).map(|line| line.encode());
        let mut response = axum::response::Response::new(Body::from_stream(lines));
        let kind = http::HeaderValue::from_static("application/jsonl");
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        response
    }
    async fn applied(State(feed): State<Arc<RouteFeed>>, Path(name): Path<String>, axum::Json(applied): axum::Json<EdgeApplied>) -> StatusCode {
        feed.applied(&name, applied);
        StatusCode::NO_CONTENT
    }
    async fn limits(State(feed): State<Arc<RouteFeed>>) -> Result<axum::Json<LimitsSpec>, StatusCode> {
        // Before the first publication a control that has just begun does not know them.
        feed.stands().map(|_| axum::Json(feed.limits())).ok_or(StatusCode::SERVICE_UNAVAILABLE)
    }
    Router::new().route("/v1/limits", get(limits)).route("/v1/routes", get(routes)).route("/v1/edges/{name}/applied", post(applied)).with_state(feed)
}
