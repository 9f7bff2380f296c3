//! WebSockets and event streams under way, and which of them a change of the routes ends.
//!
//! A stream goes on for as long as its host leads to the same tenant in the same cell at the same epoch, and that is open. While a tenant is read-only its events
//! go on (they only go down), but its WebSockets end: nobody can see whether what goes through one writes. A change looks only at the tenants that it is about.
//!
//! An edge that stops or gives way ends those of its visitors' connections. It may serve again, with streams that go on: so what ends is theirs, not the edge's.

use std::collections::BTreeSet;
use std::sync::Arc;

use proxy::{Lasting, Place, Streams};
use routes::{Change, Delta, Found, Route, RouteState, Table};
use tokio_util::sync::CancellationToken;

/// What a stream goes on by.
#[derive(Debug, Clone)]
pub(crate) struct About {
    host: Box<str>,
    route: Route,
    kind: Lasting,
}

impl About {
    pub(crate) fn new(host: &str, route: Route, kind: Lasting) -> Self {
        Self { host: host.into(), route, kind }
    }

    /// Whether it goes on under these routes.
    pub(crate) fn goes_on(&self, table: &Table) -> bool {
        table.lookup(&self.host).is_some_and(|found| self.may(&found))
    }

    fn may(&self, found: &Found<'_>) -> bool {
        let (was, is) = (&self.route, found.route);
        let same = was.tenant() == is.tenant() && was.cell() == is.cell() && was.epoch() == is.epoch() && found.redirect.is_none();
        same && match is.state() {
            RouteState::Open => true,
            RouteState::ReadOnly => self.kind == Lasting::Events,
            RouteState::Held | RouteState::Suspended | RouteState::Moved => false,
        }
    }
}

/// A stream's place.
pub(crate) type StreamPlace = Place<About>;

/// Whom a change may be about.
enum Touched {
    Tenants(BTreeSet<Box<str>>),
    All,
}

/// What is under way, by tenant.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Arc<Streams<About>>);

impl UnderWay {
    /// A stream begins. Whether it may is looked at once it can be seen from here, so that no change falls between.
    pub(crate) fn begin(&self, about: About, leaving: &CancellationToken, goes_on: impl FnOnce(&About) -> bool) -> StreamPlace {
        let place = self.0.begin(about.route.tenant(), about.clone(), leaving);
        if !goes_on(&about) {
            place.tell();
        }
        place
    }

    /// Streams under way, and how many were told to end so far.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.0.count(), self.0.ended())
    }

    /// Ends what may not go on after a change, once that is in use.
    pub(crate) fn changed(&self, before: &Table, delta: &Delta, now: &Table) {
        if self.0.is_empty() {
            return;
        }
        match Self::touched(before, delta) {
            Touched::Tenants(tenants) => tenants.iter().for_each(|tenant| self.0.check(tenant, |about| about.goes_on(now))),
            Touched::All => self.replaced(now),
        }
    }

    /// Ends what may not go on under a whole other table, once that is in use.
    pub(crate) fn replaced(&self, now: &Table) {
        self.0.check_all(|_, about| about.goes_on(now));
    }

    /// Whom a change of this table is about.
    fn touched(before: &Table, delta: &Delta) -> Touched {
        let mut tenants = BTreeSet::new();
        for change in &delta.changes {
            let host = match change {
                Change::SetRecord(record) => {
                    tenants.insert(record.tenant.as_str().into());
                    &record.host
                }
                Change::RemoveRecord(host) => host,
                // How a cell's gates are reached is not what a stream goes on by.
                Change::SetCell(_) => continue,
                Change::RemoveCell(_) => return Touched::All,
            };
            if let Some(record) = before.record(host) {
                tenants.insert(record.tenant.into());
            } else if let Some(found) = before.lookup(host.domain().as_str()) {
                // Until now a wildcard may have answered for it.
                tenants.insert(found.route.tenant().into());
            }
        }
        Touched::Tenants(tenants)
    }
}
