//! What every tenant has under way, so that control knows when a tenant that is held has nothing left here, and who has too much when the gate is crowded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::TenantName;
use proxy::Crowd;
use routes::TenantHeader;

/// Requests and tunnels under way by tenant.
#[derive(Debug)]
pub(crate) struct Busy {
    tenants: Mutex<HashMap<TenantName, Counts>>,
    crowd: Crowd,
}

/// What one tenant has under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Requests and tunnels.
    pub all: usize,
    /// Those that may write.
    pub writes: usize,
}

/// Counts one for as long as it lives.
#[derive(Debug)]
pub(crate) struct UnderWay {
    busy: Arc<Busy>,
    header: Arc<TenantHeader>,
    writes: bool,
    too_many: bool,
}

impl UnderWay {
    /// Whether it is crowded here and its tenant had more than its share already, without this one.
    pub(crate) const fn is_too_many(&self) -> bool {
        self.too_many
    }
}

impl Busy {
    /// For a gate that serves `most` requests at once.
    pub(crate) fn new(most: usize) -> Self {
        Self { tenants: Mutex::default(), crowd: Crowd::new(most) }
    }

    /// Counts one more. To be called before the tenant's state is looked at: whoever closes the tenant and then looks here has seen every request that was
    /// still let in.
    pub(crate) fn begin(self: &Arc<Self>, header: Arc<TenantHeader>, writes: bool) -> UnderWay {
        let mut tenants = self.lock();
        if !tenants.contains_key(&header.tenant) {
            tenants.insert(header.tenant.clone(), Counts::default());
        }
        let mut too_many = false;
        if let Some(counts) = tenants.get_mut(&header.tenant) {
            too_many = self.crowd.is_too_heavy(counts.all);
            self.crowd.enter(counts.all);
            counts.all += 1;
            counts.writes += usize::from(writes);
        }
        drop(tenants);
        UnderWay { busy: self.clone(), header, writes, too_many }
    }

    /// What a tenant has under way.
    pub(crate) fn of(&self, tenant: &TenantName) -> Counts {
        self.lock().get(tenant).copied().unwrap_or_default()
    }

    /// Forgets tenants that have nothing under way.
    pub(crate) fn sweep(&self) {
        self.lock().retain(|_, counts| counts.all > 0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantName, Counts>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(counts) = self.busy.lock().get_mut(&self.header.tenant) {
            counts.all -= 1;
            counts.writes -= usize::from(self.writes);
            self.busy.crowd.leave(counts.all);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use model::{CellName, Epoch};
    use routes::KeyId;

    use super::*;

    fn header(tenant: &str) -> Arc<TenantHeader> {
        let (tenant, cell) = (TenantName::new(tenant).unwrap(), CellName::new("a").unwrap());
        Arc::new(TenantHeader { tenant, cell, epoch: Epoch(1), key_id: KeyId::new("k1").unwrap() })
    }

    #[test]
    fn the_heaviest_has_too_many_first_and_nothing_stays_counted() {
        let busy = Arc::new(Busy::new(8));
        let (heavy, light) = (header("heavy"), header("light"));
        let mut held: Vec<_> = (0..6).map(|number| busy.begin(heavy.clone(), number == 0)).collect();
        assert!(held.iter().all(|one| !one.is_too_many()));
        assert!(busy.begin(heavy.clone(), false).is_too_many());
        held.extend((0..2).map(|_| busy.begin(light.clone(), true)));
        assert!(held.iter().all(|one| !one.is_too_many()));
        assert!(busy.begin(heavy.clone(), false).is_too_many());
        assert_eq!((busy.of(&heavy.tenant), busy.of(&light.tenant)), (Counts { all: 6, writes: 1 }, Counts { all: 2, writes: 2 }));
        held.clear();
        assert_eq!((busy.of(&heavy.tenant), busy.crowd.under_way(), busy.crowd.tenants()), (Counts::default(), 0, 0));
        assert!(!busy.begin(heavy, false).is_too_many());
    }
}
