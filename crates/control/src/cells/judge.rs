//! How a cell stands, from what engine, agent and gates say: pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use data::{ClusterReport, ClusterState, DataError};
use engine::{EngineError, InstanceState, Observation, Observed, Reason, roll};
use jiff::{SignedDuration, Timestamp};
use model::v1alpha1::{CellSpec, CellStatus, DatabaseSummary, GateSummary, NodeSummary, Scheduling, ServiceSummary};
use model::{CellName, ConditionStatus, DocumentName, GateName, Generation, Metadata, TenantName};
use plan::cells::{OPENING, OPENING_SLOWLY};

use super::Replicas;

/// A cell opens in 15 to 25 seconds on two processors; who waits longer for it is better off elsewhere.
const IN_GOOD_TIME: SignedDuration = SignedDuration::from_secs(60);

/// A gate as engine and acknowledgements show it.
#[derive(Debug, Clone)]
pub struct GateFact {
    /// Its name.
    pub name: GateName,
    /// Where edges reach it.
    pub address: SocketAddr,
    /// Whether the engine calls it ready.
    pub ready: bool,
    /// The last state it acknowledged in this term.
    pub acknowledged: Generation,
    /// Why it could not be told.
    pub trouble: Option<String>,
}

/// Everything a judgement is made from.
pub struct Facts<'a> {
    /// The cell.
    pub cell: &'a CellName,
    /// What it is made from now.
    pub blueprint_name: &'a DocumentName,
    /// Instances wanted of each service.
    pub services: Replicas,
    /// How telling the engine went.
    pub told: &'a Result<Generation, EngineError>,
    /// What the engine says.
    pub observation: &'a Observation,
    /// How ordering the cluster went; none: the cell has none.
    pub ordered: &'a Option<Result<Generation, DataError>>,
    /// What the agent says.
    pub report: Option<&'a Result<ClusterReport, DataError>>,
    /// The gates.
    pub gates: Vec<GateFact>,
    /// Whether services wait for the database's first readiness.
    pub waits_for_database: bool,
    /// Some of the cell's tenants.
    pub tenants: Vec<TenantName>,
    /// Now.
    pub now: Timestamp,
}

/// What is said about one part.
struct Verdict(ConditionStatus, String, String);

impl Verdict {
    fn yes() -> Self {
        Self(ConditionStatus::True, Reason::AsWanted.as_str(), String::new())
    }
    fn no(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self(ConditionStatus::False, reason.into(), message.into())
    }
    fn unknown(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self(ConditionStatus::Unknown, reason.into(), message.into())
    }
    fn holds(&self) -> bool {
        self.0 == ConditionStatus::True
    }
}

/// Writes down how the cell stands.
pub fn judge(facts: &Facts<'_>, status: &mut CellStatus, spec: &CellSpec, metadata: &Metadata) {
    let services = services(facts);
    let gates = gates(facts);
    let (accepts, synced) = database(facts);
    let ready = ready(facts, status.serving.is_none(), &services, &gates, &accepts, &synced);
    if ready.holds() && status.serving.is_none() {
        status.serving = Some(facts.blueprint_name.clone());
    }
    summarise(facts, status);
    let rolled = rolled(facts, status, spec, metadata);
    let drained = drained(facts, status, spec);
    let named = [("ServicesReady", Some(services)), ("GatesReady", Some(gates)), ("DatabaseReady", Some(accepts)), ("DatabaseSynced", Some(synced))];
    for (name, verdict) in named.into_iter().chain([("Ready", Some(ready)), ("Rolled", rolled), ("Drained", drained)]) {
        match verdict {
            Some(Verdict(holds, reason, message)) => {
                status.conditions.set(name, holds, &reason, message, metadata.generation, facts.now);
            }
            None => status.conditions.remove(name),
        }
    }
    opens_slowly(status, metadata, facts.now);
    status.observed_generation = metadata.generation;
}

/// A cell that takes long to open keeps no tenants waiting that another can take.
fn opens_slowly(status: &mut CellStatus, metadata: &Metadata, now: Timestamp) {
    let opening = status.conditions.get("Opened").filter(|said| said.status == ConditionStatus::False && said.reason == OPENING);
    if let Some(said) = opening.filter(|said| now.duration_since(said.last_transition_time) > IN_GOOD_TIME).cloned() {
        status.conditions.set("Opened", said.status, OPENING_SLOWLY, said.message, metadata.generation, now);
    }
}

/// The engine's answer, where it has one about what it was told.
fn answer<'a>(facts: &'a Facts<'_>) -> Result<&'a Observed, Verdict> {
    match facts.told {
        Err(EngineError::Refused { reason, message }) => return Err(Verdict::no(reason.as_str(), message)),
        Err(error @ EngineError::Older { .. }) => return Err(Verdict::no("EngineHoldsNewer", error.to_string())),
        Err(error @ EngineError::Unreachable(_)) => return Err(Verdict::unknown("EngineUnreachable", error.to_string())),
        Ok(_) => {}
    }
    match facts.observation {
        Observation::Unknown(why) => Err(Verdict::unknown("EngineUnreachable", format!("the engine cannot be asked: {why}"))),
        Observation::Known(observed) => match &observed.fault {
            Some((reason, message)) => Err(Verdict::no(reason.as_str(), message)),
            None => Ok(observed),
        },
    }
}

