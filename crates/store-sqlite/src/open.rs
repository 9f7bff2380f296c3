//! Opening: who may, what is believed, and the first file.

use std::collections::BTreeMap;
use std::path::Path;

use model::{Kind, Revision};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, params};

use crate::error::OpenError;
use crate::files::{self, Lock, beside};
use crate::schema::{self, APPLICATION, BACKUP, FORMAT, HEAD, INCARNATION, TABLES};

/// How far a restored store's revisions jump, so that no reader of its former life has seen one of those it gives from now on.
const NEW_LIFE: u64 = 1_000_000_000;

/// A store that was found good.
pub struct Opened {
    /// The connection that writes.
    pub connection: Connection,
    /// The newest revision.
    pub head: Revision,
    /// The last fence of each lease.
    pub fences: BTreeMap<String, u64>,
    /// Id of this life.
    pub incarnation: String,
    /// Keeps other processes out.
    pub lock: Lock,
}

/// Opens a store, or makes an empty one.
pub fn open(path: &Path) -> Result<Opened, OpenError> {
    let io = |source| OpenError::Io { path: path.into(), source };
    let lock = Lock::take(path).map_err(io)?.ok_or_else(|| OpenError::InUse { path: path.into() })?;
    if !path.try_exists().map_err(io)? {
        if beside(path, "-wal").try_exists().map_err(io)? {
            return Err(OpenError::Damaged { path: path.into(), what: "it is gone, but its -wal file is here".to_owned() });
        }
        create(path)?;
    }
    let wrap = |error| wrap(path, error);
    let mut connection = existing(path).map_err(wrap)?;
    // Until it is known to be ours and of a format that we know, not even its own log is folded into it when we let it go.
    fold_on_close(&connection, false).map_err(wrap)?;
    check(path, &connection)?;
    fold_on_close(&connection, true).map_err(wrap)?;
    settle(&connection).map_err(wrap)?;
    let transaction = connection.transaction().map_err(wrap)?;
    begin_new_life(&transaction).map_err(wrap)?;
    transaction.commit().map_err(wrap)?;
    let head = schema::head(&connection).map_err(wrap)?;
    let incarnation = connection.query_row("SELECT value FROM meta WHERE name = ?1", [INCARNATION], |row| row.get(0)).map_err(wrap)?;
    let fences = fences(&connection).map_err(wrap)?;
    Ok(Opened { connection, head, fences, incarnation, lock })
}

/// Makes an empty store beside and puts it into place whole: an empty file under the store's name is therefore never a new store.
fn create(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.into(), source };
    let new = beside(path, ".new");
    for ending in ["", "-wal", "-shm"] {
        match std::fs::remove_file(beside(&new, ending)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    files::empty(&new).map_err(io)?;
    fill(&new).map_err(|e| wrap(path, e))?;
    files::put(&new, path).map_err(io)
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let mut connection = existing(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.execute_batch(TABLES)?;
    transaction.execute("INSERT INTO meta (name, value) VALUES (?1, 0), (?2, ?3)", params![HEAD, INCARNATION, random_id()])?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// Opens a file for writing, never making one.
pub fn existing(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

/// Whether closing the last connection writes the log (`-wal`) into the file and removes it.
fn fold_on_close(connection: &Connection, fold: bool) -> rusqlite::Result<bool> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !fold)
}

/// Writes the log of a good store into its file, so that the file alone is all of it. Nobody may have it open.
pub fn fold(path: &Path) -> Result<(), OpenError> {
    let wrap = |error| wrap(path, error);
    let connection = existing(path).map_err(wrap)?;
    fold_on_close(&connection, false).map_err(wrap)?;
    check(path, &connection)?;
    fold_on_close(&connection, true).map_err(wrap)?;
    connection.close().map_err(|(_, error)| wrap(error))
}

/// Refuses what is not a whole store of a known format.
pub fn check(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let wrap = |error| wrap(path, error);
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = pragma("application_id").map_err(wrap)?;
    let format = pragma("user_version").map_err(wrap)?;
    if application != APPLICATION {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(wrap)?;
        // Whatever has no table at all was once something else: this program never leaves an empty file under a store's name.
        let empty = tables == 0 && application == 0;
        return Err(if empty {
            OpenError::Damaged { path: path.into(), what: "it is empty".to_owned() }
        } else {
            OpenError::Foreign { path: path.into() }
        });
    }
    if format > FORMAT {
        return Err(OpenError::Newer { path: path.into(), found: format, known: FORMAT });
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(wrap)?;
    if found != "ok" {
        return Err(OpenError::Damaged { path: path.into(), what: found });
    }
    Ok(())
}

/// How this connection works: flushed at every commit, so that an acknowledged one survives a loss of power.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// A backup that is opened as a store begins another life: a new id, and nothing that readers of the former life may go on from.
fn begin_new_life(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let backup: Option<String> = transaction.query_row("SELECT value FROM meta WHERE name = ?1", [BACKUP], |row| row.get(0)).optional()?;
    if backup.is_none() {
        return Ok(());
    }
    let head = Revision(schema::head(transaction)?.0 + NEW_LIFE);
    transaction.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![HEAD, schema::number(head)])?;
    transaction.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![INCARNATION, random_id()])?;
    transaction.execute("DELETE FROM meta WHERE name = ?1", [BACKUP])?;
    transaction.execute("DELETE FROM change", [])?;
    for kind in Kind::ALL {
        transaction.execute("INSERT OR REPLACE INTO dropped (kind, revision) VALUES (?1, ?2)", params![kind.as_str(), schema::number(head)])?;
    }
    Ok(())
}

fn fences(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut statement = connection.prepare("SELECT name, fence FROM lease")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    rows.map(|row| row.map(|(name, fence)| (name, u64::try_from(fence).unwrap_or(0)))).collect()
}

/// An id that nobody else gives.
pub fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// What SQLite's refusal means for a store.
pub fn wrap(path: &Path, source: rusqlite::Error) -> OpenError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path: path.into(), what: source.to_string() },
        _ => OpenError::Sqlite { path: path.into(), source },
    }
}
