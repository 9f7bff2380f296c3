//! Making data, finding positions, and starting nodes.
//!
//! Invariants: no node starts without a position that was just recovered (that of a seed never started was, when it was made), or with an empty folder; what cannot be used is put aside, never deleted, until the
//! node is in sync again; a cluster is formed by a [`galera::Proof`] only.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use galera::{Decision, Evidence, MemberEvidence, Position, Proof, SeedEvidence};
use model::NodeName;

use crate::cell::Cell;
use crate::docker::Wanted;
use crate::{Error, folder, settings};

/// Before the same is tried again after a refusal.
const AGAIN: Duration = Duration::from_secs(2);
/// Starts in a row that did not end in sync, after which a node gets everything anew.
const ANEW: u32 = 3;

/// What a container of a node is for.
enum Purpose {
    Once(&'static str),
    Serve,
}

fn wanted(cell: &Cell, node: &NodeName, purpose: Purpose, command: &[&str]) -> Wanted {
    let known = cell.known();
    let order = &known.order;
    let index = known.index(node);
    let uid = cell.platform.options.uids.mariadb;
    let home = cell.folder.node(node);
    let mut binds =
        vec![(home.join("data"), "/var/lib/mysql", true), (home.join("tmp"), "/atoll/tmp", true), (home.join("conf"), "/atoll/conf", false)];
    let serves = matches!(purpose, Purpose::Serve);
    if matches!(purpose, Purpose::Once("init")) {
        binds.push((cell.folder.secret(), "/atoll/secret/agent", false));
    }
    let (name, kind) = match purpose {
        Purpose::Once(what) => (cell.container(format_args!("{node}-{what}")), "job"),
        Purpose::Serve => (cell.container(node), "node"),
    };
    Wanted {
        name,
        image: order.mariadb_image.clone(),
        command: std::iter::once("atoll-node").chain(command.iter().copied()).map(str::to_owned).collect(),
        user: uid,
        labels: cell.labels(kind),
        binds,
        memory_folders: vec![("/tmp", "size=64m,mode=1777".to_owned()), ("/run/mysqld", format!("size=1m,mode=0750,uid={uid},gid={uid}"))],
        network: serves.then(|| (cell.data_network(), order.node_address(index))),
        memory: Some(settings::memory(order)),
        nano_cpus: (serves && order.cpu.0 > 0).then(|| i64::from(order.cpu.0) * 1_000_000),
        pids: 400 + i64::from(order.connections),
        supervised: false,
    }
}

/// Writes a node's settings; donors are all others, the writer last.
fn configure(cell: &Cell, node: &NodeName) -> Result<(), Error> {
    let uid = cell.platform.options.uids.mariadb;
    cell.folder.make_node(node, uid)?;
    let text = {
        let known = cell.known();
        let mut donors: Vec<&NodeName> = known.order.nodes.iter().map(|other| &other.name).filter(|other| *other != node).collect();
        donors.sort_by_key(|other| known.writer.node.as_ref() == Some(*other));
        settings::node(&known.order, &cell.container("db"), known.index(node), &donors)
    };
    folder::replace(&cell.folder.node(node).join("conf").join("my.cnf"), text.as_bytes(), 0o400, Some(uid))
}

/// Makes the first node's data and copies it to the others.
pub(crate) async fn seed(cell: &Arc<Cell>) -> Result<(), Error> {
    let nodes = cell.known().names();
    let Some(first) = nodes.first().cloned() else { return Ok(()) };
    for node in &nodes {
        configure(cell, node)?;
        // Without a history on record there was never a cluster: what lies here is our own unfinished seed.
        folder::empty(&cell.folder.data(node))?;
    }
    let gateway = cell.known().order.agent_address().to_string();
    let output = cell.engine().run(wanted(cell, &first, Purpose::Once("init"), &["init", &gateway]), "the first initialisation").await?;
    let history = position(&output, "the first initialisation")?;
    if !history.is_evidence() {
        return Err(Error::Refused(format!("the first initialisation ended at {history}, which is no position")));
    }
    let copies = nodes.iter().skip(1).map(|node| (cell.folder.data(&first), cell.folder.data(node)));
    for (from, to) in copies {
        blocking(move || folder::copy(&from, &to)).await?;
    }
    tracing::info!(cell = %cell.name, %history, "the nodes are seeded");
    cell.remember(|record| record.history = Some(history))
}

/// Every node is down: finds what each has, and forms the cluster if the rules prove who may.
pub(crate) async fn form(cell: &Arc<Cell>) -> Result<(), Error> {
    ensure_network(cell).await?;
    let nodes = cell.known().names();
    let record = cell.known().record.clone();
    let found = join_all(nodes.iter().map(|node| evidence(cell, node, record.history.as_ref()))).await;
    {
        let mut known = cell.known();
        for member in &found {
            if let Some(node) = known.nodes.get_mut(&member.node) {
                node.position = member.position.clone().filter(Position::is_evidence).or(node.position.take());
            }
        }
    }
    let decision = match (&record.history, record.members.is_empty(), nodes.first()) {
        (Some(history), true, Some(first)) => {
            let begun =
                found.iter().any(|member| member.position.as_ref().is_some_and(|position| position.uuid == history.uuid && position != history));
            if begun {
                // Formed, and lost before anybody could use it or we could record it: nothing of anybody's is in it.
                tracing::warn!(cell = %cell.name, "the first forming was interrupted; the cluster is seeded anew");
                return cell.remember(|record| record.history = None);
            }
            galera::decide_seed(&SeedEvidence { node: first.clone(), history: history.clone(), ever_formed: false, seeded: true })
        }
        _ => galera::decide_bootstrap(&Evidence {
            nodes: nodes.clone(),
            members: record.members.clone(),
            writer: record.writer.clone(),
            recorded: record.recorded.clone(),
            // The endpoint gives connections to nobody but the writer on record, with us or without us, and it is recorded before it is told.
            witnessed: record.writer.is_some(),
            given_up: std::collections::BTreeSet::new(),
            found,
        }),
    };
    match decision {
        Decision::Bootstrap(proof) => found_by(cell, &proof).await,
        Decision::Wait { reason, message, .. } | Decision::Blocked { reason, message } => {
            tracing::error!(cell = %cell.name, reason, message, "the cluster may not be formed");
            let mut known = cell.known();
            known.trouble = Some((reason.to_owned(), message));
            known.not_before = tokio::time::Instant::now() + AGAIN;
            Ok(())
        }
    }
}

async fn found_by(cell: &Arc<Cell>, proof: &Proof) -> Result<(), Error> {
    let node = proof.node();
    tracing::warn!(cell = %cell.name, %node, position = %proof.position(), because = proof.because(), "the cluster is formed by proof");
    configure(cell, node)?;
    cell.remember(|record| {
        record.joining.remove(node);
    })?;
    let position = proof.position().to_string();
    serve(cell, node, &["run", &position, "--new-cluster"], true).await
}

/// Starts a node into the living cluster, from its recovered position or from nothing.
pub(crate) async fn join(cell: &Arc<Cell>, node: &NodeName) -> Result<(), Error> {
    ensure_network(cell).await?;
    configure(cell, node)?;
    let data = cell.folder.data(node);
    let (failures, history) = {
        let known = cell.known();
        (known.nodes.get(node).map_or(0, |node| node.failures), known.record.history.clone())
    };
    let usable = if folder::is_empty(&data) || folder::half_transferred(&data) || failures >= ANEW {
        None
    } else if let Some(seed) = history.clone().filter(|history| folder::untouched(&data, history)) {
        Some(seed)
    } else {
        let recovered = recover(cell, node).await.inspect_err(|error| {
            tracing::warn!(cell = %cell.name, %node, error = error.chain(), "the position cannot be recovered");
        });
        // Another history's data is nothing to go on from, either.
        recovered.ok().filter(|position| position.is_evidence() && history.as_ref().is_some_and(|history| history.uuid == position.uuid))
    };
    cell.remember(|record| {
        record.joining.insert(node.clone());
    })?;
    let Some(position) = usable else {
        if !folder::is_empty(&data) || folder::half_transferred(&data) {
            let aside = cell.folder.set_aside(node)?;
            tracing::warn!(cell = %cell.name, %node, aside = %aside.display(), failures, "the node's data cannot be used and is put aside");
        }
        configure(cell, node)?;
        folder::empty(&data)?;
        return serve(cell, node, &["run", "--empty"], false).await;
    };
    if let Some(node) = cell.known().nodes.get_mut(node) {
        node.position = Some(position.clone());
    }
    serve(cell, node, &["run", &position.to_string()], false).await
}

async fn serve(cell: &Arc<Cell>, node: &NodeName, command: &[&str], founder: bool) -> Result<(), Error> {
    let bytes = folder::size(&cell.folder.data(node));
    tracing::info!(cell = %cell.name, %node, command = command.join(" "), "the node starts");
    cell.engine().start(wanted(cell, node, Purpose::Serve, command)).await?;
    if let Some(node) = cell.known().nodes.get_mut(node) {
        node.begin(founder, bytes);
    }
    Ok(())
}

/// The network of nodes, endpoint and agent.
pub(crate) async fn ensure_network(cell: &Cell) -> Result<(), Error> {
    let (subnet, gateway) = {
        let known = cell.known();
        (known.order.data_network, known.order.agent_address())
    };
    cell.engine().ensure_network(&cell.data_network(), subnet, gateway, &cell.labels("network")).await
}

async fn evidence(cell: &Arc<Cell>, node: &NodeName, history: Option<&Position>) -> MemberEvidence {
    let data = cell.folder.data(node);
    let transfer_unfinished = cell.known().record.joining.contains(node) || folder::half_transferred(&data);
    let position = if folder::is_empty(&data) {
        None
    } else if let Some(history) = history.filter(|history| folder::untouched(&data, history)) {
        Some(history.clone())
    } else {
        recover(cell, node).await.inspect_err(|error| tracing::warn!(cell = %cell.name, %node, error = error.chain(), "no position")).ok()
    };
    MemberEvidence { node: node.clone(), position, transfer_unfinished, running: false }
}

async fn recover(cell: &Arc<Cell>, node: &NodeName) -> Result<Position, Error> {
    configure(cell, node)?;
    // The old process's container must not hold the data while another one reads it.
    cell.engine().remove(&cell.container(node)).await?;
    let output = cell.engine().run(wanted(cell, node, Purpose::Once("recover"), &["recover"]), "the recovery of a position").await?;
    position(&output, "the recovery of a position")
}

/// Reads the position of the last line of a container's output.
fn position(output: &str, what: &str) -> Result<Position, Error> {
    let line = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str(line).map_err(|_| Error::Job { what: what.to_owned(), code: 0, tail: format!("its last line is no position: {line:?}") })
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Refused(format!("a file operation was given up: {error}")))?
}
