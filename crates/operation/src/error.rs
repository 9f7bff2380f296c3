//! How steps and runs fail.

use std::time::Duration;

use store::{Compare, StoreError};

/// Why a step did not reach its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// Not yet: nothing is wrong, something outside must happen first. Asked again after `again`.
    #[error("{message}")]
    Wait {
        /// CamelCase reason.
        reason: String,
        /// What it waits for.
        message: String,
        /// When to look again.
        again: Duration,
    },
    /// It failed or its outcome is not known; doing it again may help. Tried again with growing pauses.
    #[error("{message}")]
    Retry {
        /// CamelCase reason.
        reason: String,
        /// A sentence with the evidence.
        message: String,
    },
    /// Doing it again cannot help.
    #[error("{message}")]
    Fatal {
        /// CamelCase reason.
        reason: String,
        /// A sentence with the evidence.
        message: String,
    },
}

impl StepError {
    /// Not yet.
    pub fn wait(reason: impl Into<String>, message: impl Into<String>, again: Duration) -> Self {
        Self::Wait { reason: reason.into(), message: message.into(), again }
    }

    /// Try again.
    pub fn retry(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), message: message.into() }
    }

    /// Never.
    pub fn fatal(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Fatal { reason: reason.into(), message: message.into() }
    }

    /// The CamelCase reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Wait { reason, .. } | Self::Retry { reason, .. } | Self::Fatal { reason, .. } => reason,
        }
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(message) => Self::fatal("StoreRefused", message),
            other => Self::retry("StoreBusy", other.to_string()),
        }
    }
}

/// Why a run stopped before the operation ended or waited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The lease is lost: another control works now.
    #[error("the lease of this control is lost")]
    Fenced,
    /// The store does not answer as it should.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// A test ended the run here, as a crash would.
    #[error("crashed by the test")]
    Crashed,
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(Compare::Fence(_)) => Self::Fenced,
            other => Self::Store(other),
        }
    }
}
