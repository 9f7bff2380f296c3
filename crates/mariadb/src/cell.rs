//! What is known of one cell's cluster, shared by its keeper, its probes, its check port and whoever asks.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data::{ClusterOrder, ClusterState, NodeState};
use galera::Position;
use jiff::Timestamp;
use model::{CellName, NodeName};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::docker::{Container, Engine};
use crate::folder::{Folder, Record};
use crate::sql::Status;
use crate::{Error, Options};

/// What all cells of this agent share.
pub(crate) struct Platform {
    pub(crate) options: Options,
    pub(crate) engine: Engine,
}

/// One cell's cluster.
pub(crate) struct Cell {
    pub(crate) platform: Arc<Platform>,
    pub(crate) name: CellName,
    pub(crate) folder: Folder,
    /// Password of our account in the nodes.
    pub(crate) password: String,
    /// Something happened that the keeper should look at now.
    pub(crate) wake: Notify,
    /// Held while an order about a tenant is followed; each tenant has one of these.
    turns: [tokio::sync::Mutex<()>; 16],
    known: Mutex<Known>,
}

/// All that is known, behind one short lock that is never held over an await.
pub(crate) struct Known {
    pub(crate) order: ClusterOrder,
    pub(crate) record: Record,
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    pub(crate) writer: Writer,
    pub(crate) endpoint: Endpoint,
    /// Where the cluster stands and since when, for reports.
    pub(crate) state: (ClusterState, Timestamp),
    /// Why it is not in sync: a reason and a sentence.
    pub(crate) trouble: Option<(String, String)>,
    /// Free bytes where the data lies.
    pub(crate) disk_free: Option<u64>,
    /// Since when no node speaks of a primary view.
    pub(crate) dark: Option<Instant>,
    /// The cluster is not formed again before.
    pub(crate) not_before: Instant,
}

/// What is known of a node.
pub(crate) struct Node {
    pub(crate) address: Ipv4Addr,
    pub(crate) container: Container,
    /// Its own words, and when it said them.
    pub(crate) status: Option<(Status, Instant)>,
    /// Since when it does not answer.
    pub(crate) silent: Option<Instant>,
    /// It was in sync at some time since its process began.
    pub(crate) settled: bool,
    /// We formed the cluster anew from it, and its process is that one.
    pub(crate) founder: bool,
    /// Since when it answers from outside of a primary view.
    pub(crate) outside: Option<Instant>,
    /// Bytes on disk while it joins, and when they last changed.
    pub(crate) progress: (u64, Instant),
    /// Bytes on disk when it began to join.
    pub(crate) began_with: u64,
    /// Starts in a row that did not end in sync.
    pub(crate) failures: u32,
    /// Not started again before.
    pub(crate) not_before: Instant,
    /// How often we started it.
    pub(crate) starts: u32,
    /// Somebody is starting or ending it.
    pub(crate) busy: bool,
    /// Rises with each start, so that what was seen of an older process is not taken for this one.
    pub(crate) epoch: u64,
    /// Where it stands, as last recovered or seen.
    pub(crate) position: Option<Position>,
    pub(crate) state: (NodeState, Timestamp),
    pub(crate) trouble: Option<(String, String)>,
}

/// Who takes writes, and how sure we are. It goes on record with its first commit, and only then the endpoint hears of it: one that was chosen and died
/// before that has acknowledged nothing.
pub(crate) struct Writer {
    /// The chosen node.
    pub(crate) node: Option<NodeName>,
    /// Since the present writer was chosen.
    pub(crate) since: Instant,
    /// The last commit that the probe saw succeed on the present writer; none since it was chosen.
    pub(crate) committed: Option<Instant>,
    /// Since when the probe's commit does not succeed.
    pub(crate) stalled: Option<Instant>,
    /// How often the endpoint was told that a node is down, since the present writer was chosen.
    pub(crate) denied: BTreeMap<NodeName, u32>,
    /// The endpoint was told that the present writer is up.
    pub(crate) told: bool,
}

/// How the endpoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// It answers on the cell's network.
    Up,
    /// It does not, for this reason.
    Not { reason: &'static str, message: String },
}

impl Node {
    fn new(address: Ipv4Addr, settled: bool) -> Self {
        let now = Instant::now();
        Self {
            address,
            container: Container::Unknown,
            status: None,
            silent: Some(now),
            settled,
            founder: false,
            outside: None,
            progress: (0, now),
            began_with: 0,
            failures: 0,
            not_before: now,
            starts: 0,
            busy: false,
            epoch: 0,
            position: None,
            state: (NodeState::Unknown, Timestamp::now()),
            trouble: None,
        }
    }

    /// Its words, if they are fresh.
    pub(crate) fn answers(&self) -> Option<&Status> {
        if self.silent.is_some() {
            return None;
        }
        self.status.as_ref().map(|(status, _)| status)
    }

    pub(crate) fn runs(&self) -> bool {
        matches!(self.container, Container::Running { .. })
    }

    pub(crate) fn down(&self) -> bool {
        matches!(self.container, Container::Absent | Container::Created | Container::Exited { .. })
    }

