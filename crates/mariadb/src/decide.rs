//! What is to be done next, from what is known. Pure but for the reading of monotonic time.
//!
//! Invariants: what runs and may be part of a living cluster is not ended for silence alone before the others have gone on without it; nothing that
//! receives data is ended while bytes move; only when every node is surely down is the cluster formed again, and then by proof.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use galera::{Candidate, choose_writer};
use model::NodeName;

use crate::cell::{Known, Node};
use crate::docker::Container;

/// A node that the others went on without, and that does not answer, is ended after this.
const EVICTED: Duration = Duration::from_secs(5);
/// A node that was in sync and does not answer is ended after this in any case.
const SILENT: Duration = Duration::from_secs(15);
/// A node that receives data and whose bytes do not move is ended after this.
const IDLE: Duration = Duration::from_secs(300);
/// A node outside of the primary view, which others have, is ended after this: it should have joined again by itself.
const OUTSIDE: Duration = Duration::from_secs(30);
/// Without any primary view, with a node surely down: the rest is ended after this, to be formed anew.
const BROKEN: Duration = Duration::from_secs(4);
/// The same when all nodes run: they may find each other again.
const SPLIT: Duration = Duration::from_secs(10);
/// A node whose commits hang for this long is ended: a clear crash heals, a grey one does not.
const HANGING: Duration = Duration::from_secs(8);
/// Write sets in a queue from which on a node holds the others back.
const BEHIND: u64 = 64;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Stop all nodes by order.
    Stop,
    /// Make the first data.
    Seed,
    /// Find out what every node has, prove who may form the cluster, and form it.
    Form,
    /// Record the members of the newest view.
    Members(BTreeSet<NodeName>),
    /// Let this node take writes.
    Writer(NodeName),
    /// This node is in sync: forget that it was joining.
    Settled(NodeName),
    /// Start this node into the living cluster.
    Join(NodeName),
    /// End this node's process, for this reason.
    End(NodeName, &'static str),
}

/// All that is to be done now.
pub(crate) fn decide(known: &Known) -> Vec<Act> {
    let busy = known.nodes.values().any(|node| node.busy);
    let unknown = known.nodes.values().any(|node| node.container == Container::Unknown);
    if known.record.retired {
        return Vec::new();
    }
    if known.record.stopped {
        let rest = known.nodes.values().any(|node| !node.down());
        return if rest && !busy && !unknown { vec![Act::Stop] } else { Vec::new() };
    }
    if known.record.history.is_none() {
        let ready = !busy && !unknown && known.not_before.elapsed() > Duration::ZERO;
        return if ready { vec![Act::Seed] } else { Vec::new() };
    }
    match known.newest_view() {
        Some((_, members)) => living(known, &members),
        None if busy || unknown => Vec::new(),
        None => dark(known),
    }
}

/// There is a primary view with these members.
fn living(known: &Known, members: &BTreeSet<Ipv4Addr>) -> Vec<Act> {
    let mut acts = Vec::new();
    let names: BTreeSet<NodeName> = known.nodes.iter().filter(|(_, node)| members.contains(&node.address)).map(|(name, _)| name.clone()).collect();
    if !names.is_empty() && names != known.record.members {
        acts.push(Act::Members(names));
    }
    let candidates = candidates(known, members);
    let chosen = choose_writer(known.writer.node.as_ref(), &candidates);
    if let Some(chosen) = chosen.filter(|chosen| Some(*chosen) != known.writer.node.as_ref()) {
        acts.push(Act::Writer(chosen.clone()));
    }
    // One at a time: two that enter at once can outvote a single member that still forms its view with them, and commits would stall.
    let mut entering = known.nodes.values().any(|node| node.busy || (node.runs() && !members.contains(&node.address)));
    for (name, node) in &known.nodes {
        if known.record.joining.contains(name) && node.answers().is_some_and(crate::sql::Status::synced) {
            acts.push(Act::Settled(name.clone()));
        }
        if node.busy {
            continue;
        }
        let inside = members.contains(&node.address);
        if node.down() && !inside && node.not_before.elapsed() > Duration::ZERO {
            if !std::mem::replace(&mut entering, true) {
                acts.push(Act::Join(name.clone()));
            }
        } else if node.runs()
            && let Some(why) = ends_among_living(node, inside)
        {
            acts.push(Act::End(name.clone(), why));
        }
    }
    acts.extend(hanging(known));
    acts
}

