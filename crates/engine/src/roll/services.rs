//! Steps of one service.

use std::collections::BTreeSet;

use model::{InstanceName, ServiceName};

use super::judge::failed;
use super::{Action, Decision, Input, NotMade, Process, Seen, Stopped, after, judge, start};
use crate::{InstanceState, Reason, ServiceRollout, ServiceWanted};

/// The instances of one service, sorted by what they are to the wanted version.
struct Sorted<'a> {
    version: String,
    current: Vec<&'a Seen>,
    old: Vec<&'a Seen>,
    leaving: Vec<&'a Seen>,
    kept: Option<&'a Seen>,
    note: Option<&'a Stopped>,
}

fn sort<'a>(input: Input<'a>, name: &ServiceName, wanted: &ServiceWanted) -> Sorted<'a> {
    let version = wanted.version();
    let note = input.notes.stopped.get(name).filter(|note| note.version == version);
    let mut sorted = Sorted { version, current: Vec::new(), old: Vec::new(), leaving: Vec::new(), kept: None, note };
    for seen in input.seen.iter().filter(|s| s.service == *name) {
        if seen.leaving.is_some() {
            sorted.leaving.push(seen);
        } else if note.is_some_and(|note| note.instance == seen.name) && seen.version == sorted.version {
            sorted.kept = Some(seen);
        } else if seen.version == sorted.version {
            sorted.current.push(seen);
        } else {
            sorted.old.push(seen);
        }
    }
    sorted
}

/// Whether an instance takes requests.
fn ready(seen: &Seen) -> bool {
    seen.process == Process::Running && seen.probed.ready
}

pub(super) fn decide(input: Input<'_>, name: &ServiceName, wanted: &ServiceWanted, decision: &mut Decision) {
    let sorted = sort(input, name, wanted);
    if input.notes.stopped.contains_key(name) && sorted.note.is_none() {
        decision.actions.push(Action::Forget(name.clone()));
    }
    // A broken newcomer beside instances that serve: it goes no further.
    if let Some(note) = stop_rollout(input, wanted, &sorted) {
        decision.actions.push(Action::StopRollout { service: name.clone(), note });
        decision.rollouts.insert(name.clone(), describe(input, name, wanted, &sorted));
        return;
    }
    if !sorted.old.is_empty() {
        for seen in sorted.current.iter().filter(|s| !s.probed.ever_ready && !s.busy) {
            decision.look_at(after(seen.born, wanted.ready.start_within).max(after(input.now, model::Span(1))));
        }
    }
    shrink(wanted, &sorted, decision);
    grow(input, name, wanted, &sorted, decision);
    for seen in sorted.current.iter().chain(&sorted.old) {
        // Who leaves is not started again: one instance gets one step.
        if !decision.actions.contains(&Action::Drain(seen.name.clone())) {
            start(seen, input.now, decision);
        }
    }
    decision.rollouts.insert(name.clone(), describe(input, name, wanted, &sorted));
}

/// The note to write when the newcomer has failed while older instances are there to serve on.
fn stop_rollout(input: Input<'_>, wanted: &ServiceWanted, sorted: &Sorted<'_>) -> Option<Stopped> {
    if sorted.old.is_empty() || sorted.note.is_some() {
        return None;
    }
    sorted.current.iter().filter(|s| !s.busy).find_map(|seen| {
        let (reason, message) = failed(seen, &wanted.ready, input.now)?;
        Some(Stopped { version: sorted.version.clone(), instance: seen.name.clone(), reason, message })
    })
}

/// Drains what is too much: one old instance at a time while the rest still makes the wanted number, else what exceeds the number.
fn shrink(wanted: &ServiceWanted, sorted: &Sorted<'_>, decision: &mut Decision) {
    let replicas = wanted.replicas as usize;
    let (current, old) = (&sorted.current, &sorted.old);
    let excess = (current.len() + old.len()).saturating_sub(replicas);
    if excess == 0 {
        return;
    }
    if old.is_empty() {
        let mut by_worth = current.clone();
        by_worth.sort_by_key(|s| (ready(s), std::cmp::Reverse(ordinal(&s.name))));
        for seen in by_worth.into_iter().take(excess).filter(|s| !s.busy) {
            decision.actions.push(Action::Drain(seen.name.clone()));
        }
        return;
    }
    let newcomers = current.iter().filter(|s| ready(s)).count();
    if sorted.leaving.is_empty() && newcomers + old.len() > replicas {
        let leaver = old.iter().filter(|s| !s.busy).min_by_key(|s| (ready(s), ordinal(&s.name)));
        if let Some(seen) = leaver {
            decision.actions.push(Action::Drain(seen.name.clone()));
        }
    }
}

