//! What is known, as the port reports it. Pure.

use std::net::SocketAddr;

use data::{ClusterReport, ClusterState, NodeReport, NodeState, SQL_PORT};
use model::NodeName;

use crate::cell::{Endpoint, Known, Node};
use crate::docker::Container;

/// Refusals of the rules: waiting alone does not help, or helps only when a node comes back.
const BLOCKED: [&str; 8] =
    ["MemberRuns", "LastWriterMissing", "MemberMissing", "BehindRecord", "NoEvidence", "ForeignHistory", "NoMembers", "AlreadyFormed"];

/// Where the cluster stands.
pub(crate) fn cluster_state(known: &Known) -> ClusterState {
    if known.record.stopped {
        return if known.nodes.values().all(Node::down) { ClusterState::Stopped } else { ClusterState::Recovering };
    }
    if known.commits() {
        let whole = known.nodes.values().all(|node| node.answers().is_some_and(|status| status.synced() || status.donor()));
        return if whole && known.endpoint == Endpoint::Up { ClusterState::Synced } else { ClusterState::Degraded };
    }
    if known.record.recorded.is_none() {
        return ClusterState::Seeding;
    }
    match &known.trouble {
        Some((reason, _)) if BLOCKED.contains(&reason.as_str()) => ClusterState::Blocked,
        _ => ClusterState::Recovering,
    }
}

/// Where a node stands.
pub(crate) fn node_state(known: &Known, name: &NodeName, node: &Node) -> NodeState {
    match (&node.container, node.answers()) {
        (_, Some(status)) if status.synced() => NodeState::Synced,
        (_, Some(status)) if status.donor() => NodeState::Donor,
        (_, Some(status)) if status.primary => NodeState::Joining,
        (Container::Running { .. }, Some(_)) => NodeState::Starting,
        (Container::Running { .. }, None) if node.settled => NodeState::Stuck,
        (Container::Running { .. }, None) if node.progress.0 != node.began_with => NodeState::Joining,
        (Container::Running { .. }, None) => NodeState::Starting,
        (Container::Unknown, _) if node.busy && known.record.history.is_none() => NodeState::Initialising,
        (Container::Unknown, _) => NodeState::Unknown,
        _ if node.busy && known.record.history.is_none() => NodeState::Initialising,
        _ if node.busy && !known.record.stopped && known.record.joining.contains(name) => NodeState::Starting,
        _ => NodeState::Down,
    }
}

/// The whole report.
pub(crate) fn cluster(known: &Known) -> ClusterReport {
    let state = cluster_state(known);
    let why = if state == ClusterState::Synced { None } else { Some(why(known, state)) };
    let writes = matches!(state, ClusterState::Synced | ClusterState::Degraded);
    ClusterReport {
        generation: known.order.generation,
        state,
        since: known.state.1,
        reason: why.as_ref().map(|(reason, _)| reason.clone()),
        message: why.map(|(_, message)| message),
        writer: known.writer.node.clone().filter(|_| writes),
        endpoint: (known.endpoint == Endpoint::Up).then(|| known.order.endpoint()),
        commit_age_ms: known.writer.committed.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
        nodes: known.nodes.iter().map(|(name, node)| (name.clone(), one(known, name, node))).collect(),
    }
}

fn one(known: &Known, name: &NodeName, node: &Node) -> NodeReport {
    let state = node_state(known, name, node);
    let status = node.answers();
    let why = match state {
        NodeState::Synced | NodeState::Donor => None,
        _ => Some(node.trouble.clone().unwrap_or_else(|| default_trouble(state, node))),
    };
    NodeReport {
        state,
        since: node.state.1,
        address: SocketAddr::new(node.address.into(), SQL_PORT),
        position: node.position.clone(),
        view: status.filter(|status| status.primary).map(|status| status.view),
        transferred: (state == NodeState::Joining).then(|| node.progress.0.saturating_sub(node.began_with)),
        flow_control_permille: status.map(|status| status.paused_permille),
        disk_free: known.disk_free,
        restarts: node.starts.saturating_sub(1),
        reason: why.as_ref().map(|(reason, _)| reason.clone()),
        message: why.map(|(_, message)| message),
    }
}

fn default_trouble(state: NodeState, node: &Node) -> (String, String) {
    let (reason, message) = match state {
        NodeState::Initialising => ("Initialising", "its data is being made".to_owned()),
        NodeState::Starting => ("Starting", "it starts and is not in the cluster yet".to_owned()),
        NodeState::Joining => ("Joining", "it receives what it lacks".to_owned()),
        NodeState::Stuck => {
            let seconds = node.silent.map_or(0, |at| at.elapsed().as_secs());
            ("Stuck", format!("it runs and has not answered for {seconds} s"))
        }
        NodeState::Unknown => ("Unknown", "the container engine cannot be asked, and it does not answer".to_owned()),
        _ => ("Down", "it does not run".to_owned()),
    };
    (reason.to_owned(), message)
}

fn why(known: &Known, state: ClusterState) -> (String, String) {
    let say = |reason: &str, message: String| (reason.to_owned(), message);
    match state {
        ClusterState::Stopped => return say("Stopped", "stopped by order; the data is kept".to_owned()),
        ClusterState::Recovering if known.record.stopped => return say("Stopping", "the nodes end, the writer last".to_owned()),
        ClusterState::Degraded => {
            let lacking: Vec<String> = known
                .nodes
                .iter()
                .map(|(name, node)| (name, node_state(known, name, node)))
                .filter(|(_, state)| !matches!(state, NodeState::Synced | NodeState::Donor))
                .map(|(name, state)| format!("{name} is {state:?}"))
                .collect();
            if !lacking.is_empty() {
                return say("NodeMissing", lacking.join(", "));
            }
            if let Endpoint::Not { reason, message } = &known.endpoint {
                return say(reason, message.clone());
            }
        }
        _ => {}
    }
    if let Some(trouble) = &known.trouble {
        return trouble.clone();
    }
    match state {
        ClusterState::Seeding => say("Seeding", "the cluster is made for the first time".to_owned()),
        ClusterState::Degraded => say("Settling", "the cluster becomes whole".to_owned()),
        _ => say("NoCommit", "no commit is accepted; the nodes are brought back".to_owned()),
    }
}
