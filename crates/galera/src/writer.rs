//! Who takes the writes, and who may leave without harm.

use model::NodeName;

/// What is known of one node of a living cluster. Given in the order of the nodes: the order of succession.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which node.
    pub node: NodeName,
    /// Its own word is `Synced` (or it gives a state without being blocked), in a primary view, and it answered just now.
    pub synced: bool,
    /// It gives another node its state at this moment.
    pub donor: bool,
    /// The view it is in; views of one history only rise.
    pub view: Option<u64>,
    /// It is the writer and its commit probe has failed for longer than allowed, or its process is gone.
    pub failed: bool,
}

/// Chooses the node that takes writes.
///
/// The present writer stays until it failed: no answer alone changes nothing. A successor is synced and in the newest view seen, so that a continued node
/// that still believes in an old view is never chosen; a node that is not a donor is preferred, then the order of the nodes. `None` when nobody may write.
#[must_use]
pub fn choose_writer<'a>(present: Option<&NodeName>, candidates: &'a [Candidate]) -> Option<&'a NodeName> {
    if let Some(kept) = candidates.iter().find(|candidate| Some(&candidate.node) == present && !candidate.failed) {
        return Some(&kept.node);
    }
    let newest = candidates.iter().filter(|candidate| !candidate.failed).filter_map(|candidate| candidate.view).max();
    candidates
        .iter()
        .filter(|candidate| candidate.synced && !candidate.failed && candidate.view == newest)
        .min_by_key(|candidate| candidate.donor)
        .map(|candidate| &candidate.node)
}

/// Why a node must stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MayNotLeave {
    /// It takes the writes: move them first.
    #[error("{0} takes the writes; another node must take them first")]
    Writer(NodeName),
    /// Without it fewer than two synced nodes are left.
    #[error("only {left} synced nodes would be left of {of}")]
    TooFew {
        /// Synced nodes that would be left.
        left: usize,
        /// Nodes of the cluster.
        of: usize,
    },
    /// It is not a node of this cluster.
    #[error("{0} is not a node of this cluster")]
    Unknown(NodeName),
}

/// Whether a node may be stopped on purpose while the cluster works: it is not the writer, and two synced nodes stay.
///
/// # Errors
/// [`MayNotLeave`] with the rule that keeps it.
pub fn may_leave(node: &NodeName, writer: Option<&NodeName>, candidates: &[Candidate]) -> Result<(), MayNotLeave> {
    if !candidates.iter().any(|candidate| candidate.node == *node) {
        return Err(MayNotLeave::Unknown(node.clone()));
    }
    if writer == Some(node) {
        return Err(MayNotLeave::Writer(node.clone()));
    }
    let left = candidates.iter().filter(|candidate| candidate.node != *node && candidate.synced && !candidate.failed).count();
    if left < 2 {
        return Err(MayNotLeave::TooFew { left, of: candidates.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
