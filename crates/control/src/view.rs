//! What control knows of the store: a projection in memory, fed by list and watch, and who is woken by which change.
//!
//! Own commits are applied at once from their answers, so that a decision right after a commit sees it; the watch's later word of the same change is ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use model::v1alpha1::Operation;
use model::{CellName, Document, Kind, OperationName, Revision, TenantName, Typed};
use plan::Snapshot;
use reconcile::Signal;
use store::{Committed, Event, Key, ListOptions, Store, StoreError, Write};

/// Documents as decisions read them.
#[derive(Default)]
pub struct Known {
    /// What decisions of crate `plan` read.
    pub snapshot: Snapshot,
    /// Operations by name.
    pub operations: BTreeMap<OperationName, Arc<Typed<Operation>>>,
    /// Tenants by the cell that owns them.
    pub by_cell: BTreeMap<CellName, BTreeSet<TenantName>>,
    /// Own commits that the watch has not told yet: everything it says of these documents up to this revision is old.
    early: BTreeMap<Key, Revision>,
}

/// The projection.
#[derive(Default)]
pub struct View {
    known: RwLock<Known>,
    wakes: Wakes,
    stale: Mutex<Stale>,
}

/// Whose routes may have changed since they were last published.
#[derive(Debug, Default)]
pub struct Stale {
    /// Everybody's.
    pub all: bool,
    /// Those of these cells.
    pub cells: BTreeSet<CellName>,
}

/// Who is woken by changes.
#[derive(Default)]
pub struct Wakes {
    /// Placement, domains and wishes about tenants.
    pub tenants: Signal,
    /// The route table.
    pub routes: Signal,
    /// Which cells there are.
    pub cells: Signal,
    /// Which operations there are.
    pub operations: Signal,
    /// The lint of blueprints.
    pub blueprints: Signal,
    /// Machines and platform.
    pub machines: Signal,
    each: Mutex<BTreeMap<CellName, CellWakes>>,
    /// Rises when something happened that a waiting step may wait for.
    pub steps: Poke,
}

/// A counter that waiters follow.
pub struct Poke(tokio::sync::watch::Sender<u64>);

impl Default for Poke {
    fn default() -> Self {
        Self(tokio::sync::watch::Sender::new(0))
    }
}

impl Poke {
    /// Something happened.
    pub fn poke(&self) {
        self.0.send_modify(|n| *n += 1);
    }

