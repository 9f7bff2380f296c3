//! What one flush will bring: orders are decided on it one after the other, each sees those before it, then all become durable together or none.

use std::time::Instant;

use jiff::Timestamp;
use model::{Document, Revision};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use store::rules::{self, Change, Fate, View};
use store::{Committed, Compare, Key, Lease, StoreError, Write};

use crate::leases::{Granted, Leases};
use crate::open::random_id;
use crate::schema::{self, HEAD, unavailable};
use crate::writer::{Order, Reply};

/// Changes in the log; beyond these it is cut to three quarters.
const KEPT_CHANGES: u64 = 20_000;
/// Bytes in the log; beyond these it is cut to three quarters.
const KEPT_BYTES: u64 = 128 << 20;

/// How large the log of changes is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log {
    changes: u64,
    bytes: u64,
}

impl Log {
    /// Asks the file.
    pub fn measure(connection: &Connection) -> rusqlite::Result<Self> {
        connection.query_row("SELECT count(*), coalesce(sum(bytes), 0) FROM change", [], |row| {
            Ok(Self { changes: unsigned(row.get(0)?), bytes: unsigned(row.get(1)?) })
        })
    }

    fn less(&mut self, bytes: u64) {
        self.changes = self.changes.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    const fn within(self, changes: u64, bytes: u64) -> bool {
        self.changes <= changes && self.bytes <= bytes
    }
}

/// A transaction that is being filled.
pub struct Draft<'a> {
    transaction: Transaction<'a>,
    /// The newest revision so far.
    pub head: Revision,
    leases: Leases,
    log: Log,
    changes: Vec<Change>,
    forgotten: Option<Revision>,
    now: Timestamp,
    instant: Instant,
    /// The first statement that failed; nothing of the draft may then become durable. A full disk makes SQLite take the transaction back at once, and
    /// whatever ran after that would stand by itself: so nothing runs any more.
    failed: Option<rusqlite::Error>,
}

/// What a flush brought.
pub struct Done {
    /// Leases as they stand.
    pub leases: Leases,
    /// The log as it is.
    pub log: Log,
    /// Changes to be told.
    pub changes: Vec<Change>,
    /// Forget changes in memory up to here, before the new ones are told.
    pub forgotten: Option<Revision>,
}

/// Why a flush brought nothing that can be relied on.
pub enum Failure {
    /// Surely nothing.
    Nothing(StoreError),
    /// Perhaps everything, after the next start.
    Unsure {
        /// What to answer.
        error: StoreError,
        /// Whether the file must be opened anew.
        fatal: bool,
    },
}

impl<'a> Draft<'a> {
    /// Begins a draft on what stands.
    pub fn begin(connection: &'a mut Connection, leases: Leases, log: Log) -> rusqlite::Result<Self> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let head = schema::head(&transaction)?;
        let (now, instant) = (Timestamp::now(), Instant::now());
        Ok(Self { transaction, head, leases, log, changes: Vec::new(), forgotten: None, now, instant, failed: None })
    }

    /// Does an order on the draft.
    pub fn carry_out(&mut self, order: Order) -> Reply {
        if let Some(error) = &self.failed {
            return order.failed(&unavailable(error));
        }
        match order {
            Order::Commit { compares, writes, answer } => Reply::Committed(answer, self.commit(&compares, &writes)),
            Order::Lease { name, holder, ttl, answer } => {
                let granted = self.leases.take(self.instant, &name, &holder, ttl);
                Reply::Leased(answer, granted.map(|granted| self.keep_fence(granted)))
            }
            Order::Release { lease, answer } => {
                self.leases.release(self.instant, &lease);
                Reply::Done(answer, Ok(()))
            }
            Order::Forget { answer } => {
                let result = self.cut(self.head);
                self.note(result);
                self.log = Log::default();
                self.forgotten = Some(self.head);
                Reply::Done(answer, Ok(()))
            }
            Order::Idle { answer } => Reply::Done(answer, Ok(())),
        }
    }

    fn commit(&mut self, compares: &[Compare], writes: &[Write]) -> Result<Committed, StoreError> {
        let decision = rules::decide(&mut Seen(self), self.head, self.now, compares, writes)?;
        for change in &decision.changes {
            if let Err(error) = self.store(change) {
                let told = unavailable(&error);
                self.note(Err(error));
                return Err(told);
            }
        }
        self.head = decision.committed.revision;
        self.changes.extend(decision.changes);
        Ok(decision.committed)
    }

