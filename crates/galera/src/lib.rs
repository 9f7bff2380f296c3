//! Pure Galera rules: who bootstraps, who writes, who may leave.
//!
//! Invariants: no I/O, no clock; a [`Position`] with a nil UUID is no evidence; only this crate can build a proof for a bootstrap.

use serde::{Deserialize, Serialize};

/// A node's recovered position: cluster UUID and sequence number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Cluster state UUID.
    pub uuid: String,
    /// Last committed sequence number; -1: not known.
    pub seqno: i64,
}
