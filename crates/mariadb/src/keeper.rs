//! Keeps one cell's cluster: looks, decides, acts, for ever.
//!
//! Invariants: the loop itself never waits for anything slow, so that the choice of the writer never does; each node has at most one action at a time.

use std::sync::Arc;
use std::time::Duration;

use data::{ClusterState, NodeState};
use jiff::Timestamp;
use model::NodeName;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cell::{Cell, Known, Writer};
use crate::decide::{Act, decide};
use crate::docker::{Container, image_missing, subnet_clash};
use crate::{Error, check, endpoint, folder, probe, report, start};

/// Longest pause of the loop.
const PERIOD: Duration = Duration::from_millis(200);
/// Before an action that failed is tried again; doubled with each failure of a node.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest such pause.
const LONGEST: Duration = Duration::from_secs(30);
/// Time for a clean end by order.
const CLEAN: Duration = Duration::from_secs(120);

/// Runs everything of one cell until it is dropped; dropping it ends nothing of the cluster.
pub(crate) async fn run(cell: Arc<Cell>) {
    let mut tasks = JoinSet::new();
    tasks.spawn(check::serve(cell.clone()));
    tasks.spawn(probe::containers(cell.clone()));
    tasks.spawn(probe::commits(cell.clone()));
    tasks.spawn(endpoint::keep(cell.clone()));
    tasks.spawn(progress(cell.clone()));
    let nodes = cell.known().names();
    for node in nodes {
        tasks.spawn(probe::node(cell.clone(), node));
    }
    let mut works: JoinSet<()> = JoinSet::new();
    loop {
        step(&cell, &mut works);
        tokio::select! {
            () = cell.wake.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
        while let Some(ended) = works.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(cell = %cell.name, %error, "an action ended without a word");
            }
        }
    }
}

fn step(cell: &Arc<Cell>, works: &mut JoinSet<()>) {
    let acts = {
        let mut known = cell.known();
        known.dark = if known.newest_view().is_some() { None } else { known.dark.or(Some(Instant::now())) };
        crashed(cell, &mut known);
        let acts = decide(&known);
        note_states(&mut known);
        acts
    };
    for act in acts {
        match act {
            Act::Members(members) => keep(cell, cell.remember(|record| record.members = members)),
            Act::Writer(node) => choose(cell, node),
            Act::Settled(node) => settled(cell, node, works),
            Act::Stop => all(cell, works, |cell| Box::pin(async move { stop(&cell).await })),
            Act::Seed => all(cell, works, |cell| Box::pin(async move { start::seed(&cell).await })),
            Act::Form => all(cell, works, |cell| Box::pin(async move { start::form(&cell).await })),
            Act::Join(node) => one(cell, works, node, |cell, node| Box::pin(async move { start::join(&cell, &node).await })),
            Act::End(node, why) => {
                tracing::warn!(cell = %cell.name, %node, why, "the node is ended");
                one(cell, works, node, |cell, node| Box::pin(async move { end(&cell, &node).await }));
            }
        }
    }
}

fn keep(cell: &Cell, done: Result<(), Error>) {
    if let Err(error) = done {
        tracing::error!(cell = %cell.name, error = error.chain(), "a fact could not be recorded; nothing is done on it");
    }
}

/// Notes processes that ended by themselves, once each: how often, and when to try again.
fn crashed(cell: &Cell, known: &mut Known) {
    for (name, node) in &mut known.nodes {
        let Container::Exited { code, out_of_memory } = node.container else { continue };
        if node.busy || node.trouble.as_ref().is_some_and(|(reason, _)| reason == "Exited" || reason == "OutOfMemory") {
            continue;
        }
        let reason = if out_of_memory { "OutOfMemory" } else { "Exited" };
        node.trouble = Some((reason.to_owned(), format!("its process ended with {code}")));
        node.founder = false;
        // One that was in sync comes back at once; one that never got there waits longer each time.
        if node.settled {
            node.failures = 0;
        } else {
            node.failures += 1;
            node.not_before = Instant::now() + pause(node.failures);
            let (cell, name) = (cell.name.clone(), name.clone());
            tracing::warn!(%cell, node = %name, failures = node.failures, code, "the node ended before it was in sync");
        }
    }
}

fn pause(failures: u32) -> Duration {
    AGAIN.saturating_mul(1 << failures.saturating_sub(1).min(5)).min(LONGEST)
}

/// Another node is to take writes: its first commit puts it on record, and then the check port tells the endpoint.
fn choose(cell: &Cell, node: NodeName) {
    tracing::warn!(cell = %cell.name, %node, "the node is to take writes");
    cell.known().writer = Writer::new(Some(node));
}

fn settled(cell: &Arc<Cell>, node: NodeName, works: &mut JoinSet<()>) {
    tracing::info!(cell = %cell.name, %node, "the node is in sync");
    if let Some(node) = cell.known().nodes.get_mut(&node) {
        node.failures = 0;
    }
    keep(
        cell,
        cell.remember(|record| {
            record.joining.remove(&node);
        }),
    );
    let folder = cell.folder.clone();
    works.spawn(async move {
        if let Err(error) = start::blocking(move || folder.clear_aside(&node)).await {
            tracing::warn!(error = error.chain(), "what was put aside of a node stays");
        }
    });
}

