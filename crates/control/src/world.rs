//! What reconcilers and steps share: ports, the view, the lease, numbers, locks, what was last observed and acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::Observed;
use jiff::Timestamp;
use model::{CellName, DocumentName, Generation, Metadata, Resource, Typed};
use routes::GateState;
use store::{Committed, Compare, Lease, Store, StoreError, TypedStore, Write};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::gates::Acks;
use crate::view::View;
use crate::{Options, Ports, RouteFeed};

/// Numbers of one term of control: greater than those of any earlier one.
const TERM: u64 = 1_000_000_000;
/// A cell on its way in which nothing changed for so long is looked at more calmly.
const STUCK: std::time::Duration = std::time::Duration::from_secs(30);
/// How often a status is written against others who write it too.
const TRIES: usize = 8;

/// Everything that works on documents has one of these.
pub struct World {
    /// Everything outside.
    pub ports: Ports,
    /// What the installation decided.
    pub options: Options,
    /// What the store says.
    pub view: View,
    /// What edges are told.
    pub feed: Arc<RouteFeed>,
    /// Control's lease.
    pub lease: Lease,
    /// The store's incarnation.
    pub incarnation: String,
    /// What of it was last published, cell by cell.
    pub routing: tokio::sync::Mutex<crate::routing::Lists>,
    /// What gates have acknowledged.
    pub acks: Acks,
    /// Cancelled when the lease is lost.
    pub lost: CancellationToken,
    numbers: AtomicU64,
    cells: Mutex<BTreeMap<CellName, Arc<CellDesk>>>,
    settings: Mutex<BTreeMap<DocumentName, String>>,
    hooks: Mutex<BTreeMap<String, u32>>,
}

/// What control keeps in memory about one cell.
pub struct CellDesk {
    /// Held while the cell is ensured, opened or closed, so that nothing is made while it is removed.
    pub turn: tokio::sync::Mutex<Sent>,
    /// Hooks that may run at the same time.
    pub hooks: Semaphore,
    memory: Mutex<Memory>,
}

/// What engine and agent were last told.
#[derive(Default)]
pub struct Sent {
    /// Hash of the wanted set and its number.
    pub wanted: Option<(String, Generation)>,
    /// Hash of the cluster's order and its number.
    pub order: Option<(String, Generation)>,
    /// When the identities of gates were last looked at.
    pub identities: Option<tokio::time::Instant>,
}

#[derive(Default)]
struct Memory {
    observed: Option<Arc<Observed>>,
    /// When that last changed.
    changed: Option<tokio::time::Instant>,
    state: Option<Arc<GateState>>,
    key: Option<routes::GateKey>,
    /// Whether it was looked at in this term.
    looked: bool,
}

impl World {
    /// A world under this lease, with nothing known yet.
    pub fn new(ports: Ports, options: Options, feed: Arc<RouteFeed>, lease: Lease, incarnation: String) -> Arc<Self> {
        let numbers = AtomicU64::new(lease.fence.saturating_mul(TERM));
        Arc::new(Self {
            ports,
            options,
            view: View::default(),
            feed,
            lease,
            incarnation,
            routing: tokio::sync::Mutex::default(),
            acks: Acks::default(),
            lost: CancellationToken::new(),
            numbers,
            cells: Mutex::default(),
            settings: Mutex::default(),
            hooks: Mutex::default(),
        })
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &*self.ports.store
    }

    /// Wall time.
    pub fn now(&self) -> Timestamp {
        (self.ports.clock)()
    }

    /// The lowest number of this term.
    pub const fn floor(&self) -> Generation {
        Generation(self.lease.fence.saturating_mul(TERM))
    }

