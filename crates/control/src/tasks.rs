//! Reconcilers as tasks: which look at what, how often, and who they wake.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::v1alpha1::{Blueprint, Machine, Platform};
use model::{CellName, ConditionStatus, DocumentName, MachineName};
use reconcile::{CancellationToken, Handle, Report, Task};
use store::StoreError;

use crate::view::CellWakes;
use crate::world::World;
use crate::{cells, gates, operations, routing, tenants};

/// Pause after a look that failed.
const BREATHER: Duration = Duration::from_millis(500);
/// How often a gate that knows everything is asked how it stands.
const ASK: Duration = Duration::from_secs(5);
/// How often old operations are looked for.
const CLEAN: Duration = Duration::from_secs(600);
/// How often it is looked how visitors' certificates stand: of that no document tells.
const CERTIFICATES: Duration = Duration::from_secs(10);
/// A cell whose name no platform uses: an agent that answers about it is reachable.
const NOBODY: &str = "atoll-nobody";

/// A reconciler of the whole platform.
pub enum Whole {
    /// Placement, domains and wishes of tenants.
    Tenants,
    /// Wishes of cells.
    Cells,
    /// The route table.
    Routes,
    /// What tenants are told of their visitors' certificates.
    Certificates,
    /// Lint of blueprints.
    Blueprints,
    /// Machines and platform.
    Machines,
    /// Operations that ended long ago.
    Clean,
}

struct WholeTask {
    world: Arc<World>,
    what: Whole,
}

#[async_trait]
impl Task for WholeTask {
    fn name(&self) -> String {
        match self.what {
            Whole::Tenants => "tenants",
            Whole::Cells => "cells",
            Whole::Routes => "routes",
            Whole::Certificates => "certificates",
            Whole::Blueprints => "blueprints",
            Whole::Machines => "machines",
            Whole::Clean => "clean",
        }
        .to_owned()
    }

    async fn activate(&self) -> Report {
        let world = &*self.world;
        let result = match self.what {
            Whole::Tenants => tenants::activate(world).await,
            Whole::Cells => cells::wishes(world).await.map(|begun| Report::new(format!("{begun} wishes"))),
            Whole::Routes => Ok(match routing::publish(world).await {
                Some(generation) => Report::new(format!("generation {generation} stands")),
                None => Report::new("nothing is published while a key cannot be read").again(BREATHER),
            }),
            Whole::Certificates => tenants::certificates::follow(world).await.map(|changed| Report::new(format!("{changed} tenants told"))),
            Whole::Blueprints => blueprints(world).await,
            Whole::Machines => machines(world).await,
            Whole::Clean => operations::clean(world).await,
        };
        report(&self.name(), result)
    }
}

fn report(task: &str, result: Result<Report, StoreError>) -> Report {
    result.unwrap_or_else(|error| {
        tracing::warn!(task, %error, "a look failed");
        Report::new(error.to_string()).again(BREATHER)
    })
}

/// Spawns the reconcilers of the whole platform.
pub fn spawn_whole(world: &Arc<World>, stop: &CancellationToken) -> Vec<Handle> {
    let wakes = world.view.wakes();
    let each = [
        (Whole::Tenants, wakes.tenants.clone(), world.options.period),
        (Whole::Cells, wakes.cells.clone(), world.options.period),
        (Whole::Routes, wakes.routes.clone(), world.options.period),
        (Whole::Certificates, reconcile::Signal::new(), CERTIFICATES),
        (Whole::Blueprints, wakes.blueprints.clone(), world.options.period),
        (Whole::Machines, wakes.machines.clone(), world.options.period.min(Duration::from_secs(5))),
        (Whole::Clean, reconcile::Signal::new(), CLEAN),
    ];
    let spawn = |(what, signal, every)| reconcile::spawn(Arc::new(WholeTask { world: world.clone(), what }), every, signal, stop.clone());
    each.into_iter().map(spawn).collect()
}

struct CellTask {
    world: Arc<World>,
    cell: CellName,
}

#[async_trait]
impl Task for CellTask {
    fn name(&self) -> String {
        format!("cell {}", self.cell)
    }

