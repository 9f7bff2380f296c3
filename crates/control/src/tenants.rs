//! Tenants: domains, placement, and what their documents ask for.

pub mod again;
pub mod certificates;
mod follow;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::v1alpha1::{Cell, Domain, DomainClaim, Operation, Tenant, TenantState, TenantStatus, Verb};
use model::{CellName, ConditionStatus, DomainName, Kind, TenantName, Typed};
use plan::domains::{Ownership, TenantDomains};
use plan::place::{Outcome, Placement};
use reconcile::Report;
use serde_json::json;
use store::{Compare, Key, StoreError, Write};

use crate::operations::{self, Begin};
use crate::view::Known;
use crate::world::World;
use crate::{names, verbs};

/// Documents of one commit.
const BATCH: usize = 40;

/// Looks at all tenants once.
pub async fn activate(world: &World) -> Result<Report, StoreError> {
    let ownership = world.view.read(|known| plan::domains::decide(&known.snapshot));
    release(world, &ownership).await?;
    let placement = world.view.read(|known| plan::place::place_with(&known.snapshot, &ownership));
    let placed = place(world, &ownership, &placement).await?;
    let begun = wishes(world, &ownership).await?;
    let followed = follow::follow(world).await?;
    let settings = settings(world).await;
    let report = Report::new(format!("{placed} placed, {begun} operations begun, {followed} followed their cells, {settings} settings written"));
    Ok(match next_due(world) {
        Some(after) => report.again(after),
        None => report,
    })
}

/// Deletes claims that no longer hold.
async fn release(world: &World, ownership: &Ownership) -> Result<(), StoreError> {
    for some in ownership.release.chunks(BATCH) {
        let key = |release: &plan::domains::Release| Key::new(Kind::Domain, release.domain.clone());
        let compares = some.iter().map(|release| Compare::Revision(key(release), release.revision)).collect();
        let writes = some.iter().map(|release| Write::Delete(key(release))).collect();
        calm(world.commit(compares, writes).await.map(drop))?;
    }
    Ok(())
}

/// Writes the statuses of tenants of whom something new is to be told.
async fn tell(world: &World, changed: &[Typed<Tenant>]) -> Result<(), StoreError> {
    for some in changed.chunks(BATCH) {
        let compares = some.iter().map(|tenant| Compare::Revision(store::key_of(tenant), tenant.metadata.revision)).collect();
        let writes = some.iter().map(store::status_write).collect();
        calm(world.commit(compares, writes).await.map(drop))?;
    }
    Ok(())
}

/// Somebody was quicker: the next look sees what they did.
fn calm(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Conflict(compare)) if !matches!(compare, Compare::Fence(_)) => Ok(()),
        other => other,
    }
}

/// Whether an operation of this spec already failed: only another spec is tried again.
fn refused(tenant: &Typed<Tenant>, condition: &str) -> bool {
    let said = tenant.status.conditions.get(condition).filter(|said| said.status == ConditionStatus::False);
    said.is_some_and(|said| said.observed_generation == tenant.metadata.generation)
}

/// Begins the creation of every tenant that gets a cell, and says why the others wait.
async fn place(world: &World, ownership: &Ownership, placement: &Placement) -> Result<usize, StoreError> {
    let mut placed = 0;
    for name in &placement.order {
        let (Some(outcome), Some(tenant)) = (placement.outcomes.get(name), world.view.read(|known| known.snapshot.tenants.get(name).cloned())) else {
            continue;
        };
        if tenant.status.operation.is_some() || tenant.status.cell.is_some() {
            continue;
        }
        if tenant.metadata.deletion_requested_at.is_some() {
            calm(let_go(world, &tenant).await)?;
            continue;
        }
        match outcome {
            Outcome::Placed { cell, .. } if again::not_before(&tenant, world.now()).is_none() => {
                let mine = ownership.tenants.get(name).cloned().unwrap_or_default();
                let done = take(world, &tenant, cell, &mine, &outcome.message()).await;
                placed += usize::from(done.is_ok());
                calm(done)?;
            }
            Outcome::Placed { .. } => {}
            Outcome::Waiting(_) | Outcome::NotWanted { .. } => {
                say(world, &tenant, |status, tenant, now| {
                    let generation = tenant.metadata.generation;
                    for condition in ["Placed", "Ready"] {
                        status.conditions.set(condition, ConditionStatus::False, outcome.reason(), outcome.message(), generation, now);
                    }
                    status.observed_generation = generation;
                })
                .await?;
            }
        }
    }
    Ok(placed)
}

