//! Cell: an isolated environment made from a blueprint.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Conditions, DocumentName, GateName, Generation, Kind, MachineName, NodeName, OperationName, Resource, ServiceName};

/// Kind `Cell`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell;

/// What an operator wants of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CellSpec {
    /// Blueprint and version: `wordpress.2026.11.1`.
    pub blueprint: DocumentName,
    /// Region; the platform's first where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Machines for data, in order; left out: chosen when the cell is opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<MachineName>,
    /// Whether new tenants are placed here.
    #[serde(default)]
    pub scheduling: Scheduling,
}

/// The brake of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Scheduling {
    /// Takes new tenants.
    #[default]
    Open,
    /// Keeps its tenants, takes no new ones.
    Closed,
    /// Its tenants must leave; takes no new ones.
    Draining,
}

/// What is known of a cell. Written by control alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CellStatus {
    /// `Ready`, `ServicesReady`, `DatabaseReady`, `GatesReady`, `Rolled`, `Stalled`.
    pub conditions: Conditions,
    /// Spec generation this status speaks of.
    pub observed_generation: Generation,
    /// Choices made once, before anything was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Allocation>,
    /// Tenants placed here; changed only in the commit that places or removes one.
    pub tenants: u32,
    /// Blueprint whose wanted set was last fully ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<DocumentName>,
    /// The running operation on this cell, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationName>,
    /// Services as the engine reports them.
    pub services: BTreeMap<ServiceName, ServiceSummary>,
    /// Gates as they acknowledge.
    pub gates: BTreeMap<GateName, GateSummary>,
    /// The database cluster as its agent reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseSummary>,
}

/// Choices made once for a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allocation {
    /// Network of gates and services. Gates have .2 and up to .5, the database endpoint .9, instances the upper half.
    #[schemars(with = "String")]
    pub app_network: Ipv4Net,
    /// Network of the database nodes (.11, .12, .13), their endpoint (.9) and their agent (.1).
    #[schemars(with = "String")]
    pub data_network: Ipv4Net,
    /// Machines of the database nodes, in order of the nodes.
    pub machines: Vec<MachineName>,
}

/// A service as the engine reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSummary {
    /// Instances wanted.
    pub wanted: u32,
    /// Instances ready.
    pub ready: u32,
    /// Why it is not as wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A sentence with the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A gate as it acknowledges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateSummary {
    /// Where edges reach it.
    #[schemars(with = "String")]
    pub address: std::net::SocketAddr,
    /// Whether it serves.
    pub ready: bool,
    /// Last state number it acknowledged.
    pub acknowledged: Generation,
}

/// The database cluster as its agent reports it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabaseSummary {
    /// The node that takes writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer: Option<NodeName>,
    /// Nodes by name.
    pub nodes: BTreeMap<NodeName, NodeSummary>,
}

/// A database node as its agent reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSummary {
    /// `Synced`, `Joining`, `Down`, `Unknown` ...
    pub state: String,
    /// Since when.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// Why it is not synced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Resource for Cell {
    const KIND: Kind = Kind::Cell;
    type Spec = CellSpec;
    type Status = CellStatus;
}
