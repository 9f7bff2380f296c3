//! Who may form a cluster anew after all of its nodes stopped: a proof, not a guess.
//!
//! What makes it safe: a node acknowledges a commit only after the commit is in its own redo log and binary log, so the last writer's disk holds
//! every acknowledged commit; other members have received each of them and may not have stored the newest. A missing member therefore matters exactly
//! when it may have been the last one to acknowledge. The number recorded outside the nodes is a second, independent lower bound.

use std::collections::BTreeSet;

use model::NodeName;
use serde::{Deserialize, Serialize};

use crate::Position;

/// What is known of one node while the cluster is down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberEvidence {
    /// Which node.
    pub node: NodeName,
    /// What `--wsrep-recover` found; `None` when it found nothing, failed, or the data is gone.
    pub position: Option<Position>,
    /// Our own marker says that a seed or a state transfer into this node began and did not end.
    pub transfer_unfinished: bool,
    /// Its process runs: it may still be part of a living cluster.
    pub running: bool,
}

/// All that the decision rests on. It is logged together with the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// All nodes of the cluster, in their order.
    pub nodes: Vec<NodeName>,
    /// Members of the last durable view; empty when none was ever recorded.
    pub members: BTreeSet<NodeName>,
    /// The node that was last told to take writes; recorded before it was told.
    pub writer: Option<NodeName>,
    /// The position of a commit that was acknowledged, recorded outside of the nodes.
    pub recorded: Option<Position>,
    /// Whether nobody but `writer` can have acknowledged a commit since it was recorded. Otherwise any node may have been the last writer.
    pub witnessed: bool,
    /// Members that a person declared lost for ever, taking the loss of what only they may hold.
    pub given_up: BTreeSet<NodeName>,
    /// What each node that can be asked has. Nodes outside of the last view may be here too.
    pub found: Vec<MemberEvidence>,
}

/// What may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The node in the proof may form the cluster; all others join it.
    Bootstrap(Proof),
    /// Not yet: these nodes could still bring better evidence.
    Wait {
        /// The nodes waited for.
        nodes: Vec<NodeName>,
        /// CamelCase reason: `MemberRuns`, `LastWriterMissing`, `MemberMissing`, `BehindRecord`.
        reason: &'static str,
        /// A sentence with the evidence.
        message: String,
    },
    /// Waiting does not help; a person must look.
    Blocked {
        /// CamelCase reason: `NoEvidence`, `ForeignHistory`, `BehindRecord`, `NoMembers`.
        reason: &'static str,
        /// A sentence with the evidence.
        message: String,
    },
}

/// The right to bootstrap one node at one position. Only the rules of this module make one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    node: NodeName,
    position: Position,
    because: String,
}

impl Proof {
    /// The node that may form the cluster.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// The position with which it must be started.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The evidence in a sentence, for the log.
    #[must_use]
    pub fn because(&self) -> &str {
        &self.because
    }
}

/// Decides which node may form the cluster anew, if any.
#[must_use]
pub fn decide_bootstrap(evidence: &Evidence) -> Decision {
    let Evidence { nodes, members, recorded, found, .. } = evidence;
    if members.is_empty() {
        return Decision::Blocked { reason: "NoMembers", message: "no view of this cluster was ever recorded".to_owned() };
    }
    let running: Vec<NodeName> = found.iter().filter(|member| member.running).map(|member| member.node.clone()).collect();
    if !running.is_empty() {
        let message = format!("{} still runs and may hold a view; it joins or stops first", list(&running));
        return Decision::Wait { nodes: running, reason: "MemberRuns", message };
    }
    let sound: Vec<(&NodeName, &Position)> = found
        .iter()
        .filter(|member| !member.transfer_unfinished)
        .filter_map(|member| Some((&member.node, member.position.as_ref().filter(|position| position.is_evidence())?)))
        .collect();
    if let Some(blocked) = foreign(recorded.as_ref(), &sound) {
        return blocked;
    }
    // A view recorded before a gap tells nothing of who was in the cluster after it.
    let missing: Vec<NodeName> = nodes
        .iter()
        .filter(|member| !evidence.witnessed || members.contains(*member) || evidence.writer.as_ref() == Some(*member))
        .filter(|member| !sound.iter().any(|(node, _)| node == member) && !evidence.given_up.contains(*member))
        .cloned()
        .collect();
    // Highest position; among equals the first in the order of the nodes.
    let rank = |node: &NodeName| nodes.iter().position(|member| member == node).unwrap_or(nodes.len());
    let Some((node, position)) = sound.iter().max_by(|a, b| a.1.seqno.cmp(&b.1.seqno).then(rank(b.0).cmp(&rank(a.0))).then(b.0.cmp(a.0))) else {
        return Decision::Blocked {
            reason: "NoEvidence",
            message: format!("none of {} has a usable position: data missing, nil, or half transferred", list(nodes)),
        };
    };
    if let Some(decision) = lacking(evidence, &missing, position) {
        return decision;
    }
    let all = sound.iter().map(|(node, position)| format!("{node} at {}", position.seqno)).collect::<Vec<_>>().join(", ");
    let bound = recorded.as_ref().map_or_else(|| "nothing recorded outside".to_owned(), |recorded| format!("{} recorded outside", recorded.seqno));
    let absent = if missing.is_empty() { String::new() } else { format!("; {} missing and never the last writer", list(&missing)) };
    let because = format!("{all}; {bound}{absent}; history {}", position.uuid);
    Decision::Bootstrap(Proof { node: (*node).clone(), position: (*position).clone(), because })
}