/// Places a tenant: its room, its domains and its creation in one commit.
async fn take(world: &World, tenant: &Typed<Tenant>, name: &CellName, mine: &TenantDomains, why: &str) -> Result<(), StoreError> {
    let Some(cell) = world.view.read(|known| known.snapshot.cells.get(name).cloned()) else { return Ok(()) };
    let mut cell = Typed::<Cell>::clone(&cell);
    let now = world.now();
    let generation = tenant.metadata.generation;
    let mut compares = vec![Compare::Revision(store::key_of(&cell), cell.metadata.revision)];
    cell.status.tenants += 1;
    let mut writes = vec![store::status_write(&cell)];
    claim(tenant, &mine.claim, &mut compares, &mut writes);
    if !tenant.metadata.finalizers.contains(names::TENANT_FINALIZER) {
        let add = [names::TENANT_FINALIZER.to_owned()].into();
        writes.push(Write::Finalizers { key: store::key_of(tenant), add, remove: BTreeSet::new() });
    }
    let mut tenant = tenant.clone();
    let status = &mut tenant.status;
    status.epoch = status.epoch.next();
    status.cell = Some(name.clone());
    let schema = names::schema(&tenant.metadata);
    status.schema = Some(schema.clone());
    status.observed_generation = generation;
    status.conditions.set("Placed", ConditionStatus::True, "Placed", why, generation, now);
    status.conditions.set("DomainsOwned", ConditionStatus::True, "AsWanted", "", generation, now);
    for condition in ["Installed", "Ready"] {
        status.conditions.set(condition, ConditionStatus::False, "Working", "its site is being made", generation, now);
    }
    let parameters = json!(verbs::Create { cell: name.clone(), epoch: status.epoch, schema });
    let requested_by = tenant.metadata.asked_by_or("reconciler:placement");
    let begin = Begin { verb: Verb::TenantCreate, parameters, requested_by, compares, writes };
    operations::begin(world, tenant, begin, |status, operation| status.operation = Some(operation)).await
}

/// The compares and writes that claim domains.
fn claim(tenant: &Typed<Tenant>, domains: &[DomainName], compares: &mut Vec<Compare>, writes: &mut Vec<Write>) {
    let Ok(name) = TenantName::new(tenant.metadata.name.as_str()) else { return };
    for domain in domains {
        let claim = DomainClaim { tenant: name.clone(), tenant_uid: tenant.metadata.uid.clone() };
        let document = Typed::<Domain>::new(domain.document_name(), claim);
        compares.push(Compare::Absent(store::key_of(&document)));
        writes.push(store::spec_write(&document));
    }
}

/// Writes a tenant's status where it changes.
async fn say(
    world: &World,
    tenant: &Typed<Tenant>,
    mut change: impl FnMut(&mut TenantStatus, &Typed<Tenant>, Timestamp) + Send,
) -> Result<(), StoreError> {
    let now = world.now();
    let mut changed = tenant.clone();
    change(&mut changed.status, tenant, now);
    if changed.status == tenant.status {
        return Ok(());
    }
    let revision = Compare::Revision(store::key_of(tenant), tenant.metadata.revision);
    calm(world.commit(vec![revision], vec![store::status_write(&changed)]).await.map(drop))
}

/// Lets a deleted tenant go that has nothing anywhere.
async fn let_go(world: &World, tenant: &Typed<Tenant>) -> Result<(), StoreError> {
    let key = store::key_of(tenant);
    let remove = [names::TENANT_FINALIZER.to_owned()].into();
    let write = Write::Finalizers { key: key.clone(), add: BTreeSet::new(), remove };
    world.commit(vec![Compare::Revision(key, tenant.metadata.revision)], vec![write]).await.map(drop)
}

/// What is to be done about a placed tenant.
enum Wish {
    Begin(Verb, serde_json::Value),
    Cancel(Box<Typed<Operation>>),
    Domains(TenantDomains),
}

/// Looks at every placed tenant's wishes and begins what is due.
async fn wishes(world: &World, ownership: &Ownership) -> Result<usize, StoreError> {
    let now = world.now();
    let due: Vec<(Arc<Typed<Tenant>>, Wish)> = world.view.read(|known| {
        let grace = known.snapshot.platform_spec().grace.duration();
        let purge_at = now.saturating_add(SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX);
        let due = known.snapshot.tenants.iter().filter_map(|(name, tenant)| {
            let wish = wish(known, tenant, ownership.tenants.get(name), now, purge_at)?;
            Some((tenant.clone(), wish))
        });
        due.collect()
    });
    let mut begun = 0;
    for (tenant, wish) in due {
        let done = match wish {
            Wish::Begin(verb, parameters) => {
                begun += 1;
                let requested_by = tenant.metadata.asked_by_or("reconciler:tenants");
                let begin = Begin { verb, parameters, requested_by, compares: Vec::new(), writes: Vec::new() };
                operations::begin(world, Typed::clone(&tenant), begin, |status, operation| status.operation = Some(operation)).await
            }
            Wish::Cancel(mut operation) => {
                operation.spec.cancel = true;
                let revision = Compare::Revision(store::key_of(&operation), operation.metadata.revision);
                world.commit(vec![revision], vec![store::spec_write(&operation)]).await.map(drop)
            }
            Wish::Domains(mine) => domains(world, &tenant, &mine).await,
        };
        calm(done)?;
    }
    Ok(begun)
}

