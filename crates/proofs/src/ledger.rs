//! A ledger of acknowledged writes: what was acknowledged must be there afterwards, whatever was broken in between.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shared by all writers of one run.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    acknowledged: BTreeSet<String>,
    at: Vec<Instant>,
    unknown: usize,
}

impl Ledger {
    /// A write was acknowledged.
    pub fn acknowledge(&self, id: String) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.acknowledged.insert(id);
        entries.at.push(Instant::now());
    }

    /// A write's outcome is not known.
    pub fn unknown(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unknown += 1;
    }

    /// How many were acknowledged, and how many outcomes are not known.
    pub fn counts(&self) -> (usize, usize) {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (entries.acknowledged.len(), entries.unknown)
    }

    /// Acknowledged writes that are not among those found.
    pub fn lost(&self, found: &BTreeSet<String>) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).acknowledged.difference(found).cloned().collect()
    }

    /// The longest time without an acknowledgement from `since` on; the time up to now counts too.
    pub fn longest_gap(&self, since: Instant) -> Duration {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = since;
        let mut longest = Duration::ZERO;
        for at in entries.at.iter().copied().filter(|at| *at >= since).chain([Instant::now()]) {
            longest = longest.max(at.saturating_duration_since(last));
            last = at;
        }
        longest
    }

    /// The first acknowledgement after this moment.
    pub fn first_after(&self, moment: Instant) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at.iter().copied().find(|at| *at > moment)
    }
}
