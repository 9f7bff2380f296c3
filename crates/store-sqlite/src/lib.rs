//! The store port on SQLite: one file in WAL mode, flushed at every commit.
//!
//! Purpose: a store that needs no server. One thread writes and gathers what waits into one flush; reads run beside it on their own connections.
//! Invariants: one process has the file open (a lock beside it says so); what was acknowledged survives `kill -9` and power loss; every change is
//! told to watchers after it is durable and before it is acknowledged; leases live in memory, their fences on disk, so that heartbeats write
//! nothing; a file that is damaged, foreign or of a newer release is refused and left as it is; a restored backup is another life of the store,
//! whose revisions none of the former life's readers has seen.
//! Entry points: [`SqliteStore::open`], [`SqliteStore::backup`], [`look`], [`restore`].

mod backup;
mod draft;
mod error;
mod files;
mod leases;
mod open;
mod readers;
mod schema;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{Document, Kind, Revision};
use store::feed::{Feed, History};
use store::{Committed, Compare, Key, Lease, ListOptions, Page, Store, StoreError, Watch, Write};

pub use backup::{Summary, look, restore};
pub use error::{BackupError, OpenError};
use readers::Readers;
use writer::Writer;

/// Documents in one SQLite file. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

/// What clones share. Fields are dropped in this order: the writer ends before the lock is given up.
struct Inner {
    writer: Writer,
    feed: Arc<Feed>,
    readers: Readers,
    incarnation: String,
    _lock: files::Lock,
}

impl SqliteStore {
    /// Opens a store, or makes an empty one where there is none.
    ///
    /// # Errors
    /// [`OpenError`]; the file is then left as it was found.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::over(path.as_ref(), open::open(path.as_ref())?)
    }

    /// The store over a file that was found good.
    fn over(path: &Path, opened: open::Opened) -> Result<Self, OpenError> {
        let feed = Arc::new(Feed::new(opened.head, writer::KEPT_IN_MEMORY));
        let writer = Writer::start(opened.connection, opened.fences, feed.clone()).map_err(|source| OpenError::Io { path: path.into(), source })?;
        let readers = Readers::new(path);
        Ok(Self(Arc::new(Inner { writer, feed, readers, incarnation: opened.incarnation, _lock: opened.lock })))
    }

    /// Copies the store as it stands now into a new file, while it goes on working. [`restore`] brings it back.
    ///
    /// # Errors
    /// [`BackupError`]; no file then stands under that name.
    pub async fn backup(&self, to: impl AsRef<Path>) -> Result<(), BackupError> {
        backup::backup(self.0.readers.path().to_owned(), to.as_ref().to_owned()).await
    }

    /// Forgets the changes so far: watchers and pages that go on from an earlier revision get [`StoreError::TooOld`]. The store does this by itself
    /// when its log has grown too long.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the store is closed.
    pub async fn forget(&self) -> Result<(), StoreError> {
        self.0.writer.forget().await
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.0.readers.path()).field("incarnation", &self.0.incarnation).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn incarnation(&self) -> Result<String, StoreError> {
        Ok(self.0.incarnation.clone())
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let key = key.clone();
        self.0.readers.read(move |connection| schema::document(connection, &key)).await
    }

    async fn list(&self, kind: Kind, options: ListOptions) -> Result<Page, StoreError> {
        self.0.readers.read(move |connection| readers::list(connection, kind, &options)).await
    }

    async fn commit(&self, compares: Vec<Compare>, writes: Vec<Write>) -> Result<Committed, StoreError> {
        self.0.writer.commit(compares, writes).await
    }

    async fn watch(&self, kind: Option<Kind>, from: Revision) -> Result<Box<dyn Watch>, StoreError> {
        if from > self.0.feed.head() {
            // A reader may see a commit a moment before the feed tells it; what the writer has done by now is told when it answers.
            self.0.writer.idle().await?;
        }
        let history: Arc<dyn History> = Arc::new(self.0.readers.clone());
        self.0.feed.watch(kind, from, Some(history))
    }

    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        self.0.writer.lease(name, holder, ttl).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.0.writer.release(lease).await
    }
}

#[cfg(test)]
mod tests;
