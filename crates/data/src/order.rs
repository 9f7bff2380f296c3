//! What control orders.

use ipnet::Ipv4Net;
use model::{CellName, Cpu, Epoch, Generation, MachineName, Memory, NodeName, Sensitive, Span};
use serde::{Deserialize, Serialize};

/// A cluster's whole order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterOrder {
    /// Which cell.
    pub cell: CellName,
    /// Epoch of the membership: rises when the set of nodes changes.
    pub membership: Epoch,
    /// Rises with each change of anything; an older one is refused.
    pub generation: Generation,
    /// One or three nodes, in order: the first is the first choice as writer.
    pub nodes: Vec<NodeOrder>,
    /// Network of nodes, endpoint and agent.
    pub data_network: Ipv4Net,
    /// Network of the cell's services, on which the endpoint answers as `db`.
    pub app_network: Ipv4Net,
    /// Image of the nodes.
    pub mariadb_image: String,
    /// Image of the single-writer endpoint.
    pub haproxy_image: String,
    /// Buffer pool of each node.
    pub memory: Memory,
    /// Processor share of each node.
    pub cpu: Cpu,
    /// Most connections of the whole cell.
    pub connections: u32,
    /// Number that identifies the cell in global transaction ids: `wsrep_gtid_domain_id`. Unique on the platform.
    pub gtid_domain: u32,
    /// How long retired data is kept.
    pub grace: Span,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeOrder {
    /// `n1`, `n2`, `n3`.
    pub name: NodeName,
    /// Where it runs.
    pub machine: MachineName,
}

/// Whether a tenant's account may work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TenantAccess {
    /// Schema and account stand, the account works.
    Open,
    /// The account is locked on every node and has no session left.
    Locked,
    /// Schema and account are gone.
    Gone,
}

/// A tenant's schema and account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantOrder {
    /// The schema `t_...`; the account has the same name.
    pub schema: String,
    /// The account's password.
    pub password: Sensitive<String>,
    /// Most connections of the account.
    pub connections: u32,
    /// Whether it may work.
    pub access: TenantAccess,
}
