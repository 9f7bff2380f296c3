//! The table that edges hold in memory, and control publishes: a value whose versions share what did not change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::{CellName, Epoch, Generation, TenantName};

use crate::build::{self, Builder};
use crate::tree::{Item, Tree};
use crate::view::{HostRef, RedirectRef};
use crate::{ApplyError, CellEndpoint, Change, Delta, HostPattern, Record, RecordRef, Route, Snapshot, TableHash, hash, tree};

/// All routes at one generation. A clone costs a few counts and is never changed by what happens to its original; a change costs what it touches, not what the
/// table holds (but a new key of a cell, and a cell that appears after its records: then the whole table is looked through).
#[derive(Debug, Clone, Default)]
pub struct Table {
    incarnation: Arc<str>,
    generation: Generation,
    hash: TableHash,
    cells: Arc<BTreeMap<CellName, CellEntry>>,
    tree: Tree,
    refused: Arc<BTreeMap<HostPattern, Refused>>,
}

/// Result of a look-up.
#[derive(Debug, Clone, Copy)]
pub struct Found<'t> {
    /// The route.
    pub route: &'t Route,
    /// Where visitors are sent instead.
    pub redirect: Option<RedirectRef<'t>>,
}

/// A record that is not served, and why. Its neighbours are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its host.
    pub host: HostPattern,
    /// Its tenant, for the condition.
    pub tenant: TenantName,
    /// Why.
    pub reason: Reason,
}

/// Why a record is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No endpoint of that cell is known (it is served as soon as one is).
    #[error("cell {0} has no endpoint")]
    UnknownCell(CellName),
    /// Two records for one host: the one with the higher epoch stays, then the tenant first by name.
    #[error("the host is already served for tenant {0}")]
    HostTwice(TenantName),
    /// An alias of itself.
    #[error("the host redirects to itself")]
    RedirectToSelf,
}

#[derive(Debug, Clone)]
pub(crate) struct CellEntry {
    pub hash: u128,
    pub endpoint: Arc<CellEndpoint>,
}

impl Table {
    /// Compiles a table. Bad records are left out one by one and returned with their reasons; the same input in any order gives the same table.
    #[must_use]
    pub fn compile(
        incarnation: impl Into<Arc<str>>,
        generation: Generation,
        cells: impl IntoIterator<Item = CellEndpoint>,
        records: impl IntoIterator<Item = Record>,
    ) -> (Self, Vec<Refused>) {
        let mut assembly = Assembly::new(incarnation, generation, cells, 0);
        for record in records {
            assembly.add(&record);
        }
        assembly.finish()
    }

    /// From what was stored: a tree that was built before, and its hash.
    pub(crate) fn stored(incarnation: &str, generation: Generation, hash: TableHash, cells: BTreeMap<CellName, CellEntry>, tree: Tree) -> Self {
        let mut table = Self { incarnation: incarnation.into(), generation, hash, cells: Arc::new(cells), tree, ..Self::default() };
        if !table.tree.is_served() {
            table.list_refused();
        }
        table
    }

    /// Incarnation of the store that the table comes from.
    #[must_use]
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// The generation.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The running hash.
    #[must_use]
    pub const fn hash(&self) -> TableHash {
        self.hash
    }

    /// How many hosts and wildcards it knows, refused ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Endpoints by cell.
    pub fn cells(&self) -> impl Iterator<Item = &Arc<CellEndpoint>> {
        self.cells.values().map(|entry| &entry.endpoint)
    }

