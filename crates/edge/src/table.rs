//! The routes in memory, with the gates' health and load beside them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use model::CellName;
use proxy::{Group, Upstream};
use routes::{ApplyError, CellEndpoint, Delta, Refused, Route, Snapshot, Table};
use tokio::sync::watch;

/// All routes, shared by everybody in the edge.
#[derive(Debug)]
pub(crate) struct Routes {
    inner: RwLock<Inner>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    table: Table,
    gates: HashMap<CellName, Gates>,
}

#[derive(Debug)]
struct Gates {
    endpoint: Arc<CellEndpoint>,
    group: Group,
}

/// What a host leads to.
pub(crate) enum Lookup {
    /// A tenant in a cell.
    Found(Arc<Route>, Group),
    /// Nobody.
    Unknown,
    /// No table was ever loaded.
    NoTable,
}

impl Routes {
    /// With what was on disk.
    pub(crate) fn new(table: Option<Table>) -> Self {
        let mut inner = Inner { table: table.unwrap_or_default(), gates: HashMap::new() };
        inner.meet_gates();
        Self { changed: watch::Sender::new(inner.table.generation().0), inner: RwLock::new(inner) }
    }

    /// Tells of every new generation.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Looks a host up.
    pub(crate) fn lookup(&self, host: &str) -> Lookup {
        let inner = self.read();
        match inner.table.lookup(host) {
            Some(found) => {
                let group = inner.gates.get(&found.route.cell).map(|gates| gates.group.clone());
                Lookup::Found(found.route.clone(), group.unwrap_or_default())
            }
            None if inner.table.incarnation().is_empty() => Lookup::NoTable,
            None => Lookup::Unknown,
        }
    }

    /// Looks at the table; nothing may wait meanwhile.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.read().table)
    }

    /// Every cell's gates.
    pub(crate) fn gates(&self) -> Vec<(CellName, Group)> {
        let mut gates: Vec<_> = self.read().gates.iter().map(|(cell, gates)| (cell.clone(), gates.group.clone())).collect();
        gates.sort_by(|a, b| a.0.cmp(&b.0));
        gates
    }

    /// Takes a whole table.
    pub(crate) fn take(&self, snapshot: Snapshot) -> Result<Vec<Refused>, ApplyError> {
        let (next, refused) = snapshot.compile()?;
        let mut inner = self.write();
        if !inner.table.incarnation().is_empty() {
            inner.table.may_become(&next)?;
        }
        inner.table = next;
        self.tell(inner);
        Ok(refused)
    }

    /// Takes a change.
    pub(crate) fn apply(&self, delta: Delta) -> Result<Vec<Refused>, ApplyError> {
        let mut inner = self.write();
        let refused = inner.table.apply(delta)?;
        self.tell(inner);
        Ok(refused)
    }

    fn tell(&self, mut inner: RwLockWriteGuard<'_, Inner>) {
        inner.meet_gates();
        let generation = inner.table.generation().0;
        drop(inner);
        self.changed.send_replace(generation);
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Brings gates in line with the table; those that stay keep their health and their load.
    fn meet_gates(&mut self) {
        let mut before = std::mem::take(&mut self.gates);
        for endpoint in self.table.cells() {
            let old = before.remove(&endpoint.cell);
            if let Some(old) = old.as_ref().filter(|old| Arc::ptr_eq(&old.endpoint, endpoint)) {
                self.gates.insert(endpoint.cell.clone(), Gates { endpoint: endpoint.clone(), group: old.group.clone() });
                continue;
            }
            let known = old.as_ref().map(|old| old.group.members()).unwrap_or_default();
            let members = endpoint.gates.iter().map(|gate| {
                let same = |old: &&Arc<Upstream>| old.name() == gate.name.as_str() && old.address() == gate.address;
                let upstream = known.iter().find(same).cloned().unwrap_or_else(|| Arc::new(Upstream::new(gate.name.as_str(), gate.address)));
                upstream.set(true, gate.draining, gate.weight);
                upstream
            });
            let group = Group::new(members);
            self.gates.insert(endpoint.cell.clone(), Gates { endpoint: endpoint.clone(), group });
        }
    }
}
