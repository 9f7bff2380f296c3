//! What edges and gates tell back: how far they are.

use model::{CellName, GateName, Generation, InstanceName, ServiceName, TenantName};
use serde::{Deserialize, Serialize};

use crate::{HostPattern, Table, TableHash};

/// Most hosts that a report names.
const MOST_REFUSED: usize = 100;

/// Body of `POST /v1/edges/<name>/applied`: where an edge's table stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeApplied {
    /// Incarnation of the store that the table comes from.
    pub incarnation: String,
    /// Its generation.
    pub generation: Generation,
    /// Its hash, which is control's own at that generation.
    pub hash: TableHash,
    /// Hosts that are not served though they were sent; the first of them, where they are many.
    #[serde(default)]
    pub refused: Vec<HostPattern>,
    /// Why the edge takes nothing newer, where it refuses (a restored store that would go backwards).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
}

impl EdgeApplied {
    /// Where `table` stands.
    #[must_use]
    pub fn of(table: &Table) -> Self {
        Self {
            incarnation: table.incarnation().to_owned(),
            generation: table.generation(),
            hash: table.hash(),
            refused: table.refused_hosts().take(MOST_REFUSED).cloned().collect(),
            halted: None,
        }
    }
}

/// Answer of a gate to `PUT /v1/state` and `GET /v1/state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateReport {
    /// The gate's cell.
    pub cell: CellName,
    /// The gate.
    pub gate: GateName,
    /// Number of the state it works from; 0 where it was never told anything.
    pub number: Generation,
    /// Incarnation of that state.
    pub incarnation: String,
    /// Whether it takes new requests (it has a state, and was not told to stop).
    pub ready: bool,
    /// Every instance it has, also those that left the state but still have something under way.
    pub instances: Vec<GateInstanceReport>,
    /// Tenants that take nothing new, or no writes, and still have something under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<GateTenantReport>,
}

/// What a tenant that is not open still has under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateTenantReport {
    /// The tenant.
    pub tenant: TenantName,
    /// Requests and tunnels.
    pub in_flight: u64,
    /// Those that may write.
    pub writes: u64,
}

/// How a gate sees an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateInstanceReport {
    /// Its service.
    pub service: ServiceName,
    /// The instance.
    pub name: InstanceName,
    /// Requests and connections under way.
    pub in_flight: u64,
    /// By the gate's own probe.
    pub health: GateHealth,
    /// Takes nothing new.
    pub draining: bool,
}

/// What a gate's own probe last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateHealth {
    /// Not probed yet.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

impl GateReport {
    /// Whether this gate has let go of an instance: it works from state `number` or a later one, in which the instance takes nothing new, and nothing is under way.
    #[must_use]
    pub fn drained(&self, number: Generation, instance: &InstanceName) -> bool {
        let done = |seen: &GateInstanceReport| seen.draining && seen.in_flight == 0;
        self.number >= number && self.instances.iter().filter(|seen| seen.name == *instance).all(done)
    }

    /// Whether this gate has let go of a tenant: it works from state `number` or a later one, which does not open the tenant, and nothing is under way.
    #[must_use]
    pub fn tenant_drained(&self, number: Generation, tenant: &TenantName) -> bool {
        self.number >= number && self.tenants.iter().all(|seen| seen.tenant != *tenant)
    }

    /// The same for what may write alone: then what reads may go on.
    #[must_use]
    pub fn writes_drained(&self, number: Generation, tenant: &TenantName) -> bool {
        self.number >= number && self.tenants.iter().all(|seen| seen.tenant != *tenant || seen.writes == 0)
    }
}
