//! The routes in memory, with the gates' health and load beside them.
//!
//! Readers take the present version and look at it for as long as they like; nobody waits for anybody. A writer makes the next version beside it, by copying the
//! little that changes, and puts it in its place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::FixedState;
use model::CellName;
use proxy::{Group, Upstream};
use routes::{ApplyError, CellEndpoint, Delta, Refused, Route, Table};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::streams::{About, StreamPlace, UnderWay};

/// Most changes that wait to be written; more are written as a whole table.
const MOST_UNWRITTEN: usize = 10_000;
/// How often it is looked whether the last reader has left a table that was replaced as a whole.
const LOOK: Duration = Duration::from_millis(20);

/// All routes, shared by everybody in the edge.
#[derive(Debug)]
pub(crate) struct Routes {
    now: ArcSwap<View>,
    unwritten: Mutex<Unwritten>,
    changed: watch::Sender<u64>,
    gates_changed: watch::Sender<u64>,
    streams: UnderWay,
    /// The disk refuses what is in use.
    unsaved: AtomicBool,
}

/// One version.
#[derive(Debug, Default)]
struct View {
    table: Table,
    gates: Arc<HashMap<CellName, Gates, FixedState>>,
}

#[derive(Debug)]
struct Gates {
    endpoint: Arc<CellEndpoint>,
    group: Group,
}

/// What changed since it was last asked.
#[derive(Debug, Default)]
pub(crate) enum Unwritten {
    /// These, in order.
    Changes(Vec<Delta>),
    /// Too much to tell.
    #[default]
    Whole,
}

/// Where visitors of an alias are sent.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub to: String,
    pub status: u16,
}

/// What a host leads to.
pub(crate) enum Lookup {
    /// A tenant in a cell.
    Found(Route, Group),
    /// Another host of the tenant.
    Elsewhere(Route, Elsewhere),
    /// Nobody.
    Unknown,
    /// No table was ever loaded.
    NoTable,
}

impl Routes {
    /// With what was on disk.
    pub(crate) fn new(table: Option<Table>) -> Self {
        let view = View::default().next(table.unwrap_or_default());
        let changed = watch::Sender::new(view.table.generation().0);
        Self {
            now: ArcSwap::from_pointee(view),
            unwritten: Mutex::new(Unwritten::Changes(Vec::new())),
            changed,
            gates_changed: watch::Sender::new(0),
            streams: UnderWay::default(),
            unsaved: AtomicBool::new(false),
        }
    }

