//! The engine port: what runs a cell's services.
//!
//! Purpose: `ensure` takes a cell's whole wanted set, `observe` tells each instance, `run` runs a job to its end, `logs`, `remove`.
//! Invariants: ensure is idempotent, refuses an older generation, touches only what carries the cell's label and returns before things are ready;
//! Unknown is an answer of observe; instances outlive the driver and the engine's daemon.
//! Entry point: [`Engine`]. Every promise is a case of [`conformance`].

pub mod conformance;
pub mod fake;
mod observed;
pub mod roll;
mod version;
mod wanted;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use model::{CellName, Generation, InstanceName};

pub use observed::{Exit, InstanceState, Observation, Observed, ObservedInstance, Reason, ServiceRollout, Stranger};
pub use wanted::{FileMount, GateWanted, Job, JobDone, Mount, Network, SecretFile, ServiceWanted, Wanted};

/// An engine shared by everybody in a process.
pub type SharedEngine = Arc<dyn Engine>;

/// Why the engine did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The engine already has a newer wanted set of this cell.
    #[error("the engine holds generation {held} of this cell, {offered} is older")]
    Older {
        /// What it holds.
        held: Generation,
        /// What was offered.
        offered: Generation,
    },
    /// The engine answered, and refuses: with a reason as in conditions.
    #[error("{message}")]
    Refused {
        /// CamelCase reason: `ImageMissing`, `SubnetClash`, `PortTaken`, `TooOldEngine` ...
        reason: Reason,
        /// A sentence with the evidence.
        message: String,
    },
    /// The engine cannot be asked now.
    #[error("the engine cannot be reached: {0}")]
    Unreachable(String),
}

/// A line of an instance's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Whose.
    pub instance: InstanceName,
    /// When it was written, where the engine knows.
    pub at: Option<Timestamp>,
    /// Whether it went to standard error.
    pub stderr: bool,
    /// The text without its end of line.
    pub text: String,
}

/// Which lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Only lines since then.
    pub since: Option<Timestamp>,
    /// Only the last so many.
    pub tail: Option<u32>,
    /// Go on with lines to come.
    pub follow: bool,
}

/// Lines as they come; the sender is dropped at the end.
pub type LogStream = tokio::sync::mpsc::Receiver<LogLine>;

/// Runs cells.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Takes the cell's whole wanted set and returns before things are ready. Twice the same: nothing is written. A changed service is rolled:
    /// new ready before old leaves, the old set kept when the new one never gets ready. What the set no longer names is drained and removed.
    ///
    /// # Errors
    /// [`EngineError`]; nothing half-made is left that the next call would not finish or remove.
    async fn ensure(&self, wanted: &Wanted) -> Result<(), EngineError>;

    /// How the cell stands now. Never an empty list for "cannot ask": [`Observation::Unknown`].
    async fn observe(&self, cell: &CellName) -> Observation;

    /// Runs a job to its end. Asked twice with one key it runs once, and a success is told again without another run; interrupted and asked again it
    /// continues or starts clean; one that failed starts clean when it is asked for again.
    ///
    /// # Errors
    /// [`EngineError`] when it could not be run; a job that ran and failed is [`JobDone`] with its code.
    async fn run(&self, cell: &CellName, job: &Job) -> Result<JobDone, EngineError>;

    /// Lines of one instance.
    ///
    /// # Errors
    /// [`EngineError::Refused`] with `NoSuchInstance`, or unreachable.
    async fn logs(&self, cell: &CellName, instance: &InstanceName, options: LogOptions) -> Result<LogStream, EngineError>;

    /// Says that an instance's drain was acknowledged by the cell's gates, so that it may be stopped; drains are bounded in time without it.
    ///
    /// # Errors
    /// [`EngineError`] when the engine cannot be asked.
    async fn drained(&self, cell: &CellName, instance: &InstanceName) -> Result<(), EngineError>;

    /// Removes everything of the cell but data that an agent keeps; again: nothing happens.
    ///
    /// # Errors
    /// [`EngineError`] when something could not be removed.
    async fn remove(&self, cell: &CellName) -> Result<(), EngineError>;
}
