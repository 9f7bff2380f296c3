//! The book's file.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::names::Mark;
use super::{BookError, Problem};
use crate::{Certificate, Kind};

/// "Atcb", so that no other database is taken for a book.
const APPLICATION: i32 = 0x4174_6362;
const FORMAT: i32 = 1;
const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE entries (kind TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, mark TEXT, PRIMARY KEY (kind, name)) WITHOUT ROWID;
    CREATE INDEX entries_by_number ON entries (number);
    CREATE TABLE bodies (kind TEXT NOT NULL, name TEXT NOT NULL, plain TEXT, sealed TEXT, PRIMARY KEY (kind, name));
    CREATE TABLE memos (topic TEXT NOT NULL, name TEXT NOT NULL, sealed TEXT NOT NULL, PRIMARY KEY (topic, name)) WITHOUT ROWID;
";
const SELECT: &str =
    "SELECT e.kind, e.name, e.number, e.mark, b.plain, b.sealed FROM entries e LEFT JOIN bodies b ON b.kind = e.kind AND b.name = e.name";

/// An entry as it lies in the file. Without a mark it is gone.
pub(super) struct Raw {
    pub kind: Kind,
    pub name: String,
    pub number: u64,
    pub mark: Option<String>,
    pub plain: Option<String>,
    pub sealed: Option<String>,
}

/// What the start reads of a certificate.
#[derive(Serialize, Deserialize)]
pub(super) struct MarkText {
    names: Vec<String>,
    until: i64,
}

impl MarkText {
    pub fn of(certificate: &Certificate) -> Self {
        Self { names: certificate.names.clone(), until: certificate.not_after.as_second() }
    }
}

/// Opens the file, or makes it, for its owner only.
pub(super) fn open(path: &Path) -> Result<Connection, BookError> {
    if !path.try_exists()? {
        let made = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        made?;
    }
    let damaged = |error| BookError::Damaged(path.to_owned(), Some(error));
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(damaged)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(damaged)?;
    let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    match (number("application_id").map_err(damaged)?, number("user_version").map_err(damaged)?) {
        (APPLICATION, FORMAT) => {}
        (0, 0) => {
            transaction.execute_batch(TABLES).map_err(damaged)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
            let life = identity::token(9);
            transaction.execute("INSERT INTO meta (name, value) VALUES ('incarnation', ?1), ('number', 0), ('floor', 0)", [life.reveal()])?;
        }
        _ => return Err(BookError::Damaged(path.to_owned(), None)),
    }
    transaction.commit()?;
    Ok(connection)
}

pub(super) fn incarnation(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT value FROM meta WHERE name = 'incarnation'", [], |row| row.get(0))
}

pub(super) fn number(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT value FROM meta WHERE name = 'number'", [], |row| row.get(0))
}

/// Up to this number what is gone may be forgotten.
pub(super) fn floor(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT value FROM meta WHERE name = 'floor'", [], |row| row.get(0))
}

/// Every certificate's mark.
pub(super) fn marks(connection: &Connection, mut each: impl FnMut(Result<Mark, Problem>)) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT name, number, mark FROM entries WHERE kind = 'certificate' AND mark IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, number, text): (String, u64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        each(match serde_json::from_str::<MarkText>(&text) {
            Ok(mark) => Ok(Mark::new(&name, number, &mark.names, Timestamp::from_second(mark.until).unwrap_or_default())),
            Err(error) => Err(Problem { name, reason: format!("its entry is damaged: {error}") }),
        });
    }
    Ok(())
}

pub(super) fn one(connection: &Connection, kind: Kind, name: &str) -> rusqlite::Result<Option<Raw>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE e.kind = ?1 AND e.name = ?2 AND e.mark IS NOT NULL"))?;
    statement.query_row(params![kind.as_str(), name], raw).optional().map(Option::flatten)
}

