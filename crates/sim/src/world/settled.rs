//! The account at rest: everything is as asked or says why not, and nothing is half-made or left behind.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use data::TenantAccess;
use model::v1alpha1::{Cell, Operation, OperationState, Tenant, TenantState, Verb};
use model::{CellName, ConditionStatus, DomainName, TenantName, Typed};
use plan::place::{self, Outcome};
use routes::{GateTenantState, Record, RouteState};

use super::docs::Docs;
use super::{Summary, World, controls::Controls};

/// Checks everything.
///
/// # Errors
/// What is not as it must be.
pub fn check(world: &World, controls: &Controls) -> Result<()> {
    let docs = Docs::read(&world.store)?;
    if let Some((name, operation)) = docs.open().find(|(_, operation)| !waits_for_a_person(operation)) {
        bail!("operation {name} has not ended: {operation:#?}");
    }
    let human = docs.operations.iter().find(|(_, operation)| operation.status.state == OperationState::NeedsHuman);
    if let Some((name, operation)) = human {
        bail!("operation {name} needs a person: {operation:#?}");
    }
    for (name, cell) in &docs.snapshot.cells {
        self::cell(&docs, name, cell)?;
        serves(world, name, cell)?;
    }
    let placement = place::place(&docs.snapshot);
    for (name, tenant) in &docs.snapshot.tenants {
        self::tenant(world, &docs, &placement, name, tenant)?;
    }
    claims(&docs)?;
    leftovers(world, &docs)?;
    doors(world, &docs)?;
    table(&docs, controls)
}

/// Whether an operation waits, with a reason, for a cell whose instances do not get ready: its blueprint must be changed, which nobody here does.
pub fn waits_for_a_person(operation: &Typed<Operation>) -> bool {
    let status = &operation.status;
    let waits = matches!(operation.spec.verb, Verb::CellOpen | Verb::CellRoll) && status.state == OperationState::Running;
    waits && status.steps.last().is_some_and(|step| step.message.is_some() || status.message.is_some())
}

/// A cell stands as asked, or says why not.
fn cell(docs: &Docs, name: &CellName, cell: &Typed<Cell>) -> Result<()> {
    let status = &cell.status;
    let said =
        |condition: &str| status.conditions.get(condition).filter(|said| said.status != ConditionStatus::True && !said.reason.is_empty()).is_some();
    if cell.metadata.deletion_requested_at.is_some() {
        ensure!(status.tenants > 0, "cell {name} is to be closed, is empty, and stands: {status:#?}");
        ensure!(said("Closing"), "cell {name} cannot be closed and does not say why: {status:#?}");
        return Ok(());
    }
    let generation = cell.metadata.generation;
    if status.allocation.is_none() {
        ensure!(said("Ready") || said("Opened"), "cell {name} was not made and does not say why: {status:#?}");
        return Ok(());
    }
    let ready = status.conditions.is_true("Ready");
    ensure!(
        ready || status.conditions.get("Ready").is_some_and(|said| !said.reason.is_empty()),
        "cell {name} is not ready and does not say why: {status:#?}"
    );
    ensure!(status.observed_generation == generation, "the status of cell {name} speaks of {}, not of {generation}", status.observed_generation);
    if ready && status.serving.as_ref() != Some(&cell.spec.blueprint) {
        ensure!(
            status.serving.is_some() && said("Rolled"),
            "cell {name} serves {:?}, {} is wanted, and nothing says why: {status:#?}",
            status.serving,
            cell.spec.blueprint
        );
    }
    // Images that become ready make every cell ready in the end.
    let good = docs.snapshot.blueprint_of(cell).is_some();
    ensure!(good, "cell {name} is made from nothing that stands");
    Ok(())
}

/// A cell that is said to be ready has an instance of each service that is, in truth.
fn serves(world: &World, name: &CellName, cell: &Typed<Cell>) -> Result<()> {
    if !cell.status.conditions.is_true("Ready") {
        return Ok(());
    }
    let stands = world.engine.look(name);
    for service in ["web", "php", "cache", "gate"] {
        let up = stands.instances.iter().any(|instance| instance.service.as_str() == service && instance.state == engine::InstanceState::Ready);
        ensure!(up, "cell {name} is said to be ready, and no {service} is: {stands:#?}");
    }
    Ok(())
}

