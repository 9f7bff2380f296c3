//! What every tenant has under way: so that control knows when a tenant that is held has nothing left here, and so that no tenant takes all there is room for.
//!
//! The gate forwards at once and queues nothing, so what can fill up is the number of requests under way. When that is nearly full, tenants that hold more than an
//! equal share are refused first, as at the edge: of a cell with several edges only its gates see all of a tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::TenantName;
use routes::TenantHeader;

/// Share of all places, of 100, from which on the heaviest are refused.
const CROWDED: u64 = 75;

/// Requests and tunnels under way by tenant.
#[derive(Debug)]
pub(crate) struct Busy {
    /// As many as there is room for.
    most: u64,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    tenants: HashMap<TenantName, Counts>,
    /// Of all tenants.
    all: u64,
    /// Tenants that have some.
    some: u64,
}

/// What one tenant has under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Requests and tunnels.
    pub all: u64,
    /// Those that may write.
    pub writes: u64,
}

/// Counts one for as long as it lives.
#[derive(Debug)]
pub(crate) struct UnderWay {
    busy: Arc<Busy>,
    header: Arc<TenantHeader>,
    writes: bool,
}

impl Busy {
    /// For a gate that serves `most` at once.
    pub(crate) fn new(most: u64) -> Self {
        Self { most, now: Mutex::default() }
    }

    /// Counts one more, unless the gate is crowded and the tenant holds more than an equal share of it. To be called before the tenant's state is looked at:
    /// whoever closes the tenant and then looks here has seen every request that was still let in.
    pub(crate) fn begin(self: &Arc<Self>, header: Arc<TenantHeader>, writes: bool) -> Option<UnderWay> {
        let mut now = self.lock();
        if !now.tenants.contains_key(&header.tenant) {
            now.tenants.insert(header.tenant.clone(), Counts::default());
        }
        let Now { tenants, all, some } = &mut *now;
        let counts = tenants.get_mut(&header.tenant)?;
        if *all * 100 >= self.most * CROWDED && counts.all > self.most / (*some).max(1) {
            return None;
        }
        *some += u64::from(counts.all == 0);
        *all += 1;
        counts.all += 1;
        counts.writes += u64::from(writes);
        drop(now);
        Some(UnderWay { busy: self.clone(), header, writes })
    }

    /// What a tenant has under way.
    pub(crate) fn of(&self, tenant: &TenantName) -> Counts {
        self.lock().tenants.get(tenant).copied().unwrap_or_default()
    }

    /// Forgets tenants that have nothing under way.
    pub(crate) fn sweep(&self) {
        self.lock().tenants.retain(|_, counts| counts.all > 0);
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut now = self.busy.lock();
        let Now { tenants, all, some } = &mut *now;
        if let Some(counts) = tenants.get_mut(&self.header.tenant) {
            counts.all -= 1;
            counts.writes -= u64::from(self.writes);
            *all -= 1;
            *some -= u64::from(counts.all == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use model::Epoch;
    use routes::KeyId;

    use super::*;

    fn header(tenant: &str) -> Arc<TenantHeader> {
        let (tenant, cell) = (tenant.parse().unwrap(), "a".parse().unwrap());
        Arc::new(TenantHeader { tenant, cell, epoch: Epoch(1), key_id: KeyId::new("k").unwrap() })
    }

    #[test]
    fn the_heaviest_is_refused_first_and_lighter_ones_get_in() {
        let busy = Arc::new(Busy::new(100));
        let (heavy, light) = (header("heavy"), header("light"));
        // Alone it may have everything.
        let mut alone: Vec<_> = (0..90).map(|_| busy.begin(heavy.clone(), false).unwrap()).collect();
        let first = busy.begin(light.clone(), true).unwrap();
        assert!(busy.begin(heavy.clone(), false).is_none(), "two share it now");
        let more: Vec<_> = (0..9).map(|_| busy.begin(light.clone(), true).unwrap()).collect();
        assert_eq!((busy.of(&heavy.tenant).all, busy.of(&light.tenant)), (90, Counts { all: 10, writes: 10 }));
        // It is let in again as soon as there is room.
        alone.truncate(20);
        assert!(busy.begin(heavy.clone(), false).is_some());
        drop((alone, first, more));
        busy.sweep();
        let now = busy.lock();
        assert_eq!((now.all, now.some, now.tenants.len()), (0, 0, 0));
    }
}
