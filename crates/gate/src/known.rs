//! What a gate was told, ready for use.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use model::{InstanceName, ServiceName, TenantName};
use proxy::{Group, Health, Probe, Upstream};
use routes::{
    CellKey, GateHealth, GateInstanceReport, GateProbe, GateReport, GateState, GateStateError, GateTenantReport, GateTenantState, KeyId, TenantHeader,
};
use tokio::sync::watch;

use crate::busy::{Busy, Proved, Told};
use crate::egress::Beyond;
use crate::lasting::UnderWay;

/// Headers that may be remembered as verified, however few tenants there are. Of each tenant there is one, and another during a change of its epoch or of the key.
const LEAST_VERIFIED: usize = 1000;

/// An instance as the gate uses it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub service: ServiceName,
    pub name: InstanceName,
    pub probe: Probe,
    pub upstream: Arc<Upstream>,
}

/// A service as the gate uses it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// Ports to listen on for it; none where it is the entry.
    pub ports: Vec<u16>,
    pub entry: bool,
    pub group: Group,
}

/// One state, taken apart.
#[derive(Debug)]
pub(crate) struct Known {
    pub state: GateState,
    pub services: BTreeMap<ServiceName, Service>,
    pub entry: Group,
    tenants: HashMap<TenantName, Told>,
    keys: HashMap<KeyId, CellKey>,
    members: Vec<Member>,
}

impl Known {
    fn new(state: GateState, before: &[Member]) -> Self {
        let mut members = Vec::new();
        let mut services = BTreeMap::new();
        for service in &state.services {
            let own = service.instances.iter().map(|instance| {
                let same = |old: &&Member| old.service == service.name && old.name == instance.name && old.upstream.address() == instance.address;
                let upstream = before.iter().find(same).map(|old| old.upstream.clone());
                let upstream = upstream.unwrap_or_else(|| Arc::new(Upstream::new(instance.name.as_str(), instance.address)));
                upstream.set(instance.ready, instance.draining, 100);
                let probe = match instance.probe.as_ref().unwrap_or(&service.probe) {
                    GateProbe::Tcp => Probe::Tcp,
                    GateProbe::Http(path) => Probe::Http(path.clone()),
                };
                members.push(Member { service: service.name.clone(), name: instance.name.clone(), probe, upstream: upstream.clone() });
                upstream
            });
            let group = Group::new(own);
            services.insert(service.name.clone(), Service { ports: service.ports().collect(), entry: service.entry, group });
        }
        let entry = services.values().find(|service| service.entry).map(|service| service.group.clone()).unwrap_or_default();
        let tenants = state.tenants.iter().map(|tenant| (tenant.tenant.clone(), Some((tenant.epoch, tenant.state)))).collect();
        let keys = state.keys.iter().map(|key| (key.id.clone(), key.key.clone())).collect();
        Self { state, services, entry, tenants, keys, members }
    }

    /// Every instance in the state.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// What it was told of a tenant.
    pub(crate) fn tenant(&self, tenant: &TenantName) -> Told {
        self.tenants.get(tenant).copied().flatten()
    }
}

/// Why a pushed state is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("this is a gate of another cell")]
    OtherCell,
    #[error("a state with this or a higher number was taken already; send a higher one")]
    Older,
    #[error("another incarnation would take tenant {0} back to an older epoch; a person must agree first (remove the gate's state file)")]
    Backwards(TenantName),
    #[error("service {0} wants a port on which the gate itself listens")]
    OwnPort(ServiceName),
    #[error(transparent)]
    State(#[from] GateStateError),
}

/// Tenant headers that were proved, by their text.
#[derive(Debug, Default)]
struct Verified {
    headers: HashTable<(Box<str>, Arc<Proved>)>,
    /// Only what was proved comes in, and nobody proves what the platform did not sign.
    hasher: RandomState,
}

impl Verified {
    fn get(&self, text: &str) -> Option<Arc<Proved>> {
        let is = |(this, proved): &(Box<str>, Arc<Proved>)| {
            proved.near();
            **this == *text
        };
        self.headers.find(self.hasher.hash_one(text), is).map(|(_, proved)| proved.clone())
    }

    fn insert(&mut self, text: &str, proved: Arc<Proved>) {
        let Self { headers, hasher } = self;
        let hash = hasher.hash_one(text);
        headers.entry(hash, |(this, _)| **this == *text, |(this, _)| hasher.hash_one(&**this)).insert((text.into(), proved));
    }
}

/// The gate's memory, shared by its doors.
#[derive(Debug)]
pub(crate) struct Memory {
    /// What tenants have under way.
    pub busy: Arc<Busy>,
    /// Which of that are WebSockets and event streams.
    pub lasting: UnderWay,
    /// Where destinations beyond the cell are.
    pub beyond: Beyond,
    known: RwLock<Arc<Known>>,
    verified: RwLock<Verified>,
    /// Instances that are in the state no more but still have something under way.
    leaving: Mutex<Vec<Member>>,
    changed: watch::Sender<()>,
}

