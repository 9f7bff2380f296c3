//! The store port: documents with revisions, small commits with compares, watch, lease with a fence.
//!
//! Purpose: the only way to keep state. SQLite and etcd give exactly this; [`fake`] gives it in memory for simulation.
//! Invariants: a commit is all or nothing; spec and status are written apart; writing what already stands changes no revision;
//! a watcher never misses a change silently; an old fence never commits. Each line of the contract is a case of [`conformance`].
//! Entry point: [`Store`].

pub mod conformance;
pub mod fake;
pub mod feed;
pub mod rules;
mod typed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{Document, DocumentName, Kind, Revision};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use typed::{TypedStore, key_of, spec_write, status_write};

/// Most documents that one commit may touch, and most compares it may carry.
pub const MAX_COMMIT: usize = 100;
/// Most bytes of a document's JSON (spec, status and metadata together).
pub const MAX_DOCUMENT: usize = 256 * 1024;

/// A store shared by everybody in a process.
pub type SharedStore = Arc<dyn Store>;

/// A document's address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: DocumentName,
}

impl Key {
    /// A key.
    pub fn new(kind: Kind, name: impl Into<DocumentName>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// What must hold for a commit to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The document stands at this revision.
    Revision(Key, Revision),
    /// No such document stands.
    Absent(Key),
    /// The lease is held under this fence.
    Fence(Lease),
}

/// One write of a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Creates a document, or replaces spec and labels of one that stands; never touches its status. Only a creation takes the given finalizers.
    Spec {
        /// Which.
        key: Key,
        /// The whole spec.
        spec: Value,
        /// The whole set of labels.
        labels: BTreeMap<String, String>,
        /// Finalizers, for a creation.
        finalizers: BTreeSet<String>,
    },
    /// Replaces the status of a document that stands; never touches its spec.
    Status {
        /// Which.
        key: Key,
        /// The whole status.
        status: Value,
    },
    /// Adds and removes finalizers. A document marked for deletion takes no new one; removing its last one removes it.
    Finalizers {
        /// Which.
        key: Key,
        /// To add.
        add: BTreeSet<String>,
        /// To remove.
        remove: BTreeSet<String>,
    },
    /// Writes down who asked for what this commit does to a document that stands; never touches its spec and status.
    Asked {
        /// Which.
        key: Key,
        /// Who.
        by: String,
    },
    /// Removes a document without finalizers; marks one that has some. Nothing happens to a document that does not stand.
    Delete(Key),
}

impl Write {
    /// The document it touches.
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Self::Spec { key, .. } | Self::Status { key, .. } | Self::Finalizers { key, .. } | Self::Asked { key, .. } | Self::Delete(key) => key,
        }
    }
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// The store's revision after it; the one before where nothing changed.
    pub revision: Revision,
    /// Each written document as it stands now, in the order of the writes; `None` for one that is gone.
    pub documents: Vec<Option<Document>>,
}

/// A page of a list. All pages of one list speak of one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Documents ordered by name.
    pub documents: Vec<Document>,
    /// The revision of which the list speaks: watch from here to miss nothing.
    pub revision: Revision,
    /// Where the next page begins; none: this was the last.
    pub next: Option<PageToken>,
}

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageToken {
    /// The list's revision.
    pub revision: Revision,
    /// The last name already given.
    pub after: DocumentName,
}

/// Which documents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOptions {
    /// Only documents that carry all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Most documents of one page; none: all.
    pub limit: Option<usize>,
    /// Go on here.
    pub page: Option<PageToken>,
}

/// One change, or a sign of life.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The document stands like this now.
    Put(Document),
    /// The document is gone; this is how it last stood.
    Gone(Document),
    /// Everything up to this revision has been told; sent when idle.
    Bookmark(Revision),
}

/// A stream of changes in order of revision.
#[async_trait]
pub trait Watch: Send {
    /// The next event.
    ///
    /// # Errors
    /// [`StoreError::TooOld`] when the reader fell too far behind and must list anew; [`StoreError::Unavailable`] when the store is gone.
    async fn next(&mut self) -> Result<Event, StoreError>;
}

/// A lease held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its name.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Rises at each change of holder.
    pub fence: u64,
}

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The first compare that did not hold. Nothing was changed.
    #[error("{0:?} does not hold")]
    Conflict(Compare),
    /// A write's document does not stand. Nothing was changed.
    #[error("{0} does not exist")]
    NotFound(Key),
    /// The request itself is not acceptable: too large, too many, a finalizer on a marked document. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The revision asked for is no longer known: list anew.
    #[error("revision {0} is no longer kept; list anew")]
    TooOld(Revision),
    /// Another holder has the lease.
    #[error("lease {name} is held by {holder}")]
    Held {
        /// The lease.
        name: String,
        /// Its holder.
        holder: String,
    },
    /// It may or may not have happened: read back, never repeat blindly.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
    /// It did not happen: the store cannot be reached or is closed.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

/// Documents, commits, watches and leases. See `conformance` for every promise.
#[async_trait]
pub trait Store: Send + Sync {
    /// An id that changes when the store's content was restored from a backup; readers then list anew.
    async fn incarnation(&self) -> Result<String, StoreError>;

    /// A document, where it stands.
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError>;

    /// Documents of a kind, ordered by name, as one consistent snapshot. Pages of one list agree with each other or fail with [`StoreError::TooOld`].
    async fn list(&self, kind: Kind, options: ListOptions) -> Result<Page, StoreError>;

    /// All or nothing over at most [`MAX_COMMIT`] documents. Fails with the first compare that does not hold.
    async fn commit(&self, compares: Vec<Compare>, writes: Vec<Write>) -> Result<Committed, StoreError>;

    /// Every change of a kind (of all kinds: `None`) after this revision, at least once, in order.
    async fn watch(&self, kind: Option<Kind>, from: Revision) -> Result<Box<dyn Watch>, StoreError>;

    /// Takes or renews a lease by the store's own clock. The same holder renews and keeps its fence while it has not run out.
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError>;

    /// Gives a lease back; nothing happens when its fence is old.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;
}
