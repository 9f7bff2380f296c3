//! Placement: which cell a tenant goes to, and why a tenant waits.
//!
//! A tenant goes to a cell of its product, in its region, that is ready, takes new tenants and has room: first where fewest tenants of its group
//! live, then where the largest share of room is free, then by name. Tenants are placed in order of creation, so that a younger one never takes the
//! room of an older one. A tenant without all of its domains waits. A cell that is being opened counts as if it stood, for as long as that goes in good
//! time: otherwise whichever of a platform's first cells is quicker by seconds would get everybody.
//! Cost: n log n over cells and tenants; asking again for a platform where nothing waits is one pass.

mod board;
mod outcome;

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::v1alpha1::{Tenant, TenantState};
use model::{CellName, TenantName, Typed};

use crate::domains::{self, Ownership};
use crate::{Report, Snapshot};
use board::Board;
pub use outcome::{Because, Outcome, Waiting};

/// The decision for each tenant that has no cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// By tenant. Tenants that have a cell are left out.
    pub outcomes: BTreeMap<TenantName, Outcome>,
    /// The order in which they were decided: commit in this order, so that counted room agrees.
    pub order: Vec<TenantName>,
}

impl Placement {
    /// The tenants that get a cell, in the order of the decision.
    pub fn placed(&self) -> impl Iterator<Item = (&TenantName, &CellName)> {
        self.order.iter().filter_map(|name| match self.outcomes.get(name)? {
            Outcome::Placed { cell, .. } => Some((name, cell)),
            Outcome::Waiting(_) | Outcome::NotWanted { .. } => None,
        })
    }

    /// The decision in sentences, with the next command where a tenant waits.
    pub fn report(&self) -> Report {
        let mut report = Report::default();
        for (name, outcome) in &self.outcomes {
            report.say(model::Kind::Tenant, name, outcome.reason(), outcome.message(), outcome.next(name));
        }
        report
    }
}

/// Places every tenant that has no cell, with domains decided by [`domains::decide`].
#[must_use]
pub fn place(snapshot: &Snapshot) -> Placement {
    place_with(snapshot, &domains::decide(snapshot))
}

/// The same with a decision about domains already made.
#[must_use]
pub fn place_with(snapshot: &Snapshot, ownership: &Ownership) -> Placement {
    let mut queue: Vec<_> = snapshot.tenants.iter().filter(|(_, tenant)| tenant.status.cell.is_none()).collect();
    if queue.is_empty() {
        return Placement::default();
    }
    queue.sort_by_key(|(name, tenant)| rank(name, tenant));
    let mut board = Board::new(snapshot);
    let mut placement = Placement::default();
    for (name, tenant) in queue {
        let outcome = decide(&mut board, ownership, name, tenant);
        placement.outcomes.insert(name.clone(), outcome);
        placement.order.push(name.clone());
    }
    placement
}

/// Who is placed first: the earliest created; those not yet stored last; then by name.
fn rank<'a>(name: &'a TenantName, tenant: &Typed<Tenant>) -> (bool, Option<Timestamp>, &'a TenantName) {
    let created = tenant.metadata.created_at;
    (created.is_none(), created, name)
}

fn decide(board: &mut Board<'_>, ownership: &Ownership, name: &TenantName, tenant: &Typed<Tenant>) -> Outcome {
    let spec = &tenant.spec;
    if tenant.metadata.deletion_requested_at.is_some() || spec.state == TenantState::Removed {
        return Outcome::NotWanted { reason: "Removed" };
    }
    if spec.state == TenantState::Suspended {
        return Outcome::NotWanted { reason: "Suspended" };
    }
    if let Some(conflict) = ownership.tenants.get(name).and_then(|domains| domains.conflicts.first()) {
        return Outcome::Waiting(Waiting::DomainTaken { domain: conflict.domain.clone(), by: conflict.owner.clone() });
    }
    let chosen = match &spec.cell {
        Some(cell) => board.pinned(cell, spec),
        None => board.best(spec),
    };
    match chosen {
        Ok((cell, because)) => {
            board.take(cell, spec);
            Outcome::Placed { cell: board.name(cell).clone(), because }
        }
        Err(waiting) => Outcome::Waiting(waiting),
    }
}

#[cfg(test)]
mod tests;