/// A tenant is served as asked, or says why not; one without a cell waits for what placement says.
fn tenant(world: &World, docs: &Docs, placement: &place::Placement, name: &TenantName, tenant: &Typed<Tenant>) -> Result<()> {
    let status = &tenant.status;
    let wanted = if tenant.metadata.deletion_requested_at.is_some() { TenantState::Removed } else { tenant.spec.state };
    let generation = tenant.metadata.generation;
    let Some(home) = &status.cell else {
        ensure!(tenant.metadata.deletion_requested_at.is_none(), "tenant {name} is to go, lives nowhere, and stands");
        ensure!(status.serving.is_none() && status.schema.is_none(), "tenant {name} lives nowhere and is served: {status:#?}");
        return match placement.outcomes.get(name) {
            // A creation that failed, again and again, is tried again when the tenant is changed.
            Some(Outcome::Placed { cell, .. }) => {
                let given_up = status.creation.is_some_and(|creation| creation.generation == generation && creation.next_try_at.is_none());
                let said = status.conditions.get("Installed").filter(|said| said.status == ConditionStatus::False);
                ensure!(given_up && said.is_some(), "tenant {name} fits cell {cell} and was not placed: {status:#?}");
                Ok(())
            }
            Some(outcome) => {
                let said = status.conditions.get("Placed").map(|said| said.reason.as_str());
                ensure!(said == Some(outcome.reason()), "tenant {name} waits for {}, and says {said:?}: {status:#?}", outcome.reason());
                Ok(())
            }
            None => bail!("tenant {name} has no cell and no decision"),
        };
    };
    let serving = status.serving;
    if serving != Some(wanted) {
        let ready = docs.snapshot.cells.get(home).is_some_and(|cell| cell.status.conditions.is_true("Ready"));
        let said = status
            .conditions
            .get("ServedAsWanted")
            .is_some_and(|said| said.status == ConditionStatus::False && said.observed_generation == generation);
        ensure!(said || !ready, "tenant {name} is {serving:?}, {wanted:?} is wanted, its cell {home} is ready, and nothing says why: {status:#?}");
    }
    follows(docs, name, home, tenant)?;
    let schema = status.schema.clone().unwrap_or_default();
    let tenants = world.data.tenants(home);
    let account = tenants.get(&schema);
    ensure!(account.is_some(), "tenant {name} lives in {home} without schema {schema:?}");
    let locked = account.is_some_and(|account| account.order.access == TenantAccess::Locked);
    if serving == Some(wanted) {
        ensure!(locked == (wanted == TenantState::Removed), "tenant {name} is {wanted:?} and its account is {account:?}");
        ensure!(
            status.observed_generation == generation,
            "the status of tenant {name} speaks of {}, not of {generation}: {status:#?}",
            status.observed_generation
        );
    }
    Ok(())
}

/// A tenant that is served is ready exactly when its cell is.
fn follows(docs: &Docs, name: &TenantName, home: &CellName, tenant: &Typed<Tenant>) -> Result<()> {
    let said = |conditions: &model::Conditions| conditions.get("Ready").map(|said| said.status);
    let cell = docs.snapshot.cells.get(home).and_then(|cell| said(&cell.status.conditions));
    let own = said(&tenant.status.conditions);
    ensure!(
        tenant.status.serving != Some(TenantState::Active) || own == cell,
        "tenant {name} says {own:?} of its readiness, its cell {home} says {cell:?}: {:#?}",
        tenant.status
    );
    Ok(())
}

/// Tenants whose creation is to be tried again by itself, in a cell that can take them.
pub fn to_be_tried(docs: &Docs) -> bool {
    let placement = place::place(&docs.snapshot);
    placement.placed().any(|(name, _)| {
        docs.snapshot.tenants.get(name).is_some_and(|tenant| {
            tenant.status.creation.is_some_and(|creation| creation.generation == tenant.metadata.generation && creation.next_try_at.is_some())
        })
    })
}

