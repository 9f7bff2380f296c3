//! One cell, from documents to running parts and back to a status: [`pass`] decides, acts and observes once.

mod judge;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use data::{ClusterReport, DataError, SharedData};
use engine::{EngineError, Observation};
use model::v1alpha1::{Blueprint, BlueprintSpec, Cell, CellStatus, Operation, OperationState, Verb};
use model::{CellName, DocumentName, Generation, Kind, Typed};
use store::{Key, StoreError, TypedStore};
use tokio::time::Instant;

use crate::view::Known;
use crate::wanted::Frame;
use crate::world::{Sent, World};
use crate::{gates, names};

pub use judge::{GateFact, cannot_leave};
pub use wishes::wishes;

/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the identities of gates are looked at.
const IDENTITIES: Duration = Duration::from_secs(3600);

/// What a pass found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pass {
    /// Whether the cell is on its way, so that it should be looked at again soon.
    pub busy: bool,
    /// The status as it stands now; none: the cell has nothing to look at.
    pub status: Option<CellStatus>,
    /// The blueprint whose parts engine and agent were told.
    pub blueprint: Option<DocumentName>,
}

/// The blueprint that a cell is made from now: the one it serves, until its roll has begun to replace services.
pub fn effective<'k>(known: &'k Known, cell: &Typed<Cell>) -> Option<(&'k DocumentName, &'k Arc<Typed<Blueprint>>)> {
    let wanted = &cell.spec.blueprint;
    let name = match &cell.status.serving {
        Some(serving) if serving != wanted && !rolls(known.operation(cell.status.operation.as_ref()), wanted) => serving,
        _ => wanted,
    };
    known.snapshot.blueprints.get_key_value(name)
}

/// Blueprints of which instances may run in a cell beside those of the effective one: what it serves, what it is to serve, and both ends of its roll.
pub fn beside<'k>(known: &'k Known, cell: &Typed<Cell>) -> Vec<&'k BlueprintSpec> {
    let roll = known.operation(cell.status.operation.as_ref()).filter(|operation| operation.spec.verb == Verb::CellRoll);
    let roll = roll.and_then(|operation| serde_json::from_value::<crate::verbs::Roll>(operation.spec.parameters.clone()).ok());
    let names = cell.status.serving.iter().chain([&cell.spec.blueprint]).chain(roll.iter().flat_map(|roll| [&roll.from, &roll.to]));
    let names: BTreeSet<&DocumentName> = names.filter(|name| effective(known, cell).is_none_or(|(effective, _)| effective != *name)).collect();
    names.into_iter().filter_map(|name| known.snapshot.blueprints.get(name)).map(|blueprint| &blueprint.spec).collect()
}

/// Whether an operation is replacing services by those of this blueprint.
fn rolls(operation: Option<&Arc<Typed<Operation>>>, to: &DocumentName) -> bool {
    operation.is_some_and(|operation| {
        let parameters = serde_json::from_value::<crate::verbs::Roll>(operation.spec.parameters.clone());
        let begun = operation.status.steps.iter().any(|step| step.name == crate::verbs::ROLL_SERVICES);
        let forward = operation.status.state == OperationState::Running;
        operation.spec.verb == Verb::CellRoll && forward && begun && parameters.is_ok_and(|roll| roll.to == *to)
    })
}

/// The agent that holds a cell's data.
pub fn agent(world: &World, cell: &CellName, machine: Option<&model::MachineName>) -> Result<SharedData, DataError> {
    let refuse = |message: String| DataError::Refused { reason: "NoMachine".to_owned(), message };
    let machine = machine.ok_or_else(|| refuse(format!("no machine is chosen for the data of {cell}")))?;
    let address: Option<SocketAddr> = world.view.read(|known| known.snapshot.machines.get(machine).map(|machine| machine.spec.agent));
    let address = address.ok_or_else(|| refuse(format!("machine {machine} is not known")))?;
    Ok(world.ports.machines.data(machine, address))
}