/// One history only: every position found, and the one recorded, must carry the same UUID.
fn foreign(recorded: Option<&Position>, sound: &[(&NodeName, &Position)]) -> Option<Decision> {
    let uuids: BTreeSet<&str> =
        recorded.into_iter().chain(sound.iter().map(|(_, position)| *position)).map(|position| position.uuid.as_str()).collect();
    (uuids.len() > 1).then(|| Decision::Blocked {
        reason: "ForeignHistory",
        message: format!("the nodes and the record speak of different histories: {}", uuids.into_iter().collect::<Vec<_>>().join(", ")),
    })
}

/// Whether something acknowledged could be on none of the nodes at hand.
fn lacking(evidence: &Evidence, missing: &[NodeName], best: &Position) -> Option<Decision> {
    let behind = evidence.recorded.as_ref().filter(|recorded| best.seqno < recorded.seqno);
    if let Some(recorded) = behind {
        let message = format!("the best node is at {}, a commit at {} was acknowledged", best.seqno, recorded.seqno);
        return Some(if missing.is_empty() {
            Decision::Blocked { reason: "BehindRecord", message }
        } else {
            Decision::Wait { nodes: missing.to_vec(), reason: "BehindRecord", message }
        });
    }
    if missing.is_empty() {
        return None;
    }
    let writer = evidence.writer.as_ref();
    if writer.is_none_or(|writer| missing.contains(writer)) {
        let message = format!("{} may hold acknowledged commits that no other node stored", list(missing));
        return Some(Decision::Wait { nodes: missing.to_vec(), reason: "LastWriterMissing", message });
    }
    if !evidence.witnessed || evidence.recorded.is_none() {
        let message = format!("nobody watched the cluster to its end, so {} may have been the last writer", list(missing));
        return Some(Decision::Wait { nodes: missing.to_vec(), reason: "MemberMissing", message });
    }
    None
}

/// What is known before the very first start of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeedEvidence {
    /// The first node.
    pub node: NodeName,
    /// The history chosen for the new cluster, recorded before the first start.
    pub history: Position,
    /// Whether a view of this cluster was ever recorded.
    pub ever_formed: bool,
    /// Whether the seed of every node was completed (all are copies of one data directory).
    pub seeded: bool,
}

/// Decides whether a cluster may be formed for the first time.
#[must_use]
pub fn decide_seed(evidence: &SeedEvidence) -> Decision {
    if evidence.ever_formed {
        let message = "a view of this cluster was recorded before: its data must be recovered, not seeded".to_owned();
        return Decision::Blocked { reason: "AlreadyFormed", message };
    }
    if !evidence.history.is_evidence() {
        let message = format!("{} is no history to begin with", evidence.history);
        return Decision::Blocked { reason: "NoEvidence", message };
    }
    if !evidence.seeded {
        let message = "the seed of the nodes is not complete".to_owned();
        return Decision::Wait { nodes: vec![evidence.node.clone()], reason: "Seeding", message };
    }
    let because = format!("first start of a seeded cluster; history {}", evidence.history.uuid);
    Decision::Bootstrap(Proof { node: evidence.node.clone(), position: evidence.history.clone(), because })
}

fn list(nodes: &[NodeName]) -> String {
    nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