    async fn activate(&self) -> Report {
        let options = &self.world.options;
        let pass = cells::pass(&self.world, &self.cell).await;
        if pass.is_ok() {
            self.world.desk(&self.cell).note_look();
        }
        match pass {
            Ok(pass) if pass.status.is_none() => Report::new("nothing stands yet"),
            Ok(pass) if pass.busy => Report::new("on its way").again(self.world.pace(&self.cell)),
            Ok(_) => Report::new("as wanted").again(options.look_calm),
            Err(error) => report(&self.name(), Err(error)),
        }
    }
}

struct GateTask {
    world: Arc<World>,
    cell: CellName,
    index: usize,
}

#[async_trait]
impl Task for GateTask {
    fn name(&self) -> String {
        format!("gate {} of {}", self.index + 1, self.cell)
    }

    async fn activate(&self) -> Report {
        let world = &*self.world;
        let message = match gates::message(world, &self.cell).await {
            Ok(Some(message)) => message,
            Ok(None) => return Report::new("nothing to tell yet"),
            Err(error) => return Report::new(error.to_string()).again(BREATHER),
        };
        let Some(target) = message.targets.get(self.index) else { return Report::new("no such gate") };
        if let Err(error) = gates::tell_one(world, target, &message.state).await {
            return Report::new(error.to_string()).again(world.options.look_busy * 2);
        }
        let leaves = world.desk(&self.cell).observed().is_some_and(|observed| gates::leaving(&observed));
        if let Err(error) = gates::ask_one(world, target).await {
            return Report::new(error.to_string()).again(world.options.look_busy * 2);
        }
        if !leaves {
            return Report::new("told").again(ASK);
        }
        if let Err(error) = gates::release(world, &self.cell).await {
            tracing::warn!(cell = %self.cell, %error, "the engine was not told who may go");
        }
        Report::new("instances leave").again(world.options.look_busy)
    }
}

/// Keeps the tasks of every cell that stands, until stopped.
pub async fn keep_cells(world: Arc<World>, signal: reconcile::Signal, stop: CancellationToken) {
    let mut kept: BTreeMap<CellName, (usize, Vec<Handle>)> = BTreeMap::new();
    while !stop.is_cancelled() {
        let stand: BTreeMap<CellName, usize> = world.view.read(|known| {
            let cells = known.snapshot.cells.iter();
            cells
                .map(|(name, cell)| (name.clone(), cells::effective(known, cell).map_or(2, |(_, b)| b.spec.gates.replicas.min(4) as usize)))
                .collect()
        });
        let gone: Vec<CellName> = kept.iter().filter(|(name, (gates, _))| stand.get(*name) != Some(gates)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            if let Some((_, handles)) = kept.remove(&name) {
                handles.iter().for_each(Handle::abort);
                for handle in handles {
                    handle.stopped().await;
                }
            }
            world.view.wakes().forget(&name);
            if !stand.contains_key(&name) {
                world.forget_cell(&name);
            }
        }
        for (name, gates) in stand {
            kept.entry(name.clone()).or_insert_with(|| (gates, spawn_cell(&world, &name, gates, &stop)));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = signal.woken() => {}
        }
    }
    for (_, handles) in kept.into_values() {
        for handle in handles {
            handle.stopped().await;
        }
    }
}

fn spawn_cell(world: &Arc<World>, cell: &CellName, gates: usize, stop: &CancellationToken) -> Vec<Handle> {
    let wakes = CellWakes { cell: reconcile::Signal::new(), gates: (0..gates).map(|_| reconcile::Signal::new()).collect() };
    world.view.wakes().register(cell, wakes.clone());
    let period = world.options.period;
    let task = Arc::new(CellTask { world: world.clone(), cell: cell.clone() });
    let mut handles = vec![reconcile::spawn(task, period, wakes.cell, stop.clone())];
    for (index, signal) in wakes.gates.into_iter().enumerate() {
        let task = Arc::new(GateTask { world: world.clone(), cell: cell.clone(), index });
        handles.push(reconcile::spawn(task, period, signal, stop.clone()));
    }
    handles
}

