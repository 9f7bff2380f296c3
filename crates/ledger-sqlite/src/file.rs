//! The ledger's file.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ledger::{COLUMNS, Counts, Grain, Query, Span};
use model::TenantName;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, params, params_from_iter};

/// "Atlg", so that no other database is taken for a ledger.
const APPLICATION: i32 = 0x4174_6c67;
const FORMAT: i32 = 1;

/// Why a file cannot be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// It is no ledger of this release.
    Strange,
    Sql(rusqlite::Error),
    Io(std::io::Error),
}

impl OpenError {
    /// Whether another file in its place would do.
    pub(super) fn is_damage(&self) -> bool {
        let damaged = |error: &rusqlite::Error| matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt));
        match self {
            Self::Strange => true,
            Self::Sql(error) => damaged(error),
            Self::Io(_) => false,
        }
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Strange => f.write_str("it is no ledger that this release can read"),
            Self::Sql(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens the file, or makes it, for its owner only.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    if !path.try_exists()? {
        std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    }
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Once a report is accepted, its edge forgets it.
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION, FORMAT) => {}
        (0, 0) => {
            transaction.execute_batch(&tables())?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
        }
        _ => return Err(OpenError::Strange),
    }
    transaction.commit()?;
    Ok(connection)
}

fn tables() -> String {
    let counts: String = COLUMNS.iter().map(|column| format!("{column} INTEGER NOT NULL, ")).collect();
    format!(
        "CREATE TABLE facts (seconds INTEGER NOT NULL, start INTEGER NOT NULL, tenant TEXT NOT NULL, edge TEXT NOT NULL, {counts}
            PRIMARY KEY (seconds, start, tenant, edge)) WITHOUT ROWID;
         CREATE TABLE edges (edge TEXT NOT NULL, incarnation TEXT NOT NULL, sequence INTEGER NOT NULL, heard INTEGER NOT NULL,
            PRIMARY KEY (edge, incarnation)) WITHOUT ROWID;"
    )
}

/// Renames a file that is of no use, with what belongs to it.
pub(super) fn put_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = path.with_extension("unusable");
    for ending in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        match fs_err::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs_err::rename(path, &aside)?;
    Ok(aside)
}

/// Notes a report's number; `false`: it, or a later one, was noted before.
pub(super) fn advance(transaction: &Transaction<'_>, edge: &str, incarnation: &str, sequence: u64, now: i64) -> rusqlite::Result<bool> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO edges (edge, incarnation, sequence, heard) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET sequence = excluded.sequence, heard = excluded.heard WHERE excluded.sequence > sequence",
    )?;
    Ok(statement.execute(params![edge, incarnation, whole(sequence), now])? > 0)
}

/// Forgets incarnations that were last heard before: their processes ended long ago.
pub(super) fn forget_edges(transaction: &Transaction<'_>, before: i64) -> rusqlite::Result<usize> {
    transaction.execute("DELETE FROM edges WHERE heard < ?1", [before])
}

/// Adds to a row.
pub(super) fn add(transaction: &Transaction<'_>, span: Span, edge: &str, tenant: &TenantName, counts: &Counts) -> rusqlite::Result<()> {
    let places: String = (5..5 + COLUMNS.len()).map(|place| format!(", ?{place}")).collect();
    let (names, sums) = (COLUMNS.join(", "), sums());
    let sql = format!("INSERT INTO facts (seconds, start, tenant, edge, {names}) VALUES (?1, ?2, ?3, ?4{places}) ON CONFLICT DO UPDATE SET {sums}");
    let key: [rusqlite::types::Value; 4] =
        [span.grain.seconds().into(), span.start.into(), tenant.as_str().to_owned().into(), edge.to_owned().into()];
    let values = counts.values().into_iter().map(|count| whole(count).into());
    transaction.prepare_cached(&sql)?.execute(params_from_iter(key.into_iter().chain(values)))?;
    Ok(())
}

/// Moves rows of a grain that begin before `before` into the next coarser one; the coarsest are forgotten.
pub(super) fn coarsen(transaction: &Transaction<'_>, grain: Grain, before: i64) -> rusqlite::Result<()> {
    if let Some(coarser) = grain.coarser() {
        let (names, sums) = (COLUMNS.join(", "), sums());
        let totals: Vec<String> = COLUMNS.iter().map(|column| format!("SUM({column})")).collect();
        let (to, totals) = (coarser.seconds(), totals.join(", "));
        let sql = format!(
            "INSERT INTO facts (seconds, start, tenant, edge, {names})
             SELECT {to}, start / {to} * {to} AS whole, tenant, edge, {totals} FROM facts WHERE seconds = ?1 AND start < ?2 GROUP BY whole, tenant, edge
             ON CONFLICT DO UPDATE SET {sums}"
        );
        transaction.execute(&sql, params![grain.seconds(), before])?;
    }
    transaction.execute("DELETE FROM facts WHERE seconds = ?1 AND start < ?2", params![grain.seconds(), before])?;
    Ok(())
}

/// Tells each row that a question is about, summed over the edges.
pub(super) fn rows(connection: &Connection, query: &Query, mut each: impl FnMut(Span, TenantName, Counts)) -> rusqlite::Result<()> {
    let totals: Vec<String> = COLUMNS.iter().map(|column| format!("SUM({column})")).collect();
    let sql = format!(
        "SELECT start, tenant, {} FROM facts WHERE seconds = ?1 AND start > ?2 - ?1 AND start < ?3 AND (?4 IS NULL OR tenant = ?4) GROUP BY start, tenant",
        totals.join(", ")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    for grain in Grain::ALL {
        let tenant = query.tenant.as_ref().map(TenantName::as_str);
        let mut rows = statement.query(params![grain.seconds(), query.since, query.until, tenant])?;
        while let Some(row) = rows.next()? {
            let values = (0..COLUMNS.len()).map(|at| row.get::<_, i64>(at + 2)).collect::<rusqlite::Result<Vec<_>>>()?;
            // Only names are ever written.
            let Ok(name) = TenantName::new(row.get::<_, String>(1)?) else { continue };
            let counts = Counts::of(values.into_iter().map(|value| u64::try_from(value).unwrap_or(0)));
            each(Span { start: row.get(0)?, grain }, name, counts);
        }
    }
    Ok(())
}

fn sums() -> String {
    let sums: Vec<String> = COLUMNS.iter().map(|column| format!("{column} = {column} + excluded.{column}")).collect();
    sums.join(", ")
}

/// As SQLite keeps it. No count comes near the limit: it is 292,000 years in microseconds.
fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
