//! Telling gates: one numbered, complete state a cell, pushed until acknowledged; and what their answers mean for instances that leave.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use engine::{InstanceState, Observed, roll};
use futures::future::join_all;
use model::v1alpha1::{Cell, TenantStatus};
use model::{CellName, GateName, Generation, InstanceName, TenantName, Typed};
use operation::StepError;
use routes::{CellKey, GateKey, GateReport, GateState, KeyId};

use crate::world::{World, lock};
use crate::{GateError, GateTarget, cells, names, secrets, wanted};

/// Name of the cell's key in its secret.
pub const KEY: &str = "gateKey";
/// Id of a cell's first key.
pub const KEY_ID: &str = "k1";

/// What gates have acknowledged, by cell and gate.
#[derive(Default)]
pub struct Acks {
    taken: Mutex<BTreeMap<CellName, BTreeMap<GateName, Ack>>>,
    /// Why a gate could not be told the last time.
    troubles: Mutex<BTreeMap<CellName, BTreeMap<GateName, String>>>,
}

/// The last word of a gate.
#[derive(Debug, Clone)]
pub struct Ack {
    /// The state it took.
    pub state: Arc<GateState>,
    /// What it said.
    pub report: GateReport,
}

impl Acks {
    /// What a cell's gates acknowledged.
    pub fn of(&self, cell: &CellName) -> BTreeMap<GateName, Ack> {
        lock(&self.taken).get(cell).cloned().unwrap_or_default()
    }

    /// Number of the last state that a gate is known to have taken; zero: none in this term. It may work from a later one whose answer is under way.
    pub fn number(&self, cell: &CellName, gate: &GateName) -> Generation {
        lock(&self.taken).get(cell).and_then(|gates| gates.get(gate)).map_or(Generation(0), |ack| ack.state.number)
    }

    /// Why a gate could not be told the last time; none: it could.
    pub fn trouble(&self, cell: &CellName, gate: &GateName) -> Option<String> {
        lock(&self.troubles).get(cell).and_then(|gates| gates.get(gate)).cloned()
    }

    /// Notes why a gate could not be told; whether that is news.
    fn fail(&self, target: &GateTarget, error: &GateError) -> bool {
        let mut troubles = lock(&self.troubles);
        troubles.entry(target.cell.clone()).or_default().insert(target.gate.clone(), error.to_string()).is_none()
    }

    fn note(&self, target: &GateTarget, ack: Ack) {
        if let Some(gates) = lock(&self.troubles).get_mut(&target.cell) {
            gates.remove(&target.gate);
        }
        let mut taken = lock(&self.taken);
        let gates = taken.entry(target.cell.clone()).or_default();
        // Steps and tasks push at the same time, and answers overtake each other: a late one takes nothing back.
        if gates.get(&target.gate).is_none_or(|known| known.state.number <= ack.state.number) {
            gates.insert(target.gate.clone(), ack);
        }
    }

    /// Forgets what a gate took up to this number; whether nothing later is known.
    fn drop(&self, target: &GateTarget, number: Generation) -> bool {
        let mut taken = lock(&self.taken);
        let Some(gates) = taken.get_mut(&target.cell) else { return true };
        if gates.get(&target.gate).is_some_and(|known| known.state.number > number) {
            return false;
        }
        gates.remove(&target.gate);
        true
    }

    /// A cell is gone.
    pub fn forget(&self, cell: &CellName) {
        lock(&self.troubles).remove(cell);
        lock(&self.taken).remove(cell);
    }

    /// Whether some gate of the cell, and every one that the engine calls ready, works from this number or a later one.
    pub fn told(&self, cell: &CellName, number: Generation, ready: &BTreeSet<GateName>) -> bool {
        let acks = lock(&self.taken);
        let Some(gates) = acks.get(cell) else { return false };
        let told = |gate: &GateName| gates.get(gate).is_some_and(|ack| ack.state.number >= number);
        gates.keys().any(told) && ready.iter().all(told)
    }
}

