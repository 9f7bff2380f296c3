//! The agent in memory, with a fault plan.
//!
//! Purpose: control's simulation and tests run against it. It keeps orders over a crash as a real agent keeps them on disk, lets a cluster form
//! after some (tokio) time, and loses requests and answers by seed.
//! Invariants: it never sleeps on wall time, so paused time makes it instant; the same seed and the same calls give the same answers.
//! Entry point: [`FakeData`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use model::{CellName, Generation, NodeName};
use tokio::time::Instant;

use crate::{
    ClusterOrder, ClusterReport, ClusterState, Data, DataError, NodeReport, NodeState, SQL_PORT, TenantAccess, TenantNumbers, TenantOrder,
    TenantReport,
};

/// What goes wrong, and how often. Shares are in thousandths of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// The request never arrives: [`DataError::Unreachable`], nothing done.
    pub lost_request: u32,
    /// The work is done, the answer is lost: [`DataError::Unreachable`].
    pub lost_answer: u32,
    /// The agent says [`DataError::NotNow`], nothing done.
    pub not_now: u32,
    /// Longest time by which an answer is late, in milliseconds; each call draws its own.
    pub late_ms: u64,
}

/// A tenant's schema and account as the fake keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeTenant {
    /// The last order followed.
    pub order: TenantOrder,
    /// Sessions that stand; a lock ends them.
    pub sessions: u32,
}

/// An agent in memory. Clones share one world.
#[derive(Clone)]
pub struct FakeData {
    world: Arc<Mutex<World>>,
    began: Instant,
}

struct World {
    random: u64,
    faults: Faults,
    forming: Duration,
    reachable: bool,
    writes: u64,
    clusters: BTreeMap<CellName, Cluster>,
    /// The newest number under which a cluster was retired.
    retired: Generation,
}

struct Cluster {
    order: ClusterOrder,
    phase: Phase,
    since: Instant,
    tenants: BTreeMap<String, FakeTenant>,
    numbers: TenantNumbers,
}

#[derive(Clone)]
enum Phase {
    Forming { until: Instant },
    Forced { state: ClusterState, reason: String },
    Stopped,
}

