//! The status: what every document says of itself, what is not as wanted first. Pure.

use std::collections::BTreeMap;

use api::v1::{About, StatusAnswer, StatusRow};
use jiff::Timestamp;
use model::v1alpha1::{Blueprint, Cell, Domain, Machine, Operation, OperationState, Platform, Scheduling, StepState, Tenant, TenantState};
use model::{Condition, ConditionStatus, Conditions, DocumentName, Generation, Kind, Metadata, Typed};

use crate::State;

/// Most rows of tenants that are as wanted.
const MOST_TENANTS: usize = 100;

/// How everything stands.
#[must_use]
pub fn status(state: &State, about: About) -> StatusAnswer {
    let snapshot = &state.snapshot;
    let mut rows: Vec<StatusRow> = snapshot.platform.iter().map(|platform| self::platform(platform)).collect();
    rows.extend(snapshot.machines.values().map(|machine| self::machine(machine)));
    // A blueprint says something only when it was not accepted.
    rows.extend(snapshot.blueprints.values().map(|blueprint| self::blueprint(blueprint)).filter(|row| !row.as_wanted && row.reason.is_some()));
    rows.extend(snapshot.cells.values().map(|cell| self::cell(state, cell)));
    let (good, bad): (Vec<_>, Vec<_>) = snapshot.tenants.values().map(|tenant| self::tenant(tenant)).partition(|row| row.as_wanted);
    let left_out = good.len().saturating_sub(MOST_TENANTS);
    rows.extend(bad);
    rows.extend(good.into_iter().take(MOST_TENANTS));
    let at_work = state.operations.values().filter(|operation| operation.status.state != OperationState::Done && !superseded(state, operation));
    rows.extend(at_work.map(|operation| self::operation(operation)));
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let counts = [
        (Kind::Platform, usize::from(snapshot.platform.is_some())),
        (Kind::Machine, snapshot.machines.len()),
        (Kind::Blueprint, snapshot.blueprints.len()),
        (Kind::Cell, snapshot.cells.len()),
        (Kind::Tenant, snapshot.tenants.len()),
        (Kind::Domain, snapshot.domains.len()),
        (Kind::Operation, state.operations.len()),
    ];
    StatusAnswer {
        as_wanted: about.active && about.looked && rows.iter().all(|row| row.as_wanted),
        about,
        rows,
        counts: counts.into_iter().map(|(kind, number)| (kind.plural().to_owned(), count(number))).collect(),
        left_out: count(left_out),
    }
}

/// A failed operation is of interest only while nothing newer was tried on its subject and it did not end as somebody asked.
fn superseded(state: &State, operation: &Typed<Operation>) -> bool {
    if operation.status.state != OperationState::Failed {
        return false;
    }
    let later = |other: &Typed<Operation>| other.spec.subject == operation.spec.subject && other.metadata.created_at > operation.metadata.created_at;
    operation.spec.cancel || !subject_stands(state, operation) || state.operations.values().any(|other| later(other))
}

fn subject_stands(state: &State, operation: &Typed<Operation>) -> bool {
    let name = operation.spec.subject.name.as_str();
    match operation.spec.subject.kind {
        Kind::Tenant => state.snapshot.tenants.contains_key(name),
        Kind::Cell => state.snapshot.cells.contains_key(name),
        _ => true,
    }
}

/// The row of one document; none where it is not known.
#[must_use]
pub fn row(state: &State, kind: Kind, name: &DocumentName) -> Option<StatusRow> {
    let snapshot = &state.snapshot;
    match kind {
        Kind::Platform => snapshot.platform.as_ref().filter(|platform| platform.metadata.name == *name).map(|found| platform(found)),
        Kind::Machine => snapshot.machines.get(name.as_str()).map(|found| machine(found)),
        Kind::Blueprint => snapshot.blueprints.get(name).map(|found| blueprint(found)),
        Kind::Cell => snapshot.cells.get(name.as_str()).map(|found| cell(state, found)),
        Kind::Tenant => snapshot.tenants.get(name.as_str()).map(|found| tenant(found)),
        Kind::Domain => snapshot.domains.get(name).map(|found| domain(found)),
        Kind::Operation => state.operations.get(name).map(|found| operation(found)),
        Kind::Secret => None,
    }
}

