//! What control orders.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use model::{CellName, Cpu, Epoch, Generation, MachineName, Memory, NodeName, Sensitive, Span};
use serde::{Deserialize, Serialize};

use crate::DataError;

/// Port of the nodes and of the single-writer endpoint.
pub const SQL_PORT: u16 = 3306;

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
    /// Rises with each order about this tenant; an older one is refused, also once the account is gone.
    #[serde(default)]
    pub generation: Generation,
}

impl ClusterOrder {
    /// Checks what no agent can follow: number and names of nodes, networks, limits.
    ///
    /// # Errors
    /// [`DataError::Refused`] with the reason `BadOrder` and the rule that was broken.
    pub fn check(&self) -> Result<(), DataError> {
        let refuse = |message: String| Err(DataError::Refused { reason: "BadOrder".to_owned(), message });
        if !matches!(self.nodes.len(), 1 | 3) {
            return refuse(format!("a cluster has one or three nodes, {} were ordered", self.nodes.len()));
        }
        let names: std::collections::BTreeSet<&NodeName> = self.nodes.iter().map(|node| &node.name).collect();
        if names.len() != self.nodes.len() {
            return refuse("two nodes have one name".to_owned());
        }
        if self.data_network.prefix_len() > 27 || self.app_network.prefix_len() > 28 {
            return refuse("the networks are too small for the fixed addresses".to_owned());
        }
        if self.data_network.contains(&self.app_network.network()) || self.app_network.contains(&self.data_network.network()) {
            return refuse(format!("data network {} and app network {} overlap", self.data_network, self.app_network));
        }
        if self.connections == 0 || self.memory.0 < Memory::mebi(32).0 {
            return refuse("a cluster needs at least one connection and 32Mi of memory".to_owned());
        }
        Ok(())
    }

    /// Where the node of this index (from 0) lives on the data network: .11, .12, .13.
    #[must_use]
    pub fn node_address(&self, index: usize) -> Ipv4Addr {
        host(self.data_network, 11 + u32::try_from(index).unwrap_or(u32::MAX - 11))
    }

    /// The gateway of the data network, on which only the agent answers: .1.
    #[must_use]
    pub fn agent_address(&self) -> Ipv4Addr {
        host(self.data_network, 1)
    }

    /// The single-writer endpoint's leg on the data network: .9.
    #[must_use]
    pub fn endpoint_inside(&self) -> Ipv4Addr {
        host(self.data_network, 9)
    }

    /// The single-writer endpoint as the cell's instances reach it: .9 of the app network.
    #[must_use]
    pub fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(host(self.app_network, 9).into(), SQL_PORT)
    }
}

impl TenantOrder {
    /// Checks that the schema can be the name of a schema and of an account without quoting surprises: `t_` and then `a-z 0-9 _`, at most 64.
    ///
    /// # Errors
    /// [`DataError::Refused`] with the reason `BadTenantOrder`.
    pub fn check(&self) -> Result<(), DataError> {
        let rest = self.schema.strip_prefix("t_").unwrap_or_default();
        let good = !rest.is_empty() && self.schema.len() <= 64 && rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if !good {
            let message = format!("{:?} is not a tenant's schema: t_ followed by a-z, 0-9 and _, at most 64 in all", self.schema);
            return Err(DataError::Refused { reason: "BadTenantOrder".to_owned(), message });
        }
        if self.password.reveal().is_empty() || self.connections == 0 {
            let message = format!("the account of {} needs a password and at least one connection", self.schema);
            return Err(DataError::Refused { reason: "BadTenantOrder".to_owned(), message });
        }
        Ok(())
    }
}

/// The address with this number inside a network.
fn host(network: Ipv4Net, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(network.network()).wrapping_add(number))
}

/// Whether an order may follow the one held: not older in generation or membership, and never other content under the same generation.
///
/// # Errors
/// [`DataError::Older`] or [`DataError::Refused`] (`OlderMembership`, `GenerationReused`).
pub fn supersedes(held: &ClusterOrder, offered: &ClusterOrder) -> Result<(), DataError> {
    if offered.generation < held.generation {
        return Err(DataError::Older { held: held.generation, offered: offered.generation });
    }
    if offered.membership < held.membership {
        let message = format!("the agent holds membership {}, {} is older", held.membership, offered.membership);
        return Err(DataError::Refused { reason: "OlderMembership".to_owned(), message });
    }
    if offered.generation == held.generation && offered != held {
        let message = format!("generation {} of {} was already ordered with other content", held.generation, held.cell);
        return Err(DataError::Refused { reason: "GenerationReused".to_owned(), message });
    }
    Ok(())
}