pub(super) fn of_kind(connection: &Connection, kind: Kind) -> rusqlite::Result<Vec<Raw>> {
    let mut statement = connection.prepare(&format!("{SELECT} WHERE e.kind = ?1 AND e.mark IS NOT NULL"))?;
    let rows = statement.query_map([kind.as_str()], raw)?;
    rows.filter_map(Result::transpose).collect()
}

pub(super) fn after(connection: &Connection, number: u64, most: usize) -> rusqlite::Result<Vec<Raw>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE e.number > ?1 ORDER BY e.number LIMIT ?2"))?;
    let rows = statement.query_map(params![number, most], raw)?;
    rows.filter_map(Result::transpose).collect()
}

/// Everything that stands.
pub(super) fn keys(connection: &Connection) -> rusqlite::Result<Vec<(Kind, String)>> {
    let mut statement = connection.prepare("SELECT kind, name FROM entries WHERE mark IS NOT NULL")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    rows.filter_map(|row| row.map(|(kind, name)| Kind::parse(&kind).map(|kind| (kind, name))).transpose()).collect()
}

/// Writes entries and the place. What is gone is forgotten up to `floor`, in the book that others follow and in one that was told everything.
pub(super) fn write(
    connection: &mut Connection,
    entries: &[Raw],
    number: u64,
    incarnation: Option<&str>,
    floor: Option<u64>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let mut entry = transaction.prepare_cached("INSERT OR REPLACE INTO entries (kind, name, number, mark) VALUES (?1, ?2, ?3, ?4)")?;
        let mut body = transaction.prepare_cached("INSERT OR REPLACE INTO bodies (kind, name, plain, sealed) VALUES (?1, ?2, ?3, ?4)")?;
        let mut gone = transaction.prepare_cached("DELETE FROM bodies WHERE kind = ?1 AND name = ?2")?;
        for raw in entries {
            entry.execute(params![raw.kind.as_str(), raw.name, raw.number, raw.mark])?;
            if raw.mark.is_some() {
                body.execute(params![raw.kind.as_str(), raw.name, raw.plain, raw.sealed])?;
            } else {
                gone.execute(params![raw.kind.as_str(), raw.name])?;
            }
        }
        transaction.prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'number'")?.execute([number])?;
        if let Some(incarnation) = incarnation {
            transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'incarnation'", [incarnation])?;
        }
        if let Some(floor) = floor {
            let floor = floor.min(number);
            let mut forget = transaction.prepare_cached("DELETE FROM entries WHERE number <= ?1 AND mark IS NULL")?;
            if forget.execute([floor])? > 0 {
                transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'floor'", [floor])?;
            }
        }
    }
    transaction.commit()
}

pub(super) fn memo(connection: &Connection, topic: &str, name: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT sealed FROM memos WHERE topic = ?1 AND name = ?2", [topic, name], |row| row.get(0)).optional()
}

pub(super) fn memos(connection: &Connection, topic: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare("SELECT name, sealed FROM memos WHERE topic = ?1 ORDER BY name")?;
    let rows = statement.query_map([topic], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

pub(super) fn set_memo(connection: &Connection, topic: &str, name: &str, sealed: Option<&str>) -> rusqlite::Result<()> {
    match sealed {
        Some(sealed) => connection.execute("INSERT OR REPLACE INTO memos (topic, name, sealed) VALUES (?1, ?2, ?3)", [topic, name, sealed])?,
        None => connection.execute("DELETE FROM memos WHERE topic = ?1 AND name = ?2", [topic, name])?,
    };
    Ok(())
}

/// A row; none of a kind that this release does not know.
fn raw(row: &Row<'_>) -> rusqlite::Result<Option<Raw>> {
    let kind: String = row.get(0)?;
    let Some(kind) = Kind::parse(&kind) else { return Ok(None) };
    Ok(Some(Raw { kind, name: row.get(1)?, number: row.get(2)?, mark: row.get(3)?, plain: row.get(4)?, sealed: row.get(5)? }))
}
