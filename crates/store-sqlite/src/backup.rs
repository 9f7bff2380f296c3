//! Copies of a store: made while it runs, brought back as another life of it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

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

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// When it was taken; none: a plain copy of a store's file.
    pub taken_at: Option<Timestamp>,
    /// Names of the documents of kind Platform in it: one, or none in a store that was never used.
    pub platforms: Vec<String>,
    /// How many documents it holds.
    pub documents: u64,
    /// Its newest revision.
    pub revision: u64,
}

/// Looks at a backup without changing it: whether it is a whole store of a known format, and what it holds.
///
/// # Errors
/// [`OpenError`] when it is not.
pub fn look(backup: &Path) -> Result<Summary, OpenError> {
    let wrap = |error| open::wrap(backup, error);
    let io = |source| OpenError::Io { path: backup.into(), source };
    // SQLite would say of a file that is missing only that it cannot be opened.
    std::fs::File::open(backup).map_err(io)?;
    if std::fs::metadata(beside(backup, "-wal")).is_ok_and(|wal| wal.len() > 0) {
        let what = "its -wal file lies beside it with changes that it lacks; it was copied while it was in use".to_owned();
        return Err(OpenError::Damaged { path: backup.into(), what });
    }
    let connection = frozen(backup).map_err(wrap)?;
    open::check(backup, &connection)?;
    let value = |name: &str| connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get::<_, String>(0)).optional();
    let taken_at = value(BACKUP).map_err(wrap)?.and_then(|at| at.parse().ok());
    let count: i64 = connection.query_row("SELECT count(*) FROM document", [], |row| row.get(0)).map_err(wrap)?;
    let mut statement = connection.prepare("SELECT name FROM document WHERE kind = ?1 ORDER BY name").map_err(wrap)?;
    let names = statement.query_map([model::Kind::Platform.as_str()], |row| row.get(0)).map_err(wrap)?;
    let platforms = names.collect::<rusqlite::Result<_>>().map_err(wrap)?;
    let revision = crate::schema::head(&connection).map_err(wrap)?.0;
    Ok(Summary { taken_at, platforms, documents: u64::try_from(count).unwrap_or(0), revision })
}

/// Opens a file that nobody changes, leaving nothing beside it.
fn frozen(path: &Path) -> rusqlite::Result<Connection> {
    // A path inside a URI: what has a meaning there is escaped.
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)
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
    look(backup)?;
    let new = beside(store, ".restored");
    prepare(backup, &new).inspect_err(|_| {
        // What was not finished must not be taken for something later.
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(beside(&new, ending));
        }
    })?;
    // What stood there becomes a copy like any other, where it is good. A store that is not is put aside as it is, with its log.
    let _ = open::fold(store);
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

/// Makes the file that will be the store.
fn prepare(backup: &Path, new: &Path) -> Result<(), OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    files::empty(new).map_err(io(new))?;
    std::fs::copy(backup, new).map_err(io(new))?;
    let connection = open::existing(new).map_err(|e| open::wrap(backup, e))?;
    open::check(backup, &connection)?;
    // Also a plain copy of a store is a backup from here on.
    let marked = connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", params![BACKUP, Timestamp::now().to_string()]);
    marked.map_err(|e| open::wrap(backup, e))?;
    connection.close().map_err(|(_, e)| open::wrap(backup, e))
}
