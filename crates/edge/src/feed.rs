//! The routes' way in: one long answer from control, line by line; again and again, from wherever the table stands.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use routes::{ApplyError, Assembly, Begin, Line, Refused, Table};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::follow::{Attempts, Broken, Source, escape};
use crate::table::Routes;

/// Longest line: a whole table of a control that knows no parts.
const LONGEST_LINE: usize = 1024 * 1024 * 1024;
/// How long a refusal is kept back until control knows of it.
const TELL_WITHIN: Duration = Duration::from_secs(1);
/// Most refused hosts that one change writes to the log.
const MOST_TOLD: usize = 100;

/// How the feed stands, for the admin door and the reports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// When control was last heard.
    pub heard: Option<Instant>,
    /// Why it is not heard now.
    pub problem: Option<String>,
    /// Why what control sends cannot be taken.
    pub halted: Option<String>,
}

/// What the feed shares with others.
#[derive(Debug)]
pub(crate) struct Feed {
    standing: Mutex<Standing>,
    /// Rises when something is refused, and follows it when that was reported.
    refused: watch::Sender<u64>,
    reported: watch::Sender<u64>,
    /// The table is not what its hash says.
    spoilt: Notify,
}

impl Default for Feed {
    fn default() -> Self {
        Self { standing: Mutex::default(), refused: watch::Sender::new(0), reported: watch::Sender::new(0), spoilt: Notify::new() }
    }
}

impl Feed {
    pub(crate) fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Tells of refusals.
    pub(crate) fn refusals(&self) -> watch::Receiver<u64> {
        self.refused.subscribe()
    }

    /// Control knows of refusals up to this one.
    pub(crate) fn reported(&self, refusal: u64) {
        self.reported.send_replace(refusal);
    }

    /// The table in memory is not what it should be: a whole one is fetched.
    pub(crate) fn resync(&self) {
        self.spoilt.notify_one();
    }

    /// Something cannot be taken. Control is told while it still sees this edge following, so that it gives it to nobody else.
    async fn refuse(&self, why: &Ended) {
        self.note(|standing| standing.halted = Some(why.to_string()));
        self.refused.send_modify(|n| *n += 1);
        let refusal = *self.refused.borrow();
        let mut reported = self.reported.subscribe();
        // Not told in time: control finds out by itself that this edge stays behind.
        let _ = tokio::time::timeout(TELL_WITHIN, reported.wait_for(|at| *at >= refusal)).await;
    }
}