fn services(facts: &Facts<'_>) -> Verdict {
    let observed = match answer(facts) {
        Ok(observed) => observed,
        Err(verdict) => return verdict,
    };
    if observed.generation != facts.told.as_ref().ok().copied() {
        return Verdict::no(Reason::Starting.as_str(), "the engine has not taken the wanted set over yet");
    }
    for (name, wanted) in &facts.services {
        match observed.rollouts.get(name) {
            Some(rollout) if rollout.ready >= *wanted && rollout.old == 0 && rollout.reason == Reason::AsWanted => {}
            Some(rollout) => return Verdict::no(rollout.reason.as_str(), format!("{name}: {}", rollout.message)),
            None if facts.waits_for_database => return Verdict::no("WaitingForDatabase", format!("{name} starts when the database is ready")),
            None => return Verdict::no(Reason::Starting.as_str(), format!("{name}: not made yet")),
        }
    }
    Verdict::yes()
}

fn gates(facts: &Facts<'_>) -> Verdict {
    let observed = match answer(facts) {
        Ok(observed) => observed,
        Err(verdict) => return verdict,
    };
    if let Some(rollout) = observed.rollouts.get(roll::GATE)
        && (rollout.ready < rollout.wanted || rollout.old > 0)
    {
        return Verdict::no(rollout.reason.as_str(), rollout.message.clone());
    }
    if let Some(gate) = facts.gates.iter().find(|gate| !gate.ready) {
        return Verdict::no("NotReady", format!("{} is not ready", gate.name));
    }
    match facts.gates.iter().find_map(|gate| gate.trouble.as_ref().map(|trouble| (&gate.name, trouble))) {
        Some((gate, trouble)) => Verdict::no("WaitingForGates", format!("{gate} does not know the latest state: {trouble}")),
        None => Verdict::yes(),
    }
}

/// Whether commits are accepted, and whether every node is in sync.
fn database(facts: &Facts<'_>) -> (Verdict, Verdict) {
    let both = |verdict: fn(String, String) -> Verdict, reason: &str, message: &str| {
        (verdict(reason.to_owned(), message.to_owned()), verdict(reason.to_owned(), message.to_owned()))
    };
    let no = |reason: String, message: String| Verdict::no(reason, message);
    let unknown = |reason: String, message: String| Verdict::unknown(reason, message);
    if facts.ordered.is_none() {
        return (Verdict::yes(), Verdict::yes());
    }
    let report = match facts.report {
        Some(Ok(report)) => report,
        Some(Err(DataError::Unreachable(why))) => return both(unknown, "AgentUnreachable", &format!("the agent cannot be reached: {why}")),
        Some(Err(error)) => {
            let error = match facts.ordered {
                Some(Err(ordered)) => ordered,
                _ => error,
            };
            let (reason, message) = words(error);
            return both(no, &reason, &message);
        }
        None => return both(unknown, "Starting", "the cluster was not observed yet"),
    };
    let reason = report.reason.clone().unwrap_or_else(|| format!("{:?}", report.state));
    let message = report.message.clone().unwrap_or_default();
    if let Some(Err(error)) = facts.ordered
        && !matches!(error, DataError::Unreachable(_))
    {
        let (reason, message) = words(error);
        return (accepts(report, &reason, &message), Verdict::no(reason, message));
    }
    let synced = if report.state == ClusterState::Synced { Verdict::yes() } else { Verdict::no(reason.clone(), message.clone()) };
    (accepts(report, &reason, &message), synced)
}

fn accepts(report: &ClusterReport, reason: &str, message: &str) -> Verdict {
    match report.state {
        ClusterState::Synced => Verdict::yes(),
        ClusterState::Degraded => Verdict(ConditionStatus::True, reason.to_owned(), message.to_owned()),
        _ => Verdict::no(reason, message),
    }
}

/// Reason and sentence of an agent's refusal.
pub fn words(error: &DataError) -> (String, String) {
    match error {
        DataError::Older { .. } => ("AgentHoldsNewer".to_owned(), error.to_string()),
        DataError::NotNow { reason, message } | DataError::Refused { reason, message } => (reason.clone(), message.clone()),
        DataError::Unreachable(_) => ("AgentUnreachable".to_owned(), error.to_string()),
    }
}

