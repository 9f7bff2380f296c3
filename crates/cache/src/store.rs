//! All that an edge keeps.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::entry::{Entry, Ripeness};
use crate::room;
use crate::rules::{self, Asked};
use crate::shelf::{Found, Key, Shelf};
use crate::task::Task;

/// To what part of its room (in hundredths) a full cache is emptied, so that the search for who has most is rare.
const FULL: u64 = 95;
/// How long a request waits for another that fetches the same. An answer that takes longer, each fetches for itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Octets in all.
    pub octets: u64,
    /// Octets of one body.
    pub largest: usize,
    /// Octets of bodies on their way into the cache.
    pub arriving: u64,
}

impl Options {
    /// With this room in all. One answer takes a sixty-fourth of it at most (and 8 MiB), those that are arriving a quarter.
    #[must_use]
    pub fn new(octets: u64) -> Self {
        let largest = usize::try_from(octets / 64).unwrap_or(usize::MAX).min(8 * 1024 * 1024);
        Self { octets, largest, arriving: octets / 4 }
    }
}

/// All answers that are kept, by tenant.
#[derive(Debug)]
pub struct Cache {
    pub(crate) options: Options,
    shelves: RwLock<HashMap<Box<str>, Arc<Shelf>>>,
    octets: AtomicU64,
    pub(crate) arriving: AtomicU64,
    making_room: AtomicBool,
}

/// What there is for a request.
pub enum Look {
    /// The cache has nothing to do with it.
    Pass,
    /// This answers it.
    Serve(Arc<Entry>),
    /// This answers it; whoever is told so has it asked for anew in the background.
    Refresh(Arc<Entry>),
    /// It is to be asked for; the answer may be of use to others.
    Fetch(Task),
    /// Somebody asks for it right now.
    Wait(Waiter),
}

/// Waits for somebody else's answer.
#[derive(Debug)]
pub struct Waiter {
    flight: watch::Receiver<()>,
    cache: Arc<Cache>,
    shelf: Arc<Shelf>,
    key: Key,
}

impl Waiter {
    /// Until that answer is kept, or will not be; `false` when it takes too long.
    pub async fn wait(mut self) -> bool {
        // Nothing is ever sent: the end of the sender is the news.
        let ended = tokio::time::timeout(PATIENCE, async { while self.flight.changed().await.is_ok() {} }).await.is_ok();
        if !ended {
            // What takes long is not waited for again so soon, whatever becomes of it; once it is kept after all, it is found.
            self.cache.grew(self.shelf.pass(self.key, false));
        }
        ended
    }
}

/// What is to be forgotten of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purge {
    /// All.
    All,
    /// What stands at this host and target, over TLS and without.
    At {
        /// In canonical form.
        host: String,
        /// Path and query.
        target: String,
    },
    /// What carries this tag (`Cache-Tag`, `Surrogate-Key`).
    Tag(String),
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(options: Options) -> Arc<Self> {
        let (octets, arriving, making_room) = Default::default();
        Arc::new(Self { options, shelves: RwLock::default(), octets, arriving, making_room })
    }

    /// Octets that are kept now.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets.load(Relaxed)
    }

    /// Says what there is for a request. An `errand` asks anew for the cache's sake and is never served from it. Who waited in vain asks `alone`.
    #[must_use]
    pub fn look(self: &Arc<Self>, asked: &Asked<'_>, errand: bool, alone: bool, now: SystemTime) -> Look {
        let Some(manner) = rules::manner(asked) else { return Look::Pass };
        let shelf = self.shelf(asked.tenant);
        let key = Key::new(asked.secure, asked.host, asked.target);
        let stored = match shelf.find(&key, asked, manner) {
            Found::Entry(entry) => match entry.ripeness(asked, shelf.changes(), now) {
                Ripeness::Fresh if !errand => return Look::Serve(entry),
                Ripeness::Ripe if !errand => return if entry.claim() { Look::Refresh(entry) } else { Look::Serve(entry) },
                Ripeness::Fresh | Ripeness::Ripe | Ripeness::Stale => Some(entry),
            },
            Found::Passes if !errand => return Look::Pass,
            Found::Passes | Found::Nothing => None,
        };
        if manner.head {
            return Look::Pass;
        }
        // What may not be kept for those who show a cookie is not waited for by them either.
        let flight = if alone || (manner.known && manner.family.is_none()) {
            None
        } else {
            match shelf.begin(&key) {
                Ok(flight) => Some(flight),
                Err(_) if errand => return Look::Pass,
                Err(flight) => return Look::Wait(Waiter { flight, cache: self.clone(), shelf, key }),
            }
        };
        Look::Fetch(Task::new(self.clone(), shelf, key, manner, asked.mode, stored, flight))
    }

    /// A request that may change something was answered without an error (RFC 9111, 4.4): what stood at its target is forgotten, and pages that say nothing of
    /// their freshness are not believed any more.
    pub fn changed(&self, tenant: &str, host: &str, target: &str) {
        let Some(shelf) = self.find(tenant) else { return };
        let keys = [Key::new(false, host, target), Key::new(true, host, target)];
        self.shrank(shelf.changed(&keys));
    }

    /// Forgets of one tenant what is chosen. What is on its way when this is called is not kept.
    pub fn purge(&self, tenant: &str, purge: &Purge) {
        let Some(shelf) = self.find(tenant) else { return };
        let gone = match purge {
            Purge::All => shelf.purge(|_, _| true),
            Purge::At { host, target } => {
                let keys = [Key::new(false, host, target), Key::new(true, host, target)];
                shelf.purge(|key, _| keys.contains(key))
            }
            Purge::Tag(tag) => shelf.purge(|_, tags| tags.iter().any(|own| **own == **tag)),
        };
        self.shrank(gone);
    }

    /// Forgets everything of everybody.
    pub fn clear(&self) {
        for shelf in self.all() {
            self.shrank(shelf.purge(|_, _| true));
        }
    }

    /// Notes that a shelf grew, and makes room where that was too much.
    pub(crate) fn grew(&self, by: i64) {
        let octets = if by < 0 {
            self.octets.fetch_sub(by.unsigned_abs(), Relaxed)
        } else {
            self.octets.fetch_add(by.unsigned_abs(), Relaxed) + by.unsigned_abs()
        };
        if octets <= self.options.octets || self.making_room.swap(true, Relaxed) {
            return;
        }
        let shelves = self.all();
        let level = room::level(shelves.iter().map(|shelf| shelf.octets()).collect(), self.options.octets / 100 * FULL);
        for shelf in shelves.iter().filter(|shelf| shelf.octets() > level) {
            self.shrank(shelf.shrink(level));
        }
        drop(shelves);
        self.forget_empty();
        self.making_room.store(false, Relaxed);
    }

    fn shrank(&self, by: u64) {
        self.octets.fetch_sub(by, Relaxed);
    }

    /// Lets go of tenants of whom nothing is kept and nobody asks.
    fn forget_empty(&self) {
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever looks for a shelf holds the other side of this lock, so nobody gets one that is being let go.
        shelves.retain(|_, shelf| shelf.octets() > 0 || Arc::strong_count(shelf) > 1);
    }

    fn all(&self) -> Vec<Arc<Shelf>> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn find(&self, tenant: &str) -> Option<Arc<Shelf>> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    fn shelf(&self, tenant: &str) -> Arc<Shelf> {
        if let Some(shelf) = self.find(tenant) {
            return shelf;
        }
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        shelves.entry(tenant.into()).or_insert_with(|| Arc::new(Shelf::new())).clone()
    }
}
