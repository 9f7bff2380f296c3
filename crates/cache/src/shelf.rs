//! What is kept of one tenant, and who fetches what for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hashlink::LruCache;
use tokio::sync::watch;

use crate::entry::Entry;
use crate::rules::{Asked, Manner};

/// Answers kept for one key, by what `Vary` names.
const VARIANTS: usize = 4;
/// What was found not to be kept is not waited for again so soon.
const PASSES: Duration = Duration::from_secs(120);
/// What a note that something is not kept takes.
const NOTE: u64 = 256;

/// Where an answer is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(Box<str>);

impl Key {
    pub(crate) fn new(secure: bool, host: &str, target: &str) -> Self {
        // A host has no slash and a target begins with one, so no two places look alike.
        let mut key = String::with_capacity(1 + host.len() + target.len());
        key.push(if secure { 's' } else { 'p' });
        key.push_str(host);
        key.push_str(target);
        Self(key.into())
    }

    fn octets(&self) -> u64 {
        self.0.len() as u64
    }
}

/// One tenant's.
#[derive(Debug)]
pub(crate) struct Shelf {
    inner: Mutex<Inner>,
    octets: AtomicU64,
    /// Rises with every request that may have changed something.
    changes: AtomicU64,
    /// Rises with every purge.
    purges: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    slots: LruCache<Key, Slot>,
    flights: HashMap<Key, watch::Receiver<()>>,
}

#[derive(Debug)]
enum Slot {
    Kept(Vec<Arc<Entry>>),
    Passes { until: Instant },
}

impl Slot {
    fn octets(&self, key: &Key) -> u64 {
        key.octets()
            + match self {
                Self::Kept(entries) => entries.iter().map(|entry| entry.octets()).sum(),
                Self::Passes { .. } => NOTE,
            }
    }
}

/// What is there for a request.
pub(crate) enum Found {
    Entry(Arc<Entry>),
    /// It was found not to be kept.
    Passes,
    Nothing,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        let inner = Inner { slots: LruCache::new_unbounded(), flights: HashMap::new() };
        Self { inner: Mutex::new(inner), octets: AtomicU64::default(), changes: AtomicU64::default(), purges: AtomicU64::default() }
    }

    pub(crate) fn octets(&self) -> u64 {
        self.octets.load(Relaxed)
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    pub(crate) fn purges(&self) -> u64 {
        self.purges.load(Relaxed)
    }

    pub(crate) fn find(&self, key: &Key, asked: &Asked<'_>, manner: Manner) -> Found {
        match self.inner().slots.get(key) {
            Some(Slot::Kept(entries)) => {
                entries.iter().find(|entry| entry.fits(asked, manner)).map_or(Found::Nothing, |entry| Found::Entry(entry.clone()))
            }
            Some(Slot::Passes { until }) if Instant::now() < *until => Found::Passes,
            Some(Slot::Passes { .. }) | None => Found::Nothing,
        }
    }

    /// Begins to fetch for a key, or tells whom to wait for.
    pub(crate) fn begin(&self, key: &Key) -> Result<watch::Sender<()>, watch::Receiver<()>> {
        let mut inner = self.inner();
        if let Some(flight) = inner.flights.get(key) {
            return Err(flight.clone());
        }
        let (sender, receiver) = watch::channel(());
        inner.flights.insert(key.clone(), receiver);
        Ok(sender)
    }

    /// Ends it.
    pub(crate) fn end(&self, key: &Key) {
        self.inner().flights.remove(key);
    }

    /// Keeps an answer, unless there was a purge since; says by how many octets the shelf grew.
    pub(crate) fn keep(&self, key: Key, entry: Arc<Entry>, purges: u64) -> i64 {
        let mut inner = self.inner();
        // Looked at under the lock that a purge takes.
        if self.purges() != purges {
            return 0;
        }
        let before = inner.slots.get(&key).map_or(0, |slot| slot.octets(&key));
        let mut entries = Vec::new();
        if let Some(Slot::Kept(others)) = inner.slots.remove(&key) {
            entries.extend(others.into_iter().filter(|other| !other.stands_for(&entry)).take(VARIANTS - 1));
        }
        entries.insert(0, entry);
        self.put(&mut inner, key, Slot::Kept(entries), before)
    }

    /// Notes that something is not kept, or not waited for: then what is kept stays.
    pub(crate) fn pass(&self, key: Key, instead: bool) -> i64 {
        let mut inner = self.inner();
        if !instead && matches!(inner.slots.peek(&key), Some(Slot::Kept(_))) {
            return 0;
        }
        let before = inner.slots.get(&key).map_or(0, |slot| slot.octets(&key));
        self.put(&mut inner, key, Slot::Passes { until: Instant::now() + PASSES }, before)
    }

    fn put(&self, inner: &mut Inner, key: Key, slot: Slot, before: u64) -> i64 {
        let after = slot.octets(&key);
        inner.slots.insert(key, slot);
        self.octets.fetch_add(after, Relaxed);
        self.octets.fetch_sub(before, Relaxed);
        after.cast_signed() - before.cast_signed()
    }

    /// A request may have changed something: pages that say nothing of their freshness are not believed any more, nor is what stands at this key.
    pub(crate) fn changed(&self, keys: &[Key]) -> u64 {
        let mut inner = self.inner();
        self.changes.fetch_add(1, Relaxed);
        self.remove(&mut inner, |key, _| keys.contains(key), keys)
    }

    /// Forgets everything, or what is chosen.
    pub(crate) fn purge(&self, chosen: impl Fn(&Key, &[Box<str>]) -> bool) -> u64 {
        let mut inner = self.inner();
        self.purges.fetch_add(1, Relaxed);
        self.remove(&mut inner, chosen, &[])
    }

    /// Takes away the chosen ones, of these keys where there are any; says how many octets it was.
    fn remove(&self, inner: &mut Inner, chosen: impl Fn(&Key, &[Box<str>]) -> bool, keys: &[Key]) -> u64 {
        let mut gone = 0;
        let mut drop_one = |slots: &mut LruCache<Key, Slot>, key: &Key| {
            if let Some(slot) = slots.remove(key) {
                gone += slot.octets(key);
            }
        };
        if keys.is_empty() {
            let is_chosen = |(key, slot): &(&Key, &Slot)| match slot {
                Slot::Kept(entries) => entries.iter().any(|entry| chosen(key, &entry.tags)),
                Slot::Passes { .. } => chosen(key, &[]),
            };
            let those: Vec<Key> = inner.slots.iter().filter(is_chosen).map(|(key, _)| key.clone()).collect();
            for key in &those {
                drop_one(&mut inner.slots, key);
            }
        } else {
            for key in keys {
                drop_one(&mut inner.slots, key);
            }
        }
        self.octets.fetch_sub(gone, Relaxed);
        gone
    }

    /// Takes away what was not asked for longest, down to so many octets; says how many that made.
    pub(crate) fn shrink(&self, to: u64) -> u64 {
        let mut inner = self.inner();
        let mut gone = 0;
        while self.octets() - gone > to
            && let Some((key, slot)) = inner.slots.remove_lru()
        {
            gone += slot.octets(&key);
        }
        self.octets.fetch_sub(gone, Relaxed);
        gone
    }

    /// No code that holds this lock can leave its content half changed.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