impl FakeData {
    /// An agent without faults, whose clusters need eight seconds to form.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_faults(seed, Faults::default())
    }

    /// An agent with a fault plan.
    #[must_use]
    pub fn with_faults(seed: u64, faults: Faults) -> Self {
        let forming = Duration::from_secs(8);
        let world = World { random: seed, faults, forming, reachable: true, writes: 0, clusters: BTreeMap::new(), retired: Generation(0) };
        Self { world: Arc::new(Mutex::new(world)), began: Instant::now() }
    }

    /// Changes the fault plan.
    pub fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// How long a cluster ordered from now on needs to form.
    pub fn set_forming(&self, forming: Duration) {
        self.world().forming = forming;
    }

    /// The agent is gone (`false`) or back (`true`). Clusters live on meanwhile, as real ones do.
    pub fn set_reachable(&self, reachable: bool) {
        self.world().reachable = reachable;
    }

    /// Forces a cluster into a state, or lets it form anew (`None`).
    pub fn force(&self, cell: &CellName, state: Option<(ClusterState, &str)>) {
        let mut world = self.world();
        let forming = world.forming;
        if let Some(cluster) = world.clusters.get_mut(cell) {
            cluster.since = Instant::now();
            cluster.phase = match state {
                Some((state, reason)) => Phase::Forced { state, reason: reason.to_owned() },
                None => Phase::Forming { until: Instant::now() + forming },
            };
        }
    }

    /// Opens sessions of a tenant's account; an open account keeps them, a lock ends them.
    pub fn connect(&self, cell: &CellName, schema: &str, sessions: u32) {
        let mut world = self.world();
        let tenant = world.clusters.get_mut(cell).and_then(|cluster| cluster.tenants.get_mut(schema));
        if let Some(tenant) = tenant.filter(|tenant| tenant.order.access == TenantAccess::Open) {
            tenant.sessions += sessions;
        }
    }

    /// A cell's tenants by schema; empty when the cell has no cluster.
    #[must_use]
    pub fn tenants(&self, cell: &CellName) -> BTreeMap<String, FakeTenant> {
        self.world().clusters.get(cell).map(|cluster| cluster.tenants.clone()).unwrap_or_default()
    }

    /// The orders it works from.
    #[must_use]
    pub fn orders(&self) -> BTreeMap<CellName, ClusterOrder> {
        self.world().clusters.iter().map(|(cell, cluster)| (cell.clone(), cluster.order.clone())).collect()
    }

    /// How often anything was changed: asking again must not raise it.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.world().writes
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A panic in another test thread leaves plain data behind, which stays readable.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wall time of the fake: a fixed start plus what tokio's clock says has passed.
    fn wall(&self, at: Instant) -> Timestamp {
        let start = Timestamp::constant(1_767_225_600, 0);
        let passed = at.saturating_duration_since(self.began);
        start.checked_add(jiff::SignedDuration::try_from(passed).unwrap_or_default()).unwrap_or(start)
    }

    /// Runs one call under the fault plan.
    async fn call<T>(&self, work: impl FnOnce(&mut World) -> Result<T, DataError> + Send) -> Result<T, DataError>
    where
        T: Send,
    {
        let (late, answer) = {
            let mut world = self.world();
            if !world.reachable {
                return Err(DataError::Unreachable("the agent does not answer".to_owned()));
            }
            let Faults { lost_request, lost_answer, not_now, late_ms } = world.faults;
            let late = if late_ms == 0 { 0 } else { world.draw() % (late_ms + 1) };
            let answer = if world.chance(lost_request) {
                Err(DataError::Unreachable("the request was lost".to_owned()))
            } else if world.chance(not_now) {
                Err(DataError::NotNow { reason: "Busy".to_owned(), message: "the agent is busy".to_owned() })
            } else {
                let answer = work(&mut world);
                let lost = world.chance(lost_answer);
                if lost { Err(DataError::Unreachable("the answer was lost".to_owned())) } else { answer }
            };
            (late, answer)
        };
        if late > 0 {
            tokio::time::sleep(Duration::from_millis(late)).await;
        }
        answer
    }

    fn report(&self, cluster: &Cluster) -> ClusterReport {
        let now = Instant::now();
        let (state, since, reason) = match &cluster.phase {
            Phase::Forming { until } if *until > now => (ClusterState::Seeding, cluster.since, Some("Seeding".to_owned())),
            Phase::Forming { until } => (ClusterState::Synced, *until, None),
            Phase::Forced { state, reason } => (*state, cluster.since, Some(reason.clone())),
            Phase::Stopped => (ClusterState::Stopped, cluster.since, Some("Stopped".to_owned())),
        };
        let writes = matches!(state, ClusterState::Synced | ClusterState::Degraded);
        let node_state = match state {
            ClusterState::Seeding => NodeState::Initialising,
            ClusterState::Synced | ClusterState::Degraded => NodeState::Synced,
            ClusterState::Recovering | ClusterState::Blocked | ClusterState::Stopped => NodeState::Down,
        };
        let nodes = cluster.order.nodes.iter().enumerate().map(|(index, node)| {
            let position = writes.then(|| galera::Position { uuid: format!("fake-{}", cluster.order.cell), seqno: 1 });
            let report = NodeReport {
                state: node_state,
                since: self.wall(since),
                address: SocketAddr::new(cluster.order.node_address(index).into(), SQL_PORT),
                position,
                view: writes.then_some(1),
                transferred: None,
                flow_control_permille: writes.then_some(0),
                disk_free: None,
                restarts: 0,
                reason: reason.clone(),
                message: None,
            };
            (node.name.clone(), report)
        });
        ClusterReport {
            generation: cluster.order.generation,
            state,
            since: self.wall(since),
            message: reason.as_ref().map(|reason| format!("the cluster is {reason}")),
            reason: reason.clone(),
            writer: if writes { cluster.order.nodes.first().map(|node| node.name.clone()) } else { None },
            endpoint: writes.then(|| cluster.order.endpoint()),
            commit_age_ms: writes.then_some(0),
            nodes: nodes.collect::<BTreeMap<NodeName, NodeReport>>(),
        }
    }
}