fn wish(known: &Known, tenant: &Arc<Typed<Tenant>>, mine: Option<&TenantDomains>, now: Timestamp, purge_at: Timestamp) -> Option<Wish> {
    let status = &tenant.status;
    let cell = status.cell.clone()?;
    let wanted = if tenant.metadata.deletion_requested_at.is_some() { TenantState::Removed } else { tenant.spec.state };
    if let Some(operation) = &status.operation {
        let operation = known.operation(Some(operation))?;
        let useless = operation.spec.verb == Verb::TenantCreate && wanted == TenantState::Removed;
        let open = !operation.status.state.ended() && !operation.spec.cancel;
        return (useless && open).then(|| Wish::Cancel(Box::new(Typed::clone(operation))));
    }
    let (from, schema) = (status.serving?, status.schema.clone()?);
    let due = status.purge_at.is_some_and(|at| at <= now);
    if from == TenantState::Removed && wanted == TenantState::Removed && due {
        return Some(Wish::Begin(Verb::TenantPurge, json!(verbs::Purge { cell, schema })));
    }
    if from != wanted && !refused(tenant, "ServedAsWanted") {
        return Some(match wanted {
            TenantState::Active => Wish::Begin(Verb::TenantResume, json!(verbs::Serve { cell, schema, from })),
            TenantState::Suspended => Wish::Begin(Verb::TenantSuspend, json!(verbs::Serve { cell, schema, from })),
            TenantState::Removed => Wish::Begin(Verb::TenantRemove, json!(verbs::Remove { cell, schema, from, purge_at })),
        });
    }
    let claims = mine.is_some_and(|mine| !mine.claim.is_empty());
    let stale = status.observed_generation != tenant.metadata.generation;
    let owned = status.conditions.is_true("DomainsOwned");
    let conflict = mine.is_some_and(|mine| !mine.conflicts.is_empty());
    (claims || stale || owned == conflict).then(|| Wish::Domains(mine.cloned().unwrap_or_default()))
}

/// Claims further domains of a placed tenant, and says which it cannot have.
async fn domains(world: &World, tenant: &Typed<Tenant>, mine: &TenantDomains) -> Result<(), StoreError> {
    let mut compares = vec![Compare::Revision(store::key_of(tenant), tenant.metadata.revision)];
    let mut writes = Vec::new();
    claim(tenant, &mine.claim, &mut compares, &mut writes);
    let (now, generation) = (world.now(), tenant.metadata.generation);
    let mut tenant = tenant.clone();
    let conditions = &mut tenant.status.conditions;
    match mine.conflicts.first() {
        Some(conflict) => {
            let message = format!("domain {} belongs to tenant {}", conflict.domain, conflict.owner);
            conditions.set("DomainsOwned", ConditionStatus::False, "DomainTaken", message, generation, now);
        }
        None => conditions.set("DomainsOwned", ConditionStatus::True, "AsWanted", "", generation, now),
    }
    tenant.status.observed_generation = generation;
    writes.push(store::status_write(&tenant));
    world.commit(compares, writes).await.map(drop)
}

/// Renders settings anew where what they are rendered from has changed. Gives how many were written.
async fn settings(world: &World) -> usize {
    let tenants: Vec<Arc<Typed<Tenant>>> = world.view.read(|known| {
        let placed = known.snapshot.tenants.values().filter(|t| t.status.cell.is_some() && t.status.serving.is_some());
        placed.filter(|t| t.status.operation.is_none()).cloned().collect()
    });
    let mut written = 0;
    for tenant in tenants {
        match verbs::keep_settings(world, &tenant).await {
            Ok(true) => written += 1,
            Ok(false) => {}
            Err(error) => tracing::warn!(tenant = %tenant.metadata.name, %error, "settings cannot be written"),
        }
    }
    written
}

/// How long until time alone changes what is to be done: a removed tenant's grace ends, or a failed creation is tried again.
fn next_due(world: &World) -> Option<Duration> {
    let now = world.now();
    let next = world.view.read(|known| {
        let free = known.snapshot.tenants.values().filter(|t| t.status.operation.is_none());
        free.filter_map(|tenant| match tenant.status.cell {
            Some(_) => tenant.status.purge_at,
            None => again::not_before(tenant, now).filter(|at| *at != Timestamp::MAX),
        })
        .min()
    });
    Some(Duration::try_from(next?.duration_since(now)).unwrap_or_default().max(Duration::from_millis(100)))
}
