//! What every tenant has under way, so that control knows when a tenant that is held has nothing left here, and who has too much when the gate is crowded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use model::{Epoch, TenantName};
use proxy::Crowd;
use routes::{GateTenantState, TenantHeader};

/// What was told of a tenant; nothing where it was not named.
pub(crate) type Told = Option<(Epoch, GateTenantState)>;

/// Requests and tunnels under way by tenant.
#[derive(Debug)]
pub(crate) struct Busy {
    /// Names are the platform's choice.
    tenants: Mutex<HashMap<TenantName, Arc<Seat>, RandomState>>,
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

/// One tenant: what was told of it and what it has under way stand behind one lock, so that whoever closes it and then looks has seen every request that was
/// still let in.
#[derive(Debug, Default)]
pub(crate) struct Seat(Mutex<Place>);

#[derive(Debug, Default)]
struct Place {
    told: Told,
    counts: Counts,
}

/// A tenant header that was proved, and its tenant's seat. A request finds all that is known of its tenant from here: with many tenants it is in no cache.
#[derive(Debug)]
pub(crate) struct Proved {
    pub header: TenantHeader,
    seat: Arc<Seat>,
}

/// Counts one for as long as it lives.
#[derive(Debug)]
pub(crate) struct UnderWay {
    busy: Arc<Busy>,
    proved: Arc<Proved>,
    writes: bool,
    too_many: bool,
}

impl UnderWay {
    /// Whether it is crowded here and its tenant had more than its share already, without this one.
    pub(crate) const fn is_too_many(&self) -> bool {
        self.too_many
    }
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proved {
    /// Asks for all that a request needs: lines that are asked for at once take the time of one.
    pub(crate) fn near(&self) {
        std::hint::black_box((self.header.tenant.as_str().as_bytes().first(), Arc::strong_count(&self.seat)));
    }
}

impl Busy {
    /// For a gate that serves `most` requests at once.
    pub(crate) fn new(most: usize) -> Self {
        Self { tenants: Mutex::default(), crowd: Crowd::new(most) }
    }

    /// A header that was proved. To be called by one who keeps [`Busy::tell`] from being called since `told` was read.
    pub(crate) fn proved(&self, header: TenantHeader, told: Told) -> Proved {
        let new = || Arc::new(Seat(Mutex::new(Place { told, counts: Counts::default() })));
        let seat = self.lock().entry(header.tenant.clone()).or_insert_with(new).clone();
        Proved { header, seat }
    }

    /// Counts one more, and says what was told of its tenant.
    pub(crate) fn begin(self: &Arc<Self>, proved: Arc<Proved>, writes: bool) -> (UnderWay, Told) {
        let (told, before) = {
            let Place { told, counts } = &mut *proved.seat.lock();
            let before = counts.all;
            counts.all += 1;
            counts.writes += usize::from(writes);
            (*told, before)
        };
        let too_many = self.crowd.is_too_heavy(before);
        self.crowd.enter(before);
        (UnderWay { busy: self.clone(), proved, writes, too_many }, told)
    }

    /// What a tenant has under way.
    pub(crate) fn of(&self, tenant: &TenantName) -> Counts {
        self.lock().get(tenant).map(|seat| seat.lock().counts).unwrap_or_default()
    }

    /// Notes what is told of every tenant from now on, and forgets those that nobody has at hand.
    pub(crate) fn tell(&self, told: impl Fn(&TenantName) -> Told) {
        self.lock().retain(|tenant, seat| {
            seat.lock().told = told(tenant);
            Arc::strong_count(seat) > 1
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantName, Arc<Seat>, RandomState>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let left = {
            let counts = &mut self.proved.seat.lock().counts;
            counts.all -= 1;
            counts.writes -= usize::from(self.writes);
            counts.all
        };
        self.busy.crowd.leave(left);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use model::CellName;
    use routes::KeyId;

    use super::*;

    fn proved(busy: &Busy, tenant: &str, told: Told) -> Arc<Proved> {
        let (tenant, cell) = (TenantName::new(tenant).unwrap(), CellName::new("a").unwrap());
        Arc::new(busy.proved(TenantHeader { tenant, cell, epoch: Epoch(1), key_id: KeyId::new("k1").unwrap() }, told))
    }

    #[test]
    fn what_was_told_is_told_with_the_count_and_nobody_at_hand_is_forgotten() {
        let busy = Arc::new(Busy::new(8));
        let told = |epoch, state| Some((Epoch(epoch), state));
        let first = proved(&busy, "one", told(1, GateTenantState::Open));
        let (under_way, said) = busy.begin(first.clone(), true);
        assert_eq!(said, told(1, GateTenantState::Open));
        busy.tell(|tenant| (tenant.as_str() == "one").then_some((Epoch(2), GateTenantState::Closed)));
        assert_eq!(busy.of(&first.header.tenant), Counts { all: 1, writes: 1 });
        // Another header of the tenant, and whatever is said beside it: there is one seat.
        let other = proved(&busy, "one", None);
        assert_eq!(busy.begin(other.clone(), false).1, told(2, GateTenantState::Closed));
        drop((first, other));
        busy.tell(|_| None);
        assert_eq!(busy.lock().len(), 1, "one is under way");
        drop(under_way);
        busy.tell(|_| None);
        assert_eq!(busy.lock().len(), 0);
    }

    #[test]
    fn the_heaviest_has_too_many_first_and_nothing_stays_counted() {
        let busy = Arc::new(Busy::new(8));
        let (heavy, light) = (proved(&busy, "heavy", None), proved(&busy, "light", None));
        let begin = |who: &Arc<Proved>, writes| busy.begin(who.clone(), writes).0;
        let mut held: Vec<_> = (0..6).map(|number| begin(&heavy, number == 0)).collect();
        assert!(held.iter().all(|one| !one.is_too_many()));
        assert!(begin(&heavy, false).is_too_many());
        held.extend((0..2).map(|_| begin(&light, true)));
        assert!(held.iter().all(|one| !one.is_too_many()));
        assert!(begin(&heavy, false).is_too_many());
        assert_eq!((busy.of(&heavy.header.tenant), busy.of(&light.header.tenant)), (Counts { all: 6, writes: 1 }, Counts { all: 2, writes: 2 }));
        held.clear();
        assert_eq!((busy.of(&heavy.header.tenant), busy.crowd.under_way(), busy.crowd.tenants()), (Counts::default(), 0, 0));
        assert!(!begin(&heavy, false).is_too_many());
    }
}
