//! The data port: database clusters on machines, each under an agent.
//!
//! Purpose: control orders, an agent keeps. Orders carry the cell, the epoch of the cluster's membership and a generation; an agent refuses older
//! ones and keeps working from the last good order when control is gone.
//! Invariants: only a [`galera`] proof bootstraps; a node is never started without its recovered position; no answer means no change.
//! Entry point: [`Data`]. Every promise is a case of [`conformance`].

pub mod conformance;
pub mod fake;
mod numbers;
mod order;
mod report;

use std::sync::Arc;

use async_trait::async_trait;
use model::{CellName, Generation};

pub use numbers::TenantNumbers;
pub use order::{ClusterOrder, NodeOrder, SQL_PORT, TenantAccess, TenantOrder, supersedes};
pub use report::{ClusterReport, ClusterState, NodeReport, NodeState, TenantReport};

/// An agent shared by everybody in a process.
pub type SharedData = Arc<dyn Data>;

/// Why the agent did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataError {
    /// The agent already has a newer order.
    #[error("the agent holds generation {held}, {offered} is older")]
    Older {
        /// What it holds.
        held: Generation,
        /// What was offered.
        offered: Generation,
    },
    /// Not now; it may be asked again.
    #[error("{message}")]
    NotNow {
        /// CamelCase reason: `NoWriter`, `WaitingForNetwork`, `Transferring` ...
        reason: String,
        /// A sentence with the evidence.
        message: String,
    },
    /// The order itself cannot be followed.
    #[error("{message}")]
    Refused {
        /// CamelCase reason.
        reason: String,
        /// A sentence with the evidence.
        message: String,
    },
    /// The agent cannot be reached: the outcome is not known.
    #[error("the agent cannot be reached: {0}")]
    Unreachable(String),
}

impl DataError {
    /// The refusal of a call about a cell that was never ordered here, or was retired: reason `UnknownCell`.
    #[must_use]
    pub fn unknown_cell(cell: &CellName) -> Self {
        Self::Refused { reason: "UnknownCell".to_owned(), message: format!("no cluster of {cell} is known here") }
    }
}

/// One agent: the database nodes of its machine.
#[async_trait]
pub trait Data: Send + Sync {
    /// Takes a cluster's whole order, keeps it on disk and returns before it is met. Twice the same: nothing is written. An order older than the
    /// newest is refused, also when that cluster was retired meanwhile; for all that were retired one number stands, so that another cell's order may
    /// have to be given again under the next number.
    async fn ensure(&self, order: &ClusterOrder) -> Result<(), DataError>;

    /// How the cluster stands, answered from memory.
    async fn observe(&self, cell: &CellName) -> Result<ClusterReport, DataError>;

    /// Makes a tenant's schema and account as ordered (created, locked with all sessions ended and proven gone, or dropped); again: nothing happens.
    /// An order older than the newest about this tenant is refused, also when that one made it go.
    async fn tenant(&self, cell: &CellName, order: &TenantOrder) -> Result<TenantReport, DataError>;

    /// Stops the cluster's nodes cleanly, keeps the data.
    async fn stop(&self, cell: &CellName) -> Result<(), DataError>;

    /// Stops the nodes and renames their data aside; deleted only after the order's grace. Again: nothing happens. Refused under a number older than the
    /// newest order. The number is kept, also where no cluster stands: an order that is still on its way under this number or an older one makes none.
    async fn retire(&self, cell: &CellName, number: Generation) -> Result<(), DataError>;
}