/// Whether the cell serves: an instance of each service, a gate that was told, a database that accepts commits. Before it ever served, all of it.
fn ready(facts: &Facts<'_>, never_served: bool, services: &Verdict, gates: &Verdict, accepts: &Verdict, synced: &Verdict) -> Verdict {
    let whole = [services, gates, accepts, synced];
    let Some(first) = whole.iter().find(|verdict| !verdict.holds()) else { return Verdict::yes() };
    if let Some(unknown) = [services, accepts].into_iter().find(|verdict| verdict.0 == ConditionStatus::Unknown) {
        return Verdict::unknown(unknown.1.clone(), unknown.2.clone());
    }
    let Observation::Known(observed) = facts.observation else { return Verdict::unknown("EngineUnreachable", "the engine cannot be asked") };
    let up = |service: &str| observed.instances.iter().any(|i| i.service.as_str() == service && i.state == InstanceState::Ready);
    let missing = facts.services.keys().find(|service| !up(service.as_str()));
    // The engine calls a gate ready only when it works from some state.
    let door = facts.gates.iter().any(|gate| gate.ready);
    if !never_served && missing.is_none() && door && accepts.holds() {
        return Verdict(ConditionStatus::True, "Degraded".to_owned(), format!("{}: {}", first.1, first.2));
    }
    let worst = [accepts, services, gates].into_iter().find(|verdict| !verdict.holds()).unwrap_or(first);
    Verdict::no(worst.1.clone(), worst.2.clone())
}

/// Whether the cell serves the blueprint that its spec names.
fn rolled(facts: &Facts<'_>, status: &CellStatus, spec: &CellSpec, metadata: &Metadata) -> Option<Verdict> {
    let serving = status.serving.as_ref()?;
    if *serving == spec.blueprint {
        return Some(Verdict::yes());
    }
    let stopped = match facts.observation {
        Observation::Known(observed) => observed.rollouts.iter().find(|(_, rollout)| rollout.reason == Reason::RolloutStopped),
        Observation::Unknown(_) => None,
    };
    if let Some((service, rollout)) = stopped {
        return Some(Verdict::no(Reason::RolloutStopped.as_str(), format!("{service}: {}", rollout.message)));
    }
    let before = status.conditions.get("Rolled").filter(|before| before.status == ConditionStatus::False);
    let kept = before.filter(|before| before.observed_generation == metadata.generation && before.reason != Reason::RolloutStopped.as_str());
    Some(match kept {
        Some(before) => Verdict::no(before.reason.clone(), before.message.clone()),
        None => Verdict::no(Reason::Rolling.as_str(), format!("from {serving} to {}", spec.blueprint)),
    })
}

/// Whether a cell that is to be emptied is empty.
fn drained(facts: &Facts<'_>, status: &CellStatus, spec: &CellSpec) -> Option<Verdict> {
    if spec.scheduling != Scheduling::Draining {
        return None;
    }
    if status.tenants == 0 {
        return Some(Verdict::yes());
    }
    Some(Verdict::no("TenantsStay", cannot_leave(facts.cell, status.tenants, &facts.tenants)))
}

/// The sentence that says which tenants keep a cell from being emptied.
pub fn cannot_leave(cell: &CellName, count: u32, some: &[TenantName]) -> String {
    let names: Vec<&str> = some.iter().map(TenantName::as_str).collect();
    let more = if count as usize > names.len() { " and others" } else { "" };
    format!("{count} tenants live in {cell} and cannot move in this release: {}{more}; remove them first", names.join(", "))
}

/// Fills in what engine, gates and agent report, part by part. What could not be asked keeps its last word.
fn summarise(facts: &Facts<'_>, status: &mut CellStatus) {
    if let Observation::Known(observed) = facts.observation {
        let summaries = facts.services.iter().map(|(name, wanted)| {
            let rollout = observed.rollouts.get(name);
            let reason = rollout.map_or(Reason::Starting, |rollout| rollout.reason);
            let wrong = reason != Reason::AsWanted;
            let summary = ServiceSummary {
                wanted: *wanted,
                ready: rollout.map_or(0, |rollout| rollout.ready),
                reason: wrong.then(|| reason.as_str()),
                message: rollout.filter(|_| wrong).map(|rollout| rollout.message.clone()),
            };
            (name.clone(), summary)
        });
        status.services = summaries.collect();
        let gates = facts.gates.iter().map(|gate| {
            let before = status.gates.get(&gate.name).map_or(Generation(0), |gate| gate.acknowledged);
            let summary = GateSummary { address: gate.address, ready: gate.ready, acknowledged: gate.acknowledged.max(before) };
            (gate.name.clone(), summary)
        });
        status.gates = gates.collect::<BTreeMap<_, _>>();
    }
    match (facts.ordered, facts.report) {
        (None, _) => status.database = None,
        (Some(_), Some(Ok(report))) => {
            let nodes = report.nodes.iter().map(|(name, node)| {
                let summary = NodeSummary { state: format!("{:?}", node.state), since: node.since, reason: node.reason.clone() };
                (name.clone(), summary)
            });
            status.database = Some(DatabaseSummary { writer: report.writer.clone(), nodes: nodes.collect::<BTreeMap<_, _>>() });
        }
        _ => {}
    }
}
