//! Whoever keeps facts.

use model::TenantName;
use serde::{Deserialize, Serialize};

use crate::{Counts, Report};

/// Why facts are not kept, or not told.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It is no report of an edge.
    #[error("the report is refused: {0}")]
    Refused(String),
    /// The ledger cannot be read or written now.
    #[error("the ledger cannot be used: {0}")]
    Unavailable(String),
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is counted, and on disk.
    Counted,
    /// It was counted before.
    Known,
}

/// What rows of an answer stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A minute each, as far back as minutes are kept; then the hours and days that are.
    Minute,
    /// An hour each, as far back as hours are kept; then days.
    #[default]
    Hour,
    /// A tenant each.
    Tenant,
}

/// What is asked of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Of this tenant only.
    pub tenant: Option<TenantName>,
    /// From this second on. A span that it falls into counts whole.
    pub since: i64,
    /// Until before this second. A span that it falls into counts whole.
    pub until: i64,
    /// What the rows are.
    pub by: By,
}

/// A row of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// First second that it counts.
    pub from: i64,
    /// The second after the last.
    pub to: i64,
    /// Whose it is; none: of all that were asked for.
    pub tenant: Option<TenantName>,
    /// The sums.
    pub counts: Counts,
}

/// Keeps facts. Calls may wait for a disk.
pub trait Ledger: Send + Sync {
    /// Counts what an edge reports, unless that was done before, at `now` in seconds since the epoch of Unix. It is on disk afterwards.
    ///
    /// # Errors
    /// [`LedgerError`]: nothing was counted.
    fn take(&self, edge: &str, report: &Report, now: i64) -> Result<Taken, LedgerError>;

    /// What was taken, ordered by time or by name.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn usage(&self, query: &Query) -> Result<Vec<Line>, LedgerError>;
}