    /// Its process was started anew.
    pub(crate) fn begin(&mut self, founder: bool, bytes: u64) {
        let now = Instant::now();
        self.epoch += 1;
        self.starts += 1;
        self.container = Container::Running { networks: Vec::new(), image: String::new() };
        self.status = None;
        self.silent = Some(now);
        self.settled = false;
        self.founder = founder;
        self.outside = None;
        self.progress = (bytes, now);
        self.began_with = bytes;
        self.trouble = None;
    }
}

impl Writer {
    /// A writer was chosen; nothing is known of it yet.
    pub(crate) fn new(node: Option<NodeName>) -> Self {
        Self { node, since: Instant::now(), committed: None, stalled: None, denied: BTreeMap::new(), told: false }
    }
}

impl Known {
    pub(crate) fn new(order: ClusterOrder, record: Record) -> Self {
        let mut known = Self {
            order,
            nodes: BTreeMap::new(),
            writer: Writer::new(record.writer.clone()),
            record,
            endpoint: Endpoint::Not { reason: "Starting", message: "the endpoint was not looked at yet".to_owned() },
            state: (ClusterState::Recovering, Timestamp::now()),
            trouble: None,
            disk_free: None,
            dark: None,
            not_before: Instant::now(),
        };
        known.take_nodes();
        known
    }

    /// Takes the nodes of the order; those known stay as they are.
    pub(crate) fn take_nodes(&mut self) {
        let mut old = std::mem::take(&mut self.nodes);
        for (index, node) in self.order.nodes.iter().enumerate() {
            let settled = !self.record.joining.contains(&node.name);
            let entry = old.remove(&node.name).unwrap_or_else(|| Node::new(self.order.node_address(index), settled));
            self.nodes.insert(node.name.clone(), entry);
        }
    }

    /// Names in the order of the nodes.
    pub(crate) fn names(&self) -> Vec<NodeName> {
        self.order.nodes.iter().map(|node| node.name.clone()).collect()
    }

    pub(crate) fn index(&self, node: &NodeName) -> usize {
        self.order.nodes.iter().position(|other| other.name == *node).unwrap_or(0)
    }

    /// The newest primary view of the recorded history that a node just spoke of: its number and its members.
    pub(crate) fn newest_view(&self) -> Option<(u64, std::collections::BTreeSet<Ipv4Addr>)> {
        let history = self.record.history.as_ref().map(|position| position.uuid.as_str());
        let live = self.nodes.values().filter_map(Node::answers).filter(|status| status.primary && Some(status.position.uuid.as_str()) == history);
        live.max_by_key(|status| status.view).map(|status| (status.view, status.members.clone()))
    }

    /// Whether commits are acknowledged at present, by the probe.
    pub(crate) fn commits(&self) -> bool {
        self.writer.committed.is_some_and(|at| at.elapsed() < Duration::from_secs(4))
    }

    pub(crate) fn writer_address(&self) -> Option<(NodeName, Ipv4Addr)> {
        let name = self.writer.node.as_ref()?;
        Some((name.clone(), self.nodes.get(name)?.address))
    }
}

impl Cell {
    pub(crate) fn new(platform: Arc<Platform>, order: ClusterOrder, record: Record, password: String) -> Self {
        let folder = Folder::new(&platform.options.state, &order.cell);
        let name = order.cell.clone();
        let turns = std::array::from_fn(|_| tokio::sync::Mutex::default());
        Self { platform, name, folder, password, wake: Notify::new(), turns, known: Mutex::new(Known::new(order, record)) }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere leaves plain data behind, which stays readable.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.platform.engine
    }

    /// Waits until nobody else works on this tenant.
    pub(crate) async fn turn(&self, schema: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let number = schema.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.turns[number % self.turns.len()].lock().await
    }

    /// Changes the record: on disk first, then in memory.
    pub(crate) fn remember(&self, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        let mut known = self.known();
        let mut record = known.record.clone();
        change(&mut record);
        if record != known.record {
            // Under the lock, so that two changes cannot overtake each other on their way to the disk. It is one small file.
            self.folder.write_record(&record)?;
            known.record = record;
        }
        Ok(())
    }

    /// `<platform>-<cell>-data`.
    pub(crate) fn data_network(&self) -> String {
        format!("{}-{}-data", self.platform.options.platform, self.name)
    }

    /// `<platform>-<cell>`, which the engine's driver makes.
    pub(crate) fn app_network(&self) -> String {
        format!("{}-{}", self.platform.options.platform, self.name)
    }

    /// The name of the cluster, too.
    pub(crate) fn container(&self, part: impl std::fmt::Display) -> String {
        format!("{}-{}-{part}", self.platform.options.platform, self.name)
    }

    pub(crate) fn labels(&self, kind: &str) -> HashMap<String, String> {
        let labels = [
            ("dev.atoll.platform", self.platform.options.platform.as_str()),
            ("dev.atoll.cell", self.name.as_str()),
            ("dev.atoll.data", kind),
            ("dev.atoll.version", env!("CARGO_PKG_VERSION")),
        ];
        labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}
