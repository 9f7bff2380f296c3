//! The store in memory, with a fault plan.
//!
//! The same contract as the real ones (it runs the whole conformance suite), deterministic: ids are counted, order is fixed, the only chance comes
//! from the seed of the [`Faults`]. Time is whatever the given clock says; timers are tokio's, so paused time moves everything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use model::{Document, DocumentName, Kind, Revision};

use crate::feed::Feed;
use crate::rules::{self, Fate, View};
use crate::{Committed, Compare, Event, Key, Lease, ListOptions, Page, SharedStore, Store, StoreError, Watch, Write};

/// A clock that stands still unless tokio's does not: `epoch` plus what tokio's time has passed since this call.
pub fn tokio_clock(epoch: Timestamp) -> impl Fn() -> Timestamp + Send + Sync + Clone + 'static {
    let begin = tokio::time::Instant::now();
    move || epoch.saturating_add(SignedDuration::try_from(begin.elapsed()).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}

/// Changes kept for watchers; those further behind list anew, as with the real stores.
const KEPT: usize = 100_000;

/// What goes wrong, in chances of 0 to 1 000 000 per call, drawn from a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Where the dice begin.
    pub seed: u64,
    /// The call fails and nothing happened: [`StoreError::Unavailable`].
    pub unavailable_ppm: u32,
    /// A commit or lease is done, and its answer is lost: [`StoreError::Unknown`].
    pub lost_answer_ppm: u32,
    /// A commit or lease is lost on its way, and nobody knows: [`StoreError::Unknown`].
    pub lost_request_ppm: u32,
    /// The answer of any call comes late.
    pub late_ppm: u32,
    /// At most this late.
    pub late_at_most: Duration,
    /// A watch breaks off with [`StoreError::TooOld`] in place of its next event.
    pub too_old_ppm: u32,
}

/// A store in memory. Clones share one content, so it outlives whoever crashes in a simulation.
#[derive(Clone)]
pub struct FakeStore(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    feed: Feed,
    faults: Mutex<(Faults, Dice)>,
    down: Mutex<Option<String>>,
}

#[derive(Default)]
struct State {
    documents: BTreeMap<Kind, BTreeMap<DocumentName, Document>>,
    leases: BTreeMap<String, Held>,
    head: Revision,
    uids: u64,
    lives: u64,
}

/// A lease's state; it stays when the lease is free, for its fence.
#[derive(Clone)]
struct Held {
    holder: String,
    fence: u64,
    until: Timestamp,
}

impl FakeStore {
    /// An empty store that lives by this clock.
    pub fn new(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            clock: Box::new(clock),
            feed: Feed::new(Revision(0), KEPT),
            faults: Mutex::new((Faults::default(), Dice(0))),
            down: Mutex::new(None),
        }))
    }

    /// This store behind the port.
    #[must_use]
    pub fn shared(&self) -> SharedStore {
        Arc::new(self.clone())
    }

    /// From now on these faults happen.
    pub fn set_faults(&self, faults: Faults) {
        *lock(&self.0.faults) = (faults, Dice(faults.seed));
    }

    /// From now on every call fails with [`StoreError::Unavailable`] and this reason; none: calls work again.
    pub fn set_down(&self, reason: Option<&str>) {
        *lock(&self.0.down) = reason.map(str::to_owned);
    }

    /// Forgets the changes so far, as compaction does: watchers and pages of the past get [`StoreError::TooOld`].
    pub fn compact(&self) {
        self.0.feed.forget(self.head());
    }

    /// The newest revision; equal before and after means that nothing was written.
    #[must_use]
    pub fn head(&self) -> Revision {
        lock(&self.0.state).head
    }

    /// As if the content had been restored from a backup: readers see another incarnation.
    pub fn begin_new_life(&self) {
        lock(&self.0.state).lives += 1;
        self.compact();
    }

    /// Every document, for the checks of a simulation; no fault touches this.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Document> {
        lock(&self.0.state).documents.values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// What the fault plan does to a call before it is done.
    async fn before(&self, writes: bool) -> Result<Answer, StoreError> {
        if let Some(reason) = lock(&self.0.down).clone() {
            return Err(StoreError::Unavailable(reason));
        }
        let (answer, wait) = {
            let mut guard = lock(&self.0.faults);
            let (faults, dice) = &mut *guard;
            if dice.says(faults.unavailable_ppm) {
                return Err(StoreError::Unavailable("fault plan".to_owned()));
            }
            if writes && dice.says(faults.lost_request_ppm) {
                return Err(StoreError::Unknown("fault plan: the request was lost".to_owned()));
            }
            let answer = if writes && dice.says(faults.lost_answer_ppm) { Answer::Lost } else { Answer::Arrives };
            let wait = dice.says(faults.late_ppm).then(|| dice.up_to(faults.late_at_most));
            (answer, wait)
        };
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
        }
        Ok(answer)
    }
}

/// Whether the caller hears what happened.
enum Answer {
    Arrives,
    Lost,
}

impl Answer {
    fn of<T>(self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match self {
            Self::Arrives => result,
            Self::Lost => Err(StoreError::Unknown("fault plan: the answer was lost".to_owned())),
        }
    }
}

