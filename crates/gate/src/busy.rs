//! What every tenant has under way, so that control knows when a tenant that is held has nothing left here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::TenantName;
use routes::TenantHeader;

/// Requests and tunnels under way by tenant.
#[derive(Debug, Default)]
pub(crate) struct Busy(Mutex<HashMap<TenantName, Counts>>);

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
    /// Counts one more. To be called before the tenant's state is looked at: whoever closes the tenant and then looks here has seen every request that was
    /// still let in.
    pub(crate) fn begin(self: &Arc<Self>, header: Arc<TenantHeader>, writes: bool) -> UnderWay {
        let mut tenants = self.lock();
        if !tenants.contains_key(&header.tenant) {
            tenants.insert(header.tenant.clone(), Counts::default());
        }
        if let Some(counts) = tenants.get_mut(&header.tenant) {
            counts.all += 1;
            counts.writes += u64::from(writes);
        }
        drop(tenants);
        UnderWay { busy: self.clone(), header, writes }
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(counts) = self.busy.lock().get_mut(&self.header.tenant) {
            counts.all -= 1;
            counts.writes -= u64::from(self.writes);
        }
    }
}