    /// Whether an edge that starts now would start from older routes, because the disk refuses these.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved.load(Relaxed)
    }

    /// Notes whether the disk takes routes.
    pub(crate) fn note_unsaved(&self, unsaved: bool) {
        self.unsaved.store(unsaved, Relaxed);
    }

    /// Tells of every new generation.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells when there are other gates.
    pub(crate) fn gate_changes(&self) -> watch::Receiver<u64> {
        self.gates_changed.subscribe()
    }

    /// Looks a host up. It allocates nothing (but for a redirect's page) and waits for nobody.
    pub(crate) fn lookup(&self, host: &str) -> Lookup {
        let view = self.now.load();
        match view.table.lookup(host) {
            Some(found) => {
                found.route.near();
                let route = found.route.clone();
                match found.redirect {
                    None => {
                        let group = view.gates.get(route.cell()).map(|gates| gates.group.clone()).unwrap_or_default();
                        Lookup::Found(route, group)
                    }
                    Some(redirect) => Lookup::Elsewhere(route, Elsewhere { to: redirect.to.to_owned(), status: redirect.status.code() }),
                }
            }
            None if view.table.incarnation().is_empty() => Lookup::NoTable,
            None => Lookup::Unknown,
        }
    }

    /// The present table; it stays as it is.
    pub(crate) fn table(&self) -> Table {
        self.now.load().table.clone()
    }

    /// Every cell's gates.
    pub(crate) fn gates(&self) -> Vec<(CellName, Group)> {
        let view = self.now.load();
        let mut gates: Vec<_> = view.gates.iter().map(|(cell, gates)| (cell.clone(), gates.group.clone())).collect();
        gates.sort_by(|a, b| a.0.cmp(&b.0));
        gates
    }

    /// A WebSocket or an event stream begins; its place ends it once these routes do, or `leaving` is said.
    pub(crate) fn stream(&self, about: About, leaving: &CancellationToken) -> StreamPlace {
        self.streams.begin(about, leaving, |about| about.goes_on(&self.now.load().table))
    }

    /// Streams under way, and how many were told to end so far.
    pub(crate) fn streams(&self) -> (usize, u64) {
        self.streams.counts()
    }

    /// What is to be written.
    pub(crate) fn unwritten(&self) -> Unwritten {
        std::mem::replace(&mut *lock(&self.unwritten), Unwritten::Changes(Vec::new()))
    }

    /// Takes a whole table. It blocks for a while when the table is large.
    pub(crate) fn take(&self, next: Table) -> Result<(), ApplyError> {
        let mut unwritten = lock(&self.unwritten);
        let before = self.now.load_full();
        if !before.table.incarnation().is_empty() {
            before.table.may_become(&next)?;
        }
        self.set(before.next(next), &before);
        *unwritten = Unwritten::Whole;
        self.streams.replaced(&self.now.load().table);
        drop(unwritten);
        retire(before);
        Ok(())
    }

    /// Takes a change.
    pub(crate) fn apply(&self, delta: Delta) -> Result<Vec<Refused>, ApplyError> {
        // Whoever holds this is the writer.
        let mut unwritten = lock(&self.unwritten);
        let before = self.now.load_full();
        let mut table = before.table.clone();
        let refused = table.apply(delta.clone())?;
        self.set(before.next(table), &before);
        self.streams.changed(&before.table, &delta, &self.now.load().table);
        match &mut *unwritten {
            Unwritten::Changes(changes) if changes.len() < MOST_UNWRITTEN => changes.push(delta),
            full => *full = Unwritten::Whole,
        }
        Ok(refused)
    }

    fn set(&self, next: View, before: &View) {
        let (generation, same_gates) = (next.table.generation().0, Arc::ptr_eq(&next.gates, &before.gates));
        self.now.store(Arc::new(next));
        if !same_gates {
            self.gates_changed.send_modify(|n| *n += 1);
        }
        self.changed.send_replace(generation);
    }
}

impl View {
    /// The next version. Gates that stay keep their health and their load.
    fn next(&self, table: Table) -> Self {
        if table.has_cells_of(&self.table) {
            return Self { table, gates: self.gates.clone() };
        }
        let meet = |endpoint: &Arc<CellEndpoint>| (endpoint.cell.clone(), Gates::meet(endpoint, self.gates.get(&endpoint.cell)));
        let gates = Arc::new(table.cells().map(meet).collect());
        Self { table, gates }
    }
}

impl Gates {
    fn meet(endpoint: &Arc<CellEndpoint>, before: Option<&Self>) -> Self {
        if let Some(before) = before.filter(|before| Arc::ptr_eq(&before.endpoint, endpoint)) {
            return Self { endpoint: endpoint.clone(), group: before.group.clone() };
        }
        let known = before.map(|before| before.group.members()).unwrap_or_default();
        let members = endpoint.gates.iter().map(|gate| {
            let same = |old: &&Arc<Upstream>| old.name() == gate.name.as_str() && old.address() == gate.address;
            let upstream = known.iter().find(same).cloned().unwrap_or_else(|| Arc::new(Upstream::new(gate.name.as_str(), gate.address)));
            upstream.set(true, gate.draining, gate.weight);
            upstream
        });
        Self { endpoint: endpoint.clone(), group: Group::new(members) }
    }
}

/// Frees a table that was replaced as a whole, once nobody looks at it: it takes long, and must not fall to a visitor's request.
fn retire(view: Arc<View>) {
    let wait = move || {
        while Arc::strong_count(&view) > 1 {
            std::thread::park_timeout(LOOK);
        }
        drop(view);
    };
    if let Err(error) = std::thread::Builder::new().name("retire".to_owned()).spawn(wait) {
        tracing::warn!(%error, "no thread to free a table");
    }
}

/// No code that holds this lock can leave its content half changed.
fn lock(unwritten: &Mutex<Unwritten>) -> std::sync::MutexGuard<'_, Unwritten> {
    unwritten.lock().unwrap_or_else(PoisonError::into_inner)
}
