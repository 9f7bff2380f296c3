//! The source of the route feed: what is published, who follows it, how far edges are.
//!
//! Purpose: one table for all edges, in numbered steps; a reader a little behind gets the steps it lacks, any other the whole table. A step goes to one edge first,
//! and to the others once that one stands there ([`Canary`]).
//! Invariants: nothing is sent before the first publication, so that a control that has just started never shows an empty table; numbers only rise; a bad record
//! is not sent; no reader waits for another one, however large the table.
//! Entry points: [`RouteFeed`], [`router`].

mod reader;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use futures::{Stream, StreamExt as _};
use http::StatusCode;
use model::v1alpha1::LimitsSpec;
use model::{Generation, MachineName};
use routes::{ApplyError, Canary, Catchup, CellEndpoint, Change, EdgeApplied, Feed, Published, Record, Refused, Table, TableHash, Verdict};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

pub use reader::Text;

/// How many steps are kept for readers that are a little behind.
const KEEP: usize = 4096;
/// How many tables the first edge may be ahead of the others with each step kept; beyond, some steps are released together.
const KEEP_TABLES: usize = 256;
/// An edge that has not applied a publication after so long is not waited for until it reports again.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is published, and who has it.
pub struct RouteFeed {
    inner: Mutex<Inner>,
    limits: Mutex<LimitsSpec>,
    /// Rises with each publication and each release.
    told: watch::Sender<u64>,
    /// Rises with each report of an edge.
    heard: watch::Sender<u64>,
}

struct Inner {
    feed: Option<Feed>,
    readers: usize,
    edges: BTreeMap<String, EdgeStand>,
    canary: Canary,
    /// What everybody may have.
    released: Option<Table>,
    /// What stands between that and the latest, oldest first.
    pending: VecDeque<Table>,
    /// Why nothing new was released, so that it is said once.
    said: Option<String>,
    /// Since when the canary's clock runs.
    began: Instant,
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
        let inner = Inner {
            feed: None,
            readers: 0,
            edges: BTreeMap::new(),
            canary: Canary::default(),
            released: None,
            pending: VecDeque::new(),
            said: None,
            began: Instant::now(),
            published: None,
        };
        Self { inner: Mutex::new(inner), limits: Mutex::default(), told: watch::Sender::new(0), heard: watch::Sender::new(0) }
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
    /// stands afterwards, and the records that are not served with the reason. Costs what the whole table does.
    pub fn publish(&self, incarnation: &str, floor: Generation, cells: Vec<CellEndpoint>, records: Vec<Record>) -> (Generation, Vec<Refused>) {
        let mut inner = self.lock();
        let (changed, refused) = match &mut inner.feed {
            Some(feed) if feed.table().incarnation() == incarnation => outcome(feed.publish(cells, records)),
            _ => {
                let (feed, refused) = Feed::new(incarnation, floor, cells, records, KEEP);
                inner.begin(feed);
                (true, refused)
            }
        };
        (self.published(inner, changed), refused)
    }

    /// Publishes single changes of what stands: costs what they cost. None where nothing was published as a whole before.
    pub fn change(&self, changes: Vec<Change>) -> Option<(Generation, Vec<Refused>)> {
        let mut inner = self.lock();
        let (changed, refused) = outcome(inner.feed.as_mut()?.publish_changes(changes));
        Some((self.published(inner, changed), refused))
    }

    /// Publishes a table that was put together elsewhere.
    pub fn begin(&self, table: Table) -> Generation {
        let mut inner = self.lock();
        inner.begin(Feed::of(table, KEEP));
        self.published(inner, true)
    }

    fn published(&self, mut inner: MutexGuard<'_, Inner>, changed: bool) -> Generation {
        let generation = inner.feed.as_ref().map_or(Generation(0), |feed| feed.table().generation());
        if changed {
            inner.published = Some(Instant::now());
            if let Some(table) = inner.feed.as_ref().map(|feed| feed.table().clone()) {
                inner.pending.push_back(table);
            }
            inner.decide(|canary, now| canary.publish(generation, now));
        }
        drop(inner);
        if changed {
            self.told.send_modify(|n| *n += 1);
        }
        generation
    }