/// Ends a node's process.
async fn end(cell: &Cell, node: &NodeName) -> Result<(), Error> {
    cell.engine().kill(&cell.container(node), "SIGKILL").await?;
    let name = cell.container(node);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let seen = cell.engine().inspect(&name).await;
        if !matches!(seen, Container::Running { .. }) || Instant::now() > deadline {
            if let Some(node) = cell.known().nodes.get_mut(node) {
                node.container = seen;
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Stops all nodes cleanly, the writer last, so that it has everything.
pub(crate) async fn stop(cell: &Cell) -> Result<(), Error> {
    endpoint::stop(cell).await?;
    let (mut nodes, writer) = {
        let known = cell.known();
        (known.names(), known.record.writer.clone())
    };
    nodes.sort_by_key(|node| Some(node) == writer.as_ref());
    for node in nodes {
        cell.engine().stop(&cell.container(&node), CLEAN).await?;
        let seen = cell.engine().inspect(&cell.container(&node)).await;
        let mut known = cell.known();
        if let Some(node) = known.nodes.get_mut(&node) {
            node.container = seen;
            node.status = None;
            node.silent = Some(Instant::now());
        }
    }
    cell.known().writer = Writer::new(writer);
    tracing::info!(cell = %cell.name, "the cluster is stopped");
    Ok(())
}

type Working = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Marks nodes as busy, and as free when it is dropped.
struct Busy {
    cell: Arc<Cell>,
    nodes: Vec<NodeName>,
}

impl Busy {
    fn new(cell: &Arc<Cell>, nodes: Vec<NodeName>) -> Self {
        let busy = Self { cell: cell.clone(), nodes };
        busy.mark(true);
        busy
    }

    fn mark(&self, value: bool) {
        let mut known = self.cell.known();
        for name in &self.nodes {
            if let Some(node) = known.nodes.get_mut(name) {
                node.busy = value;
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.mark(false);
        self.cell.wake.notify_one();
    }
}

fn all(cell: &Arc<Cell>, works: &mut JoinSet<()>, work: impl FnOnce(Arc<Cell>) -> Working) {
    let nodes = cell.known().names();
    let busy = Busy::new(cell, nodes);
    let working = work(cell.clone());
    works.spawn(async move {
        let failed = working.await.err();
        let mut known = busy.cell.known();
        if let Some(error) = failed {
            tracing::error!(cell = %busy.cell.name, error = error.chain(), "it is tried again");
            known.trouble = Some(reason(&error));
            known.not_before = Instant::now() + AGAIN;
            // Nothing is sure of containers after a half-done action.
            known.nodes.values_mut().for_each(|node| node.container = Container::Unknown);
        } else if known.not_before < Instant::now() {
            known.trouble = None;
            for node in known.nodes.values_mut().filter(|node| !node.runs()) {
                node.container = Container::Unknown;
            }
        }
        drop(known);
    });
}

fn one(cell: &Arc<Cell>, works: &mut JoinSet<()>, node: NodeName, work: impl FnOnce(Arc<Cell>, NodeName) -> Working) {
    let busy = Busy::new(cell, vec![node.clone()]);
    let working = work(cell.clone(), node.clone());
    works.spawn(async move {
        if let Err(error) = working.await {
            tracing::error!(cell = %busy.cell.name, %node, error = error.chain(), "it is tried again");
            let mut known = busy.cell.known();
            if let Some(node) = known.nodes.get_mut(&node) {
                node.failures += 1;
                node.not_before = Instant::now() + pause(node.failures);
                node.trouble = Some(reason(&error));
                node.container = Container::Unknown;
            }
        }
    });
}

fn reason(error: &Error) -> (String, String) {
    let reason = match error {
        Error::Engine { .. } if image_missing(error) => "ImageMissing",
        Error::Engine { .. } if subnet_clash(error) => "NetworkClash",
        Error::Engine { .. } | Error::Slow { .. } => "EngineFailed",
        Error::Job { .. } => "NodeFailed",
        Error::File { .. } | Error::Content { .. } => "FolderFailed",
        Error::Sql { .. } => "NodeSilent",
        Error::Refused(_) => "Refused",
    };
    (reason.to_owned(), error.chain())
}

/// Follows the bytes of nodes that are joining.
async fn progress(cell: Arc<Cell>) {
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let joining: Vec<NodeName> =
            cell.known().nodes.iter().filter(|(_, node)| node.runs() && !node.settled).map(|(name, _)| name.clone()).collect();
        for name in joining {
            let data = cell.folder.data(&name);
            let Ok(bytes) = tokio::task::spawn_blocking(move || folder::size(&data)).await else { continue };
            let mut known = cell.known();
            let Some(node) = known.nodes.get_mut(&name) else { continue };
            if node.progress.0 != bytes {
                node.progress = (bytes, Instant::now());
            }
        }
    }
}

/// Notes since when the cluster and its nodes stand as they do.
fn note_states(known: &mut Known) {
    let cluster = report::cluster_state(known);
    if known.state.0 != cluster {
        tracing::info!(cell = %known.order.cell, from = ?known.state.0, to = ?cluster, "the cluster's state changed");
        known.state = (cluster, Timestamp::now());
        if matches!(cluster, ClusterState::Synced) {
            known.trouble = None;
        }
    }
    let states: Vec<NodeState> = known.nodes.iter().map(|(name, node)| report::node_state(known, name, node)).collect();
    for (node, state) in known.nodes.values_mut().zip(states) {
        if node.state.0 != state {
            node.state = (state, Timestamp::now());
            if matches!(state, NodeState::Synced) {
                node.trouble = None;
            }
        }
    }
}
