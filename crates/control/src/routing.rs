//! The route table as a whole, from documents and what gates have acknowledged.
//!
//! A tenant that opens is published only after its gates know it; a tenant that closes is withdrawn at once. What was published in an earlier term stays:
//! `status.serving` says that gates were told then.

use std::collections::BTreeMap;

use engine::{InstanceState, Observed, roll};
use model::v1alpha1::{Cell, OperationState, Tenant, TenantState, Verb};
use model::{CellName, DomainName, Generation, TenantName, Typed};
use routes::{CellEndpoint, GateEndpoint, GateKey, GateTenantState, HostPattern, Record, Refused, RouteState};

use crate::gates::Ack;
use crate::view::Known;
use crate::world::World;
use crate::{gates, names, wanted};

/// Publishes what stands. Gives the generation in which it stands; `None` while some cell's key cannot be read: nothing half is ever published.
pub async fn publish(world: &World) -> Option<Generation> {
    let cells: Vec<_> = world.view.read(|known| known.snapshot.cells.iter().map(|(name, cell)| (name.clone(), cell.clone())).collect());
    let mut keys = BTreeMap::new();
    for (name, cell) in cells {
        if cell.status.allocation.is_none() || world.view.read(|known| known.by_cell.get(&name).is_none_or(|tenants| tenants.is_empty())) {
            continue;
        }
        match gates::key(world, &cell, &name).await {
            Ok(key) => {
                keys.insert(name, key);
            }
            Err(error) => {
                tracing::warn!(cell = %name, %error, "routes are not published: the key of a cell cannot be read");
                return None;
            }
        }
    }
    let (endpoints, records) = world.view.read(|known| table(world, known, keys));
    world.feed.limit(world.view.read(|known| known.snapshot.platform_spec().limits));
    let (generation, refused) = world.feed.publish(&world.incarnation, world.floor(), endpoints, records);
    tell_refused(&refused);
    Some(generation)
}

fn tell_refused(refused: &[Refused]) {
    for record in refused {
        tracing::warn!(host = %record.host, reason = ?record.reason, "a route is not served");
    }
}

fn table(world: &World, known: &Known, mut keys: BTreeMap<CellName, GateKey>) -> (Vec<CellEndpoint>, Vec<Record>) {
    let mut endpoints = Vec::new();
    let mut records = Vec::new();
    for (name, tenants) in &known.by_cell {
        let (Some(cell), Some(key)) = (known.snapshot.cells.get(name), keys.remove(name)) else { continue };
        let observed = world.desk(name).observed();
        endpoints.push(endpoint(known, name, cell, key, observed.as_deref()));
        let acks = world.acks.of(name);
        for tenant in tenants {
            if let Some(document) = known.snapshot.tenants.get(tenant)
                && let Some(state) = state(known, tenant, document, &acks)
            {
                records.extend(domains(known, tenant, document).map(|domain| record(tenant, document, name, domain, state)));
            }
        }
    }
    (endpoints, records)
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

fn record(tenant: &TenantName, document: &Typed<Tenant>, cell: &CellName, domain: DomainName, state: RouteState) -> Record {
    let class = Some(document.spec.plan.clone());
    Record {
        host: HostPattern::Exact(domain),
        tenant: tenant.clone(),
        cell: cell.clone(),
        epoch: document.status.epoch,
        state,
        redirect: None,
        class,
    }
}

/// The domains that a tenant both wants and owns.
fn domains<'a>(known: &'a Known, tenant: &'a TenantName, document: &'a Typed<Tenant>) -> impl Iterator<Item = DomainName> + 'a {
    let owned = move |domain: &&DomainName| known.snapshot.domains.get(&domain.document_name()).is_some_and(|claim| claim.spec.tenant == *tenant);
    document.spec.domains.iter().filter(owned).cloned()
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