    /// Writes one change: the document and its place in the log.
    fn store(&mut self, change: &Change) -> rusqlite::Result<()> {
        let text = |document: &Document| serde_json::to_string(document).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()));
        let (kind, name) = (change.kind().as_str(), change.document.metadata.name.as_str());
        let body = text(&change.document)?;
        let before = change.before.as_ref().map(text).transpose()?;
        let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| self.transaction.prepare_cached(sql)?.execute(values);
        match change.fate {
            Fate::Stands => run(
                "INSERT INTO document (kind, name, body) VALUES (?1, ?2, ?3) ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body",
                params![kind, name, body],
            )?,
            Fate::Gone => run("DELETE FROM document WHERE kind = ?1 AND name = ?2", params![kind, name])?,
        };
        let bytes = body.len() + before.as_ref().map_or(0, String::len);
        let gone = change.fate == Fate::Gone;
        run(
            "INSERT INTO change (revision, kind, gone, bytes, document, earlier) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![schema::number(change.revision), kind, gone, i64::try_from(bytes).unwrap_or(i64::MAX), body, before],
        )?;
        self.log.changes += 1;
        self.log.bytes += bytes as u64;
        Ok(())
    }

    fn keep_fence(&mut self, granted: Granted) -> Lease {
        match granted {
            Granted::Renewed(lease) => lease,
            Granted::Taken(lease) => {
                let result = self.transaction.execute(
                    "INSERT OR REPLACE INTO lease (name, fence) VALUES (?1, ?2)",
                    params![lease.name, i64::try_from(lease.fence).unwrap_or(i64::MAX)],
                );
                self.note(result.map(drop));
                lease
            }
        }
    }

    fn note(&mut self, result: rusqlite::Result<()>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }

    /// Drops the log up to a revision and remembers so per kind.
    fn cut(&self, up_to: Revision) -> rusqlite::Result<()> {
        let up_to = [schema::number(up_to)];
        self.transaction.execute(
            "INSERT OR REPLACE INTO dropped (kind, revision) SELECT kind, max(revision) FROM change WHERE revision <= ?1 GROUP BY kind",
            up_to,
        )?;
        self.transaction.execute("DELETE FROM change WHERE revision <= ?1", up_to)?;
        Ok(())
    }

    /// Cuts a log that has grown too long.
    fn trim(&mut self) -> rusqlite::Result<()> {
        if self.log.within(KEPT_CHANGES, KEPT_BYTES) {
            return Ok(());
        }
        let mut up_to = None;
        {
            let mut statement = self.transaction.prepare_cached("SELECT revision, bytes FROM change ORDER BY revision")?;
            let mut rows = statement.query([])?;
            while !self.log.within(KEPT_CHANGES / 4 * 3, KEPT_BYTES / 4 * 3)
                && let Some(row) = rows.next()?
            {
                up_to = Some(schema::revision(row.get(0)?));
                self.log.less(unsigned(row.get(1)?));
            }
        }
        up_to.map_or(Ok(()), |up_to| self.cut(up_to))
    }

    /// Makes the draft durable.
    pub fn flush(mut self) -> Result<Done, Failure> {
        if !self.changes.is_empty() && self.failed.is_none() {
            let head = self.transaction.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![HEAD, schema::number(self.head)]);
            let trimmed = head.map(drop).and_then(|()| self.trim());
            self.note(trimmed);
        }
        if let Some(error) = self.failed {
            return Err(Failure::Nothing(unavailable(&error)));
        }
        self.transaction.commit().map_err(|error| {
            // Nothing that a full disk or a waiting reader stops has reached the file's commit mark. After any other failure only a new start tells.
            let fatal = !matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy));
            Failure::Unsure { error: StoreError::Unknown(error.to_string()), fatal }
        })?;
        Ok(Done { leases: self.leases, log: self.log, changes: self.changes, forgotten: self.forgotten })
    }
}

/// The draft as a decision sees it.
struct Seen<'d, 'a>(&'d Draft<'a>);

impl View for Seen<'_, '_> {
    fn document(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        schema::document(&self.0.transaction, key)
    }

    fn held(&self, lease: &Lease) -> bool {
        self.0.leases.held(self.0.instant, lease)
    }

    fn uid(&mut self) -> String {
        random_id()
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
