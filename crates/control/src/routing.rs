//! The route table, from documents and what gates have acknowledged.
//!
//! A tenant that opens is published only after its gates know it; a tenant that closes is withdrawn at once. What was published in an earlier term stays:
//! `status.serving` says that gates were told then.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use engine::{InstanceState, Observed, roll};
use model::v1alpha1::{Cell, EdgeSpec, OperationState, RedirectCode, Tenant, TenantState, Verb};
use model::{CellName, DomainName, Generation, TenantName, Typed};
use routes::{CellEndpoint, Change, GateEndpoint, GateKey, GateTenantState, HostPattern, Record, Redirect, RedirectStatus, Refused, RouteState};
use tokio::time::Instant;

use crate::gates::Ack;
use crate::view::Known;
use crate::world::World;
use crate::{gates, names, wanted};

/// The whole table is compared this often, whatever is thought to have changed.
const WHOLE_EVERY: Duration = Duration::from_secs(600);

/// What was last published, by the cell it belongs to.
#[derive(Default)]
pub struct Lists {
    hosts: BTreeMap<CellName, Vec<HostPattern>>,
    /// When the whole table was last compared.
    whole: Option<Instant>,
}

/// Publishes what stands: the routes of those cells of which something may have changed, so that a change costs what its cell holds; now and then all. Gives
/// the generation in which it stands; `None` while some cell's key cannot be read: nothing half is ever published.
pub async fn publish(world: &World) -> Option<Generation> {
    let mut lists = world.routing.lock().await;
    let mut stale = world.view.take_stale();
    stale.all |= lists.whole.is_none_or(|at| at.elapsed() >= WHOLE_EVERY);
    if stale.all {
        world.feed.limit(world.view.read(|known| known.snapshot.platform_spec().limits));
    }
    let published = if stale.all { publish_all(world, &mut lists).await } else { publish_cells(world, &mut lists, &stale.cells).await };
    if published.is_none() {
        world.view.mark_stale(stale);
    }
    published
}

async fn publish_all(world: &World, lists: &mut Lists) -> Option<Generation> {
    let cells: Vec<_> = world.view.read(|known| known.by_cell.keys().cloned().collect());
    let keys = keys(world, &cells).await?;
    let (endpoints, records) = world.view.read(|known| {
        let tables: Vec<_> = keys.into_iter().filter_map(|(name, key)| table(world, known, &name, key)).collect();
        let (endpoints, records): (Vec<_>, Vec<_>) = tables.into_iter().unzip();
        (endpoints, records.concat())
    });
    lists.hosts.clear();
    for record in &records {
        lists.hosts.entry(record.cell.clone()).or_default().push(record.host.clone());
    }
    let (generation, refused) = world.feed.publish(&world.incarnation, world.floor(), endpoints, records);
    lists.whole = Some(Instant::now());
    tell_refused(&refused);
    Some(generation)
}

async fn publish_cells(world: &World, lists: &mut Lists, cells: &BTreeSet<CellName>) -> Option<Generation> {
    let stands = world.feed.table()?;
    let named: Vec<_> = cells.iter().cloned().collect();
    let mut keys = keys(world, &named).await?;
    let mut changes = Vec::new();
    let mut wanted: BTreeMap<&CellName, Vec<HostPattern>> = BTreeMap::new();
    world.view.read(|known| {
        for name in cells {
            let Some((endpoint, records)) = keys.remove(name).and_then(|key| table(world, known, name, key)) else { continue };
            if stands.endpoint(name.as_str()).is_none_or(|have| **have != endpoint) {
                changes.push(Change::SetCell(endpoint));
            }
            wanted.insert(name, records.iter().map(|record| record.host.clone()).collect());
            let changed = records.into_iter().filter(|record| stands.record(&record.host).is_none_or(|have| have != record.view()));
            changes.extend(changed.map(Change::SetRecord));
        }
    });
    let kept: HashSet<&HostPattern> = wanted.values().flatten().collect();
    for name in cells {
        let before = lists.hosts.get(name).into_iter().flatten();
        // Another cell may have it by now.
        let gone = before.filter(|host| !kept.contains(host) && stands.record(host).is_some_and(|have| have.cell == name.as_str()));
        changes.extend(gone.cloned().map(Change::RemoveRecord));
    }
    changes
        .extend(cells.iter().filter(|name| !wanted.contains_key(name) && stands.endpoint(name.as_str()).is_some()).cloned().map(Change::RemoveCell));
    drop(kept);
    let (generation, refused) = world.feed.change(changes)?;
    for name in cells {
        match wanted.remove(name) {
            Some(hosts) => lists.hosts.insert(name.clone(), hosts),
            None => lists.hosts.remove(name),
        };
    }
    tell_refused(&refused);
    Some(generation)
}

/// Keys of those cells that have tenants and a place; none while one of them cannot be read.
async fn keys(world: &World, cells: &[CellName]) -> Option<BTreeMap<CellName, GateKey>> {
    let mut keys = BTreeMap::new();
    for name in cells {
        let cell = world.view.read(|known| {
            let inhabited = known.by_cell.get(name).is_some_and(|tenants| !tenants.is_empty());
            known.snapshot.cells.get(name).filter(|cell| inhabited && cell.status.allocation.is_some()).cloned()
        });
        let Some(cell) = cell else { continue };
        match gates::key(world, &cell, name).await {
            Ok(key) => {
                keys.insert(name.clone(), key);
            }
            Err(error) => {
                tracing::warn!(cell = %name, %error, "routes are not published: the key of a cell cannot be read");
                return None;
            }
        }
    }
    Some(keys)
}

