//! Copies of a store: made while it runs, brought back as another life of it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::backup::Backup;
use rusqlite::{Connection, params};

use crate::error::{BackupError, OpenError};
use crate::files::{self, Lock, beside};
use crate::schema::BACKUP;
use crate::{open, readers};

/// Copies the store at `from` to a new file.
pub async fn backup(from: PathBuf, to: PathBuf) -> Result<(), BackupError> {
    let at = to.clone();
    tokio::task::spawn_blocking(move || copy(&from, &to)).await.map_err(|e| BackupError::Io { path: at, source: std::io::Error::other(e) })?
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let io = |source| BackupError::Io { path: to.into(), source };
    if to.try_exists().map_err(io)? {
        return Err(BackupError::Exists { path: to.into() });
    }
    let new = beside(to, ".new");
    files::empty(&new).map_err(io)?;
    fill(from, &new).map_err(|source| BackupError::Sqlite { path: to.into(), source })?;
    files::put(&new, to).map_err(io)
}

fn fill(from: &Path, to: &Path) -> rusqlite::Result<()> {
    let source = readers::reading(from)?;
    let mut target = Connection::open(to)?;
    // All pages in one step: one consistent state; the writer goes on meanwhile.
    Backup::new(&source, &mut target)?.run_to_completion(i32::MAX, std::time::Duration::ZERO, None)?;
    target.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", params![BACKUP, Timestamp::now().to_string()])?;
    target.close().map_err(|(_, error)| error)
}

/// Puts a backup in a store's place. What stood there is kept beside it, under the name that is returned. Nobody may have the store open.
///
/// The restored store is another life: its incarnation is new, and readers of the former life are told to list anew.
///
/// # Errors
/// [`OpenError`] when the backup is not a whole store of a known format, the store is open somewhere, or the system refuses.
pub fn restore(backup: &Path, store: &Path) -> Result<Option<PathBuf>, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    let _lock = Lock::take(store).map_err(io(store))?.ok_or_else(|| OpenError::InUse { path: store.into() })?;
    let new = beside(store, ".restored");
    files::empty(&new).map_err(io(&new))?;
    std::fs::copy(backup, &new).map_err(io(backup))?;
    let connection = open::existing(&new).map_err(|e| open::wrap(backup, e))?;
    open::check(backup, &connection)?;
    // Also a plain copy of a store is a backup from here on.
    let marked = connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", params![BACKUP, Timestamp::now().to_string()]);
    marked.map_err(|e| open::wrap(backup, e))?;
    connection.close().map_err(|(_, e)| open::wrap(backup, e))?;
    let aside = beside(store, &format!(".before-{}", Timestamp::now().as_millisecond()));
    let mut kept = None;
    // The store goes first: a log without its store is refused, while a store without its log would pass for an older one.
    for ending in ["", "-wal", "-shm"] {
        match std::fs::rename(beside(store, ending), beside(&aside, ending)) {
            Ok(()) if ending.is_empty() => kept = Some(aside.clone()),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(store)(error)),
            _ => {}
        }
    }
    files::put(&new, store).map_err(io(store))?;
    Ok(kept)
}
