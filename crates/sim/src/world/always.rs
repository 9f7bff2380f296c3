//! What must hold at every moment, whatever fails: looked at several times in each simulated second.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use model::v1alpha1::OperationState;
use model::{CellName, Epoch, Generation, Kind, Revision, TenantName};
use routes::{GateTenantState, RouteState};

use super::docs::Docs;
use super::{World, controls::Controls};

/// What was seen before, to see what goes backwards.
#[derive(Default)]
pub struct Memory {
    /// Highest epoch of each tenant, by uid.
    epochs: BTreeMap<String, Epoch>,
    /// Where store, gates and routes stood at the last look.
    stood: Option<(Revision, u64, Option<Generation>)>,
    /// How often something had changed when it was looked at.
    pub looks: u64,
}

impl Memory {
    /// Looks once; nothing that is looked at can have changed without one of these numbers.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn look(&mut self, world: &World, controls: &Controls) -> Result<()> {
        let published = controls.active().and_then(|control| control.feed().stands()).map(|(generation, _)| generation);
        let stands = Some((world.store.head(), world.gates.pushes(), published));
        if self.stood == stands {
            return Ok(());
        }
        self.stood = stands;
        self.looks += 1;
        let docs = Docs::read(&world.store)?;
        room(&docs)?;
        operations(&docs)?;
        claims(&docs)?;
        self.epochs(&docs)?;
        owners(world)?;
        routes(world, controls)
    }

    fn epochs(&mut self, docs: &Docs) -> Result<()> {
        for (name, tenant) in &docs.snapshot.tenants {
            let now = tenant.status.epoch;
            let before = self.epochs.insert(tenant.metadata.uid.clone(), now).unwrap_or_default();
            ensure!(before <= now, "the epoch of tenant {name} fell from {before} to {now}");
        }
        Ok(())
    }
}

/// The count of a cell is what its tenants say, and never above what its blueprint takes.
fn room(docs: &Docs) -> Result<()> {
    let mut counted: BTreeMap<&CellName, u32> = BTreeMap::new();
    for (tenant, document) in &docs.snapshot.tenants {
        if let Some(cell) = &document.status.cell {
            let Some(home) = docs.snapshot.cells.get(cell) else { bail!("tenant {tenant} lives in cell {cell}, which does not stand") };
            let opened = home.status.conditions.is_true("Opened");
            ensure!(opened, "tenant {tenant} lives in cell {cell}, whose making may yet be taken back: {:#?}", home.status);
            *counted.entry(cell).or_default() += 1;
        }
    }
    for (name, cell) in &docs.snapshot.cells {
        let counted = counted.get(name).copied().unwrap_or_default();
        ensure!(cell.status.tenants == counted, "cell {name} counts {} tenants, {counted} live there", cell.status.tenants);
        let capacity = docs.snapshot.blueprint_of(cell).map_or(u32::MAX, |blueprint| blueprint.capacity.tenants);
        ensure!(counted <= capacity, "cell {name} has {counted} tenants of {capacity}");
    }
    Ok(())
}

/// One operation at most works on a subject, and the subject names it.
fn operations(docs: &Docs) -> Result<()> {
    for (name, operation) in docs.open() {
        let subject = &operation.spec.subject;
        let (stands, names) = match subject.kind {
            Kind::Tenant => docs.snapshot.tenants.get(subject.name.as_str()).map_or((false, None), |tenant| (true, tenant.status.operation.clone())),
            Kind::Cell => docs.snapshot.cells.get(subject.name.as_str()).map_or((false, None), |cell| (true, cell.status.operation.clone())),
            other => bail!("operation {name} works on a {other}"),
        };
        ensure!(stands, "operation {name} works on {} {}, which does not stand", subject.kind, subject.name);
        ensure!(names.as_ref() == Some(name), "operation {name} works on {} {}, which names {names:?}", subject.kind, subject.name);
    }
    let named = docs.snapshot.tenants.values().filter_map(|tenant| tenant.status.operation.as_ref());
    for name in named.chain(docs.snapshot.cells.values().filter_map(|cell| cell.status.operation.as_ref())) {
        let state = docs.operations.get(name).map(|operation| operation.status.state);
        let taken = state.is_some_and(|state| !state.ended() || state == OperationState::NeedsHuman);
        ensure!(taken, "a document is taken by operation {name}, which is {state:?}");
    }
    Ok(())
}

/// A tenant that is placed owns the domains of its claims; a claim names a tenant that once stood.
fn claims(docs: &Docs) -> Result<()> {
    for (domain, claim) in &docs.snapshot.domains {
        if let Some(tenant) = docs.snapshot.tenants.get(&claim.spec.tenant) {
            let same = tenant.metadata.uid == claim.spec.tenant_uid;
            ensure!(!same || tenant.status.cell.is_some(), "tenant {} owns {domain} and lives nowhere", claim.spec.tenant);
        }
    }
    Ok(())
}

/// No tenant is served by two cells under one number, and only the highest number is served.
fn owners(world: &World) -> Result<()> {
    let mut owners: BTreeMap<(TenantName, Epoch), CellName> = BTreeMap::new();
    for ((cell, gate), state) in world.gates.states() {
        if let Err(error) = state.check() {
            bail!("{gate} of cell {cell} was told what no gate takes: {error}");
        }
        for tenant in state.tenants.iter().filter(|tenant| tenant.state == GateTenantState::Open) {
            let other = owners.insert((tenant.tenant.clone(), tenant.epoch), cell.clone());
            if let Some(other) = other.filter(|other| *other != cell) {
                bail!("{gate} of cell {cell} and a gate of {other} both serve tenant {} at {}", tenant.tenant, tenant.epoch);
            }
        }
    }
    Ok(())
}

/// What is published open is open at a gate of its cell, at that number.
fn routes(world: &World, controls: &Controls) -> Result<()> {
    let Some(table) = controls.active().and_then(|control| control.feed().snapshot()) else { return Ok(()) };
    let states = world.gates.states();
    for record in table.records.iter().filter(|record| record.state == RouteState::Open) {
        let gates = states.iter().filter(|((cell, _), _)| *cell == record.cell);
        let known = gates.flat_map(|(_, state)| &state.tenants).any(|tenant| tenant.tenant == record.tenant && tenant.epoch == record.epoch);
        ensure!(
            known,
            "{} is published open to tenant {} in cell {} at {}, and no gate there knows it",
            record.host,
            record.tenant,
            record.cell,
            record.epoch
        );
    }
    Ok(())
}
