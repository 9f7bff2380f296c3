//! Watching without polling: recent changes in memory, a wake-up per kind, older ones from the store's own log.
//!
//! A driver [`Feed::publish`]es each change after it is durable and hands out [`Feed::watch`]. A watcher costs nothing while nothing changes:
//! no timer, no query. It is told [`StoreError::TooOld`] only when a change of *its* kind is no longer kept anywhere.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use model::{Kind, Revision};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::rules::Change;
use crate::{Event, StoreError, Watch};

/// How long after a change of other kinds an idle watcher gets a bookmark.
pub const BOOKMARK_AFTER: Duration = Duration::from_secs(1);
/// Most changes that a watcher takes over at once.
const BATCH: usize = 128;

/// Changes older than those in memory.
#[async_trait]
pub trait History: Send + Sync {
    /// Changes of a kind (of all: `None`) after a revision, at most `limit`, in order, and the revision up to which this answer is complete.
    ///
    /// # Errors
    /// [`StoreError::TooOld`] when some are no longer kept.
    async fn since(&self, kind: Option<Kind>, after: Revision, limit: usize) -> Result<(Vec<Arc<Change>>, Revision), StoreError>;
}

/// The recent changes of a store and those who wait for more. Dropping it ends every watch.
pub struct Feed {
    ring: Arc<Mutex<Ring>>,
    all: watch::Sender<u64>,
    kinds: BTreeMap<Kind, watch::Sender<u64>>,
}

/// Changes kept in memory.
struct Ring {
    changes: VecDeque<Arc<Change>>,
    head: Revision,
    /// Per kind, the newest change that is no longer here.
    dropped: BTreeMap<Kind, Revision>,
    /// Most changes kept.
    capacity: usize,
}

impl Feed {
    /// A feed that begins after `head` and keeps at most `capacity` changes in memory.
    #[must_use]
    pub fn new(head: Revision, capacity: usize) -> Self {
        let dropped = Kind::ALL.iter().map(|&k| (k, head)).collect();
        let kinds = Kind::ALL.iter().map(|&k| (k, watch::Sender::new(head.0))).collect();
        let ring = Ring { changes: VecDeque::new(), head, dropped, capacity };
        Self { ring: Arc::new(Mutex::new(ring)), all: watch::Sender::new(head.0), kinds }
    }

    /// Tells changes that are durable now, in order of revision.
    pub fn publish(&self, changes: impl IntoIterator<Item = Change>) {
        let mut touched = BTreeMap::new();
        {
            let mut ring = lock(&self.ring);
            for change in changes {
                ring.head = change.revision;
                touched.insert(change.kind(), change.revision);
                ring.changes.push_back(Arc::new(change));
            }
            ring.trim();
        }
        for (kind, revision) in &touched {
            if let Some(sender) = self.kinds.get(kind) {
                sender.send_replace(revision.0);
            }
        }
        if let Some(head) = touched.values().max() {
            self.all.send_replace(head.0);
        }
    }

    /// The newest revision told.
    #[must_use]
    pub fn head(&self) -> Revision {
        lock(&self.ring).head
    }

    /// Forgets the changes in memory up to this revision.
    pub fn forget(&self, up_to: Revision) {
        let mut ring = lock(&self.ring);
        while ring.changes.front().is_some_and(|c| c.revision <= up_to) {
            ring.drop_oldest();
        }
    }

    /// Changes of a kind after a revision, when memory still has all of them.
    #[must_use]
    pub fn recent(&self, kind: Kind, after: Revision) -> Option<Vec<Arc<Change>>> {
        let ring = lock(&self.ring);
        ring.complete(Some(kind), after).then(|| ring.after(Some(kind), after, usize::MAX).0)
    }

    /// A watcher of a kind (of all: `None`) from a revision on.
    ///
    /// # Errors
    /// [`StoreError::TooOld`] for a revision never given (a reader from another life of the store), or one that nobody remembers.
    pub fn watch(&self, kind: Option<Kind>, from: Revision, history: Option<Arc<dyn History>>) -> Result<Box<dyn Watch>, StoreError> {
        // Subscribed before the ring is looked at, so that no change falls between.
        let all = self.all.subscribe();
        let own = kind.and_then(|k| self.kinds.get(&k)).unwrap_or(&self.all).subscribe();
        let ring = lock(&self.ring);
        if from > ring.head || (history.is_none() && !ring.complete(kind, from)) {
            return Err(StoreError::TooOld(from));
        }
        drop(ring);
        let ring = self.ring.clone();
        Ok(Box::new(FeedWatch { ring, all, own, kind, history, seen: from, told: from, buffer: VecDeque::new(), bookmark_at: None }))
    }
}

