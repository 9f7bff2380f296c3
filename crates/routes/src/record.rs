//! What control publishes: a record per host, an endpoint per cell.

use std::net::SocketAddr;

use model::v1alpha1::EdgeSpec;
use model::{CellName, DomainName, Epoch, GateName, TenantName};
use serde::{Deserialize, Serialize};

use crate::{CellKey, HostPattern, KeyId};

/// One host (or wildcard) and who answers for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The host or wildcard.
    pub host: HostPattern,
    /// Its tenant.
    pub tenant: TenantName,
    /// The tenant's cell.
    pub cell: CellName,
    /// Number of that ownership.
    pub epoch: Epoch,
    /// Whether and how it is served.
    #[serde(default)]
    pub state: RouteState,
    /// Where visitors are sent instead, where this host is an alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// Class of limits; the default class where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// What edges do with answers; the blueprint's defaults where left out. An edge of an earlier release takes no record that says anything else.
    #[serde(default, skip_serializing_if = "EdgeSpec::is_default")]
    pub edge: EdgeSpec,
}

/// Whether and how a tenant is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteState {
    /// Served.
    #[default]
    Open,
    /// Only requests that do not write.
    ReadOnly,
    /// Requests wait at the edge (a move is cutting over).
    Held,
    /// Visitors see that it is suspended.
    Suspended,
    /// Its owner is changing and the new one is not known yet: requests wait, as when held.
    Moved,
}

/// Sends visitors of an alias to another host, path and query kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    /// The other host.
    pub to: DomainName,
    /// How it is said.
    #[serde(default)]
    pub status: RedirectStatus,
}

/// How a redirect is said; written as its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum RedirectStatus {
    /// 301: for good; old clients ask for the new place with GET.
    Moved = 1,
    /// 302: for now; old clients ask for the new place with GET.
    Found = 2,
    /// 307: for now, method and body kept.
    #[default]
    Temporary = 3,
    /// 308: for good, method and body kept.
    Permanent = 4,
}

impl RedirectStatus {
    /// Number of the HTTP status.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Moved => 301,
            Self::Found => 302,
            Self::Temporary => 307,
            Self::Permanent => 308,
        }
    }
}

impl From<RedirectStatus> for u16 {
    fn from(status: RedirectStatus) -> Self {
        status.code()
    }
}

impl TryFrom<u16> for RedirectStatus {
    type Error = String;
    fn try_from(code: u16) -> Result<Self, String> {
        match code {
            301 => Ok(Self::Moved),
            302 => Ok(Self::Found),
            307 => Ok(Self::Temporary),
            308 => Ok(Self::Permanent),
            other => Err(format!("a redirect is 301, 302, 307 or 308, not {other}")),
        }
    }
}

/// How edges reach a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CellEndpoint {
    /// The cell.
    pub cell: CellName,
    /// Its doors.
    pub gates: Vec<GateEndpoint>,
    /// Which key signs the tenant header.
    pub key_id: KeyId,
    /// That key.
    pub key: CellKey,
}

/// One door of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateEndpoint {
    /// Its name.
    pub name: GateName,
    /// Where edges reach it.
    pub address: SocketAddr,
    /// Share of new requests; 0 takes none unless all are 0.
    #[serde(default = "default_weight")]
    pub weight: u16,
    /// Takes no new requests.
    #[serde(default)]
    pub draining: bool,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

const fn default_weight() -> u16 {
    100
}