    /// Whether its cells are the very ones of another version: true only where they were not touched in between.
    #[must_use]
    pub fn has_cells_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cells, &other.cells)
    }

    /// How a cell is reached.
    #[must_use]
    pub fn endpoint(&self, cell: &str) -> Option<&Arc<CellEndpoint>> {
        self.cells.get(cell).map(|entry| &entry.endpoint)
    }

    /// Looks a host up. It must be in canonical form: lower case, ASCII, without port and final dot. An exact record wins over a wildcard, which answers for
    /// hosts one label below its domain: as far as a wildcard certificate reaches, and one look more for an unknown host, however many labels it has.
    #[must_use]
    pub fn lookup(&self, host: &str) -> Option<Found<'_>> {
        let exact = HostRef { wildcard: false, domain: host };
        let item = match host.split_once('.') {
            Some((_, domain)) if self.tree.has_wildcards() => self.tree.get_either([exact, HostRef { wildcard: true, domain }])?,
            _ => self.tree.get(exact)?,
        };
        item.is_served().then(|| Found { route: item.route, redirect: item.redirect() })
    }

    /// Every record, in no order that means anything.
    pub fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.tree.items().map(|item| item.record())
    }

    pub(crate) fn leaves(&self) -> impl Iterator<Item = impl Iterator<Item = Item<'_>>> {
        self.tree.leaves()
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.tree.items()
    }

    /// The record of a host.
    #[must_use]
    pub fn record(&self, host: &HostPattern) -> Option<RecordRef<'_>> {
        self.tree.get(host.view()).map(|item| item.record())
    }

    /// Records that are not served, by host.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused> {
        self.refused.values().cloned().collect()
    }

    /// Their hosts.
    pub fn refused_hosts(&self) -> impl Iterator<Item = &HostPattern> {
        self.refused.keys()
    }

    /// How many they are.
    #[must_use]
    pub fn refused_count(&self) -> usize {
        self.refused.len()
    }

    /// The table as one value; equal tables give equal snapshots.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut records: Vec<_> = self.records().filter_map(|record| record.to_record()).collect();
        records.sort_by(|a, b| a.host.cmp(&b.host));
        Snapshot {
            incarnation: self.incarnation.as_ref().to_owned(),
            generation: self.generation,
            hash: self.hash,
            cells: self.cells().map(|endpoint| CellEndpoint::clone(endpoint)).collect(),
            records,
        }
    }

    /// Computes the hash from what the table holds, not from what was added and taken away. Something may be done between two parts of the work, which is long
    /// for a large table.
    #[must_use]
    pub fn rehash(&self, mut between: impl FnMut()) -> TableHash {
        let mut sum = self.cells.values().fold(TableHash::default(), |sum, cell| sum.add(hash::endpoint(&cell.endpoint)));
        for leaf in self.tree.leaves() {
            sum = leaf.fold(sum, |sum, item| sum.add(hash::record(item.record())));
            between();
        }
        sum
    }

    /// Takes a delta that begins at this table's generation.
    ///
    /// # Errors
    /// [`ApplyError`]: an older one, a gap, another incarnation, or a result that is not the sender's. The table stays as it was; ask for a snapshot.
    pub fn apply(&mut self, delta: Delta) -> Result<Vec<Refused>, ApplyError> {
        if *delta.incarnation != *self.incarnation {
            return Err(ApplyError::Incarnation { have: self.incarnation().to_owned(), offered: delta.incarnation });
        }
        if delta.to <= self.generation {
            return Err(ApplyError::Older { have: self.generation, offered: delta.to });
        }
        if delta.from != self.generation {
            return Err(ApplyError::Gap { have: self.generation, from: delta.from });
        }
        let computed = self.hash_after(&delta.changes);
        if computed != delta.hash {
            return Err(ApplyError::Hash { expected: delta.hash, computed });
        }
        let refused = self.change(delta.changes);
        self.generation = delta.to;
        Ok(refused)
    }

    /// Whether `next` may take this table's place: not older within one incarnation; no tenant's epoch goes back when the incarnation changes.
    ///
    /// # Errors
    /// [`ApplyError::Older`], [`ApplyError::Backwards`].
    pub fn may_become(&self, next: &Self) -> Result<(), ApplyError> {
        if self.incarnation == next.incarnation {
            return if next.generation < self.generation {
                Err(ApplyError::Older { have: self.generation, offered: next.generation })
            } else {
                Ok(())
            };
        }
        let theirs = next.epochs();
        for (tenant, have) in self.epochs() {
            if let Some(&back_to) = theirs.get(tenant)
                && back_to < have
                && let Ok(tenant) = TenantName::new(tenant)
            {
                return Err(ApplyError::Backwards { offered: next.incarnation().to_owned(), tenant, have, back_to });
            }
        }
        Ok(())
    }

    /// The changes that lead from this table to what is wanted, and the records that can have no place in it.
    #[must_use]
    pub fn diff(&self, cells: impl IntoIterator<Item = CellEndpoint>, records: impl IntoIterator<Item = Record>) -> (Vec<Change>, Vec<Refused>) {
        let cells: BTreeMap<_, _> = cells.into_iter().map(|endpoint| (endpoint.cell.clone(), endpoint)).collect();
        let (records, refused) = without_doubles(records);
        let gone_cells: Vec<_> = self.cells.keys().filter(|cell| !cells.contains_key(*cell)).cloned().collect();
        let mut gone: Vec<_> = {
            let wanted: BTreeSet<_> = records.iter().map(|record| record.host.view()).collect();
            self.items().map(|item| item.host()).filter(|host| !wanted.contains(host)).filter_map(build::pattern).collect()
        };
        gone.sort();
        let changed_cells = cells.into_values().filter(|endpoint| self.endpoint(endpoint.cell.as_str()).is_none_or(|have| **have != *endpoint));
        let changed = records.into_iter().filter(|record| self.record(&record.host).is_none_or(|have| have != record.view()));
        let mut changes: Vec<_> = changed_cells.map(Change::SetCell).collect();
        changes.extend(changed.map(Change::SetRecord));
        changes.extend(gone.into_iter().map(Change::RemoveRecord));
        changes.extend(gone_cells.into_iter().map(Change::RemoveCell));
        (changes, refused)
    }

    /// What the hash would be after `changes`.
    #[must_use]
    pub fn hash_after(&self, changes: &[Change]) -> TableHash {
        let mut hosts: BTreeMap<&HostPattern, Option<u128>> = BTreeMap::new();
        let mut cells: BTreeMap<&CellName, Option<u128>> = BTreeMap::new();
        for change in changes {
            match change {
                Change::SetCell(endpoint) => cells.insert(&endpoint.cell, Some(hash::endpoint(endpoint))),
                Change::RemoveCell(cell) => cells.insert(cell, None),
                Change::SetRecord(record) => hosts.insert(&record.host, Some(hash::record(record.view()))),
                Change::RemoveRecord(host) => hosts.insert(host, None),
            };
        }
        let hosts = hosts.into_iter().map(|(host, new)| (self.record(host).map(hash::record), new));
        let cells = cells.into_iter().map(|(cell, new)| (self.cells.get(cell).map(|entry| entry.hash), new));
        hosts.chain(cells).fold(self.hash, |hash, (old, new)| hash.subtract(old.unwrap_or(0)).add(new.unwrap_or(0)))
    }

    fn change(&mut self, changes: Vec<Change>) -> Vec<Refused> {
        let mut refused = Vec::new();
        // Hosts of one tenant that change together share their route.
        let mut shared = None;
        for change in changes {
            match change {
                Change::SetCell(endpoint) => self.set_cell(endpoint),
                Change::SetRecord(record) => refused.extend(self.set_record(&record, &mut shared)),
                Change::RemoveRecord(host) => self.remove_record(&host),
                Change::RemoveCell(cell) => self.remove_cell(&cell),
            }
        }
        refused
    }

    /// A new key, or a cell not known before, means that its records are signed anew; a gate's change does not.
    fn set_cell(&mut self, endpoint: CellEndpoint) {
        let cell = endpoint.cell.clone();
        let new = CellEntry { hash: hash::endpoint(&endpoint), endpoint: Arc::new(endpoint) };
        self.hash = self.hash.add(new.hash);
        let signs_alike = |old: &CellEntry| old.endpoint.key == new.endpoint.key && old.endpoint.key_id == new.endpoint.key_id;
        let old = self.cells.get(&cell);
        // Records of a cell that was not known are refused ones.
        let sign = old.map_or(!self.refused.is_empty(), |old| !signs_alike(old));
        if let Some(old) = Arc::make_mut(&mut self.cells).insert(cell.clone(), new) {
            self.hash = self.hash.subtract(old.hash);
        }
        if sign {
            self.compile_cell(&cell);
        }
    }

    fn remove_cell(&mut self, cell: &CellName) {
        if let Some(old) = Arc::make_mut(&mut self.cells).remove(cell) {
            self.hash = self.hash.subtract(old.hash);
            self.compile_cell(cell);
        }
    }

    fn set_record(&mut self, record: &Record, shared: &mut Option<Route>) -> Option<Refused> {
        let view = record.view();
        let endpoint = self.cells.get(view.cell).map(|cell| &*cell.endpoint);
        let signed = endpoint.is_some();
        let old = self.tree.get(view.host);
        let at_hand = shared.as_ref().or(old.as_ref().map(|old| old.route)).filter(|route| route.is_of(view, signed)).cloned();
        let route = at_hand.unwrap_or_else(|| Route::new(view, endpoint));
        let reason = build::reason(view, signed);
        self.hash = self.hash.subtract(old.map_or(0, |old| hash::record(old.record()))).add(hash::record(view));
        let kind = tree::kind(view, matches!(reason, Some(Reason::RedirectToSelf)));
        self.tree.put(Item::new(&route, view, kind));
        *shared = Some(route);
        let refused = reason.map(|reason| Refused { host: record.host.clone(), tenant: record.tenant.clone(), reason });
        match &refused {
            Some(refused) => {
                Arc::make_mut(&mut self.refused).insert(record.host.clone(), refused.clone());
            }
            None => self.forgive(&record.host),
        }
        refused
    }

    fn remove_record(&mut self, host: &HostPattern) {
        if let Some(old) = self.record(host) {
            self.hash = self.hash.subtract(hash::record(old));
            self.tree.remove(host.view());
            self.forgive(host);
        }
    }

    fn forgive(&mut self, host: &HostPattern) {
        if self.refused.contains_key(host) {
            Arc::make_mut(&mut self.refused).remove(host);
        }
    }

    /// Signs the records of a cell anew.
    fn compile_cell(&mut self, cell: &CellName) {
        let endpoint = self.cells.get(cell).map(|cell| cell.endpoint.clone());
        let mut signed: HashMap<usize, Route> = HashMap::new();
        self.tree.map_routes(&mut |item| {
            let old = item.route;
            (old.cell() == cell.as_str()).then(|| signed.entry(old.place()).or_insert_with(|| Route::new(item.record(), endpoint.as_deref())).clone())
        });
        self.list_refused();
    }

    fn list_refused(&mut self) {
        let unserved = self.tree.items().filter(|item| !item.is_served());
        let reasons = unserved.filter_map(|item| build::refused(item.record(), build::reason(item.record(), item.route.is_signed())?));
        self.refused = Arc::new(reasons.map(|refused| (refused.host.clone(), refused)).collect());
    }

    /// The epoch of each tenant.
    fn epochs(&self) -> HashMap<&str, Epoch> {
        let mut epochs = HashMap::new();
        for item in self.items() {
            let epoch = epochs.entry(item.route.tenant()).or_insert_with(|| item.route.epoch());
            *epoch = item.route.epoch().max(*epoch);
        }
        epochs
    }

    pub(crate) fn raise_to(&mut self, generation: Generation) {
        self.generation = self.generation.max(generation);
    }
}

