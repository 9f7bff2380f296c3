//! Steps of a cell's gates. A gate has a fixed name and address, so the old one leaves before the new one comes, one gate at a time.

use model::InstanceName;

use super::judge::failed;
use super::{Action, Decision, GATE, Input, Process, Seen, gate_service, judge, start};
use crate::{GateWanted, InstanceState, Reason, ServiceRollout};

fn ready(seen: &Seen) -> bool {
    seen.process == Process::Running && seen.probed.ready && seen.leaving.is_none() && !seen.busy
}

fn of<'a>(input: Input<'a>, gate: &GateWanted) -> Option<&'a Seen> {
    input.seen.iter().find(|s| s.service.as_str() == GATE && s.name.as_str() == gate.name.as_str())
}

pub(super) fn decide(input: Input<'_>, decision: &mut Decision) {
    let gates = &input.wanted.gates;
    if gates.is_empty() {
        return;
    }
    // Gates differ in version by their addresses, so one failed attempt holds all of this set back; a changed set is tried at once.
    let this_set = |version: &str| gates.iter().any(|gate| gate.version() == version);
    let blocked = input.notes.not_made.get(&gate_service()).filter(|failure| failure.again > input.now && this_set(&failure.version));
    let mut leaver = None;
    for gate in gates {
        match of(input, gate) {
            None => match blocked {
                Some(failure) => decision.look_at(failure.again),
                None => {
                    if let Ok(name) = InstanceName::new(gate.name.as_str()) {
                        decision.actions.push(Action::Make { service: gate_service(), name });
                    }
                }
            },
            Some(seen) => {
                if seen.leaving.is_none() {
                    start(seen, input.now, decision);
                }
                if seen.version != gate.version() && leaver.is_none() && may_leave(input, gate, seen) {
                    leaver = Some(seen.name.clone());
                }
            }
        }
    }
    if let Some(name) = leaver {
        decision.actions.retain(|action| *action != Action::Start(name.clone()));
        decision.actions.push(Action::Drain(name));
    }
    decision.rollouts.insert(gate_service(), describe(input));
}

/// A gate that serves leaves only while every other one serves; one that does not serve, only while no other one is on its way.
fn may_leave(input: Input<'_>, gate: &GateWanted, seen: &Seen) -> bool {
    if seen.busy || seen.leaving.is_some() {
        return false;
    }
    let others = || input.wanted.gates.iter().filter(|other| other.name != gate.name).map(|other| of(input, other));
    if ready(seen) {
        return others().all(|other| other.is_some_and(ready));
    }
    others().all(|other| other.is_none_or(|s| !s.busy && s.leaving.is_none()))
}

fn describe(input: Input<'_>) -> ServiceRollout {
    let gates = &input.wanted.gates;
    let at = |seen: &&Seen| gates.iter().any(|g| g.name.as_str() == seen.name.as_str() && g.version() == seen.version);
    let seen: Vec<&Seen> = input.seen.iter().filter(|s| s.service.as_str() == GATE).collect();
    let ready_now = seen.iter().filter(|s| at(s) && ready(s)).count();
    let old = seen.iter().filter(|s| !at(s)).count();
    let (reason, message) = words(input, &seen, ready_now, old);
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    ServiceRollout { wanted: number(gates.len()), ready: number(ready_now), old: number(old), reason, message }
}

fn words(input: Input<'_>, seen: &[&Seen], ready_now: usize, old: usize) -> (Reason, String) {
    let gates = &input.wanted.gates;
    if ready_now >= gates.len() && old == 0 {
        return (Reason::AsWanted, String::new());
    }
    if let Some(failure) = input.notes.not_made.get(&gate_service()) {
        return (failure.reason, failure.message.clone());
    }
    let mut unready = None;
    for gate in gates {
        let Some(seen) = seen.iter().find(|s| s.name.as_str() == gate.name.as_str()).filter(|s| s.version == gate.version()) else { continue };
        if old > 0
            && let Some((reason, message)) = failed(seen, &gate.ready, input.now)
        {
            return (Reason::RolloutStopped, format!("{}: {}: {message}; older gates serve on", seen.name, reason.as_str()));
        }
        let judgement = judge(seen, &gate.ready, None, input.now);
        if judgement.state != InstanceState::Ready {
            unready = Some((judgement.reason, format!("{}: {}", seen.name, judgement.message)));
        }
    }
    if old > 0 {
        return (Reason::Rolling, format!("{ready_now} of {} ready at the new version, {old} older left", gates.len()));
    }
    unready.unwrap_or_else(|| (Reason::Starting, format!("{ready_now} of {} ready", gates.len())))
}