impl World {
    /// SplitMix64: small, seeded, good enough to choose faults.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.draw() % 1000 < u64::from(permille)
    }

    fn ensure(&mut self, order: &ClusterOrder) -> Result<(), DataError> {
        order.check()?;
        let until = Instant::now() + self.forming;
        if let Some(cluster) = self.clusters.get_mut(&order.cell) {
            crate::order::supersedes(&cluster.order, order)?;
            if cluster.order == *order && !matches!(cluster.phase, Phase::Stopped) {
                return Ok(());
            }
            if matches!(cluster.phase, Phase::Stopped) {
                cluster.phase = Phase::Forming { until };
                cluster.since = Instant::now();
            }
            cluster.order = order.clone();
        } else if order.generation <= self.retired {
            return Err(DataError::Older { held: self.retired, offered: order.generation });
        } else {
            let (tenants, numbers) = (BTreeMap::new(), TenantNumbers::default());
            let cluster = Cluster { order: order.clone(), phase: Phase::Forming { until }, since: Instant::now(), tenants, numbers };
            self.clusters.insert(order.cell.clone(), cluster);
        }
        self.writes += 1;
        Ok(())
    }

    fn tenant(&mut self, cell: &CellName, order: &TenantOrder) -> Result<TenantReport, DataError> {
        order.check()?;
        let cluster = self.clusters.get_mut(cell).ok_or_else(|| DataError::unknown_cell(cell))?;
        let writes = match &cluster.phase {
            Phase::Forming { until } => *until <= Instant::now(),
            Phase::Forced { state, .. } => matches!(state, ClusterState::Synced | ClusterState::Degraded),
            Phase::Stopped => false,
        };
        if !writes {
            return Err(DataError::NotNow { reason: "NoWriter".to_owned(), message: format!("the cluster of {cell} takes no writes now") });
        }
        cluster.numbers.take(order)?;
        let report = |sessions| TenantReport { host: "db".to_owned(), port: SQL_PORT, sessions };
        let before = cluster.tenants.get(&order.schema).cloned();
        match (order.access, &before) {
            (TenantAccess::Gone, None) => Ok(report(0)),
            (TenantAccess::Gone, Some(_)) => {
                cluster.tenants.remove(&order.schema);
                self.writes += 1;
                Ok(report(0))
            }
            (_, Some(held)) if (TenantOrder { generation: order.generation, ..held.order.clone() }) == *order => Ok(report(held.sessions)),
            (access, _) => {
                let sessions = if access == TenantAccess::Locked { 0 } else { before.map_or(0, |held| held.sessions) };
                cluster.tenants.insert(order.schema.clone(), FakeTenant { order: order.clone(), sessions });
                self.writes += 1;
                Ok(report(sessions))
            }
        }
    }

    fn stop(&mut self, cell: &CellName) -> Result<(), DataError> {
        let cluster = self.clusters.get_mut(cell).ok_or_else(|| DataError::unknown_cell(cell))?;
        if !matches!(cluster.phase, Phase::Stopped) {
            cluster.phase = Phase::Stopped;
            cluster.since = Instant::now();
            self.writes += 1;
        }
        Ok(())
    }

    fn retire(&mut self, cell: &CellName, number: Generation) -> Result<(), DataError> {
        if let Some(held) = self.clusters.get(cell).map(|cluster| cluster.order.generation).filter(|held| *held > number) {
            return Err(DataError::Older { held, offered: number });
        }
        self.retired = self.retired.max(number);
        if self.clusters.remove(cell).is_some() {
            self.writes += 1;
        }
        Ok(())
    }
}

#[async_trait]
impl Data for FakeData {
    async fn ensure(&self, order: &ClusterOrder) -> Result<(), DataError> {
        self.call(|world| world.ensure(order)).await
    }

    async fn observe(&self, cell: &CellName) -> Result<ClusterReport, DataError> {
        self.call(|world| world.clusters.get(cell).map(|cluster| self.report(cluster)).ok_or_else(|| DataError::unknown_cell(cell))).await
    }

    async fn tenant(&self, cell: &CellName, order: &TenantOrder) -> Result<TenantReport, DataError> {
        self.call(|world| world.tenant(cell, order)).await
    }

    async fn stop(&self, cell: &CellName) -> Result<(), DataError> {
        self.call(|world| world.stop(cell)).await
    }

    async fn retire(&self, cell: &CellName, number: Generation) -> Result<(), DataError> {
        self.call(|world| world.retire(cell, number)).await
    }
}

#[cfg(test)]
mod tests;