/// Every claim belongs to a tenant that stands, lives somewhere and wants it.
fn claims(docs: &Docs) -> Result<()> {
    let ownership = plan::domains::decide(&docs.snapshot);
    if let Some(release) = ownership.release.first() {
        bail!("the claim on {} should have been released: {:?}", release.domain, release.because);
    }
    for (name, mine) in &ownership.tenants {
        let placed = docs.snapshot.tenants.get(name).is_some_and(|tenant| tenant.status.cell.is_some());
        ensure!(!placed || mine.claim.is_empty(), "tenant {name} lives somewhere and did not get {:?}", mine.claim);
    }
    Ok(())
}

/// Nothing stands on engine, agents or disk that no document asks for.
fn leftovers(world: &World, docs: &Docs) -> Result<()> {
    let homes: BTreeSet<(CellName, TenantName)> =
        docs.snapshot.tenants.iter().filter_map(|(name, tenant)| Some((tenant.status.cell.clone()?, name.clone()))).collect();
    let standing = |cell: &CellName| docs.snapshot.cells.get(cell).is_some_and(|cell| cell.status.allocation.is_some());
    let orders = world.data.orders();
    for cell in &world.cells {
        let made = world.engine.wanted(cell).is_some();
        ensure!(made == standing(cell), "cell {cell}: a document wants it made: {}, the engine holds it: {made}", standing(cell));
        let ordered = orders.contains_key(cell);
        ensure!(ordered == standing(cell), "cell {cell}: a document wants a cluster: {}, the agent holds one: {ordered}", standing(cell));
        let schemas: BTreeSet<String> = world.data.tenants(cell).into_keys().collect();
        let here = docs.snapshot.tenants.values().filter(|tenant| tenant.status.cell.as_ref() == Some(cell));
        let wanted: BTreeSet<String> = here.filter_map(|tenant| tenant.status.schema.clone()).collect();
        ensure!(schemas == wanted, "cell {cell} has the schemas {schemas:?}, {wanted:?} are wanted");
    }
    ensure!(world.files.folders() == homes, "folders {:?} stand, {homes:?} are wanted", world.files.folders());
    let settings: BTreeSet<(CellName, TenantName)> = world.files.settings().into_keys().collect();
    ensure!(settings == homes, "settings of {settings:?} stand, {homes:?} are wanted");
    let mut networks = BTreeSet::new();
    for (name, cell) in &docs.snapshot.cells {
        for network in cell.status.allocation.iter().flat_map(|allocation| [allocation.app_network, allocation.data_network]) {
            ensure!(networks.insert(network), "cell {name} shares network {network} with another");
        }
    }
    Ok(())
}

/// Gates know exactly the tenants that are served, with the state they are wanted in.
fn doors(world: &World, docs: &Docs) -> Result<()> {
    for ((cell, gate), state) in world.gates.states() {
        let stands = docs.snapshot.cells.get(&cell).is_some_and(|cell| cell.status.allocation.is_some() && cell.status.serving.is_some());
        // A closed cell's gates are gone with it; the fake keeps what they were last told.
        if !stands {
            continue;
        }
        let stands = world.engine.look(&cell);
        for service in &state.services {
            let settled = docs.snapshot.cells.get(&cell).is_some_and(|cell| cell.status.serving.as_ref() == Some(&cell.spec.blueprint));
            let calm = settled && docs.snapshot.cells.get(&cell).is_some_and(|cell| cell.status.conditions.is_true("ServicesReady"));
            ensure!(!calm || service.also.is_empty(), "{gate} of cell {cell} keeps doors for nobody: {service:#?}");
            for instance in &service.instances {
                let at = stands.instances.iter().find(|other| other.name == instance.name).and_then(|other| other.address);
                ensure!(at.is_none_or(|at| at == instance.address), "{gate} of cell {cell} looks for {} elsewhere than {at:?}", instance.name);
            }
        }
        let known: BTreeMap<&TenantName, _> = state.tenants.iter().map(|tenant| (&tenant.tenant, (tenant.epoch, tenant.state))).collect();
        for (name, tenant) in docs.snapshot.tenants.iter().filter(|(_, tenant)| tenant.status.cell.as_ref() == Some(&cell)) {
            let wanted = match tenant.status.serving {
                Some(TenantState::Active) => Some((tenant.status.epoch, GateTenantState::Open)),
                Some(TenantState::Suspended) => Some((tenant.status.epoch, GateTenantState::Suspended)),
                Some(TenantState::Removed) | None => None,
            };
            let told = known.get(name).copied().filter(|(_, state)| wanted.is_some() || *state == GateTenantState::Open);
            ensure!(told == wanted, "{gate} of cell {cell} knows tenant {name} as {told:?}, {wanted:?} is wanted");
        }
        let strangers: Vec<_> = known.keys().filter(|name| !docs.snapshot.tenants.contains_key(**name)).collect();
        ensure!(strangers.is_empty(), "{gate} of cell {cell} knows tenants that do not stand: {strangers:?}");
    }
    Ok(())
}

