//! What a cell's documents ask for that is more than keeping it: opening, rolling, draining, closing.

use ipnet::Ipv4Net;
use model::v1alpha1::{Cell, Operation, Scheduling, Verb};
use model::{CellName, ConditionStatus, Typed};
use plan::Snapshot;
use plan::cells::{OPENING, OPENING_SLOWLY};
use serde_json::json;
use store::{Compare, StoreError, Write};

use crate::names;
use crate::operations::{self, Begin};
use crate::verbs;
use crate::view::Known;
use crate::world::World;

/// What is to be done about a cell.
enum Wish {
    Begin(Verb, serde_json::Value),
    Cancel(Box<Typed<Operation>>),
    Say { condition: &'static str, reason: String, message: String },
}

/// Looks at every cell's wishes and begins what is due.
pub async fn wishes(world: &World) -> Result<usize, StoreError> {
    let routes = world.ports.hosts.in_use().unwrap_or_else(|error| {
        tracing::warn!(%error, "the host's routes cannot be read");
        Vec::new()
    });
    let names: Vec<CellName> = world.view.read(|known| known.snapshot.cells.keys().cloned().collect());
    let mut begun = 0;
    for name in names {
        let Some((cell, wish)) = world.view.read(|known| {
            let cell = known.snapshot.cells.get(&name)?;
            Some((cell.clone(), wish(known, &name, cell, &routes)?))
        }) else {
            continue;
        };
        let done = fulfil(world, &cell, wish).await;
        match done {
            Ok(()) => begun += 1,
            // Somebody was quicker; the next look sees what they did.
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(begun)
}

fn wish(known: &Known, name: &CellName, cell: &Typed<Cell>, routes: &[Ipv4Net]) -> Option<Wish> {
    let deleted = cell.metadata.deletion_requested_at.is_some();
    if let Some(operation) = &cell.status.operation {
        return interrupt(known.operation(Some(operation))?, cell, deleted);
    }
    if deleted {
        let tenants = known.by_cell.get(name).map_or(0, std::collections::BTreeSet::len).max(cell.status.tenants as usize);
        if tenants == 0 {
            return Some(Wish::Begin(Verb::CellClose, json!({})));
        }
        let some: Vec<_> = known.by_cell.get(name).into_iter().flatten().take(5).cloned().collect();
        let message = super::judge::cannot_leave(name, u32::try_from(tenants).unwrap_or(u32::MAX), &some);
        return Some(Wish::Say { condition: "Closing", reason: "TenantsStay".to_owned(), message });
    }
    let Some(_) = &cell.status.allocation else { return open(&known.snapshot, name, cell, routes) };
    if let Some(serving) = cell.status.serving.as_ref().filter(|serving| **serving != cell.spec.blueprint) {
        return roll(&known.snapshot, cell, serving);
    }
    let decided = |condition: &str| cell.status.conditions.get(condition).is_some_and(|c| c.observed_generation == cell.metadata.generation);
    if cell.spec.scheduling == Scheduling::Draining && cell.status.serving.is_some() && !decided("DrainAsked") {
        return Some(Wish::Begin(Verb::CellDrain, json!({})));
    }
    None
}

/// A running operation whose goal is no longer wanted turns back where it still can.
fn interrupt(operation: &Typed<Operation>, cell: &Typed<Cell>, deleted: bool) -> Option<Wish> {
    let stale = match operation.spec.verb {
        // Tenants may have come as soon as it was ready: from then on it is closed like any other, never taken back under them.
        Verb::CellOpen => deleted && cell.status.tenants == 0,
        Verb::CellRoll => {
            let parameters = serde_json::from_value::<verbs::Roll>(operation.spec.parameters.clone());
            deleted || parameters.is_ok_and(|roll| roll.to != cell.spec.blueprint)
        }
        _ => false,
    };
    (stale && !operation.spec.cancel && !operation.status.state.ended()).then(|| Wish::Cancel(Box::new(operation.clone())))
}

/// Whether an operation of this spec already ended short of its goal, so that only another spec begins a new one.
fn refused(cell: &Typed<Cell>, condition: &str, passing: &[&str]) -> bool {
    let said = cell.status.conditions.get(condition).filter(|said| said.status == ConditionStatus::False);
    said.is_some_and(|said| said.observed_generation == cell.metadata.generation && !passing.contains(&said.reason.as_str()))
}

fn open(snapshot: &Snapshot, name: &CellName, cell: &Typed<Cell>, routes: &[Ipv4Net]) -> Option<Wish> {
    if refused(cell, "Opened", &[OPENING, OPENING_SLOWLY]) {
        return None;
    }
    if let Some(why) = unusable(snapshot, cell) {
        return Some(Wish::Say { condition: "Ready", reason: why.0, message: why.1 });
    }
    match plan::cells::allocate(snapshot, name, routes) {
        Ok(allocation) => Some(Wish::Begin(Verb::CellOpen, json!(verbs::Open { allocation }))),
        Err(error) => Some(Wish::Say { condition: "Ready", reason: error.reason().to_owned(), message: error.to_string() }),
    }
}

/// Why a cell cannot be made from the blueprint that it names.
fn unusable(snapshot: &Snapshot, cell: &Typed<Cell>) -> Option<(String, String)> {
    let name = &cell.spec.blueprint;
    let Some(blueprint) = snapshot.blueprints.get(name) else {
        return Some(("BlueprintUnknown".to_owned(), format!("blueprint {name} is not known")));
    };
    let refusal = plan::lint::blueprint(name, &blueprint.spec).refusal()?;
    Some(("LintFailed".to_owned(), format!("blueprint {name} is not accepted: {} ({})", refusal.message, refusal.code)))
}

fn roll(snapshot: &Snapshot, cell: &Typed<Cell>, serving: &model::DocumentName) -> Option<Wish> {
    let say = |reason: &str, message: String| Some(Wish::Say { condition: "Rolled", reason: reason.to_owned(), message });
    let passing = ["Rolling", "BlueprintUnknown", "LintFailed", "TooFull", "RolloutStopped"];
    if refused(cell, "Rolled", &passing) {
        return None;
    }
    if let Some((reason, message)) = unusable(snapshot, cell) {
        return say(&reason, message);
    }
    let to = cell.spec.blueprint.clone();
    let fits = snapshot.blueprints.get(&to).is_some_and(|blueprint| plan::cells::fits(cell, &blueprint.spec));
    if !fits {
        return say("TooFull", format!("{} tenants live here, {to} takes fewer", cell.status.tenants));
    }
    Some(Wish::Begin(Verb::CellRoll, json!(verbs::Roll { from: serving.clone(), to })))
}

async fn fulfil(world: &World, cell: &Typed<Cell>, wish: Wish) -> Result<(), StoreError> {
    match wish {
        Wish::Say { condition, reason, message } => {
            let now = world.now();
            let name = &cell.metadata.name;
            let generation = cell.metadata.generation;
            let written = world.update_status::<Cell>(name, |status, _, _| {
                status.conditions.set(condition, ConditionStatus::False, &reason, message.clone(), generation, now);
                if condition == "Ready" {
                    status.observed_generation = generation;
                }
            });
            written.await.map(drop)
        }
        Wish::Cancel(operation) => {
            let mut operation = *operation;
            operation.spec.cancel = true;
            let revision = Compare::Revision(store::key_of(&operation), operation.metadata.revision);
            world.commit(vec![revision], vec![store::spec_write(&operation)]).await.map(drop)
        }
        Wish::Begin(verb, parameters) => {
            let mut cell = cell.clone();
            let mut writes = Vec::new();
            if verb == Verb::CellOpen {
                if let Ok(open) = serde_json::from_value::<verbs::Open>(parameters.clone()) {
                    cell.status.allocation = Some(open.allocation);
                }
                let (now, generation) = (world.now(), cell.metadata.generation);
                cell.status.conditions.set("Opened", ConditionStatus::False, OPENING, "", generation, now);
                if !cell.metadata.finalizers.contains(names::CELL_FINALIZER) {
                    let add = [names::CELL_FINALIZER.to_owned()].into();
                    writes.push(Write::Finalizers { key: store::key_of(&cell), add, remove: Default::default() });
                }
            }
            let requested_by = cell.metadata.asked_by_or("reconciler:cells");
            let begin = Begin { verb, parameters, requested_by, compares: Vec::new(), writes };
            operations::begin(world, cell, begin, |status, operation| status.operation = Some(operation)).await
        }
    }
}
