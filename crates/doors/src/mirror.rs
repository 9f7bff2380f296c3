//! Documents in memory, fed by the store's watch: plans, status and explanations read here and cost the store nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use model::v1alpha1::Operation;
use model::{Document, DocumentName, Kind, Revision, ShapeError, Typed};
use plan::Snapshot;
use store::{Event, ListOptions, SharedStore, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::codes;
use crate::refusal::Refusal;

/// The kinds kept here.
const KINDS: [Kind; 7] = [Kind::Platform, Kind::Machine, Kind::Blueprint, Kind::Cell, Kind::Tenant, Kind::Domain, Kind::Operation];
/// Most time to wait for the mirror to catch up with the store.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after the store failed.
const PAUSE: Duration = Duration::from_millis(500);

/// What the store said, as of one revision.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// What decisions are made from.
    pub snapshot: Snapshot,
    /// Operations by name.
    pub operations: BTreeMap<DocumentName, Arc<Typed<Operation>>>,
}

impl State {
    /// Takes a document as it stands now.
    ///
    /// # Errors
    /// [`ShapeError`] when it does not have the shape of its kind; what was known of it before stays.
    pub fn put(&mut self, document: Document) -> Result<(), ShapeError> {
        if document.kind == Kind::Operation {
            self.operations.insert(document.metadata.name.clone(), Arc::new(Typed::read(document)?));
            return Ok(());
        }
        self.snapshot.put(document)
    }

    /// Forgets a document that is gone.
    pub fn gone(&mut self, kind: Kind, name: &DocumentName) {
        if kind == Kind::Operation {
            self.operations.remove(name);
        }
        self.snapshot.gone(kind, name);
    }
}

/// The state and how far it has come.
pub(crate) struct Mirror {
    state: RwLock<State>,
    seen: watch::Sender<Option<Revision>>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { state: RwLock::default(), seen: watch::Sender::new(None) }
    }
}

impl Mirror {
    /// The state now. Never held across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything that the store had committed by now is seen.
    pub async fn fresh(&self, store: &SharedStore) -> Result<(), Refusal> {
        let head = store.list(Kind::Platform, ListOptions { limit: Some(1), ..ListOptions::default() }).await?.revision;
        let mut seen = self.seen.subscribe();
        let reached = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| seen.is_some_and(|seen| seen >= head))).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(codes::STORE.refuse("the changes of the store arrive too late")),
        }
    }

    /// Follows the store until the stop.
    pub async fn run(&self, store: SharedStore, stop: CancellationToken) {
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.follow(&store) => ended,
            };
            match ended {
                Err(StoreError::TooOld(_)) => continue,
                Err(error) => tracing::warn!(%error, "the store cannot be followed; trying again"),
                Ok(never) => match never {},
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Lists everything, then takes every change.
    async fn follow(&self, store: &SharedStore) -> Result<std::convert::Infallible, StoreError> {
        let mut state = State::default();
        let mut from = None;
        for kind in KINDS {
            let page = store.list(kind, ListOptions::default()).await?;
            // Changes between the first list and the last are told again by the watch, which ends in the same state.
            from.get_or_insert(page.revision);
            for document in page.documents {
                put(&mut state, document);
            }
        }
        let mut seen = from.unwrap_or(Revision(0));
        let mut watch = store.watch(None, seen).await?;
        self.change(|kept| *kept = state);
        self.seen.send_replace(Some(seen));
        loop {
            match watch.next().await? {
                Event::Put(document) => {
                    seen = document.metadata.revision;
                    self.change(|state| put(state, document));
                }
                Event::Gone(document) => {
                    seen = document.metadata.revision;
                    self.change(|state| state.gone(document.kind, &document.metadata.name));
                }
                Event::Bookmark(revision) => seen = revision,
            }
            self.seen.send_replace(Some(seen));
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Takes a document; one without the shape of its kind is told in the log and left out, so that it cannot stop the others.
fn put(state: &mut State, document: Document) {
    if let Err(error) = state.put(document) {
        tracing::error!(%error, source = ?std::error::Error::source(&error), "a stored document is left out");
    }
}
