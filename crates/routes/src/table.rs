//! The table that an edge holds in memory.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::{CellName, DomainName, Epoch, Generation, TenantName};

use crate::{ApplyError, CellEndpoint, Change, Delta, HostPattern, Record, Redirect, RouteState, Snapshot, TableHash, TenantHeader, hash};

/// All routes at one generation.
#[derive(Debug, Clone, Default)]
pub struct Table {
    incarnation: String,
    generation: Generation,
    hash: TableHash,
    cells: BTreeMap<CellName, CellEntry>,
    exact: HashMap<DomainName, Entry>,
    wildcard: HashMap<DomainName, Entry>,
}

/// What a host leads to, ready for use: nothing is computed per request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The tenant.
    pub tenant: TenantName,
    /// Its cell.
    pub cell: CellName,
    /// Number of that ownership.
    pub epoch: Epoch,
    /// Whether and how it is served.
    pub state: RouteState,
    /// Where visitors are sent instead.
    pub redirect: Option<Redirect>,
    /// Class of limits.
    pub class: Option<String>,
    /// Value of the tenant header, signed under the cell's key.
    pub header: String,
}

/// Result of a look-up.
#[derive(Debug, Clone, Copy)]
pub struct Found<'t> {
    /// The route.
    pub route: &'t Arc<Route>,
    /// How its cell is reached.
    pub endpoint: &'t Arc<CellEndpoint>,
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
struct CellEntry {
    hash: u128,
    endpoint: Arc<CellEndpoint>,
}

#[derive(Debug, Clone)]
struct Entry {
    hash: u128,
    record: Record,
    route: Result<Arc<Route>, Reason>,
}

impl Table {
    /// Compiles a table. Bad records are left out one by one and returned with their reasons; the same input in any order gives the same table.
    #[must_use]
    pub fn compile(
        incarnation: impl Into<String>,
        generation: Generation,
        cells: impl IntoIterator<Item = CellEndpoint>,
        records: impl IntoIterator<Item = Record>,
    ) -> (Self, Vec<Refused>) {
        let mut table = Self { incarnation: incarnation.into(), generation, ..Self::default() };
        for endpoint in cells {
            table.set_cell(endpoint);
        }
        let (records, mut refused) = without_doubles(records);
        for record in records {
            refused.extend(table.set_record(record));
        }
        (table, refused)
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
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Endpoints by cell.
    pub fn cells(&self) -> impl Iterator<Item = &Arc<CellEndpoint>> {
        self.cells.values().map(|entry| &entry.endpoint)
    }

    /// Looks a host up. It must be in canonical form: lower case, ASCII, without port and final dot. An exact record wins over a wildcard.
    #[must_use]
    pub fn lookup(&self, host: &str) -> Option<Found<'_>> {
        let entry = match self.exact.get(host) {
            Some(entry) => entry,
            None if self.wildcard.is_empty() => return None,
            None => self.wildcard.get(host.split_once('.')?.1)?,
        };
        let route = entry.route.as_ref().ok()?;
        Some(Found { route, endpoint: &self.cells.get(&route.cell)?.endpoint })
    }

