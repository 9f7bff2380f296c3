//! Leases: deadlines in memory by the monotonic clock, fences on disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use store::{Lease, StoreError};

/// Every lease ever given.
#[derive(Debug, Clone, Default)]
pub struct Leases(BTreeMap<String, Held>);

/// A lease's state; it stays when the lease is free, for its fence.
#[derive(Debug, Clone)]
struct Held {
    holder: String,
    fence: u64,
    /// None: given back, or held in a former life of the process.
    until: Option<Instant>,
}

/// A lease that is granted.
#[derive(Debug, PartialEq, Eq)]
pub enum Granted {
    /// The same holder goes on; nothing is to be written.
    Renewed(Lease),
    /// The holder changed: the fence must be durable before anybody hears of it.
    Taken(Lease),
}

impl Leases {
    /// Leases that nobody holds. The fence rises with the next holder, so whoever held one before is refused.
    pub fn free(fences: BTreeMap<String, u64>) -> Self {
        Self(fences.into_iter().map(|(name, fence)| (name, Held { holder: String::new(), fence, until: None })).collect())
    }

    /// Takes or renews.
    pub fn take(&mut self, now: Instant, name: &str, holder: &str, ttl: Duration) -> Result<Granted, StoreError> {
        // A time beyond what the clock can say is as good as for ever: a century.
        let until = now.checked_add(ttl).or_else(|| now.checked_add(Duration::from_secs(100 * 365 * 86_400)));
        let lease = |fence| Lease { name: name.to_owned(), holder: holder.to_owned(), fence };
        let granted = match self.0.get(name) {
            Some(held) if held.stands(now) && held.holder != holder => {
                return Err(StoreError::Held { name: name.to_owned(), holder: held.holder.clone() });
            }
            Some(held) if held.stands(now) => Granted::Renewed(lease(held.fence)),
            other => Granted::Taken(lease(other.map_or(1, |held| held.fence + 1))),
        };
        let (Granted::Renewed(Lease { fence, .. }) | Granted::Taken(Lease { fence, .. })) = &granted;
        self.0.insert(name.to_owned(), Held { holder: holder.to_owned(), fence: *fence, until });
        Ok(granted)
    }

    /// Gives back; an old fence gives nothing back.
    pub fn release(&mut self, now: Instant, lease: &Lease) {
        if self.held(now, lease)
            && let Some(held) = self.0.get_mut(&lease.name)
        {
            held.until = None;
        }
    }

    /// Whether this lease is held under this fence.
    pub fn held(&self, now: Instant, lease: &Lease) -> bool {
        self.0.get(&lease.name).is_some_and(|h| h.stands(now) && h.fence == lease.fence && h.holder == lease.holder)
    }
}

impl Held {
    fn stands(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }
}
