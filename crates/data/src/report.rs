//! What an agent reports.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jiff::Timestamp;
use model::{Generation, NodeName};
use serde::{Deserialize, Serialize};

/// Where a cluster stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClusterState {
    /// Being made for the first time.
    Seeding,
    /// Commits are accepted and all nodes are in sync.
    Synced,
    /// Commits are accepted, a node is missing or joining.
    Degraded,
    /// No commit is accepted; the agent acts.
    Recovering,
    /// No commit is accepted and the rules forbid to go on without more evidence or a person.
    Blocked,
    /// Stopped by order.
    Stopped,
}

/// How a cluster stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReport {
    /// The order it works from.
    pub generation: Generation,
    /// Where it stands.
    pub state: ClusterState,
    /// Since when.
    pub since: Timestamp,
    /// CamelCase reason when it is not [`ClusterState::Synced`].
    pub reason: Option<String>,
    /// A sentence with the evidence.
    pub message: Option<String>,
    /// The node that takes writes.
    pub writer: Option<NodeName>,
    /// Where the single-writer endpoint answers on the cell's own network.
    pub endpoint: Option<SocketAddr>,
    /// Age of the last commit that the probe saw succeed, in milliseconds.
    pub commit_age_ms: Option<u64>,
    /// Each node.
    pub nodes: BTreeMap<NodeName, NodeReport>,
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeState {
    /// Its data is being made.
    Initialising,
    /// Started, not yet in the cluster.
    Starting,
    /// Receives what it lacks.
    Joining,
    /// Gives another node what it lacks.
    Donor,
    /// Serves.
    Synced,
    /// Runs and does not answer, or answers and does not commit.
    Stuck,
    /// Does not run.
    Down,
    /// Cannot be observed.
    Unknown,
}

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// Where it stands.
    pub state: NodeState,
    /// Since when.
    pub since: Timestamp,
    /// Where it listens.
    pub address: SocketAddr,
    /// Cluster UUID and position, as last seen.
    pub position: Option<galera::Position>,
    /// The view it is in.
    pub view: Option<u64>,
    /// Bytes received of a running transfer.
    pub transferred: Option<u64>,
    /// Share of time paused by flow control, in thousandths.
    pub flow_control_permille: Option<u32>,
    /// Free bytes where its data lies.
    pub disk_free: Option<u64>,
    /// How often it was started again.
    pub restarts: u32,
    /// Why it is not synced.
    pub reason: Option<String>,
    /// A sentence with the evidence.
    pub message: Option<String>,
}

/// A tenant's schema and account as they stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantReport {
    /// Host name by which the cell's instances reach the writer.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Sessions of the account left; 0 after a lock.
    pub sessions: u32,
}