/// Why a feed ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("a line of the feed does not parse: {0}")]
    Line(#[from] serde_json::Error),
    #[error("the table does not fit the feed: {0}")]
    Apply(#[from] ApplyError),
    #[error("control and this edge have different tables of generation {0}")]
    Drift(model::Generation),
    #[error("the table in memory is not what its hash says")]
    Spoilt,
    #[error("a whole table came in a wrong order or number of lines")]
    Parts,
}

impl Ended {
    /// Whether it was what control sent that could not be taken, not that nothing came.
    const fn is_refusal(&self) -> bool {
        matches!(self, Self::Line(_) | Self::Broken(Broken::LongLine) | Self::Apply(_) | Self::Parts)
    }
}

/// Follows control's feed until the stop.
pub(crate) async fn follow(routes: Arc<Routes>, source: Source, feed: Arc<Feed>, stop: CancellationToken) {
    let mut attempts = Attempts::new();
    let mut whole = false;
    loop {
        let session = async {
            tokio::select! {
                ended = session(&routes, &source, &feed, whole) => ended,
                () = feed.spoilt.notified() => Ended::Spoilt,
            }
        };
        let Some(ended) = stop.run_until_cancelled(session).await else { return };
        // A sender whose numbers are lower must hear ours, and goes above them.
        whole = match &ended {
            Ended::Apply(ApplyError::Older { .. }) => false,
            Ended::Drift(_) | Ended::Spoilt => true,
            other => other.is_refusal(),
        };
        let problem = ended.to_string();
        if attempts.ended(&problem) {
            tracing::warn!(problem, "the route feed ended; the edge serves on from the routes it has");
        }
        feed.note(|standing| {
            standing.halted = ended.is_refusal().then(|| problem.clone());
            standing.problem = Some(problem);
        });
        if attempts.next(&stop).await.is_none() {
            return;
        }
    }
}

/// One feed to its end. Control hears of a refusal before the connection ends.
async fn session(routes: &Arc<Routes>, source: &Source, feed: &Feed, whole: bool) -> Ended {
    let Err(ended) = lines(routes, source, feed, whole).await;
    if ended.is_refusal() {
        feed.refuse(&ended).await;
    }
    ended
}

async fn lines(routes: &Arc<Routes>, source: &Source, feed: &Feed, whole: bool) -> Result<Infallible, Ended> {
    let table = routes.table();
    let mut target = format!("/v1/routes?parts=1&edge={}", escape(&source.name));
    if !whole && !table.incarnation().is_empty() {
        let _ = write!(target, "&from={}&incarnation={}", table.generation(), escape(table.incarnation()));
    }
    drop(table);
    let mut lines = source.lines(&target, LONGEST_LINE).await?;
    let mut assembly = None;
    loop {
        while let Some(line) = lines.at_hand() {
            take(routes, &line, &mut assembly).await?;
            feed.note(|standing| *standing = Standing { heard: Some(Instant::now()), ..Standing::default() });
        }
        lines.more().await?;
    }
}

async fn take(routes: &Arc<Routes>, line: &[u8], assembly: &mut Option<(Begin, Assembly)>) -> Result<(), Ended> {
    match (Line::decode(line)?, assembly) {
        (Line::Snapshot(snapshot), None) => take_whole(routes, move || snapshot.compile()).await,
        (Line::Begin(begin), assembly @ None) => {
            let parts = Assembly::new(begin.incarnation.clone(), begin.generation, begin.cells.clone(), begin.records);
            *assembly = Some((*begin, parts));
            Ok(())
        }
        (Line::Part(records), Some((begin, parts))) => {
            records.iter().for_each(|record| parts.add(record));
            if parts.len() <= begin.records { Ok(()) } else { Err(Ended::Parts) }
        }
        (Line::End, assembly) => {
            let (begin, parts) = assembly.take().filter(|(begin, parts)| parts.len() == begin.records).ok_or(Ended::Parts)?;
            let finish = move || {
                let (table, refused) = parts.finish();
                let computed = table.hash();
                if computed == begin.hash { Ok((table, refused)) } else { Err(ApplyError::Hash { expected: begin.hash, computed }) }
            };
            take_whole(routes, finish).await
        }
        (Line::Delta(delta), None) => {
            let (to, changes) = (delta.to, delta.changes.len());
            match routes.apply(*delta) {
                // Sent before control heard where this edge stands.
                Err(ApplyError::Older { .. }) => Ok(()),
                applied => {
                    tracing::debug!(generation = to.0, changes, "routes changed");
                    tell(applied?);
                    Ok(())
                }
            }
        }
        (Line::Alive { generation, hash }, None) => {
            let table = routes.table();
            if table.generation() == generation && table.hash() == hash { Ok(()) } else { Err(Ended::Drift(generation)) }
        }
        _ => Err(Ended::Parts),
    }
}

/// A whole table is put together and compared beside the thread that keeps everything else going.
async fn take_whole(routes: &Arc<Routes>, make: impl FnOnce() -> Result<(Table, Vec<Refused>), ApplyError> + Send + 'static) -> Result<(), Ended> {
    let routes = routes.clone();
    let took = tokio::task::spawn_blocking(move || {
        let (table, refused) = make()?;
        tracing::info!(generation = table.generation().0, hosts = table.len(), "a whole table of routes");
        routes.take(table)?;
        Ok::<_, ApplyError>(refused)
    });
    tell(took.await.map_err(|_| Ended::Parts)??);
    Ok(())
}

fn tell(refused: Vec<Refused>) {
    for one in refused.into_iter().take(MOST_TOLD) {
        tracing::warn!(host = %one.host, tenant = %one.tenant, reason = %one.reason, "a route is not served");
    }
}
