//! The tables and the few statements that more than one part needs.
//!
//! `document` holds what stands. `change` is the log that watchers and pages read; `dropped` says per kind up to where it was cut. `lease` holds fences.

use model::{Document, Kind, Revision};
use rusqlite::{Connection, OptionalExtension as _, params};
use store::rules::{Change, Fate};
use store::{Key, StoreError};

/// Stands in the file's header: `Atol`.
pub const APPLICATION: i64 = 0x4174_6f6c;
/// Format of this release, in the file's `user_version`.
pub const FORMAT: i64 = 1;
/// Name of the value that holds the newest revision.
pub const HEAD: &str = "head";
/// Name of the value that holds the id of this life of the store.
pub const INCARNATION: &str = "incarnation";
/// Name of the value that only a backup has.
pub const BACKUP: &str = "backup";

/// The tables of format 1.
pub const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE document (kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE UNIQUE INDEX document_key ON document (kind, name);
    CREATE TABLE change (
        revision INTEGER PRIMARY KEY, kind TEXT NOT NULL, gone INTEGER NOT NULL, bytes INTEGER NOT NULL, document TEXT NOT NULL, earlier TEXT
    ) STRICT;
    CREATE INDEX change_kind ON change (kind, revision);
    CREATE TABLE dropped (kind TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE lease (name TEXT PRIMARY KEY, fence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// A failure that changed nothing.
pub fn unavailable(error: &rusqlite::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// A stored text that is not what was written.
fn unreadable(what: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Unavailable(format!("a stored {what} cannot be read: {error}"))
}

/// Reads a document from its stored text.
pub fn parse(text: &str) -> Result<Document, StoreError> {
    serde_json::from_str(text).map_err(|e| unreadable("document", &e))
}

/// The document of a key, where it stands.
pub fn document(connection: &Connection, key: &Key) -> Result<Option<Document>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT body FROM document WHERE kind = ?1 AND name = ?2").map_err(|e| unavailable(&e))?;
    let text: Option<String> =
        statement.query_row(params![key.kind.as_str(), key.name.as_str()], |row| row.get(0)).optional().map_err(|e| unavailable(&e))?;
    text.as_deref().map(parse).transpose()
}

/// The newest revision.
pub fn head(connection: &Connection) -> rusqlite::Result<Revision> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    statement.query_row([HEAD], |row| row.get(0)).map(revision)
}

/// The newest change of a kind (of all: `None`) that the log no longer has.
pub fn dropped(connection: &Connection, kind: Option<Kind>) -> rusqlite::Result<Revision> {
    let mut statement = connection.prepare_cached("SELECT coalesce(max(revision), 0) FROM dropped WHERE ?1 IS NULL OR kind = ?1")?;
    statement.query_row([kind.map(Kind::as_str)], |row| row.get(0)).map(revision)
}

/// At most `limit` changes of a kind (of all: `None`) after a revision, in order.
pub fn changes(connection: &Connection, kind: Option<Kind>, after: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
    let sql = match kind {
        Some(_) => "SELECT revision, gone, document, earlier FROM change WHERE kind = ?3 AND revision > ?1 ORDER BY revision LIMIT ?2",
        None => "SELECT revision, gone, document, earlier FROM change WHERE ?3 IS NULL AND revision > ?1 ORDER BY revision LIMIT ?2",
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql).map_err(|e| unavailable(&e))?;
    let rows = statement
        .query_map(params![number(after), limit, kind.map(Kind::as_str)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?, row.get::<_, String>(2)?, row.get::<_, Option<String>>(3)?))
        })
        .map_err(|e| unavailable(&e))?;
    rows.map(|row| {
        let (at, gone, document, before) = row.map_err(|e| unavailable(&e))?;
        let fate = if gone { Fate::Gone } else { Fate::Stands };
        Ok(Change { revision: revision(at), fate, document: parse(&document)?, before: before.as_deref().map(parse).transpose()? })
    })
    .collect()
}

/// A revision as SQLite keeps it. Revisions are counted from zero and stay far below the sign.
pub fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// A revision as SQLite gave it.
pub fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}