/// Whether a condition says that all is well. `Stalled` says the opposite when it is true; a certificate that is being obtained is no trouble yet.
pub(crate) fn good(condition: &Condition) -> bool {
    match condition.r#type.as_str() {
        "Stalled" => condition.status == ConditionStatus::False,
        "CertificatesReady" => condition.status != ConditionStatus::False,
        _ => condition.status == ConditionStatus::True,
    }
}

/// A row from the condition that decides, with the first that is not well as its reason.
fn from_conditions(kind: Kind, metadata: &Metadata, conditions: &Conditions, decides: &str, observed: Option<Generation>) -> StatusRow {
    let ready = conditions.get(decides);
    let state = match ready.map(|condition| condition.status) {
        Some(ConditionStatus::True) => "Ready",
        Some(ConditionStatus::False) => "NotReady",
        Some(ConditionStatus::Unknown) => "Unknown",
        None => "NotReady",
    };
    let behind = observed.is_some_and(|observed| observed < metadata.generation);
    let cause = ready.filter(|condition| !good(condition)).or_else(|| conditions.iter().find(|condition| !good(condition)));
    let (reason, message, since) = match cause {
        Some(condition) => (Some(condition.reason.clone()), Some(condition.message.clone()), Some(condition.last_transition_time)),
        None if ready.is_none() => (Some("Starting".to_owned()), Some("control has not looked at it yet".to_owned()), metadata.created_at),
        None if behind => (Some("Working".to_owned()), Some("control has not looked at its change yet".to_owned()), None),
        None => (None, None, ready.map(|condition| condition.last_transition_time)),
    };
    let as_wanted = ready.is_some() && cause.is_none() && !behind;
    StatusRow { kind, name: metadata.name.clone(), state: state.to_owned(), as_wanted, reason, message, since, facts: BTreeMap::new() }
}

/// A row whose removal was asked for says so.
fn leaving(mut row: StatusRow, metadata: &Metadata) -> StatusRow {
    if let Some(asked) = metadata.deletion_requested_at {
        row.as_wanted = false;
        row.reason = Some("Draining".to_owned());
        row.message = Some("its removal was asked for and is under way".to_owned());
        row.since = Some(asked);
    }
    row
}

fn fact(row: &mut StatusRow, name: &str, value: impl Into<String>) {
    row.facts.insert(name.to_owned(), value.into());
}

fn platform(platform: &Typed<Platform>) -> StatusRow {
    let mut row = from_conditions(Kind::Platform, &platform.metadata, &platform.status.conditions, "Ready", None);
    let public = &platform.spec.public;
    fact(&mut row, "public", format!("{}://{}", public.scheme, std::net::SocketAddr::new(public.address, public.port)));
    fact(&mut row, "regions", platform.spec.regions.join(" "));
    row
}

fn machine(machine: &Typed<Machine>) -> StatusRow {
    let mut row = from_conditions(Kind::Machine, &machine.metadata, &machine.status.conditions, "Ready", None);
    fact(&mut row, "agent", machine.spec.agent.to_string());
    row
}

fn blueprint(blueprint: &Typed<Blueprint>) -> StatusRow {
    let mut row = from_conditions(Kind::Blueprint, &blueprint.metadata, &blueprint.status.conditions, "Accepted", None);
    fact(&mut row, "services", blueprint.spec.services.keys().map(|name| name.as_str()).collect::<Vec<_>>().join(" "));
    row
}

