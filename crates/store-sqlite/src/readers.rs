//! Reading beside the writer: a few connections, each read one consistent state.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use model::{Kind, Revision};
use rusqlite::{Connection, OpenFlags, params};
use store::feed::History;
use store::rules::{self, Change};
use store::{ListOptions, Page, StoreError};
use tokio::sync::Semaphore;

use crate::schema::{self, unavailable};

/// Reads at a time; more wait.
const CONNECTIONS: usize = 6;

/// Connections that read. Clones share them.
#[derive(Clone)]
pub struct Readers(Arc<Pool>);

struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

impl Readers {
    /// Opens connections as they are needed.
    pub fn new(path: &Path) -> Self {
        Self(Arc::new(Pool { path: path.into(), idle: Mutex::default(), places: Semaphore::new(CONNECTIONS) }))
    }

    /// The store's file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Runs a read over one consistent state.
    pub async fn read<T: Send + 'static>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
        let closed = |e: &dyn std::fmt::Display| StoreError::Unavailable(format!("a read was broken off: {e}"));
        let _place = self.0.places.acquire().await.map_err(|e| closed(&e))?;
        let pool = self.0.clone();
        let work = move || {
            let mut connection = pool.take().map_err(|e| unavailable(&e))?;
            // Deferred: the state is fixed by the first statement and the same for all that follow.
            let transaction = connection.transaction().map_err(|e| unavailable(&e))?;
            let result = read(&transaction);
            drop(transaction);
            pool.lock().push(connection);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|e| closed(&e))?
    }
}

impl Pool {
    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.lock().pop();
        idle.map_or_else(|| reading(&self.path), Ok)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // Nothing that holds this lock can leave the list half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that cannot write.
pub fn reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

/// A list, or one page of it as the documents stood at the revision of its first page.
pub fn list(connection: &Connection, kind: Kind, options: &ListOptions) -> Result<Page, StoreError> {
    let head = schema::head(connection).map_err(|e| unavailable(&e))?;
    let revision = options.page.as_ref().map_or(head, |p| p.revision);
    let changes = match options.page {
        Some(_) if revision > head => return Err(StoreError::TooOld(revision)),
        Some(_) => since(connection, Some(kind), revision, usize::MAX)?,
        None => Vec::new(),
    };
    let then = rules::rewind(changes.iter());
    let after = options.page.as_ref().map_or("", |p| p.after.as_str());
    let mut statement =
        connection.prepare_cached("SELECT body FROM document WHERE kind = ?1 AND name > ?2 ORDER BY name").map_err(|e| unavailable(&e))?;
    let rows = statement.query_map(params![kind.as_str(), after], |row| row.get::<_, String>(0)).map_err(|e| unavailable(&e))?;
    let now = rows.map(|text| text.map_err(|e| unavailable(&e)).and_then(|t| schema::parse(&t)));
    rules::page(now, then, revision, options)
}

/// Changes after a revision, when the log still has all of them.
fn since(connection: &Connection, kind: Option<Kind>, after: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
    if schema::dropped(connection, kind).map_err(|e| unavailable(&e))? > after {
        return Err(StoreError::TooOld(after));
    }
    schema::changes(connection, kind, after, limit)
}

#[async_trait]
impl History for Readers {
    async fn since(&self, kind: Option<Kind>, after: Revision, limit: usize) -> Result<(Vec<Arc<Change>>, Revision), StoreError> {
        self.read(move |connection| {
            let changes = since(connection, kind, after, limit)?;
            let complete = match changes.last() {
                Some(last) if changes.len() == limit => last.revision,
                _ => schema::head(connection).map_err(|e| unavailable(&e))?,
            };
            Ok((changes.into_iter().map(Arc::new).collect(), complete))
        })
        .await
    }
}