/// The agent of a cell as its document stands.
pub fn agent_of(world: &World, name: &CellName, cell: &Typed<Cell>) -> Result<SharedData, DataError> {
    agent(world, name, cell.status.allocation.as_ref().and_then(|allocation| allocation.machines.first()))
}

/// Looks at a cell once: tells engine and agent what is wanted where they do not know it, asks how it stands, and writes that down.
pub async fn pass(world: &World, name: &CellName) -> Result<Pass, StoreError> {
    let desk = world.desk(name);
    let mut sent = desk.turn.lock().await;
    let Some(cell) = world.store().read::<Cell>(&name.into()).await? else { return Ok(Pass::default()) };
    let Some(allocation) = cell.status.allocation.clone() else { return Ok(Pass::default()) };
    if !stays(world, &cell).await? {
        return Ok(Pass::default());
    }
    let found = world.view.read(|known| {
        let (name, blueprint) = effective(known, &cell)?;
        Some((name.clone(), blueprint.clone(), known.snapshot.platform_spec()))
    });
    let Some((blueprint_name, blueprint, platform)) = found else { return Ok(Pass::default()) };
    let frame = Frame { cell: name, allocation: &allocation, blueprint: &blueprint.spec, platform: &platform, state: &world.options.state };
    let no_database_yet = blueprint.spec.database.is_some() && cell.status.serving.is_none() && !cell.status.conditions.is_true("DatabaseReady");
    let told = tell_engine(world, &frame, no_database_yet, &mut sent).await;
    let ordered = tell_agent(world, &frame, &cell, &mut sent).await;
    let (observation, report) = futures::join!(observe(world, name), observe_data(world, name, &cell, blueprint.spec.database.is_some()));
    if let Observation::Known(observed) = &observation {
        if observed.generation != sent.wanted.as_ref().map(|(_, number)| *number) {
            sent.wanted = None;
        }
        if desk.observe(observed.clone()) {
            world.view.wakes().gates(name);
            world.view.mark_stale_cell(name);
            world.view.wakes().steps.poke();
        }
    }
    if let Some(Ok(report)) = &report
        && sent.order.as_ref().is_some_and(|(_, number)| report.generation < *number)
    {
        sent.order = None;
    }
    let gates = gate_facts(world, &frame, &observation);
    let facts = judge::Facts {
        cell: name,
        blueprint_name: &blueprint_name,
        services: frame.services().into_iter().map(|(name, wanted)| (name, wanted.replicas)).collect(),
        told: &told,
        observation: &observation,
        ordered: &ordered,
        report: report.as_ref(),
        gates,
        waits_for_database: no_database_yet,
        tenants: world.view.read(|known| known.by_cell.get(name).into_iter().flatten().take(5).cloned().collect()),
        now: world.now(),
    };
    let written = world.update_status::<Cell>(&name.into(), |status, spec, metadata| judge::judge(&facts, status, spec, metadata)).await?;
    let status = written.map(|cell| cell.status);
    let calm = status.as_ref().is_some_and(|status| status.operation.is_none() && whole(status));
    Ok(Pass { busy: !calm || world.desk(name).observed().is_some_and(|observed| gates::leaving(&observed)), status, blueprint: Some(blueprint_name) })
}

/// Whether every part of a cell is as wanted.
pub fn whole(status: &CellStatus) -> bool {
    ["ServicesReady", "GatesReady", "DatabaseReady", "DatabaseSynced"].iter().all(|part| status.conditions.is_true(part))
}

/// Whether the cell is to stand: not while it is closed, and while it is opened only once the step has begun whose undoing takes engine and agent back.
async fn stays(world: &World, cell: &Typed<Cell>) -> Result<bool, StoreError> {
    let Some(name) = &cell.status.operation else { return Ok(true) };
    let Some(document) = world.store().get(&Key::new(Kind::Operation, name)).await? else { return Ok(true) };
    world.view.event(store::Event::Put(document));
    Ok(world.view.read(|known| {
        let Some(operation) = known.operation(Some(name)) else { return true };
        let status = &operation.status;
        match (status.state, operation.spec.verb) {
            // It gave the cell back in the commit that ended it: the cell was read before, and is something else by now.
            (state, _) if state.ended() => false,
            (_, Verb::CellClose) => false,
            (state, Verb::CellOpen) => state == OperationState::Running && status.steps.iter().any(|step| step.name == crate::verbs::ORDER_DATABASE),
            _ => true,
        }
    }))
}