fn cell(state: &State, cell: &Typed<Cell>) -> StatusRow {
    let status = &cell.status;
    let mut row = from_conditions(Kind::Cell, &cell.metadata, &status.conditions, "Ready", Some(status.observed_generation));
    let capacity = state.snapshot.blueprint_of(cell).map(|blueprint| blueprint.capacity.tenants);
    fact(&mut row, "tenants", capacity.map_or_else(|| status.tenants.to_string(), |capacity| format!("{}/{capacity}", status.tenants)));
    fact(&mut row, "blueprint", cell.spec.blueprint.to_string());
    if let Some(serving) = status.serving.as_ref().filter(|serving| **serving != cell.spec.blueprint) {
        fact(&mut row, "serving", serving.to_string());
    }
    if cell.spec.scheduling != Scheduling::Open {
        fact(&mut row, "scheduling", format!("{:?}", cell.spec.scheduling));
    }
    let services: Vec<_> = status.services.iter().map(|(name, service)| format!("{name} {}/{}", service.ready, service.wanted)).collect();
    if !services.is_empty() {
        fact(&mut row, "services", services.join(" "));
    }
    if !status.gates.is_empty() {
        fact(&mut row, "gates", format!("{}/{}", status.gates.values().filter(|gate| gate.ready).count(), status.gates.len()));
    }
    if let Some(database) = &status.database {
        let synced = database.nodes.values().filter(|node| node.state == "Synced").count();
        let writer = database.writer.as_ref().map_or_else(|| "no writer".to_owned(), |writer| format!("writer {writer}"));
        fact(&mut row, "database", format!("{synced}/{} {writer}", database.nodes.len()));
    }
    leaving(row, &cell.metadata)
}

fn tenant(tenant: &Typed<Tenant>) -> StatusRow {
    let (spec, status) = (&tenant.spec, &tenant.status);
    let mut row = from_conditions(Kind::Tenant, &tenant.metadata, &status.conditions, "Ready", Some(status.observed_generation));
    let reached = status.serving == Some(spec.state) && status.operation.is_none();
    match spec.state {
        TenantState::Active => {}
        // Not served on request: its `Ready` says so too, and that is as wanted.
        wanted @ (TenantState::Suspended | TenantState::Removed) => {
            row.state = format!("{wanted:?}");
            row.as_wanted = reached;
            if reached {
                row.reason = None;
                row.message = None;
            }
        }
    }
    if let Some(primary) = spec.domains.first() {
        fact(&mut row, "domain", primary.to_string());
    }
    if let Some(cell) = &status.cell {
        fact(&mut row, "cell", cell.to_string());
    }
    if let Some(at) = status.purge_at {
        fact(&mut row, "deleted at", at.to_string());
    }
    if let Some(operation) = &status.operation {
        fact(&mut row, "operation", operation.to_string());
    }
    leaving(row, &tenant.metadata)
}

fn domain(domain: &Typed<Domain>) -> StatusRow {
    StatusRow {
        kind: Kind::Domain,
        name: domain.metadata.name.clone(),
        state: "Owned".to_owned(),
        as_wanted: true,
        reason: None,
        message: Some(format!("belongs to tenant {}", domain.spec.tenant)),
        since: domain.metadata.created_at,
        facts: BTreeMap::from([("tenant".to_owned(), domain.spec.tenant.to_string())]),
    }
}

fn operation(operation: &Typed<Operation>) -> StatusRow {
    let status = &operation.status;
    let step = status.steps.iter().rev().find(|step| step.state == StepState::Begun);
    let since: Option<Timestamp> = status.ended_at.or_else(|| step.map(|step| step.began_at)).or(operation.metadata.created_at);
    let subject = &operation.spec.subject;
    let mut facts = BTreeMap::from([
        ("subject".to_owned(), format!("{} {}", subject.kind.as_str().to_lowercase(), subject.name)),
        ("verb".to_owned(), format!("{:?}", operation.spec.verb)),
    ]);
    if let Some(step) = step {
        let tries = if step.attempts > 1 { format!(" (try {})", step.attempts) } else { String::new() };
        facts.insert("step".to_owned(), format!("{}{tries}", step.name));
    }
    if let Some(progress) = &status.progress {
        facts.insert("progress".to_owned(), format!("{}/{} {}", progress.done, progress.total, progress.unit));
    }
    // An operation on its way is as wanted unless it says why it is not.
    let as_wanted = match status.state {
        OperationState::Done | OperationState::Pending => true,
        OperationState::Running => step.is_none_or(|step| step.attempts <= 1),
        OperationState::Undoing | OperationState::Failed | OperationState::NeedsHuman => false,
    };
    StatusRow {
        kind: Kind::Operation,
        name: operation.metadata.name.clone(),
        state: format!("{:?}", status.state),
        as_wanted,
        reason: status.reason.clone(),
        message: status.message.clone().or_else(|| step.and_then(|step| step.message.clone())),
        since,
        facts,
    }
}
