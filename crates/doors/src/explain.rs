//! Explanations: why something is as it is, since when, and what to type next. Pure.

use api::v1::{ExplainedCondition, Explanation};
use model::v1alpha1::{Operation, OperationState, Scheduling, StepState, TenantState};
use model::{Condition, Conditions, DocumentName, Kind, OperationName, Typed};

use crate::State;
use crate::status::{good, row};

/// Why a document is as it is; none where it is not known.
#[must_use]
pub fn explain(state: &State, kind: Kind, name: &DocumentName) -> Option<Explanation> {
    let row = row(state, kind, name)?;
    let mut conditions: Vec<Condition> = conditions(state, kind, name)?.iter().cloned().collect();
    conditions.sort_by_key(good);
    let conditions: Vec<_> = conditions.into_iter().map(|condition| explained(kind, name, condition)).collect();
    let operation = operation(state, kind, name);
    let mut next: Vec<String> = Vec::new();
    let mut suggest = |command: Option<String>| {
        // The command that led here would only lead here again.
        let command = command.filter(|command| *command != format!("atoll explain {} {name}", kind.as_str().to_lowercase()));
        if let Some(command) = command.filter(|command| !next.contains(command)) {
            next.push(command);
        }
    };
    for explained in conditions.iter().filter(|explained| !good(&explained.condition)) {
        suggest(explained.next.clone());
    }
    suggest(row.reason.as_deref().and_then(|reason| plan::codes::reason(reason)?.next_for(kind, name.as_str())));
    if let Some(operation) = operation {
        let word = if operation.status.state.ended() { "show" } else { "follow" };
        suggest(Some(format!("atoll operation {word} {}", operation.metadata.name)));
    }
    let (notes, more) = notes(state, kind, name);
    more.into_iter().for_each(|command| suggest(Some(command)));
    let operation = operation.filter(|found| found.metadata.name != *name).and_then(|found| OperationName::new(found.metadata.name.as_str()).ok());
    Some(Explanation { kind, name: name.clone(), row, conditions, operation, notes, next })
}

fn explained(kind: Kind, name: &DocumentName, condition: Condition) -> ExplainedCondition {
    let page = plan::codes::reason(&condition.reason);
    let meaning = page.map(|page| page.meaning.to_owned());
    let next = page.and_then(|page| page.next_for(kind, name.as_str())).filter(|_| !good(&condition));
    ExplainedCondition { condition, meaning, next }
}

/// The conditions of a document; empty for kinds that have none.
fn conditions(state: &State, kind: Kind, name: &DocumentName) -> Option<Conditions> {
    let snapshot = &state.snapshot;
    Some(match kind {
        Kind::Platform => snapshot.platform.as_ref()?.status.conditions.clone(),
        Kind::Machine => snapshot.machines.get(name.as_str())?.status.conditions.clone(),
        Kind::Blueprint => snapshot.blueprints.get(name)?.status.conditions.clone(),
        Kind::Cell => snapshot.cells.get(name.as_str())?.status.conditions.clone(),
        Kind::Tenant => snapshot.tenants.get(name.as_str())?.status.conditions.clone(),
        Kind::Domain | Kind::Operation => Conditions::default(),
        Kind::Secret => return None,
    })
}

/// The operation at work on a document, or the last one that failed; an operation itself.
fn operation<'s>(state: &'s State, kind: Kind, name: &DocumentName) -> Option<&'s Typed<Operation>> {
    if kind == Kind::Operation {
        return state.operations.get(name).map(|operation| &**operation);
    }
    let about = |operation: &&std::sync::Arc<Typed<Operation>>| operation.spec.subject.kind == kind && operation.spec.subject.name == *name;
    let rank = |operation: &&std::sync::Arc<Typed<Operation>>| (!operation.status.state.ended(), operation.metadata.created_at);
    let last = state.operations.values().filter(about).max_by_key(rank)?;
    (last.status.state != OperationState::Done).then_some(&**last)
}

/// Further sentences, and commands that they suggest.
fn notes(state: &State, kind: Kind, name: &DocumentName) -> (Vec<String>, Vec<String>) {
    match kind {
        Kind::Tenant => tenant(state, name),
        Kind::Cell => cell(state, name),
        Kind::Blueprint => blueprint(state, name),
        Kind::Operation => (state.operations.get(name).map(|operation| steps(operation)).unwrap_or_default(), Vec::new()),
        Kind::Domain => {
            let owner = state.snapshot.domains.get(name).map(|claim| &claim.spec.tenant);
            (Vec::new(), owner.map(|owner| format!("atoll tenant show {owner}")).into_iter().collect())
        }
        Kind::Platform | Kind::Machine | Kind::Secret => (Vec::new(), Vec::new()),
    }
}