/// Gates that the engine calls ready.
pub fn ready(observed: Option<&Observed>) -> BTreeSet<GateName> {
    let gates = observed.iter().flat_map(|observed| &observed.instances).filter(|instance| instance.service.as_str() == roll::GATE);
    let ready = gates.filter(|instance| instance.state == InstanceState::Ready);
    ready.filter_map(|instance| GateName::new(instance.name.as_str()).ok()).collect()
}

/// The key that signs requests of a cell: read once from the cell's secret.
pub async fn key(world: &World, cell: &Typed<Cell>, name: &CellName) -> Result<GateKey, StepError> {
    let desk = world.desk(name);
    if let Some(key) = desk.key() {
        return Ok(key);
    }
    let secret = names::cell_secret(&cell.metadata);
    let values = secrets::open(world, &secret).await?;
    let text = secrets::value(&values, &secret, KEY)?;
    let bad = |message: String| StepError::fatal("SecretUnreadable", message);
    let key = CellKey::parse(text.reveal()).map_err(|error| bad(format!("the secret {secret}: {error}")))?;
    let id = KeyId::new(KEY_ID).map_err(|error| bad(error.to_string()))?;
    let key = GateKey { id, key };
    desk.set_key(key.clone());
    Ok(key)
}

/// What a cell's gates are to be told now, and who they are.
pub struct Message {
    /// The numbered state.
    pub state: Arc<GateState>,
    /// The gates.
    pub targets: Vec<GateTarget>,
}

/// Works out what a cell's gates are to be told. `None`: the cell has no networks or no blueprint.
///
/// # Errors
/// To wait, while nobody has said what runs in the cell; what the cell's key says.
pub async fn message(world: &World, name: &CellName) -> Result<Option<Message>, StepError> {
    let Some(cell) = world.view.read(|known| known.snapshot.cells.get(name).cloned()) else { return Ok(None) };
    let Some(allocation) = &cell.status.allocation else { return Ok(None) };
    let key = key(world, &cell, name).await?;
    let desk = world.desk(name);
    // A control that has just begun does not know what runs: an empty list would take every instance out of service.
    let Some(observed) = desk.observed() else {
        let words = format!("what runs in {name} is not known yet, so its gates keep what they have");
        return Err(StepError::wait("EngineUnreachable", words, world.options.look_busy));
    };
    let content = world.view.read(|known| {
        let (_, blueprint) = cells::effective(known, &cell)?;
        let platform = known.snapshot.platform_spec();
        let frame = wanted::Frame { cell: name, allocation, blueprint: &blueprint.spec, platform: &platform, state: &world.options.state };
        let here = known.by_cell.get(name).into_iter().flatten();
        let tenants = here.filter_map(|tenant| Some((tenant, &known.snapshot.tenants.get(tenant)?.status)));
        let tenants: Vec<(&TenantName, &TenantStatus)> = tenants.collect();
        let told = desk.told();
        let runs = wanted::Runs { observed: &observed, beside: cells::beside(known, &cell), told: told.as_deref() };
        let state = frame.gate_state(&world.incarnation, key, tenants.into_iter(), &runs);
        Some((state, frame.gates()))
    });
    let Some((content, gates)) = content else { return Ok(None) };
    let targets = gates.into_iter().map(|(gate, address)| {
        let admin = SocketAddr::new(address.into(), names::GATE_ADMIN);
        GateTarget { cell: name.clone(), gate, admin }
    });
    Ok(Some(Message { state: desk.numbered(content, || world.number()), targets: targets.collect() }))
}

/// Tells one gate, unless it is known to have this state already.
pub async fn tell_one(world: &World, target: &GateTarget, state: &Arc<GateState>) -> Result<(), GateError> {
    if world.acks.number(&target.cell, &target.gate) >= state.number {
        return Ok(());
    }
    let answer = world.ports.gates.push(target, state).await;
    note(world, target, state, answer)
}

/// Asks a gate how it stands; one that has lost its state is told again.
pub async fn ask_one(world: &World, target: &GateTarget) -> Result<(), GateError> {
    let Some(ack) = world.acks.of(&target.cell).remove(&target.gate) else { return Ok(()) };
    let answer = world.ports.gates.report(target).await;
    note(world, target, &ack.state, answer)
}

