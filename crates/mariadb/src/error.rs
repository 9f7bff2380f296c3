//! Why the driver could not do something.

use std::path::{Path, PathBuf};

use data::DataError;

/// What failed, where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder.
    #[error("{action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file that is not what was written.
    #[error("{path} is damaged; it holds the order or the record of a database and is never guessed: restore it or move it away")]
    Content {
        /// Which file.
        path: PathBuf,
        /// Where it breaks.
        source: serde_json::Error,
    },
    /// The container engine refused or cannot be reached.
    #[error("the container engine could not {action}")]
    Engine {
        /// What was asked.
        action: String,
        /// Its answer.
        source: bollard::errors::Error,
    },
    /// The container engine does not answer in time.
    #[error("the container engine could not {action} in time")]
    Slow {
        /// What was asked.
        action: String,
    },
    /// A container that should do one thing and end did not do it.
    #[error("{what} failed ({code}): {tail}")]
    Job {
        /// What it should do.
        what: String,
        /// Its exit code.
        code: i64,
        /// The end of its output.
        tail: String,
    },
    /// A statement or a connection to a node.
    #[error("SQL on {node}: {message}")]
    Sql {
        /// Which node.
        node: String,
        /// What the server or the connection said.
        message: String,
    },
    /// Something that must not be, with what to do.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn sql(node: impl ToString, error: impl ToString) -> Self {
        Self::Sql { node: node.to_string(), message: error.to_string() }
    }

    /// The error and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// As the port says it: what may be asked again.
    pub(crate) fn not_now(&self, reason: &str) -> DataError {
        DataError::NotNow { reason: reason.to_owned(), message: self.chain() }
    }
}