    /// Lets the canary decide, and wakes readers where that released something or gave somebody a try.
    fn decide(&self, act: impl FnOnce(&mut Canary, Duration)) {
        let mut inner = self.lock();
        let woken = inner.decide(act);
        drop(inner);
        if woken {
            self.told.send_modify(|n| *n += 1);
        }
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

    /// The table that stands, as it is now; none before the first publication.
    #[must_use]
    pub fn table(&self) -> Option<Table> {
        self.lock().feed.as_ref().map(|feed| feed.table().clone())
    }

    /// The whole table that stands, as one value; none before the first publication.
    #[must_use]
    pub fn snapshot(&self) -> Option<routes::Snapshot> {
        self.table().map(|table| table.snapshot())
    }

    /// Why the latest is not given to every edge; none where it is, or where it is being tried.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        match self.lock().canary.verdict() {
            Verdict::Stopped(why) => Some(why.to_owned()),
            _ => None,
        }
    }

    /// What each edge last said.
    #[must_use]
    pub fn edges(&self) -> BTreeMap<String, EdgeStand> {
        self.lock().edges.clone()
    }

    /// Notes how far an edge is.
    pub fn applied(&self, edge: &str, applied: EdgeApplied) {
        let mut inner = self.lock();
        let ours = inner.feed.as_ref().is_some_and(|feed| {
            // The same number under another hash is another table.
            let known = [Some(feed.table()), inner.released.as_ref()].into_iter().flatten().chain(&inner.pending);
            feed.table().incarnation() == applied.incarnation
                && known.into_iter().find(|table| table.generation() == applied.generation).is_none_or(|table| table.hash() == applied.hash)
        });
        let at = if ours { applied.generation } else { Generation(0) };
        let halted = applied.halted.clone();
        inner.edges.insert(edge.to_owned(), EdgeStand { applied, at: Instant::now(), awaited: true });
        let woken = inner.decide(|canary, now| canary.applied(edge, at, halted.as_deref(), now));
        drop(inner);
        if woken {
            self.told.send_modify(|n| *n += 1);
        }
        self.heard.send_modify(|n| *n += 1);
    }

    /// A receiver that changes when an edge reports.
    #[must_use]
    pub fn reports(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// Whether every edge that follows has applied this generation. An edge that stays behind is not waited for longer than two seconds; what is stopped is
    /// waited for.
    pub(crate) fn settled(&self, generation: Generation) -> bool {
        let mut inner = self.lock();
        if matches!(inner.canary.verdict(), Verdict::Stopped(_)) && inner.canary.released() < generation {
            return false;
        }
        let Inner { feed: Some(feed), readers, edges, published, .. } = &mut *inner else { return false };
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

    /// What a reader gets next, who stands somewhere; and the table that it should have then.
    fn catch_up(&self, name: &str, from: Option<Generation>, incarnation: &str) -> Option<(Catchup, Table)> {
        let mut inner = self.lock();
        let most = inner.canary.may_have(name);
        let Inner { feed, released, .. } = &mut *inner;
        let feed = feed.as_mut()?;
        let latest = feed.table().generation();
        if most >= latest {
            let next = feed.catch_up(from, incarnation);
            let raised = feed.table().generation() > latest;
            let table = feed.table().clone();
            if raised {
                let generation = table.generation();
                inner.pending.push_back(table.clone());
                inner.decide(|canary, now| canary.publish(generation, now));
            }
            return Some((next, table));
        }
        // Not the latest: up to what is released, and nothing to somebody who is further.
        let table = released.clone()?;
        let Some(from) = from.filter(|_| incarnation == table.incarnation()) else { return Some((Catchup::Whole(table.clone()), table)) };
        if from >= table.generation() {
            return Some((Catchup::Current, table));
        }
        let next = match feed.catch_up(Some(from), incarnation) {
            Catchup::Deltas(mut deltas) => {
                deltas.retain(|sent| sent.delta.to <= table.generation());
                Catchup::Deltas(deltas)
            }
            _ => Catchup::Whole(table.clone()),
        };
        Some((next, table))
    }

    /// Lines for a reader that stands at `from` of `incarnation`; ends never. A reader without a name, or that knows no parts, is one of an earlier release.
    pub fn follow(
        self: &Arc<Self>,
        name: &str,
        from: Option<Generation>,
        incarnation: String,
        parts: bool,
    ) -> impl Stream<Item = Text> + Send + use<> {
        reader::follow(self, name.to_owned(), from, incarnation, parts)
    }
}

impl Inner {
    fn begin(&mut self, feed: Feed) {
        if self.released.as_ref().is_some_and(|table| table.incarnation() != feed.table().incarnation()) {
            self.canary.restart();
        }
        self.feed = Some(feed);
        self.pending.clear();
    }

    /// Lets the canary decide; whether readers may have something that they might not have had before.
    fn decide(&mut self, act: impl FnOnce(&mut Canary, Duration)) -> bool {
        let (before, tried) = (self.canary.released(), first(&self.canary));
        act(&mut self.canary, self.began.elapsed());
        let released = self.canary.released();
        while self.pending.front().is_some_and(|table| table.generation() <= released) {
            self.released = self.pending.pop_front();
        }
        if self.pending.len() > KEEP_TABLES {
            self.pending.pop_front();
        }
        match self.canary.verdict() {
            Verdict::Stopped(why) if self.said.as_deref() != Some(why) => {
                tracing::error!(why, %released, "the latest routes are not given to all edges; they serve on from those before");
                self.said = Some(why.to_owned());
            }
            Verdict::Released => self.said = None,
            _ => {}
        }
        released != before || first(&self.canary) != tried
    }
}

fn first(canary: &Canary) -> Option<String> {
    match canary.verdict() {
        Verdict::Trying(edge) => Some(edge.to_owned()),
        _ => None,
    }
}

/// A defect of this release must not publish anything.
fn outcome(published: Result<Published, ApplyError>) -> (bool, Vec<Refused>) {
    match published {
        Ok(published) => (published.delta.is_some(), published.refused),
        Err(error) => {
            tracing::error!(%error, "a change of the routes does not lead where it should; it is not published");
            (false, Vec::new())
        }
    }
}

#[derive(Deserialize)]
struct From {
    from: Option<u64>,
    #[serde(default)]
    incarnation: String,
    #[serde(default)]
    edge: String,
    #[serde(default)]
    parts: u8,
}

/// The feed over HTTP: `GET /v1/routes?edge=&from=&incarnation=&parts=1` (JSON lines) and `POST /v1/edges/{name}/applied`. To be served over mutual TLS to edges
/// only.
pub fn router(feed: Arc<RouteFeed>) -> Router {
    async fn routes(State(feed): State<Arc<RouteFeed>>, Query(query): Query<From>) -> axum::response::Response {
        let lines = feed.follow(&query.edge, query.from.map(Generation), query.incarnation, query.parts > 0);
        let mut response = axum::response::Response::new(Body::from_stream(lines.map(|Text(text)| text)));
        let kind = http::HeaderValue::from_static("application/jsonl");
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        response
    }
    async fn applied(State(feed): State<Arc<RouteFeed>>, Path(name): Path<MachineName>, axum::Json(applied): axum::Json<EdgeApplied>) -> StatusCode {
        feed.applied(name.as_str(), applied);
        StatusCode::NO_CONTENT
    }
    async fn limits(State(feed): State<Arc<RouteFeed>>) -> Result<axum::Json<LimitsSpec>, StatusCode> {
        // Before the first publication a control that has just begun does not know them.
        feed.stands().map(|_| axum::Json(feed.limits())).ok_or(StatusCode::SERVICE_UNAVAILABLE)
    }
    Router::new().route("/v1/limits", get(limits)).route("/v1/routes", get(routes)).route("/v1/edges/{name}/applied", post(applied)).with_state(feed)
}