fn note(world: &World, target: &GateTarget, state: &Arc<GateState>, answer: Result<GateReport, GateError>) -> Result<(), GateError> {
    let before = world.acks.number(&target.cell, &target.gate);
    match answer {
        Ok(report) if report.number >= state.number && report.incarnation == state.incarnation => {
            world.acks.note(target, Ack { state: state.clone(), report });
            if world.acks.number(&target.cell, &target.gate) > before {
                world.view.wakes().steps.poke();
                world.view.mark_stale_cell(&target.cell);
                world.view.wakes().cell(&target.cell);
            }
            Ok(())
        }
        Ok(report) => {
            world.acks.drop(target, state.number);
            failed(world, target, GateError::Refused(format!("it works from state {} of {:?}", report.number, report.incarnation)))
        }
        Err(error) => {
            // What is refused because the gate took something later of ours is no trouble.
            if !matches!(error, GateError::Unreachable(_)) && !world.acks.drop(target, state.number) {
                return Ok(());
            }
            failed(world, target, error)
        }
    }
}

fn failed(world: &World, target: &GateTarget, error: GateError) -> Result<(), GateError> {
    if world.acks.fail(target, &error) {
        tracing::info!(cell = %target.cell, gate = %target.gate, %error, "a gate was not told");
        world.view.wakes().cell(&target.cell);
    }
    Err(error)
}

/// Tells all gates of a cell what stands now; an error says who does not know it yet.
pub async fn tell(world: &World, cell: &CellName) -> Result<(), StepError> {
    let Some(message) = message(world, cell).await? else { return Ok(()) };
    let answers = join_all(message.targets.iter().map(|target| tell_one(world, target, &message.state))).await;
    let ready = ready(world.desk(cell).observed().as_deref());
    if world.acks.told(cell, message.state.number, &ready) {
        return Ok(());
    }
    let failures = message.targets.iter().zip(answers).filter_map(|(target, answer)| Some(format!("{}: {}", target.gate, answer.err()?)));
    let failures: Vec<String> = failures.collect();
    let words = if failures.is_empty() { "no gate is ready".to_owned() } else { failures.join("; ") };
    Err(StepError::wait("WaitingForGates", format!("gates of {cell} do not know it yet: {words}"), world.options.look_busy))
}

/// Instances that leave and that every ready gate has let go.
pub fn let_go(observed: &Observed, acks: &BTreeMap<GateName, Ack>) -> Vec<InstanceName> {
    let ready = ready(Some(observed));
    if ready.is_empty() {
        return Vec::new();
    }
    let leaving = observed.instances.iter().filter(|i| i.state == InstanceState::Draining && i.service.as_str() != roll::GATE);
    let gone = |instance: &InstanceName| {
        ready
            .iter()
            .all(|gate| acks.get(gate).is_some_and(|ack| knows_leaving(&ack.state, instance) && ack.report.drained(ack.state.number, instance)))
    };
    leaving.filter(|instance| gone(&instance.name)).map(|instance| instance.name.clone()).collect()
}

/// Whether a state gives an instance nothing new.
fn knows_leaving(state: &GateState, instance: &InstanceName) -> bool {
    state.services.iter().flat_map(|service| &service.instances).all(|known| known.name != *instance || known.draining)
}

/// Whether anything of a cell leaves.
pub fn leaving(observed: &Observed) -> bool {
    observed.instances.iter().any(|instance| instance.state == InstanceState::Draining)
}

/// Tells the engine which instances may go: those that gates have let go, and gates that edges no longer use.
pub async fn release(world: &World, cell: &CellName) -> Result<(), engine::EngineError> {
    let Some(observed) = world.desk(cell).observed() else { return Ok(()) };
    if !leaving(&observed) {
        return Ok(());
    }
    let mut free = let_go(&observed, &world.acks.of(cell));
    let gates = observed.instances.iter().filter(|i| i.state == InstanceState::Draining && i.service.as_str() == roll::GATE);
    let gates: Vec<InstanceName> = gates.map(|gate| gate.name.clone()).collect();
    if !gates.is_empty() {
        let generation = crate::routing::publish(world).await;
        if generation.is_some_and(|generation| world.feed.settled(generation)) {
            free.extend(gates);
        }
    }
    for instance in free {
        world.ports.engine.drained(cell, &instance).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
