//! What can go wrong with identities.

use std::path::PathBuf;

/// Why an identity, a certificate or a sealed secret could not be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A private file is open to others.
    #[error("{} has mode {mode:04o}; a private file must not be open to others: chmod 600 it after you know who could read it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("{} is not valid: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("a certificate for {role} could not be made")]
    Issue {
        /// For whom.
        role: String,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
    /// TLS could not be set up.
    #[error("TLS could not be set up: {0}")]
    Tls(String),
    /// A sealed secret was not sealed under this key and name, or was changed since.
    #[error("the secret of {0} cannot be opened: it was sealed under another key or name, or was damaged")]
    Sealed(String),
}

impl IdentityError {
    pub(crate) fn content(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Content { path: path.into(), reason: reason.to_string() }
    }
}
