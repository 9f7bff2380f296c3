//! The ledger in one SQLite file of control's.
//!
//! Purpose: one row by time, edge and tenant; minutes become hours, hours days, and days are forgotten, each after a stated time, so that the file is bounded by the
//! tenants that are busy: at most 2,880 + 840 + 400 rows of about 100 octets for one that is asked for every minute at one edge, 0.4 MB.
//! Invariants: a report and its number are written in one transaction; making time coarser moves sums and changes none; a file that cannot be read is put aside,
//! never deleted, and never keeps control from starting.
//! Entry point: [`SqliteLedger`].

mod file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ledger::{By, Counts, Grain, Ledger, LedgerError, Line, MOST_ROWS, Query, Report, Span, Taken};
use model::TenantName;
use rusqlite::Connection;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// How long minutes are kept as minutes, hours as hours, and days at all, in seconds.
const KEEP: [(Grain, i64); 3] = [(Grain::Minute, 2 * DAY), (Grain::Hour, 35 * DAY), (Grain::Day, 400 * DAY)];
/// How often time is made coarser, in seconds.
const COARSEN_EVERY: i64 = 600;
/// Longest name of an edge and of its incarnation.
const LONGEST_NAME: usize = 100;

/// Facts on disk.
pub struct SqliteLedger {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    connection: Connection,
    coarsened: i64,
}

impl std::fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SqliteLedger({})", self.path.display())
    }
}

impl SqliteLedger {
    /// Opens a ledger, or makes an empty one. A file that is none of this release is put aside as `<name>.unusable`, and a new one begins.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] where neither can be done.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let failed = |error: &dyn std::fmt::Display| LedgerError::Unavailable(format!("{}: {error}", path.display()));
        let connection = match file::open(path) {
            Ok(connection) => connection,
            Err(error) if error.is_damage() => {
                let aside = file::put_aside(path).map_err(|error| failed(&error))?;
                tracing::error!(%error, aside = %aside.display(), "the ledger is of no use and was put aside; counts begin anew");
                file::open(path).map_err(|error| failed(&error))?
            }
            Err(error) => return Err(failed(&error)),
        };
        Ok(Self { path: path.to_owned(), inner: Mutex::new(Inner { connection, coarsened: 0 }) })
    }

    /// Makes what is old coarser, and forgets what is older than anything that is kept.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`]: everything stands as before.
    pub fn coarsen(&self, now: i64) -> Result<(), LedgerError> {
        self.lock().coarsen(now).map_err(unavailable)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that holds this lock can leave a transaction half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn coarsen(&mut self, now: i64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for (grain, keep) in KEEP {
            // Whole coarser spans only, so that none is told twice in different ways.
            let before = Span::at(now - keep, grain.coarser().unwrap_or(grain)).start;
            file::coarsen(&transaction, grain, before)?;
        }
        file::forget_edges(&transaction, now - 35 * DAY)?;
        transaction.commit()?;
        self.coarsened = now;
        Ok(())
    }

    fn take(&mut self, edge: &str, report: &Report, now: i64) -> rusqlite::Result<Taken> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        if !file::advance(&transaction, edge, &report.incarnation, report.sequence, now)? {
            return Ok(Taken::Known);
        }
        // An edge whose clock is ahead counts as now: what lies in the future would be found by nobody who asks for the last hour.
        let latest = Span::at(now, Grain::Minute);
        for row in &report.rows {
            let span = if row.span.start > latest.start { latest } else { Span::at(row.span.start, row.span.grain) };
            file::add(&transaction, span, edge, &row.tenant, &row.counts)?;
        }
        transaction.commit()?;
        Ok(Taken::Counted)
    }
}

impl Ledger for SqliteLedger {
    fn take(&self, edge: &str, report: &Report, now: i64) -> Result<Taken, LedgerError> {
        let fits = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME;
        if report.rows.len() > MOST_ROWS || !fits(edge) || !fits(&report.incarnation) {
            return Err(LedgerError::Refused(format!("more than {MOST_ROWS} rows, or a name of more than {LONGEST_NAME} characters or none")));
        }
        let mut inner = self.lock();
        let taken = inner.take(edge, report, now).map_err(unavailable)?;
        if taken == Taken::Counted && report.lost > 0 {
            tracing::warn!(edge, requests = report.lost, "an edge had to give up counts of tenants: control was away for too long, or refused them");
        }
        if (now - inner.coarsened).abs() >= COARSEN_EVERY
            && let Err(error) = inner.coarsen(now)
        {
            tracing::warn!(%error, "the ledger stays as fine as it is for now");
            inner.coarsened = now;
        }
        Ok(taken)
    }

    fn usage(&self, query: &Query) -> Result<Vec<Line>, LedgerError> {
        let mut lines: BTreeMap<(i64, Option<TenantName>), Line> = BTreeMap::new();
        let inner = self.lock();
        file::rows(&inner.connection, query, |span, tenant, counts| {
            let span = if query.by == By::Hour && span.grain == Grain::Minute { Span::at(span.start, Grain::Hour) } else { span };
            let key = if query.by == By::Tenant { (0, Some(tenant)) } else { (span.start, query.tenant.clone()) };
            let line = lines.entry(key.clone()).or_insert(Line { from: span.start, to: span.end(), tenant: key.1, counts: Counts::default() });
            (line.from, line.to) = (line.from.min(span.start), line.to.max(span.end()));
            line.counts.add(&counts);
        })
        .map_err(unavailable)?;
        Ok(lines.into_values().collect())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors")]
fn unavailable(error: rusqlite::Error) -> LedgerError {
    LedgerError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests;
