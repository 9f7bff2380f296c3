//! Fairness: what a tenant, and a visitor's address, may take of this edge, so that nobody's peak is everybody's.
//!
//! Each tenant has a class with a rate of requests, a number of requests under way, and a rate of octets (counted when a request ends, and owed by the next ones); each address has one for all. What goes beyond is
//! answered 429 at once, with the time after which it fits; requests beyond the number under way wait a moment first, in order, and no more of them than may
//! be under way. When the edge as a whole is nearly full, tenants that hold more than an equal share of it are refused first (503, [`Crowd`]).
//! What each tenant took is counted beside, for [`Facts`].

mod class;
mod rate;
mod tenant;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::Ordering::Acquire;
use std::sync::atomic::fence;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState as Quick;
use hashbrown::HashTable;
use model::TenantName;
use proxy::{Crowd, Reason};

pub(crate) use class::Classes;
pub use tenant::Facts;
pub(crate) use tenant::{By, Pass};
use tenant::{Client, Tenant};

/// Time counts from so long before the start, so that whatever ends had a beginning.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// Maps that are locked apart.
const SHARDS: usize = 64;
/// Most addresses that are remembered in one shard; beyond it, a new one is served without being counted.
const MOST_CLIENTS: usize = 4096;

/// Why a request does not get in, and when it may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denied {
    pub reason: Reason,
    pub after: Duration,
}

/// Everybody who takes something of this edge.
#[derive(Debug)]
pub(crate) struct Fair {
    began: Instant,
    classes: RwLock<Classes>,
    /// Of addresses, which strangers choose.
    hasher: RandomState,
    /// Of tenants' names, which the platform chooses.
    quick: Quick,
    tenants: Vec<Mutex<HashTable<Arc<Tenant>>>>,
    clients: Vec<Mutex<HashMap<IpAddr, Arc<Client>>>>,
    crowd: Crowd,
    /// What tenants took in the last turn.
    facts: Mutex<Vec<(TenantName, Facts)>>,
}

impl Fair {
    /// For an edge that serves `most` requests at once.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            began: Instant::now(),
            classes: RwLock::default(),
            hasher: RandomState::new(),
            quick: Quick::default(),
            tenants: (0..SHARDS).map(|_| Mutex::default()).collect(),
            clients: (0..SHARDS).map(|_| Mutex::default()).collect(),
            crowd: Crowd::new(most),
            facts: Mutex::default(),
        }
    }

    /// Works by these classes from now on.
    pub(crate) fn set(&self, classes: Classes) {
        *self.classes.write().unwrap_or_else(PoisonError::into_inner) = classes;
    }

    /// Lets in a request that came at `at`, now or in a moment; what it takes is counted until the pass is dropped.
    pub(crate) async fn enter(self: &Arc<Self>, tenant: &str, class: Option<&str>, client: IpAddr, at: Instant) -> Result<Pass, Denied> {
        let now = self.time(at);
        let (class, of_client) = {
            let classes = self.classes.read().unwrap_or_else(PoisonError::into_inner);
            (classes.of(class), classes.client())
        };
        let tenant = self.tenant(tenant);
        let denied = |tenant: &Tenant, reason: Reason, after| {
            tenant.count_refusal(reason.status());
            Err(Denied { reason, after })
        };
        if let Some(rate) = of_client
            && let Some(Err(after)) = self.client(client).map(|client| client.take(rate, now))
        {
            return denied(&tenant, Reason::ClientLimited, after);
        }
        if let Err(after) = tenant.take(class, now) {
            return denied(&tenant, Reason::TenantLimited, after);
        }
        if self.crowd.is_too_heavy(tenant.under_way()) {
            return denied(&tenant, Reason::Overloaded, Duration::from_secs(1));
        }
        match tenant.place(self, class).await {
            Ok(place) => Ok(Pass::new(place, class.octets, now)),
            Err(tenant) => denied(&tenant, Reason::TenantLimited, Duration::from_secs(1)),
        }
    }

    /// Ends a turn and gives what tenants took in it, which can be asked for until the next one ends; whoever is idle is forgotten.
    pub(crate) fn turn(&self) -> Vec<(TenantName, Facts)> {
        let facts = self.take_facts();
        lock(&self.facts).clone_from(&facts);
        self.sweep();
        facts
    }

    /// What tenants took in the last turn, by name.
    pub(crate) fn facts(&self) -> Vec<(TenantName, Facts)> {
        let mut facts = lock(&self.facts).clone();
        facts.sort_by(|a, b| a.0.cmp(&b.0));
        facts
    }

    /// Forgets addresses that owe nothing.
    fn sweep(&self) {
        let now = self.time(Instant::now());
        for shard in &self.clients {
            lock(shard).retain(|_, client| Arc::strong_count(client) > 1 || !client.is_even(now));
        }
    }

    /// What every tenant took since the last time this was asked. Tenants that are idle are forgotten.
    fn take_facts(&self) -> Vec<(TenantName, Facts)> {
        let now = self.time(Instant::now());
        let mut all = Vec::new();
        for shard in &self.tenants {
            lock(shard).retain(|tenant| {
                // Looked at before the counts are taken: who counts until then is in them, and nobody new comes in under the lock.
                let in_use = Arc::strong_count(tenant) > 1;
                fence(Acquire);
                let facts = tenant.facts();
                let quiet = facts == Facts::default();
                if !quiet && let Ok(name) = TenantName::new(tenant.name()) {
                    all.push((name, facts));
                }
                !quiet || in_use || !tenant.is_even(now)
            });
        }
        all
    }

    /// Time by which bodies and rates are counted.
    fn time(&self, at: Instant) -> Duration {
        (at + LONG).saturating_duration_since(self.began)
    }

    fn tenant(&self, name: &str) -> Arc<Tenant> {
        let hash = self.quick.hash_one(name);
        // By the middle of the hash: the map goes by both ends.
        let mut shard = lock(&self.tenants[shard(hash >> 24)]);
        let found = shard.find(hash, |tenant| {
            tenant.near();
            tenant.is(name)
        });
        if let Some(tenant) = found {
            return tenant.clone();
        }
        let tenant = Arc::new(Tenant::new(name));
        shard.insert_unique(hash, tenant.clone(), |tenant| self.quick.hash_one(tenant.name()));
        tenant
    }

    fn client(&self, address: IpAddr) -> Option<Arc<Client>> {
        let address = network(address);
        let mut shard = lock(&self.clients[shard(self.hasher.hash_one(address))]);
        if shard.len() >= MOST_CLIENTS && !shard.contains_key(&address) {
            return None;
        }
        Some(shard.entry(address).or_default().clone())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only the lowest bits are used")]
const fn shard(hash: u64) -> usize {
    hash as usize % SHARDS
}

/// The one who is counted for an address: a host of IPv4, a network of 64 bits of IPv6, which one customer usually has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        four => four,
    }
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
