//! How a table changes.

use model::{CellName, Generation};
use serde::{Deserialize, Serialize};

use crate::{CellEndpoint, HostPattern, Record, TableHash};

/// One change of a table. Setting what already stands and removing what is absent are no errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A new or changed endpoint of a cell.
    SetCell(CellEndpoint),
    /// A new or changed record.
    SetRecord(Record),
    /// A host nobody answers for any more.
    RemoveRecord(HostPattern),
    /// A cell that is gone.
    RemoveCell(CellName),
}

/// The changes from one generation to a later one, with the hash that the whole table has after them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delta {
    /// Incarnation of the store both generations belong to.
    pub incarnation: String,
    /// The generation it changes.
    pub from: Generation,
    /// The generation it leads to.
    pub to: Generation,
    /// In this order.
    pub changes: Vec<Change>,
    /// Of the whole table afterwards.
    pub hash: TableHash,
}

/// Why a delta or a snapshot is not taken. The table stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It would go backwards.
    #[error("the table is at generation {have}, {offered} is older")]
    Older {
        /// What the table has.
        have: Generation,
        /// What was offered.
        offered: Generation,
    },
    /// Something between is missing.
    #[error("the table is at generation {have}, the delta begins at {from}")]
    Gap {
        /// What the table has.
        have: Generation,
        /// Where the delta begins.
        from: Generation,
    },
    /// The result is not what the sender has.
    #[error("the table would hash to {computed}, its sender says {expected}")]
    Hash {
        /// What the sender says.
        expected: TableHash,
        /// What it would be here.
        computed: TableHash,
    },
    /// What was written does not read back.
    #[error("the line of a change does not read back: {0}")]
    Line(String),
    /// Numbers of another store do not compare.
    #[error("the table belongs to incarnation {have:?}, this is of {offered:?}")]
    Incarnation {
        /// What the table has.
        have: String,
        /// What was offered.
        offered: String,
    },
    /// Another incarnation (a restored store) knows less than this table: a person must agree.
    #[error("incarnation {offered:?} would take tenant {tenant} back from epoch {have} to {back_to}")]
    Backwards {
        /// The other incarnation.
        offered: String,
        /// The first such tenant.
        tenant: model::TenantName,
        /// Its epoch here.
        have: model::Epoch,
        /// Its epoch there.
        back_to: model::Epoch,
    },
}