impl State {
    fn commit(&mut self, feed: &Feed, now: Timestamp, compares: &[Compare], writes: &[Write]) -> Result<Committed, StoreError> {
        let head = self.head;
        let decision = rules::decide(&mut Now { state: self, now }, head, now, compares, writes)?;
        for change in &decision.changes {
            let kind = self.documents.entry(change.kind()).or_default();
            let name = change.document.metadata.name.clone();
            match change.fate {
                Fate::Stands => kind.insert(name, change.document.clone()),
                Fate::Gone => kind.remove(&name),
            };
        }
        self.head = decision.committed.revision;
        feed.publish(decision.changes);
        Ok(decision.committed)
    }

    fn lease(&mut self, now: Timestamp, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        let until = now.saturating_add(SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX);
        let fence = match self.leases.get(name) {
            Some(held) if held.until > now && held.holder != holder => {
                return Err(StoreError::Held { name: name.to_owned(), holder: held.holder.clone() });
            }
            Some(held) if held.until > now => held.fence,
            Some(held) => held.fence + 1,
            None => 1,
        };
        self.leases.insert(name.to_owned(), Held { holder: holder.to_owned(), fence, until });
        Ok(Lease { name: name.to_owned(), holder: holder.to_owned(), fence })
    }

    fn held(&self, lease: &Lease, now: Timestamp) -> bool {
        self.leases.get(&lease.name).is_some_and(|h| h.until > now && h.fence == lease.fence && h.holder == lease.holder)
    }
}

/// The state as a decision sees it.
struct Now<'a> {
    state: &'a mut State,
    now: Timestamp,
}

impl View for Now<'_> {
    fn document(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        Ok(self.state.documents.get(&key.kind).and_then(|kind| kind.get(&key.name)).cloned())
    }

    fn held(&self, lease: &Lease) -> bool {
        self.state.held(lease, self.now)
    }

    fn uid(&mut self) -> String {
        self.state.uids += 1;
        format!("uid-{}", self.state.uids)
    }
}

#[async_trait]
impl Store for FakeStore {
    async fn incarnation(&self) -> Result<String, StoreError> {
        self.before(false).await?;
        Ok(format!("fake-{}", lock(&self.0.state).lives))
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.before(false).await?;
        Ok(lock(&self.0.state).documents.get(&key.kind).and_then(|kind| kind.get(&key.name)).cloned())
    }

    async fn list(&self, kind: Kind, options: ListOptions) -> Result<Page, StoreError> {
        self.before(false).await?;
        let state = lock(&self.0.state);
        let revision = options.page.as_ref().map_or(state.head, |p| p.revision);
        if revision > state.head {
            return Err(StoreError::TooOld(revision));
        }
        let changes = match options.page {
            Some(_) => self.0.feed.recent(kind, revision).ok_or(StoreError::TooOld(revision))?,
            None => Vec::new(),
        };
        let then = rules::rewind(changes.iter().map(AsRef::as_ref));
        let now = state.documents.get(&kind).into_iter().flatten();
        let after = options.page.as_ref().map(|p| &p.after);
        let now = now.filter(|(name, _)| after.is_none_or(|a| *name > a)).map(|(_, d)| Ok(d.clone()));
        rules::page(now, then, revision, &options)
    }

    async fn commit(&self, compares: Vec<Compare>, writes: Vec<Write>) -> Result<Committed, StoreError> {
        let answer = self.before(true).await?;
        let now = (self.0.clock)();
        answer.of(lock(&self.0.state).commit(&self.0.feed, now, &compares, &writes))
    }

    async fn watch(&self, kind: Option<Kind>, from: Revision) -> Result<Box<dyn Watch>, StoreError> {
        self.before(false).await?;
        let inner = self.0.feed.watch(kind, from, None)?;
        Ok(Box::new(FaultyWatch { inner, store: self.clone() }))
    }

    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        let answer = self.before(true).await?;
        let now = (self.0.clock)();
        answer.of(lock(&self.0.state).lease(now, name, holder, ttl))
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let answer = self.before(true).await?;
        let now = (self.0.clock)();
        let mut state = lock(&self.0.state);
        if state.held(lease, now)
            && let Some(held) = state.leases.get_mut(&lease.name)
        {
            held.until = now;
        }
        answer.of(Ok(()))
    }
}

/// A watch that the fault plan may break.
struct FaultyWatch {
    inner: Box<dyn Watch>,
    store: FakeStore,
}

#[async_trait]
impl Watch for FaultyWatch {
    async fn next(&mut self) -> Result<Event, StoreError> {
        let event = self.inner.next().await?;
        let mut guard = lock(&self.store.0.faults);
        let (faults, dice) = &mut *guard;
        if dice.says(faults.too_old_ppm) {
            return Err(StoreError::TooOld(Revision(0)));
        }
        Ok(event)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked while it held the lock has failed already; the others may go on.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A small generator (splitmix64), so that a seed means the same in every release.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn says(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.roll() % 1_000_000 < u64::from(ppm)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(if nanos == 0 { 0 } else { self.roll() % nanos })
    }
}