impl Ring {
    fn trim(&mut self) {
        while self.changes.len() > self.capacity {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(change) = self.changes.pop_front() {
            self.dropped.insert(change.kind(), change.revision);
        }
    }

    fn complete(&self, kind: Option<Kind>, after: Revision) -> bool {
        match kind {
            Some(kind) => self.dropped.get(&kind).is_none_or(|d| *d <= after),
            None => self.dropped.values().all(|d| *d <= after),
        }
    }

    /// At most `limit` changes, and the revision up to which they are complete.
    fn after(&self, kind: Option<Kind>, after: Revision, limit: usize) -> (Vec<Arc<Change>>, Revision) {
        let begin = self.changes.partition_point(|c| c.revision <= after);
        let found: Vec<_> = self.changes.range(begin..).filter(|c| kind.is_none_or(|k| c.kind() == k)).take(limit).cloned().collect();
        let complete = if found.len() == limit { found.last().map_or(self.head, |c| c.revision) } else { self.head };
        (found, complete)
    }
}

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    // No code that holds this lock can leave it half changed.
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One reader. Every field that moves is moved without an await in between, so `next` may be dropped at any point and called again.
struct FeedWatch {
    ring: Arc<Mutex<Ring>>,
    all: watch::Receiver<u64>,
    own: watch::Receiver<u64>,
    kind: Option<Kind>,
    history: Option<Arc<dyn History>>,
    /// Looked at up to here.
    seen: Revision,
    /// The reader knows that it is complete up to here.
    told: Revision,
    buffer: VecDeque<Arc<Change>>,
    bookmark_at: Option<Instant>,
}

impl FeedWatch {
    /// Fills the buffer with what came since; an error when something of this kind is no longer kept.
    async fn refill(&mut self) -> Result<(), StoreError> {
        self.own.borrow_and_update();
        self.all.borrow_and_update();
        let found = {
            let ring = lock(&self.ring);
            ring.complete(self.kind, self.seen).then(|| ring.after(self.kind, self.seen, BATCH))
        };
        let (changes, complete) = match (found, &self.history) {
            (Some(found), _) => found,
            (None, Some(history)) => history.since(self.kind, self.seen, BATCH).await?,
            (None, None) => return Err(StoreError::TooOld(self.seen)),
        };
        self.seen = complete;
        self.buffer.extend(changes);
        Ok(())
    }

    fn head(&self) -> Revision {
        lock(&self.ring).head
    }

    fn closed<T, E>(result: Result<T, E>) -> Result<(), StoreError> {
        result.map(drop).map_err(|_| StoreError::Unavailable("the store was closed".to_owned()))
    }
}

#[async_trait]
impl Watch for FeedWatch {
    async fn next(&mut self) -> Result<Event, StoreError> {
        loop {
            if let Some(change) = self.buffer.pop_front() {
                self.told = change.revision;
                return Ok(change.event());
            }
            self.refill().await?;
            if !self.buffer.is_empty() || self.seen < self.head() {
                continue;
            }
            if self.told == self.seen {
                self.bookmark_at = None;
                // Any change wakes: one of another kind only arms the bookmark's timer below, and while that runs nothing but its own kind wakes it.
                tokio::select! {
                    changed = self.own.changed() => Self::closed(changed)?,
                    changed = self.all.changed() => Self::closed(changed)?,
                }
                continue;
            }
            let at = *self.bookmark_at.get_or_insert_with(|| Instant::now() + BOOKMARK_AFTER);
            tokio::select! {
                changed = self.own.changed() => Self::closed(changed)?,
                () = tokio::time::sleep_until(at) => {
                    self.bookmark_at = None;
                    self.told = self.seen;
                    return Ok(Event::Bookmark(self.seen));
                }
            }
        }
    }
}