/// Says of each blueprint whether it can be used.
async fn blueprints(world: &World) -> Result<Report, StoreError> {
    let all: Vec<_> = world.view.read(|known| known.snapshot.blueprints.values().cloned().collect());
    let now = world.now();
    for blueprint in &all {
        let generation = blueprint.metadata.generation;
        if blueprint.status.conditions.get("Accepted").is_some_and(|said| said.observed_generation == generation) {
            continue;
        }
        let refusal = plan::lint::blueprint(&blueprint.metadata.name, &blueprint.spec).refusal();
        let (holds, reason, message) = match refusal {
            None => (ConditionStatus::True, "Accepted".to_owned(), String::new()),
            Some(fault) => (ConditionStatus::False, "LintFailed".to_owned(), format!("{} ({})", fault.message, fault.code)),
        };
        let change = |status: &mut model::v1alpha1::BlueprintStatus, _: &_, _: &_| {
            status.conditions.set("Accepted", holds, &reason, message.clone(), generation, now);
        };
        world.update_status::<Blueprint>(&blueprint.metadata.name, change).await?;
    }
    Ok(Report::new(format!("{} blueprints", all.len())))
}

/// Says of each machine whether its agent answers, and of the platform whether all is well and where the next cell is due.
async fn machines(world: &World) -> Result<Report, StoreError> {
    let all: Vec<(MachineName, std::net::SocketAddr)> =
        world.view.read(|known| known.snapshot.machines.iter().map(|(name, machine)| (name.clone(), machine.spec.agent)).collect());
    let now = world.now();
    let mut lost = Vec::new();
    for (name, address) in &all {
        let Ok(nobody) = CellName::new(NOBODY) else { continue };
        let answer = tokio::time::timeout(Duration::from_secs(5), world.ports.machines.data(name, *address).observe(&nobody)).await;
        let trouble = match answer {
            Err(_) => Some("no answer within 5 s".to_owned()),
            Ok(Err(data::DataError::Unreachable(why))) => Some(why),
            Ok(_) => None,
        };
        let change = |status: &mut model::v1alpha1::MachineStatus, _: &_, metadata: &model::Metadata| {
            let generation = metadata.generation;
            match &trouble {
                None => status.conditions.set("Ready", ConditionStatus::True, "AsWanted", "", generation, now),
                Some(why) => status.conditions.set("Ready", ConditionStatus::Unknown, "AgentUnreachable", why.clone(), generation, now),
            }
        };
        world.update_status::<Machine>(&name.into(), change).await?;
        if trouble.is_some() {
            lost.push(name.to_string());
        }
    }
    platform(world, &lost).await?;
    Ok(Report::new(format!("{} machines, {} do not answer", all.len(), lost.len())))
}

async fn platform(world: &World, lost: &[String]) -> Result<(), StoreError> {
    let (name, due): (Option<DocumentName>, Vec<String>) = world.view.read(|known| {
        let name = known.snapshot.platform.as_ref().map(|platform| platform.metadata.name.clone());
        (name, plan::cells::due(&known.snapshot).iter().map(|due| format!("{due}; next: {}", due.next())).collect())
    });
    let Some(name) = name else { return Ok(()) };
    let now = world.now();
    let change = |status: &mut model::v1alpha1::PlatformStatus, _: &_, metadata: &model::Metadata| {
        let generation = metadata.generation;
        if lost.is_empty() {
            status.conditions.set("Ready", ConditionStatus::True, "AsWanted", "", generation, now);
        } else {
            let message = format!("agents that do not answer: {}", lost.join(", "));
            status.conditions.set("Ready", ConditionStatus::False, "AgentUnreachable", message, generation, now);
        }
        if due.is_empty() {
            status.conditions.set("RoomLeft", ConditionStatus::True, "AsWanted", "", generation, now);
        } else {
            status.conditions.set("RoomLeft", ConditionStatus::False, "NextCellDue", due.join("; "), generation, now);
        }
    };
    world.update_status::<Platform>(&name, change).await?;
    Ok(())
}