    /// A number greater than all before.
    pub fn number(&self) -> Generation {
        Generation(self.numbers.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// What is kept about a cell.
    pub fn desk(&self, cell: &CellName) -> Arc<CellDesk> {
        let hooks = self.options.hooks_per_cell.max(1);
        let mut cells = lock(&self.cells);
        cells.entry(cell.clone()).or_insert_with(|| Arc::new(CellDesk::new(hooks))).clone()
    }

    /// Time between looks at a cell that is on its way: it may wait for a person, for days.
    pub fn pace(&self, cell: &CellName) -> std::time::Duration {
        if self.desk(cell).stuck() { self.options.look_calm } else { self.options.look_busy }
    }

    /// Forgets what is kept about a cell that is gone.
    pub fn forget_cell(&self, cell: &CellName) {
        lock(&self.cells).remove(cell);
        self.acks.forget(cell);
    }

    /// Commits under the lease's fence, and knows at once what it did.
    pub async fn commit(&self, mut compares: Vec<Compare>, writes: Vec<Write>) -> Result<Committed, StoreError> {
        compares.insert(0, Compare::Fence(self.lease.clone()));
        match self.store().commit(compares, writes.clone()).await {
            Ok(committed) => {
                self.view.own(&writes, &committed);
                Ok(committed)
            }
            Err(error) => {
                if let StoreError::Conflict(Compare::Fence(_)) = &error {
                    self.lost.cancel();
                }
                Err(error)
            }
        }
    }

    /// Changes a status as it stands in the store. Nothing is written where nothing changes; `None`: no such document.
    pub async fn update_status<R: Resource>(
        &self,
        name: &DocumentName,
        mut change: impl FnMut(&mut R::Status, &R::Spec, &Metadata) + Send,
    ) -> Result<Option<Typed<R>>, StoreError> {
        for _ in 0..TRIES {
            let Some(mut document) = self.store().read::<R>(name).await? else { return Ok(None) };
            let before = document.status.clone();
            change(&mut document.status, &document.spec, &document.metadata);
            if document.status == before {
                return Ok(Some(document));
            }
            let revision = Compare::Revision(store::key_of(&document), document.metadata.revision);
            match self.commit(vec![revision], vec![store::status_write(&document)]).await {
                Ok(committed) => {
                    if let Some(Some(written)) = committed.documents.into_iter().next() {
                        document.metadata = written.metadata;
                    }
                    return Ok(Some(document));
                }
                Err(StoreError::Conflict(Compare::Revision(..))) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Unavailable(format!("the status of {} {name} is written by others all the time", R::KIND)))
    }

    /// How often a hook of this key has failed in this term.
    pub fn hook_tries(&self, key: &str) -> u32 {
        lock(&self.hooks).get(key).copied().unwrap_or_default()
    }

    /// Notes how often a hook has failed.
    pub fn note_hook(&self, key: &str, tries: u32) {
        lock(&self.hooks).insert(key.to_owned(), tries);
    }

    /// Whether a tenant's settings were last written from these inputs.
    pub fn settings_current(&self, tenant: &DocumentName, inputs: &str) -> bool {
        lock(&self.settings).get(tenant).is_some_and(|known| known == inputs)
    }

    /// Notes from which inputs a tenant's settings were last written; none: they are gone.
    pub fn note_settings(&self, tenant: &DocumentName, inputs: Option<String>) {
        let mut settings = lock(&self.settings);
        match inputs {
            Some(inputs) => settings.insert(tenant.clone(), inputs),
            None => settings.remove(tenant),
        };
    }
}

impl CellDesk {
    fn new(hooks: usize) -> Self {
        Self { turn: tokio::sync::Mutex::default(), hooks: Semaphore::new(hooks), memory: Mutex::default() }
    }

    /// What the engine last told.
    pub fn observed(&self) -> Option<Arc<Observed>> {
        lock(&self.memory).observed.clone()
    }

    /// Notes what the engine told; whether it differs from before.
    pub fn observe(&self, observed: Observed) -> bool {
        let mut memory = lock(&self.memory);
        let changed = memory.observed.as_deref() != Some(&observed);
        if changed {
            memory.observed = Some(Arc::new(observed));
            memory.changed = Some(tokio::time::Instant::now());
        }
        changed
    }

    /// Whether the cell was looked at in this term.
    pub fn looked(&self) -> bool {
        lock(&self.memory).looked
    }

    /// Notes that it was.
    pub fn note_look(&self) {
        lock(&self.memory).looked = true;
    }

    /// What gates are told at present, once they were told something.
    pub fn told(&self) -> Option<Arc<GateState>> {
        lock(&self.memory).state.clone()
    }

    /// Whether nothing has changed for so long that a quick look is worth less than what it costs.
    fn stuck(&self) -> bool {
        lock(&self.memory).changed.is_some_and(|at| at.elapsed() > STUCK)
    }

    /// The cell's key for the tenant header, once it is known.
    pub fn key(&self) -> Option<routes::GateKey> {
        lock(&self.memory).key.clone()
    }

    /// Notes the cell's key.
    pub fn set_key(&self, key: routes::GateKey) {
        lock(&self.memory).key = Some(key);
    }

    /// The numbered state for content as given: the one before where nothing but the number differs.
    pub fn numbered(&self, mut content: GateState, number: impl FnOnce() -> Generation) -> Arc<GateState> {
        let mut memory = lock(&self.memory);
        if let Some(state) = &memory.state {
            content.number = state.number;
            if **state == content {
                return state.clone();
            }
        }
        content.number = number();
        let state = Arc::new(content);
        memory.state = Some(state.clone());
        state
    }
}

/// No code that holds one of these locks can leave its content half changed.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