impl Memory {
    /// With this state, for a gate that serves `most` requests at once.
    pub(crate) fn new(state: GateState, most: usize) -> Self {
        let known = RwLock::new(Arc::new(Known::new(state, &[])));
        Self {
            busy: Arc::new(Busy::new(most)),
            lasting: UnderWay::default(),
            beyond: Beyond::default(),
            known,
            verified: RwLock::default(),
            leaving: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    pub(crate) fn known(&self) -> Arc<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells of every new state.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether a state may be taken; the same again may.
    pub(crate) fn may_take(&self, state: &GateState, own_ports: [u16; 2]) -> Result<(), Refused> {
        state.check()?;
        let known = self.known();
        let have = &known.state;
        if state.cell != have.cell {
            return Err(Refused::OtherCell);
        }
        if let Some(service) = state.services.iter().find(|service| service.ports().any(|port| own_ports.contains(&port))) {
            return Err(Refused::OwnPort(service.name.clone()));
        }
        if let Some(way) = state.egress.iter().find(|way| own_ports.contains(&way.port)) {
            return Err(Refused::OwnPort(way.name.clone()));
        }
        if have.number.0 == 0 || state == have {
            return Ok(());
        }
        if state.incarnation == have.incarnation {
            return if state.number > have.number { Ok(()) } else { Err(Refused::Older) };
        }
        let back = state.tenants.iter().find(|tenant| known.tenant(&tenant.tenant).is_some_and(|(epoch, _)| tenant.epoch < epoch));
        back.map_or(Ok(()), |tenant| Err(Refused::Backwards(tenant.tenant.clone())))
    }

    /// Works from this state from now on.
    pub(crate) fn take(&self, state: GateState) {
        // Locks are always taken in this order: leaving, verified, known.
        let mut leaving = self.leaving();
        {
            let mut verified = self.verified.write().unwrap_or_else(PoisonError::into_inner);
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            let keys_changed = known.state.keys != state.keys;
            let mut before = known.members.clone();
            before.append(&mut leaving);
            let next = Known::new(state, &before);
            let stays = |old: &Member| next.members.iter().any(|new| Arc::ptr_eq(&new.upstream, &old.upstream));
            before.retain(|old| !stays(old) && old.upstream.in_flight() > 0);
            for old in &before {
                old.upstream.set(false, true, 0);
            }
            *leaving = before;
            *known = Arc::new(next);
            if keys_changed {
                verified.headers.clear();
            }
            self.busy.tell(|tenant| known.tenant(tenant));
        }
        drop(leaving);
        self.changed.send_replace(());
    }

    /// Reads a tenant header and checks its MAC; a text that was good stays good for as long as the keys do.
    pub(crate) fn verify(&self, known: &Known, text: &str) -> Option<Arc<Proved>> {
        if let Some(proved) = self.verified.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Some(proved);
        }
        let header = TenantHeader::verify(text, |id| known.keys.get(id)).ok()?;
        // Who takes a state waits for this lock, so what is told of the tenant stays so until it has its seat.
        let mut verified = self.verified.write().unwrap_or_else(PoisonError::into_inner);
        let now = self.known();
        let told = now.tenant(&header.tenant);
        let proved = Arc::new(self.busy.proved(header, told));
        // Keys may have been replaced since `known` was read; what was proved by an old key must not be remembered past it.
        if known.state.keys == now.state.keys {
            if verified.headers.len() >= LEAST_VERIFIED.max(2 * known.tenants.len()) {
                verified.headers.clear();
            }
            verified.insert(text, proved.clone());
        }
        Some(proved)
    }

    /// Every instance with something under way or in the state.
    fn members(&self) -> Vec<Member> {
        let mut leaving = self.leaving();
        leaving.retain(|member| member.upstream.in_flight() > 0);
        let mut members = self.known().members.clone();
        members.extend(leaving.iter().cloned());
        members
    }

    pub(crate) fn report(&self, gate: &model::GateName, stopping: bool) -> GateReport {
        let known = self.known();
        let instances = self.members().into_iter().map(|member| GateInstanceReport {
            in_flight: member.upstream.in_flight(),
            health: match member.upstream.health() {
                Health::Unknown => GateHealth::Unknown,
                Health::Up => GateHealth::Up,
                Health::Down => GateHealth::Down,
            },
            draining: member.upstream.is_draining(),
            service: member.service,
            name: member.name,
        });
        let closed = known.state.tenants.iter().filter(|tenant| tenant.state != GateTenantState::Open);
        let tenants = closed.map(|tenant| {
            let counts = self.busy.of(&tenant.tenant);
            GateTenantReport { tenant: tenant.tenant.clone(), in_flight: counts.all as u64, writes: counts.writes as u64 }
        });
        GateReport {
            tenants: tenants.filter(|tenant| tenant.in_flight > 0).collect(),
            cell: known.state.cell.clone(),
            gate: gate.clone(),
            number: known.state.number,
            incarnation: known.state.incarnation.clone(),
            ready: known.state.number.0 > 0 && !stopping,
            instances: instances.collect(),
        }
    }

    fn leaving(&self) -> MutexGuard<'_, Vec<Member>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