/// Routes say exactly what documents say.
fn table(docs: &Docs, controls: &Controls) -> Result<()> {
    let Some(table) = controls.active().and_then(|control| control.feed().snapshot()) else { bail!("no control works, or none has published") };
    let line = |record: &Record| {
        let to = record.redirect.as_ref().map(|redirect| redirect.to.as_str());
        format!("{} {} {} {} {:?} {to:?}", record.host, record.tenant, record.cell, record.epoch, record.state)
    };
    let published: BTreeSet<String> = table.records.iter().map(line).collect();
    let mut wanted = BTreeSet::new();
    for (name, tenant) in &docs.snapshot.tenants {
        let state = match tenant.status.serving {
            Some(TenantState::Active) => RouteState::Open,
            Some(TenantState::Suspended) => RouteState::Suspended,
            Some(TenantState::Removed) | None => continue,
        };
        let Some(cell) = &tenant.status.cell else { continue };
        let owned = |domain: &DomainName| docs.snapshot.domains.get(&domain.document_name()).is_some_and(|claim| claim.spec.tenant == *name);
        let mut want = |host: String, to: Option<&str>| wanted.insert(format!("{host} {name} {cell} {} {state:?} {to:?}", tenant.status.epoch));
        for (domain, to) in tenant.spec.wanted_domains() {
            if owned(&domain) && to.as_ref().is_none_or(owned) {
                want(domain.to_string(), to.as_ref().map(DomainName::as_str));
            }
        }
        for domain in tenant.spec.hosts.wildcards.iter().filter(|domain| owned(domain)) {
            want(format!("*.{domain}"), None);
        }
    }
    ensure!(published == wanted, "published is {published:#?}\nwanted is {wanted:#?}");
    Ok(())
}

/// Once the grace has ended, nothing of a removed tenant is left.
///
/// # Errors
/// What is left.
pub fn purged(world: &World) -> Result<()> {
    let docs = Docs::read(&world.store)?;
    for (name, tenant) in &docs.snapshot.tenants {
        let removed = tenant.metadata.deletion_requested_at.is_some() || tenant.spec.state == TenantState::Removed;
        let ready =
            tenant.status.cell.as_ref().and_then(|cell| docs.snapshot.cells.get(cell)).is_some_and(|cell| cell.status.conditions.is_true("Ready"));
        ensure!(!removed || tenant.status.cell.is_none() || !ready, "tenant {name} was removed long ago and still has data: {:#?}", tenant.status);
    }
    Ok(())
}

/// What keeps a world from coming to rest.
///
/// # Errors
/// When the store's documents cannot be read.
pub fn restless(world: &World) -> Result<String> {
    let docs = Docs::read(&world.store)?;
    let open: Vec<String> =
        docs.open().map(|(name, operation)| format!("{name}: {:?} {:?}", operation.status.state, operation.status.message)).collect();
    let cells: Vec<String> = docs.snapshot.cells.iter().map(|(name, cell)| format!("{name}: {:?}", cell.status.conditions)).collect();
    Ok(format!("open operations {open:#?}, cells {cells:#?}"))
}

/// Counts what there is in the end.
///
/// # Errors
/// When the store's documents cannot be read.
pub fn count(world: &World, summary: &mut Summary) -> Result<()> {
    let docs = Docs::read(&world.store)?;
    summary.operations = docs.operations.len() as u64;
    summary.served = docs.snapshot.tenants.values().filter(|tenant| tenant.status.conditions.is_true("Ready")).count() as u64;
    summary.cells = docs.snapshot.cells.len() as u64;
    Ok(())
}