/// What placement says of a tenant without a cell, and what follows for one that was removed.
fn tenant(state: &State, name: &DocumentName) -> (Vec<String>, Vec<String>) {
    let Some(tenant) = state.snapshot.tenants.get(name.as_str()) else { return Default::default() };
    let (mut notes, mut next) = (Vec::new(), Vec::new());
    if tenant.status.cell.is_none() {
        for line in plan::place::place(&state.snapshot).report().about(Kind::Tenant, name.as_str()) {
            notes.push(format!("placement: {}", line.message));
            next.extend(line.next.clone());
        }
    }
    match tenant.spec.state {
        TenantState::Active => {}
        TenantState::Suspended => notes.push("it was suspended on request; its data is kept".to_owned()),
        TenantState::Removed => {
            let until = tenant
                .status
                .purge_at
                .map_or_else(|| "its data is kept for the platform's grace period".to_owned(), |at| format!("its data is kept until {at}"));
            notes.push(format!("it was removed on request; {until}, and its domains stay its own until then"));
            next.push(format!("atoll tenant resume {name}"));
        }
    }
    (notes, next)
}

/// The parts of a cell that are not as wanted, and who keeps it from being emptied.
fn cell(state: &State, name: &DocumentName) -> (Vec<String>, Vec<String>) {
    let Some((cell_name, cell)) = state.snapshot.cells.get_key_value(name.as_str()) else { return Default::default() };
    let mut notes = Vec::new();
    for (service, summary) in cell.status.services.iter().filter(|(_, summary)| summary.ready < summary.wanted) {
        let why = summary.message.as_ref().or(summary.reason.as_ref()).map_or_else(String::new, |why| format!(": {why}"));
        notes.push(format!("service {service} has {} of {} instances ready{why}", summary.ready, summary.wanted));
    }
    for (gate, _) in cell.status.gates.iter().filter(|(_, gate)| !gate.ready) {
        notes.push(format!("{gate} does not serve"));
    }
    if let Some(database) = &cell.status.database {
        for (node, summary) in database.nodes.iter().filter(|(_, summary)| summary.state != "Synced") {
            let why = summary.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            notes.push(format!("database node {node} is {} since {}{why}", summary.state, summary.since));
        }
    }
    if let Some(serving) = cell.status.serving.as_ref().filter(|serving| **serving != cell.spec.blueprint) {
        notes.push(format!("it still serves {serving}; {} is wanted", cell.spec.blueprint));
    }
    if cell.spec.scheduling == Scheduling::Draining || cell.metadata.deletion_requested_at.is_some() {
        let stays = plan::cells::stays(&state.snapshot, cell_name);
        notes.extend(stays.iter().take(10).map(|(tenant, why)| format!("tenant {tenant} stays: {why}")));
        if stays.len() > 10 {
            notes.push(format!("and {} more tenants stay", stays.len() - 10));
        }
    }
    (notes, Vec::new())
}

/// Which cells a blueprint runs in.
fn blueprint(state: &State, name: &DocumentName) -> (Vec<String>, Vec<String>) {
    let cells = state.snapshot.cells.iter().filter(|(_, cell)| cell.spec.blueprint == *name);
    let cells: Vec<_> = cells.map(|(cell, _)| cell.as_str()).take(20).collect();
    match cells[..] {
        [] => (vec!["no cell is made from it".to_owned()], vec![format!("atoll cell open <name> --blueprint {name}")]),
        _ => (vec![format!("cells made from it: {}", cells.join(", "))], Vec::new()),
    }
}

/// The steps of an operation in sentences.
fn steps(operation: &Typed<Operation>) -> Vec<String> {
    let step = |step: &model::v1alpha1::StepRecord| {
        let word = match step.state {
            StepState::Begun => "under way",
            StepState::Done => "done",
            StepState::Undone => "taken back",
            StepState::Failed => "failed",
        };
        let tries = if step.attempts > 1 { format!(" after {} tries", step.attempts) } else { String::new() };
        let why = step.message.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        format!("step {}: {word}{tries}{why}", step.name)
    };
    let mut notes: Vec<_> = operation.status.steps.iter().map(step).collect();
    if operation.spec.cancel && !operation.status.state.ended() {
        notes.push("somebody asked for it to be cancelled; it turns back unless it is past its point of no return".to_owned());
    }
    if let Some(at) = operation.status.next_try_at.filter(|_| !operation.status.state.ended()) {
        notes.push(format!("it is tried again at {at}"));
    }
    notes
}
