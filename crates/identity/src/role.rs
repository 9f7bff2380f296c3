//! Who somebody is on the platform, as a certificate says it.

use std::fmt;
use std::str::FromStr;

use model::{CellName, GateName, MachineName};

/// The part that a process plays. It stands in its certificate twice: as URI (`atoll://<platform>/agent/m1`), which servers read to allow or refuse,
/// and as DNS name (`m1.agent.atoll.internal`), which clients demand of the server they dial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// API, store, planner, reconcilers, operations.
    Control,
    /// Our hand on a machine.
    Agent(MachineName),
    /// A public router, by its own name.
    Edge(MachineName),
    /// A door of a cell.
    Gate(CellName, GateName),
    /// A person or tool that speaks to control over TCP.
    Operator,
}

/// A text is not a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role (control, agent/<machine>, edge/<name>, gate/<cell>/<gate>, operator)")]
pub struct RoleError(String);

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("control"),
            Self::Agent(machine) => write!(f, "agent/{machine}"),
            Self::Edge(name) => write!(f, "edge/{name}"),
            Self::Gate(cell, gate) => write!(f, "gate/{cell}/{gate}"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

impl FromStr for Role {
    type Err = RoleError;
    fn from_str(text: &str) -> Result<Self, RoleError> {
        let wrong = || RoleError(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            ["control"] => Ok(Self::Control),
            ["operator"] => Ok(Self::Operator),
            ["agent", machine] => Ok(Self::Agent(machine.parse().map_err(|_| wrong())?)),
            ["edge", name] => Ok(Self::Edge(name.parse().map_err(|_| wrong())?)),
            ["gate", cell, gate] => Ok(Self::Gate(cell.parse().map_err(|_| wrong())?, gate.parse().map_err(|_| wrong())?)),
            _ => Err(wrong()),
        }
    }
}

impl Role {
    /// The name that a client demands of the server it dials.
    #[must_use]
    pub fn dns_name(&self) -> String {
        match self {
            Self::Control => "control.atoll.internal".to_owned(),
            Self::Agent(machine) => format!("{machine}.agent.atoll.internal"),
            Self::Edge(name) => format!("{name}.edge.atoll.internal"),
            Self::Gate(cell, gate) => format!("{gate}.{cell}.gate.atoll.internal"),
            Self::Operator => "operator.atoll.internal".to_owned(),
        }
    }

    /// The role as it stands in a certificate.
    #[must_use]
    pub fn uri(&self, platform: &str) -> String {
        format!("atoll://{platform}/{self}")
    }

    /// Reads the role of a URI; the CA that signed it vouches for the platform.
    ///
    /// # Errors
    /// [`RoleError`] when it is no role of ours.
    pub fn from_uri(uri: &str) -> Result<Self, RoleError> {
        let path = uri.strip_prefix("atoll://").and_then(|rest| rest.split_once('/'));
        path.ok_or_else(|| RoleError(uri.to_owned()))?.1.parse()
    }
}