/// Tells the engine the wanted set where it does not know it. Gives the number under which it stands there.
async fn tell_engine(world: &World, frame: &Frame<'_>, no_database_yet: bool, sent: &mut Sent) -> Result<Generation, EngineError> {
    let mut wanted = frame.wanted(no_database_yet, Generation(0));
    if sent.identities.is_none_or(|at| at.elapsed() > IDENTITIES) {
        for gate in &wanted.gates {
            let made = world.ports.keys.gate_identity(frame.cell, &gate.name);
            made.map_err(|error| EngineError::Unreachable(format!("the identity of {} cannot be made: {error}", gate.name)))?;
        }
        sent.identities = Some(Instant::now());
    }
    let hash = hash(&wanted);
    if let Some((known, number)) = &sent.wanted
        && *known == hash
    {
        return Ok(*number);
    }
    wanted.generation = world.number();
    sent.wanted = None;
    let told = bounded(world.ports.engine.ensure(&wanted)).await.unwrap_or_else(|| Err(EngineError::Unreachable("no answer".to_owned())));
    told?;
    sent.wanted = Some((hash, wanted.generation));
    Ok(wanted.generation)
}

/// Orders the database cluster where the agent does not know it. `None`: the cell has none.
async fn tell_agent(world: &World, frame: &Frame<'_>, cell: &Typed<Cell>, sent: &mut Sent) -> Option<Result<Generation, DataError>> {
    let mut order = frame.order(Generation(0))?;
    let hash = hash(&order);
    if let Some((known, number)) = &sent.order
        && *known == hash
    {
        return Some(Ok(*number));
    }
    let agent = match agent_of(world, frame.cell, cell) {
        Ok(agent) => agent,
        Err(error) => return Some(Err(error)),
    };
    order.generation = world.number();
    sent.order = None;
    let told = bounded(agent.ensure(&order)).await.unwrap_or_else(|| Err(DataError::Unreachable("no answer".to_owned())));
    Some(told.map(|()| {
        sent.order = Some((hash, order.generation));
        order.generation
    }))
}

async fn observe(world: &World, name: &CellName) -> Observation {
    bounded(world.ports.engine.observe(name)).await.unwrap_or_else(|| Observation::Unknown("no answer".to_owned()))
}

async fn observe_data(world: &World, name: &CellName, cell: &Typed<Cell>, has: bool) -> Option<Result<ClusterReport, DataError>> {
    if !has {
        return None;
    }
    let agent = match agent_of(world, name, cell) {
        Ok(agent) => agent,
        Err(error) => return Some(Err(error)),
    };
    Some(bounded(agent.observe(name)).await.unwrap_or_else(|| Err(DataError::Unreachable("no answer".to_owned()))))
}

/// The gates as engine and acknowledgements show them.
fn gate_facts(world: &World, frame: &Frame<'_>, observation: &Observation) -> Vec<GateFact> {
    let observed = match observation {
        Observation::Known(observed) => Some(observed),
        Observation::Unknown(_) => None,
    };
    let ready = gates::ready(observed);
    let facts = frame.gates().into_iter().map(|(gate, address)| GateFact {
        address: (address, names::GATE_ENTRY).into(),
        ready: ready.contains(&gate),
        acknowledged: world.acks.number(frame.cell, &gate),
        trouble: world.acks.trouble(frame.cell, &gate),
        name: gate,
    });
    facts.collect()
}

/// Identifies what was told, so that the same is not told again.
fn hash(value: &impl serde::Serialize) -> String {
    // Plain data always becomes JSON; a failure would only tell the same thing again.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    blake3::hash(&bytes).to_hex().to_string()
}

/// An answer, if it comes in time.
async fn bounded<T>(call: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, call).await.ok()
}

/// Services by name with the number of instances wanted.
pub type Replicas = BTreeMap<model::ServiceName, u32>;
