//! What control tells a gate: complete and numbered.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use model::{CellName, Epoch, Generation, InstanceName, ServiceName, TenantName};
use serde::{Deserialize, Serialize};

use crate::{CellKey, KeyId};

/// Everything a gate knows. A push replaces all of it; an older number is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateState {
    /// Number of the push. Rises with each change within an incarnation.
    pub number: Generation,
    /// Incarnation of the store it comes from: numbers of different incarnations do not compare.
    #[serde(default)]
    pub incarnation: String,
    /// The gate's cell.
    pub cell: CellName,
    /// Keys of the tenant header: one, or two during a rotation.
    pub keys: Vec<GateKey>,
    /// Tenants of the cell, and those that left it (`moved`).
    pub tenants: Vec<GateTenant>,
    /// Services of the cell.
    pub services: Vec<GateService>,
    /// Destinations beyond the cell that its instances may reach, by the gate only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<GateEgress>,
}

/// A key by which edges sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateKey {
    /// Its id.
    pub id: KeyId,
    /// The key.
    pub key: CellKey,
}

/// A tenant as this cell knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateTenant {
    /// The tenant.
    pub tenant: TenantName,
    /// Number of the ownership; for a moved tenant, the new owner's.
    pub epoch: Epoch,
    /// What this cell does with its requests.
    #[serde(default)]
    pub state: GateTenantState,
}

/// What a cell does with a tenant's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateTenantState {
    /// Serves them.
    #[default]
    Open,
    /// Ready for this epoch but not released yet: answers "not yet".
    Closed,
    /// Serves those that do not write; edges hold the others.
    ReadOnly,
    /// Refuses all; the edge shows the page.
    Suspended,
    /// Another cell owns it since `epoch`.
    Moved,
}

/// A service and its instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateService {
    /// Its name.
    pub name: ServiceName,
    /// Port on which the gate listens for it.
    pub port: u16,
    /// Further ports on which it does so: those by which instances of other versions know the service, while such instances are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<u16>,
    /// Whether it answers visitors (HTTP through the gate's signed entry). Others are relayed as plain TCP.
    #[serde(default)]
    pub entry: bool,
    /// How the gate itself checks an instance.
    #[serde(default)]
    pub probe: GateProbe,
    /// Its instances.
    pub instances: Vec<GateInstance>,
}

/// A destination beyond the cell. Everything else there stays out of the instances' reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateEgress {
    /// The name by which instances know it.
    pub name: ServiceName,
    /// Port on which the gate listens for it.
    pub port: u16,
    /// Host that the gate dials: a DNS name or an address.
    pub host: String,
    /// Its port.
    pub host_port: u16,
}

/// How a gate checks an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateProbe {
    /// The port accepts a connection.
    #[default]
    Tcp,
    /// A GET of this path answers 200 to 399.
    Http(String),
}

/// One instance as the engine reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateInstance {
    /// Its name.
    pub name: InstanceName,
    /// Where it answers.
    pub address: SocketAddr,
    /// Whether the engine calls it ready.
    pub ready: bool,
    /// About to leave: takes nothing new, finishes what it has.
    #[serde(default)]
    pub draining: bool,
    /// How the gate checks it, where that differs from its service: it runs another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<GateProbe>,
}

/// Why a state cannot be served as a whole. (One bad tenant or instance is impossible by type.)
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateStateError {
    /// Two services want one port, or one name.
    #[error("services {0} and {1} share a name or a port")]
    ServiceClash(ServiceName, ServiceName),
    /// More than one entry service.
    #[error("services {0} and {1} are both the entry")]
    TwoEntries(ServiceName, ServiceName),
    /// A tenant stands twice.
    #[error("tenant {0} stands twice")]
    TenantTwice(TenantName),
    /// A destination beyond the cell has the name or a port of a service, or of another destination.
    #[error("destination {0} shares its name or port {1} with another, or with a service")]
    EgressClash(ServiceName, u16),
    /// A probe's path does not begin with `/` or holds a control character or blank.
    #[error("service {0}: a probe's path begins with '/' and holds no blanks")]
    ProbePath(ServiceName),
}

impl GateService {
    /// Ports on which the gate listens for it by itself; none for the entry, which has the gate's own.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        let inner = !self.entry;
        std::iter::once(self.port).chain(self.also.iter().copied()).filter(move |_| inner)
    }
}

impl GateState {
    /// The state of a gate that was never told anything.
    #[must_use]
    pub const fn empty(cell: CellName) -> Self {
        Self {
            number: Generation(0),
            incarnation: String::new(),
            cell,
            keys: Vec::new(),
            tenants: Vec::new(),
            services: Vec::new(),
            egress: Vec::new(),
        }
    }

    /// The service that answers visitors.
    #[must_use]
    pub fn entry(&self) -> Option<&GateService> {
        self.services.iter().find(|service| service.entry)
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check(&self) -> Result<(), GateStateError> {
        for (at, service) in self.services.iter().enumerate() {
            for other in &self.services[..at] {
                if other.name == service.name || other.ports().any(|port| service.ports().any(|own| own == port)) {
                    return Err(GateStateError::ServiceClash(other.name.clone(), service.name.clone()));
                }
                if other.entry && service.entry {
                    return Err(GateStateError::TwoEntries(other.name.clone(), service.name.clone()));
                }
            }
            let mut probes = service.instances.iter().filter_map(|instance| instance.probe.as_ref()).chain([&service.probe]);
            let bad = |path: &str| !path.starts_with('/') || path.bytes().any(|b| !b.is_ascii_graphic());
            if probes.any(|probe| matches!(probe, GateProbe::Http(path) if bad(path))) {
                return Err(GateStateError::ProbePath(service.name.clone()));
            }
        }
        for (at, way) in self.egress.iter().enumerate() {
            let service = self.services.iter().any(|service| service.name == way.name || service.ports().any(|port| port == way.port));
            if service || self.egress[..at].iter().any(|other| other.name == way.name || other.port == way.port) {
                return Err(GateStateError::EgressClash(way.name.clone(), way.port));
            }
        }
        let mut seen = BTreeSet::new();
        match self.tenants.iter().find(|t| !seen.insert(&t.tenant)) {
            Some(twice) => Err(GateStateError::TenantTwice(twice.tenant.clone())),
            None => Ok(()),
        }
    }
}