/// Makes what is missing: all at once where nothing older serves, else one beside the old ones.
fn grow(input: Input<'_>, name: &ServiceName, wanted: &ServiceWanted, sorted: &Sorted<'_>, decision: &mut Decision) {
    let replicas = wanted.replicas as usize;
    let there = sorted.current.len() + sorted.old.len();
    if sorted.current.len() >= replicas || sorted.note.is_some() {
        return;
    }
    if let Some(failure) = not_made(input, name, sorted)
        && failure.again > input.now
    {
        decision.look_at(failure.again);
        return;
    }
    if sorted.old.is_empty() {
        if there == 0 && sorted.leaving.is_empty() && !waits_for(input, wanted).is_empty() {
            return;
        }
        let free = free_names(input, name, replicas - sorted.current.len());
        decision.actions.extend(free.into_iter().map(|instance| Action::Make { service: name.clone(), name: instance }));
    } else if there <= replicas && sorted.leaving.is_empty() && sorted.current.iter().all(|s| ready(s)) {
        let free = free_names(input, name, 1);
        decision.actions.extend(free.into_iter().map(|instance| Action::Make { service: name.clone(), name: instance }));
    }
}

/// The last failed attempt to make an instance of the wanted version.
fn not_made<'a>(input: Input<'a>, name: &ServiceName, sorted: &Sorted<'_>) -> Option<&'a NotMade> {
    input.notes.not_made.get(name).filter(|failure| failure.version == sorted.version)
}

/// Services without a ready instance that must have one before this one starts the first time.
fn waits_for(input: Input<'_>, wanted: &ServiceWanted) -> Vec<ServiceName> {
    let missing = |service: &&ServiceName| {
        input.wanted.services.get(*service).is_some_and(|s| s.replicas > 0) && !input.seen.iter().any(|s| s.service == **service && ready(s))
    };
    wanted.after.iter().filter(missing).cloned().collect()
}

/// The number at the end of an instance's name.
fn ordinal(name: &InstanceName) -> u64 {
    name.as_str().rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX)
}

/// The lowest numbers that no instance has, whatever its state.
fn free_names(input: Input<'_>, service: &ServiceName, count: usize) -> Vec<InstanceName> {
    let taken: BTreeSet<&str> = input.seen.iter().map(|s| s.name.as_str()).collect();
    let names = (1u32..).map(|n| format!("{service}-{n}")).filter(|name| !taken.contains(name.as_str()));
    // A service whose name is so long that a number no longer fits has no instances; its name was refused at the door.
    names.take(count).filter_map(|name| InstanceName::new(name).ok()).collect()
}

/// How the roll stands, in words.
fn describe(input: Input<'_>, name: &ServiceName, wanted: &ServiceWanted, sorted: &Sorted<'_>) -> ServiceRollout {
    let ready_now = sorted.current.iter().filter(|s| ready(s)).count();
    let old = sorted.old.len() + sorted.leaving.iter().filter(|s| s.version != sorted.version).count();
    let says = |reason, message: String| ServiceRollout {
        wanted: wanted.replicas,
        ready: u32::try_from(ready_now).unwrap_or(u32::MAX),
        old: u32::try_from(old).unwrap_or(u32::MAX),
        reason,
        message,
    };
    if let Some(note) = sorted.note {
        let kept = if sorted.kept.is_some() { format!("{} is kept stopped for its logs", note.instance) } else { "its instance is gone".to_owned() };
        return says(
            Reason::RolloutStopped,
            format!("{}: {}: {}; {kept}; older instances serve on", note.instance, note.reason.as_str(), note.message),
        );
    }
    if ready_now >= wanted.replicas as usize && old == 0 {
        return says(Reason::AsWanted, String::new());
    }
    if let Some(failure) = not_made(input, name, sorted) {
        return says(failure.reason, failure.message.clone());
    }
    if sorted.current.is_empty() && sorted.old.is_empty() {
        let waits = waits_for(input, wanted);
        if !waits.is_empty() {
            let names: Vec<_> = waits.iter().map(ServiceName::as_str).collect();
            return says(Reason::WaitingForUses, format!("waits for a ready instance of {}", names.join(", ")));
        }
        return says(Reason::Starting, "no instance yet".to_owned());
    }
    if old > 0 {
        return says(Reason::Rolling, format!("{ready_now} of {} ready at the new version, {old} older left", wanted.replicas));
    }
    let unready = sorted.current.iter().map(|s| (s, judge(s, &wanted.ready, None, input.now)));
    let first = unready.filter(|(_, j)| j.state != InstanceState::Ready).max_by_key(|(_, j)| j.reason != Reason::Starting);
    first.map_or_else(
        || says(Reason::Starting, format!("{ready_now} of {} ready", wanted.replicas)),
        |(seen, judgement)| says(judgement.reason, format!("{}: {}", seen.name, judgement.message)),
    )
}
