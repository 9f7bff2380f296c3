//! Requests that wait for their tenant: how many may, and in which order and at which pace they go on.
//!
//! When a tenant opens again, all that waited would fall on a cell in one moment, and a cell's PHP has few workers. So the first go at once, and then one in each
//! millisecond, in the order in which they came: as many as may wait for one tenant are out in a second. Whoever comes after the release waits for nobody; it is
//! no part of the crowd. Times are reckoned and not handed over, so that nobody who leaves can keep the others waiting.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Most requests that wait at once, and most of one tenant.
const MOST_HELD: usize = 2000;
const MOST_OF_ONE: usize = 1000;
/// How many of one tenant go at once, and how long after each other those behind them: a worker of a cell's PHP has a few tens of milliseconds of work with one,
/// and there are a few tens of workers.
const AT_ONCE: u32 = 32;
const EVERY: Duration = Duration::from_millis(1);

/// Everybody who waits.
#[derive(Debug, Default)]
pub(crate) struct Queue(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    tenants: HashMap<Box<str>, Tenant>,
    held: usize,
    next: u64,
    turned_away: u64,
}

/// One tenant's, by the number of their coming.
#[derive(Debug, Default)]
struct Tenant {
    waiting: BTreeSet<u64>,
    /// Since when they may go, and how many have.
    opened: Option<(Instant, u32)>,
}

/// A place among those who wait; it is given up with this.
#[derive(Debug)]
pub(crate) struct Place<'q> {
    queue: &'q Queue,
    tenant: Box<str>,
    number: u64,
}

impl Queue {
    /// A place for one of a tenant's requests, where there is one left. Whoever waited before keeps its number.
    pub(crate) fn enter(&self, tenant: &str, number: Option<u64>) -> Option<Place<'_>> {
        let mut all = self.lock();
        let of_one = all.tenants.get(tenant).map_or(0, |tenant| tenant.waiting.len());
        if all.held >= MOST_HELD || of_one >= MOST_OF_ONE {
            all.turned_away += 1;
            return None;
        }
        let number = number.unwrap_or(all.next);
        all.next += 1;
        all.held += 1;
        all.tenants.entry(tenant.into()).or_default().waiting.insert(number);
        Some(Place { queue: self, tenant: tenant.into(), number })
    }

    /// Requests that wait now, and how many found no place so far.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let all = self.lock();
        (all.held, all.turned_away)
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The tenant is closed, as far as this one knows.
    pub(crate) fn closed(&self) {
        if let Some(tenant) = self.queue.lock().tenants.get_mut(&self.tenant) {
            tenant.opened = None;
        }
    }

    /// The tenant is open. Waits for this one's turn; `true` where that took a while, after which the tenant is looked at again.
    pub(crate) async fn turn(&self) -> bool {
        let now = Instant::now();
        let turn = self.turn_at(now);
        if turn > now {
            tokio::time::sleep_until(turn).await;
        }
        turn > now
    }

    fn turn_at(&self, now: Instant) -> Instant {
        let mut all = self.queue.lock();
        let Some(tenant) = all.tenants.get_mut(&self.tenant) else { return now };
        let before = u32::try_from(tenant.waiting.range(..self.number).count()).unwrap_or(u32::MAX);
        let (opened, gone) = *tenant.opened.get_or_insert((now, 0));
        opened + EVERY * (gone + before + 1).saturating_sub(AT_ONCE)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.queue.lock();
        all.held -= 1;
        if let Some(tenant) = all.tenants.get_mut(&self.tenant) {
            tenant.waiting.remove(&self.number);
            if let Some((_, gone)) = &mut tenant.opened {
                *gone += 1;
            }
            if tenant.waiting.is_empty() {
                all.tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