fn candidates(known: &Known, members: &BTreeSet<Ipv4Addr>) -> Vec<Candidate> {
    let candidate = |name: NodeName| {
        let node = &known.nodes[&name];
        let status = node.answers();
        let present = known.writer.node.as_ref() == Some(&name);
        Candidate {
            synced: status.is_some_and(|status| status.synced() || status.donor()),
            donor: status.is_some_and(crate::sql::Status::donor),
            view: status.filter(|status| status.primary).map(|status| status.view),
            // The others went on without it, or the daemon says that it ended.
            failed: present && (node.down() || !members.contains(&node.address)),
            node: name,
        }
    };
    known.names().into_iter().map(candidate).collect()
}

fn ends_among_living(node: &Node, inside: bool) -> Option<&'static str> {
    let silent = node.silent.map(|at| at.elapsed());
    if let Some(silent) = silent {
        if node.settled && silent > SILENT {
            return Some("it did not answer for 15 s");
        }
        if node.settled && !inside && silent > EVICTED {
            return Some("it does not answer and the others went on without it");
        }
        if !node.settled && node.progress.1.elapsed() > IDLE && silent > IDLE {
            return Some("it was joining and no byte moved for 5 minutes");
        }
    }
    let outside = node.outside.filter(|_| silent.is_none()).map(|at| at.elapsed());
    (!inside && outside.is_some_and(|outside| outside > OUTSIDE)).then_some("it stayed outside of the cluster for 30 s")
}

/// Commits hang although the nodes answer: the one that holds the others back is ended, else the writer itself.
fn hanging(known: &Known) -> Option<Act> {
    let writer = known.writer.node.as_ref()?;
    if known.writer.stalled.is_none_or(|at| at.elapsed() < HANGING) || known.nodes.get(writer)?.answers().is_none() {
        return None;
    }
    let free = |name: &NodeName| known.nodes.get(name).is_some_and(|node| !node.busy && node.settled);
    let synced = |node: &Node| node.answers().is_some_and(crate::sql::Status::synced);
    if known.nodes.iter().filter(|(name, node)| *name != writer && synced(node)).count() == 0 || known.nodes.values().any(|node| node.busy) {
        return None;
    }
    let queue = |node: &Node| node.answers().map_or(0, |status| status.queue);
    let behind = known.nodes.iter().filter(|(name, node)| *name != writer && free(name) && queue(node) >= BEHIND).max_by_key(|(_, node)| queue(node));
    match behind {
        Some((name, _)) => Some(Act::End(name.clone(), "it applies nothing and holds all commits back")),
        None => free(writer).then(|| Act::End(writer.clone(), "its commits hang")),
    }
}

/// Nobody speaks of a primary view, and nobody is busy.
fn dark(known: &Known) -> Vec<Act> {
    if known.nodes.values().all(Node::down) {
        return if known.not_before.elapsed() > Duration::ZERO { vec![Act::Form] } else { Vec::new() };
    }
    let founding = known.nodes.values().any(|node| node.runs() && node.founder && !node.settled);
    let some_down = known.nodes.values().any(Node::down);
    let dark = known.dark.map(|at| at.elapsed()).unwrap_or_default();
    let limit = if some_down { BROKEN } else { SPLIT };
    let ends = |node: &Node| {
        let silent = node.silent.map(|at| at.elapsed());
        match silent {
            None => node.outside.is_some_and(|at| at.elapsed() > limit).then_some("there is no primary view, and it cannot make one"),
            Some(silent) if node.settled => (silent > SILENT).then_some("it did not answer for 15 s"),
            // One that founds may recover for long; joiners have nobody to join.
            Some(_) if node.founder || founding => (node.progress.1.elapsed() > IDLE).then_some("it did not begin to answer for 5 minutes"),
            Some(_) => (dark > limit).then_some("there is nobody to join"),
        }
    };
    known.nodes.iter().filter(|(_, node)| node.runs()).filter_map(|(name, node)| Some(Act::End(name.clone(), ends(node)?))).collect()
}

#[cfg(test)]
mod tests;