/// A table whose records come one by one.
#[derive(Debug)]
pub struct Assembly {
    table: Table,
    builder: Builder,
}

impl Assembly {
    /// A table of these cells, without records yet. How many will come is a hint.
    #[must_use]
    pub fn new(incarnation: impl Into<Arc<str>>, generation: Generation, cells: impl IntoIterator<Item = CellEndpoint>, expected: usize) -> Self {
        let entry = |endpoint: CellEndpoint| (endpoint.cell.clone(), CellEntry { hash: hash::endpoint(&endpoint), endpoint: Arc::new(endpoint) });
        let cells: Arc<BTreeMap<_, _>> = Arc::new(cells.into_iter().map(entry).collect());
        let builder = Builder::new(cells.clone(), expected);
        Self { table: Table { incarnation: incarnation.into(), generation, cells, ..Table::default() }, builder }
    }

    /// Takes a record.
    pub fn add(&mut self, record: &Record) {
        self.builder.add(record.view());
    }

    /// How many were taken.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.builder.len()
    }

    /// Whether none was.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The table, and the records that are not served.
    #[must_use]
    pub fn finish(self) -> (Table, Vec<Refused>) {
        let Self { mut table, builder } = self;
        let (tree, sum, refused) = builder.finish();
        table.tree = tree;
        table.hash = table.cells.values().fold(TableHash::default().add(sum), |hash, cell| hash.add(cell.hash));
        let kept = refused.iter().filter(|refused| !matches!(refused.reason, Reason::HostTwice(_)));
        table.refused = Arc::new(kept.map(|refused| (refused.host.clone(), refused.clone())).collect());
        (table, refused)
    }
}

/// Sorts by host and keeps one record for each.
fn without_doubles(records: impl IntoIterator<Item = Record>) -> (Vec<Record>, Vec<Refused>) {
    let mut records: Vec<_> = records.into_iter().collect();
    records.sort_by(|a, b| {
        let by_name = a.host.cmp(&b.host).then_with(|| b.epoch.cmp(&a.epoch)).then_with(|| a.tenant.cmp(&b.tenant));
        by_name.then_with(|| hash::record(a.view()).cmp(&hash::record(b.view())))
    });
    let mut refused = Vec::new();
    records.dedup_by(|later, first| {
        let double = later.host == first.host;
        if double {
            refused.push(Refused { host: later.host.clone(), tenant: later.tenant.clone(), reason: Reason::HostTwice(first.tenant.clone()) });
        }
        double
    });
    (records, refused)
}