    /// Follows it.
    pub fn follow(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Signals of one cell.
#[derive(Default, Clone)]
pub struct CellWakes {
    /// Ensure and observe.
    pub cell: Signal,
    /// Each of its gates.
    pub gates: Vec<Signal>,
}

impl Wakes {
    /// The signals of a cell's tasks.
    pub fn register(&self, cell: &CellName, wakes: CellWakes) {
        self.each.lock().unwrap_or_else(PoisonError::into_inner).insert(cell.clone(), wakes);
    }

    /// The cell's tasks are gone.
    pub fn forget(&self, cell: &CellName) {
        self.each.lock().unwrap_or_else(PoisonError::into_inner).remove(cell);
    }

    /// Wakes a cell's own task.
    pub fn cell(&self, cell: &CellName) {
        if let Some(wakes) = self.each.lock().unwrap_or_else(PoisonError::into_inner).get(cell) {
            wakes.cell.wake();
        }
    }

    /// Wakes the tasks of a cell's gates.
    pub fn gates(&self, cell: &CellName) {
        if let Some(wakes) = self.each.lock().unwrap_or_else(PoisonError::into_inner).get(cell) {
            wakes.gates.iter().for_each(Signal::wake);
        }
    }

    fn all_cells(&self) {
        for wakes in self.each.lock().unwrap_or_else(PoisonError::into_inner).values() {
            wakes.cell.wake();
            wakes.gates.iter().for_each(Signal::wake);
        }
    }

    /// A document changed; `cells` are the cells it belongs to.
    fn changed(&self, kind: Kind, cells: &[CellName]) {
        match kind {
            Kind::Platform | Kind::Machine | Kind::Blueprint => {
                self.blueprints.wake();
                self.machines.wake();
                self.cells.wake();
                self.tenants.wake();
                self.routes.wake();
                self.all_cells();
            }
            Kind::Cell => {
                self.cells.wake();
                self.tenants.wake();
                self.routes.wake();
            }
            Kind::Tenant => {
                self.tenants.wake();
                self.routes.wake();
            }
            Kind::Domain => {
                self.tenants.wake();
                self.routes.wake();
            }
            Kind::Operation => {
                self.operations.wake();
                self.tenants.wake();
            }
            Kind::Secret => {}
        }
        for cell in cells {
            self.cell(cell);
            if matches!(kind, Kind::Cell | Kind::Tenant) {
                self.gates(cell);
            }
        }
    }
}

impl View {
    /// Who is woken.
    pub const fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    /// Reads what is known. Keep it short: nothing is learned meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whose routes may have changed since this was last asked.
    pub fn take_stale(&self) -> Stale {
        std::mem::take(&mut *self.stale.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Routes of cells may have changed.
    pub fn mark_stale(&self, also: Stale) {
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        stale.all |= also.all;
        stale.cells.extend(also.cells);
    }

    /// Routes of a cell may have changed for a reason that is in no document.
    pub fn mark_stale_cell(&self, cell: &CellName) {
        self.mark_stale(Stale { all: false, cells: [cell.clone()].into() });
        self.wakes.routes.wake();
    }

    /// Lists everything anew. Gives the revision from which to watch.
    pub async fn load(&self, store: &dyn Store) -> Result<Revision, StoreError> {
        let mut from = None;
        let mut fresh = Known::default();
        for kind in Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Secret) {
            let page = store.list(kind, ListOptions::default()).await?;
            // The oldest of the lists: what a later list already held is told again and changes nothing.
            from.get_or_insert(page.revision);
            for document in page.documents {
                fresh.put(document);
            }
        }
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            *known = fresh;
            self.mark_stale(Stale { all: true, cells: BTreeSet::new() });
        }
        for kind in Kind::ALL {
            self.wakes.changed(*kind, &[]);
        }
        self.wakes.all_cells();
        Ok(from.unwrap_or_default())
    }

    /// Takes an event of the watch.
    pub fn event(&self, event: Event) {
        match event {
            Event::Put(document) => {
                let key = key(&document);
                let revision = document.metadata.revision;
                self.change(&key, |known| {
                    if known.is_old(&key, revision) {
                        return None;
                    }
                    Some(known.put(document))
                });
            }
            Event::Gone(document) => {
                let key = key(&document);
                let revision = document.metadata.revision;
                self.change(&key, |known| if known.is_old(&key, revision) { None } else { Some(known.gone(&key)) });
            }
            Event::Bookmark(_) => {}
        }
    }

    /// Takes the answer of an own commit.
    pub fn own(&self, writes: &[Write], committed: &Committed) {
        for (write, document) in writes.iter().zip(&committed.documents) {
            let key = write.key().clone();
            if key.kind == Kind::Secret {
                continue;
            }
            match document {
                Some(document) => self.change(&key, |known| {
                    let revision = document.metadata.revision;
                    if known.revision(&key).is_some_and(|held| held >= revision) {
                        return None;
                    }
                    known.early.insert(key.clone(), revision);
                    Some(known.put(document.clone()))
                }),
                None => self.change(&key, |known| {
                    known.early.insert(key.clone(), committed.revision);
                    Some(known.gone(&key))
                }),
            }
        }
    }

    /// Nobody is woken by what was known already: a look that reads what it has just written must not wake itself.
    fn change(&self, key: &Key, act: impl FnOnce(&mut Known) -> Option<Vec<CellName>>) {
        let cells = {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            let before = known.routed_by(key);
            let cells = act(&mut known);
            if cells.is_some() {
                // Before anybody can read what has changed.
                self.mark_stale(before);
                self.mark_stale(known.routed_by(key));
            }
            cells
        };
        if let Some(cells) = cells {
            self.wakes.changed(key.kind, &cells);
        }
    }
}

impl Known {
    /// The operation of this name.
    pub fn operation(&self, name: Option<&OperationName>) -> Option<&Arc<Typed<Operation>>> {
        self.operations.get(name?)
    }

    fn revision(&self, key: &Key) -> Option<Revision> {
        let name = key.name.as_str();
        match key.kind {
            Kind::Platform => self.snapshot.platform.as_ref().map(|d| d.metadata.revision),
            Kind::Machine => self.snapshot.machines.get(name).map(|d| d.metadata.revision),
            Kind::Blueprint => self.snapshot.blueprints.get(&key.name).map(|d| d.metadata.revision),
            Kind::Cell => self.snapshot.cells.get(name).map(|d| d.metadata.revision),
            Kind::Tenant => self.snapshot.tenants.get(name).map(|d| d.metadata.revision),
            Kind::Domain => self.snapshot.domains.get(&key.name).map(|d| d.metadata.revision),
            Kind::Operation => self.operations.get(name).map(|d| d.metadata.revision),
            Kind::Secret => None,
        }
    }

    /// Whether the watch speaks of something that an own commit's answer already told.
    fn is_old(&mut self, key: &Key, revision: Revision) -> bool {
        match self.early.get(key) {
            Some(early) if revision < *early => true,
            Some(early) => {
                let same = revision == *early;
                self.early.remove(key);
                same
            }
            None => self.revision(key).is_some_and(|held| held >= revision),
        }
    }

    /// Takes a document as it stands; gives the cells it belongs to, before and after.
    fn put(&mut self, document: Document) -> Vec<CellName> {
        let key = key(&document);
        let mut cells = self.cells_of(&key);
        if document.kind == Kind::Operation {
            match (OperationName::new(document.metadata.name.as_str()), Typed::read(document)) {
                (Ok(name), Ok(operation)) => {
                    self.operations.insert(name, Arc::new(operation));
                }
                (_, Err(error)) => tracing::error!(%error, "an operation is left out"),
                (Err(error), _) => tracing::error!(%error, "an operation is left out"),
            }
        } else {
            self.unlist(&key);
            if let Err(error) = self.snapshot.put(document) {
                tracing::error!(%error, source = ?std::error::Error::source(&error), "a stored document is left out");
            }
            self.enlist(&key);
        }
        cells.extend(self.cells_of(&key));
        cells.dedup();
        cells
    }

    fn gone(&mut self, key: &Key) -> Vec<CellName> {
        let cells = self.cells_of(key);
        self.unlist(key);
        if key.kind == Kind::Operation {
            self.operations.remove(key.name.as_str());
        }
        self.snapshot.gone(key.kind, &key.name);
        cells
    }

    fn tenant_cell(&self, key: &Key) -> Option<(TenantName, CellName)> {
        if key.kind != Kind::Tenant {
            return None;
        }
        let (name, tenant) = self.snapshot.tenants.get_key_value(key.name.as_str())?;
        Some((name.clone(), tenant.status.cell.clone()?))
    }

    fn unlist(&mut self, key: &Key) {
        if let Some((tenant, cell)) = self.tenant_cell(key)
            && let Some(tenants) = self.by_cell.get_mut(&cell)
        {
            tenants.remove(&tenant);
        }
    }

    fn enlist(&mut self, key: &Key) {
        if let Some((tenant, cell)) = self.tenant_cell(key) {
            self.by_cell.entry(cell).or_default().insert(tenant);
        }
    }

    /// The cells of whose routes a document has a say.
    fn routed_by(&self, key: &Key) -> Stale {
        let of = |tenant: &str| self.snapshot.tenants.get(tenant).and_then(|tenant| tenant.status.cell.clone());
        let cell = match key.kind {
            Kind::Platform | Kind::Machine | Kind::Blueprint => return Stale { all: true, cells: BTreeSet::new() },
            Kind::Secret => None,
            Kind::Cell => CellName::new(key.name.as_str()).ok(),
            Kind::Tenant => of(key.name.as_str()),
            Kind::Domain => self.snapshot.domains.get(&key.name).and_then(|claim| of(claim.spec.tenant.as_str())),
            Kind::Operation => {
                let subject = self.operations.get(key.name.as_str()).map(|operation| &operation.spec.subject);
                subject.filter(|subject| subject.kind == Kind::Tenant).and_then(|subject| of(subject.name.as_str()))
            }
        };
        Stale { all: false, cells: cell.into_iter().collect() }
    }

    fn cells_of(&self, key: &Key) -> Vec<CellName> {
        match key.kind {
            Kind::Cell => CellName::new(key.name.as_str()).into_iter().collect(),
            Kind::Tenant => self.tenant_cell(key).map(|(_, cell)| cell).into_iter().collect(),
            Kind::Operation => {
                let operation = self.operations.get(key.name.as_str());
                let subject = operation.map(|operation| &operation.spec.subject).filter(|subject| subject.kind == Kind::Cell);
                subject.and_then(|subject| CellName::new(subject.name.as_str()).ok()).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

fn key(document: &Document) -> Key {
    Key { kind: document.kind, name: document.metadata.name.clone() }
}