fn tell_refused(refused: &[Refused]) {
    for record in refused {
        tracing::warn!(host = %record.host, reason = ?record.reason, "a route is not served");
    }
}

/// How a cell is reached, and the records of its tenants.
fn table(world: &World, known: &Known, name: &CellName, key: GateKey) -> Option<(CellEndpoint, Vec<Record>)> {
    let cell = known.snapshot.cells.get(name)?;
    let observed = world.desk(name).observed();
    let endpoint = endpoint(known, name, cell, key, observed.as_deref());
    let acks = world.acks.of(name);
    let edge = known.snapshot.blueprint_of(cell).map(|blueprint| blueprint.edge).unwrap_or_default();
    let mut records = Vec::new();
    for tenant in known.by_cell.get(name)? {
        if let Some(document) = known.snapshot.tenants.get(tenant)
            && let Some(state) = state(known, tenant, document, &acks)
        {
            records.extend(tenant_records(known, tenant, document, name, state, edge));
        }
    }
    Some((endpoint, records))
}

fn endpoint(known: &Known, name: &CellName, cell: &Typed<Cell>, key: GateKey, observed: Option<&Observed>) -> CellEndpoint {
    let replicas = known.snapshot.blueprint_of(cell).map_or(2, |blueprint| blueprint.gates.replicas);
    let addresses = cell.status.allocation.as_ref().map(|allocation| wanted::gates(allocation, replicas)).unwrap_or_default();
    let leaves = |gate: &str| {
        let instances = observed.iter().flat_map(|observed| &observed.instances);
        let mut gates = instances.filter(|i| i.service.as_str() == roll::GATE && i.name.as_str() == gate);
        gates.any(|gate| gate.state == InstanceState::Draining)
    };
    let gates = addresses.into_iter().map(|(gate, address)| {
        let draining = leaves(gate.as_str());
        let region = Some(known.snapshot.region_of(cell).to_owned());
        GateEndpoint { name: gate, address: (address, names::GATE_ENTRY).into(), weight: 100, draining, region }
    });
    CellEndpoint { cell: name.clone(), gates: gates.collect(), key_id: key.id, key: key.key }
}

/// A record for each host of a tenant: of the domains that it both wants and owns those that are named, those that lead to one of them, and wildcards.
fn tenant_records(known: &Known, tenant: &TenantName, document: &Typed<Tenant>, cell: &CellName, state: RouteState, edge: EdgeSpec) -> Vec<Record> {
    let owned = |domain: &DomainName| known.snapshot.domains.get(&domain.document_name()).is_some_and(|claim| claim.spec.tenant == *tenant);
    let status = match document.spec.hosts.redirect {
        RedirectCode::Moved => RedirectStatus::Moved,
        RedirectCode::Permanent => RedirectStatus::Permanent,
    };
    let record = |host, to: Option<DomainName>| Record {
        host,
        tenant: tenant.clone(),
        cell: cell.clone(),
        epoch: document.status.epoch,
        state,
        redirect: to.map(|to| Redirect { to, status }),
        class: Some(document.spec.plan.clone()),
        edge,
    };
    // An alias of a domain that is somebody else's would send visitors to a stranger.
    let exact = document.spec.wanted_domains().into_iter().filter(|(domain, to)| owned(domain) && to.as_ref().is_none_or(owned));
    let wildcards =
        document.spec.hosts.wildcards.iter().filter(|domain| owned(domain)).map(|domain| record(HostPattern::Wildcard(domain.clone()), None));
    exact.map(|(domain, to)| record(HostPattern::Exact(domain), to)).chain(wildcards).collect()
}

/// How a tenant is published; `None`: not at all.
fn state(known: &Known, tenant: &TenantName, document: &Typed<Tenant>, acks: &BTreeMap<model::GateName, Ack>) -> Option<RouteState> {
    match document.status.serving? {
        TenantState::Removed => None,
        TenantState::Suspended => Some(RouteState::Suspended),
        TenantState::Active => {
            let operation = known.operation(document.status.operation.as_ref());
            let opening =
                operation.filter(|operation| !operation.status.state.ended()).map(|operation| (operation.spec.verb, operation.status.state));
            match opening {
                Some((Verb::TenantCreate | Verb::TenantResume, OperationState::Undoing)) => Some(RouteState::Suspended),
                Some((Verb::TenantCreate, _)) => knows(tenant, document, acks).then_some(RouteState::Open),
                Some((Verb::TenantResume, _)) => Some(if knows(tenant, document, acks) { RouteState::Open } else { RouteState::Suspended }),
                _ => Some(RouteState::Open),
            }
        }
    }
}

/// Whether some gate serves the tenant at its epoch.
fn knows(tenant: &TenantName, document: &Typed<Tenant>, acks: &BTreeMap<model::GateName, Ack>) -> bool {
    acks.values().any(|ack| {
        let mut tenants = ack.state.tenants.iter();
        tenants.any(|known| known.tenant == *tenant && known.epoch == document.status.epoch && known.state == GateTenantState::Open)
    })
}

/// Whether the published table serves a tenant like this. For steps that wait for it.
pub fn published(world: &World, tenant: &TenantName, wanted: Option<RouteState>) -> bool {
    world.view.read(|known| {
        let Some(document) = known.snapshot.tenants.get(tenant) else { return wanted.is_none() };
        let acks = document.status.cell.as_ref().map(|cell| world.acks.of(cell)).unwrap_or_default();
        state(known, tenant, document, &acks) == wanted
    })
}
