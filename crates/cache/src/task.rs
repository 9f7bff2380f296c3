//! Somebody fetches an answer, which others may wait for.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::entry::{Entry, Parts, Renewed};
use crate::rules::{Asked, Fields, Manner, Mode, Said};
use crate::shelf::{Key, Shelf};
use crate::store::Cache;

/// The right and the duty to fetch an answer. Whoever waits is told when this is dropped, however it ended.
pub struct Task {
    cache: Arc<Cache>,
    shelf: Arc<Shelf>,
    key: Key,
    manner: Manner,
    mode: Mode,
    stored: Option<Arc<Entry>>,
    purges: u64,
    changes: u64,
    flight: Option<watch::Sender<()>>,
}

/// What becomes of the answer that was fetched.
pub enum Answered {
    /// It is not kept.
    Passes,
    /// It is kept, once its body is there.
    Keep(Keeping),
    /// It says that what is stored is still so: this goes to the visitor.
    Renewed(Arc<Entry>),
}

/// An answer on its way into the cache.
pub struct Keeping {
    task: Task,
    /// Without its body yet.
    entry: Option<Box<Entry>>,
    body: Vec<u8>,
    reserved: u64,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Task {
    pub(crate) fn new(
        cache: Arc<Cache>,
        shelf: Arc<Shelf>,
        key: Key,
        manner: Manner,
        mode: Mode,
        stored: Option<Arc<Entry>>,
        flight: Option<watch::Sender<()>>,
    ) -> Self {
        let (purges, changes) = (shelf.purges(), shelf.changes());
        Self { cache, shelf, key, manner, mode, stored, purges, changes, flight }
    }

    /// What is stored and must be asked about: its validators go with the request, instead of the visitor's own conditions.
    #[must_use]
    pub fn stored(&self) -> Option<&Entry> {
        self.stored.as_deref()
    }

    /// Whether the answer is asked for as the cache needs it, without the visitor's own conditions: others wait for it, or something is stored.
    #[must_use]
    pub const fn leads(&self) -> bool {
        self.flight.is_some() || self.stored.is_some()
    }

    /// What is stored, where it may be served though the tenant could not answer.
    #[must_use]
    pub fn stand_in(&self, now: SystemTime) -> Option<Arc<Entry>> {
        self.stored.clone().filter(|entry| entry.may_stand_in(now))
    }

    /// Judges the head of the answer. `fields` are those that go to visitors.
    #[must_use]
    pub fn answered(self, asked: &Asked<'_>, status: u16, fields: &dyn Fields, now: SystemTime) -> Answered {
        if status == 304
            && let Some(stored) = &self.stored
        {
            let renewed = Renewed { stored: stored.fields(), told: fields };
            let entry = self.entry(asked, stored.status(), &renewed, now).map(|entry| entry.with_body(stored.body.clone()));
            // What may not be kept any more is still the answer to this request.
            let Some(entry) = entry.map(Arc::new) else { return Answered::Renewed(stored.clone()) };
            self.keep(entry.clone());
            return Answered::Renewed(entry);
        }
        match self.entry(asked, status, fields, now) {
            Some(entry) => Answered::Keep(Keeping { task: self, entry: Some(Box::new(entry)), body: Vec::new(), reserved: 0 }),
            None => {
                // An error says nothing about the next answer.
                if status < 500 {
                    self.passes();
                }
                Answered::Passes
            }
        }
    }

    fn entry(&self, asked: &Asked<'_>, status: u16, fields: &dyn Fields, now: SystemTime) -> Option<Entry> {
        let asked = &Asked { mode: self.mode, ..*asked };
        Entry::new(Parts { asked, manner: self.manner, status, said: Said::of(fields), fields, changes: self.changes, now })
    }

    fn keep(&self, entry: Arc<Entry>) {
        // A page made before a change must not be believed after it.
        if entry.changes.is_some_and(|known| known != self.shelf.changes()) {
            return;
        }
        self.cache.grew(self.shelf.keep(self.key.clone(), entry, self.purges));
    }

    /// So nobody waits for the next answer of this kind. For those who show a cookie that says nothing about others.
    fn passes(&self) {
        if self.flight.is_some() && !self.manner.known {
            self.cache.grew(self.shelf.pass(self.key.clone(), true));
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.flight.is_some() {
            self.shelf.end(&self.key);
        }
        if let Some(stored) = &self.stored {
            stored.release();
        }
    }
}

impl Keeping {
    /// Takes a part of the body; `false` when it is too much, and nothing is kept.
    #[must_use]
    pub fn push(&mut self, data: &[u8]) -> bool {
        let cache = &self.task.cache;
        let more = data.len() as u64;
        if self.body.len() + data.len() > cache.options.largest {
            self.task.passes();
            return false;
        }
        self.reserved += more;
        if cache.arriving.fetch_add(more, Relaxed) + more > cache.options.arriving {
            return false;
        }
        self.body.extend_from_slice(data);
        true
    }

    /// Keeps it: all of the body is there.
    pub fn finish(mut self) {
        // Whoever waits is told after this, by the drop of the task.
        if let Some(entry) = self.entry.take() {
            let body = std::mem::take(&mut self.body).into_boxed_slice();
            self.task.keep(Arc::new(entry.with_body(body.into())));
        }
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.task.cache.arriving.fetch_sub(self.reserved, Relaxed);
    }
}
