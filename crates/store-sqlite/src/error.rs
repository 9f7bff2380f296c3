//! Why a store could not be opened or copied: what, where, and how to go on.

use std::io;
use std::path::PathBuf;

/// Why a store was not opened. Its file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is open in another process: stop that one first (`fuser {}` names it)", path.display(), path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// It was written by a newer release.
    #[error("{} has format {found}, this release knows {known}: use the release that wrote it, or a newer one", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format of this release.
        known: i64,
    },
    /// It is an SQLite file of some other program.
    #[error("{} is not a store of Atoll: name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged.
    #[error("{} is damaged ({what}): keep a copy of it and of its -wal file, then restore the last backup (atoll restore FILE)", path.display())]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The system refused.
    #[error("{} cannot be opened", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// SQLite refused.
    #[error("{} cannot be opened", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
}

/// Why a store was not copied.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something stands under that name.
    #[error("{} exists: name a new file", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{} cannot be written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// SQLite refused.
    #[error("{} cannot be written", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
}
