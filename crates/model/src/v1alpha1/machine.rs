//! Machine: a host that holds data, under an agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Conditions, Kind, Resource};

/// Kind `Machine`.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine;

/// Where a machine's agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineSpec {
    /// Address of the agent, dialled by control over mutual TLS.
    #[schemars(with = "String")]
    pub agent: std::net::SocketAddr,
    /// Region of the machine; the platform's first where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// What is known of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineStatus {
    /// `Ready`.
    pub conditions: Conditions,
}

impl Resource for Machine {
    const KIND: Kind = Kind::Machine;
    type Spec = MachineSpec;
    type Status = MachineStatus;
}