    /// Records that are not served, by host.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused> {
        let mut refused: Vec<_> = self.entries().filter_map(Entry::refused).collect();
        refused.sort_by(|a, b| a.host.cmp(&b.host));
        refused
    }

    /// The table as it travels; equal tables give equal snapshots.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut records: Vec<_> = self.entries().map(|entry| entry.record.clone()).collect();
        records.sort_by(|a, b| a.host.cmp(&b.host));
        Snapshot {
            incarnation: self.incarnation.clone(),
            generation: self.generation,
            hash: self.hash,
            cells: self.cells().map(|endpoint| CellEndpoint::clone(endpoint)).collect(),
            records,
        }
    }

    /// Takes a delta that begins at this table's generation.
    ///
    /// # Errors
    /// [`ApplyError`]: an older one, a gap, another incarnation, or a result that is not the sender's. The table stays as it was; ask for a snapshot.
    pub fn apply(&mut self, delta: Delta) -> Result<Vec<Refused>, ApplyError> {
        if delta.incarnation != self.incarnation {
            return Err(ApplyError::Incarnation { have: self.incarnation.clone(), offered: delta.incarnation });
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
            {
                return Err(ApplyError::Backwards { offered: next.incarnation.clone(), tenant: tenant.clone(), have, back_to });
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
            let wanted: std::collections::BTreeSet<_> = records.iter().map(|record| &record.host).collect();
            self.entries().map(|entry| &entry.record.host).filter(|host| !wanted.contains(host)).cloned().collect()
        };
        gone.sort();
        let changed_cells = cells.into_values().filter(|endpoint| self.cells.get(&endpoint.cell).is_none_or(|have| *have.endpoint != *endpoint));
        let changed = records.into_iter().filter(|record| self.entry(&record.host).is_none_or(|have| have.record != *record));
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
                Change::SetRecord(record) => hosts.insert(&record.host, Some(hash::record(record))),
                Change::RemoveRecord(host) => hosts.insert(host, None),
            };
        }
        let hosts = hosts.into_iter().map(|(host, new)| (self.entry(host).map(|entry| entry.hash), new));
        let cells = cells.into_iter().map(|(cell, new)| (self.cells.get(cell).map(|entry| entry.hash), new));
        hosts.chain(cells).fold(self.hash, |hash, (old, new)| hash.subtract(old.unwrap_or(0)).add(new.unwrap_or(0)))
    }

    fn change(&mut self, changes: Vec<Change>) -> Vec<Refused> {
        let mut refused = Vec::new();
        for change in changes {
            match change {
                Change::SetCell(endpoint) => self.set_cell(endpoint),
                Change::SetRecord(record) => refused.extend(self.set_record(record)),
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
        let sign = !old.is_some_and(signs_alike);
        if let Some(old) = self.cells.insert(cell.clone(), new) {
            self.hash = self.hash.subtract(old.hash);
        }
        if sign {
            self.compile_cell(&cell);
        }
    }

    fn remove_cell(&mut self, cell: &CellName) {
        if let Some(old) = self.cells.remove(cell) {
            self.hash = self.hash.subtract(old.hash);
            self.compile_cell(cell);
        }
    }

    fn set_record(&mut self, record: Record) -> Option<Refused> {
        let route = compile_record(&self.cells, &record);
        let entry = Entry { hash: hash::record(&record), record, route };
        let refused = entry.refused();
        self.hash = self.hash.add(entry.hash);
        let old = match &entry.record.host {
            HostPattern::Exact(domain) => self.exact.insert(domain.clone(), entry),
            HostPattern::Wildcard(domain) => self.wildcard.insert(domain.clone(), entry),
        };
        self.hash = self.hash.subtract(old.map_or(0, |old| old.hash));
        refused
    }

    fn remove_record(&mut self, host: &HostPattern) {
        let old = match host {
            HostPattern::Exact(domain) => self.exact.remove(domain),
            HostPattern::Wildcard(domain) => self.wildcard.remove(domain),
        };
        self.hash = self.hash.subtract(old.map_or(0, |old| old.hash));
    }

    fn compile_cell(&mut self, cell: &CellName) {
        for entry in self.exact.values_mut().chain(self.wildcard.values_mut()).filter(|entry| entry.record.cell == *cell) {
            entry.route = compile_record(&self.cells, &entry.record);
        }
    }

    fn entry(&self, host: &HostPattern) -> Option<&Entry> {
        match host {
            HostPattern::Exact(domain) => self.exact.get(domain),
            HostPattern::Wildcard(domain) => self.wildcard.get(domain),
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.exact.values().chain(self.wildcard.values())
    }

    fn epochs(&self) -> BTreeMap<&TenantName, Epoch> {
        let mut epochs = BTreeMap::new();
        for entry in self.entries() {
            let epoch = epochs.entry(&entry.record.tenant).or_insert(entry.record.epoch);
            *epoch = entry.record.epoch.max(*epoch);
        }
        epochs
    }

    pub(crate) fn raise_to(&mut self, generation: Generation) {
        self.generation = self.generation.max(generation);
    }
}

impl Entry {
    fn refused(&self) -> Option<Refused> {
        let reason = self.route.as_ref().err()?.clone();
        Some(Refused { host: self.record.host.clone(), tenant: self.record.tenant.clone(), reason })
    }
}

fn compile_record(cells: &BTreeMap<CellName, CellEntry>, record: &Record) -> Result<Arc<Route>, Reason> {
    let endpoint = &cells.get(&record.cell).ok_or_else(|| Reason::UnknownCell(record.cell.clone()))?.endpoint;
    if let (Some(redirect), HostPattern::Exact(host)) = (&record.redirect, &record.host)
        && redirect.to == *host
    {
        return Err(Reason::RedirectToSelf);
    }
    let header = TenantHeader { tenant: record.tenant.clone(), cell: record.cell.clone(), epoch: record.epoch, key_id: endpoint.key_id.clone() };
    Ok(Arc::new(Route {
        tenant: record.tenant.clone(),
        cell: record.cell.clone(),
        epoch: record.epoch,
        state: record.state,
        redirect: record.redirect.clone(),
        class: record.class.clone(),
        header: header.sign(&endpoint.key),
    }))
}

/// Sorts by host and keeps one record for each.
fn without_doubles(records: impl IntoIterator<Item = Record>) -> (Vec<Record>, Vec<Refused>) {
    let mut records: Vec<_> = records.into_iter().collect();
    records.sort_by_cached_key(|record| (record.host.clone(), Reverse(record.epoch), record.tenant.clone(), hash::record(record)));
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
