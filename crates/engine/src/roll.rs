//! The next steps of a cell, decided without effects: what an engine that cannot roll or heal by itself has to be told.
//!
//! Purpose: [`decide`] looks at the wanted set and at what is there, and answers with steps and with words for the report. Drivers carry the steps
//! out (the fake at once, Docker over its socket), so that one rule rolls everywhere and the same fault gets the same reason.
//! Invariants: no I/O, no clock, no randomness; a busy instance gets no second order; a new instance is ready before an old one leaves; a version
//! that never gets ready beside an older one stops at its first instance; what is wanted no more leaves only once everything wanted stands, because
//! older instances may still use it; a gate leaves only while every other gate is ready.
//! Entry points: [`decide`], [`judge`], [`report`].

mod gates;
mod judge;
mod report;
mod services;

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{InstanceName, ServiceName, Span};
use serde::{Deserialize, Serialize};

use crate::{Exit, Reason, ServiceRollout, Wanted};

pub use judge::{Judgement, judge};
pub use report::{Since, report};

/// Most time between the first sight of a drain and the stop, without an acknowledgement.
pub const DRAIN_BOUND: Span = Span::seconds(10);
/// Ends of a process that was never ready, after which its version counts as broken.
pub const FATAL_RESTARTS: u32 = 3;
/// The name under which gates stand among services.
pub const GATE: &str = "gate";

/// The service name of gates.
#[must_use]
#[expect(clippy::expect_used, reason = "the constant is a valid name")]
pub fn gate_service() -> ServiceName {
    ServiceName::new(GATE).expect("a valid name")
}

/// Where an instance's process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// Asked for, not there yet.
    Making,
    /// There, never started.
    Created,
    /// Runs.
    Running,
    /// Ended; the engine starts it again after a pause.
    BackOff,
    /// Ended; nobody starts it by itself.
    Exited,
}

/// What the probes of an instance have shown since it was last started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probed {
    /// Whether it takes requests now.
    pub ready: bool,
    /// Whether it ever did.
    pub ever_ready: bool,
    /// What the last failure said; empty where none failed.
    pub words: String,
}

/// Why an instance leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// Since when it is reported as draining.
    pub since: Timestamp,
    /// Whether the gates have acknowledged it.
    pub acknowledged: bool,
}

/// What a driver knows of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its name.
    pub name: InstanceName,
    /// Its service; gates stand under [`GATE`].
    pub service: ServiceName,
    /// The version it was made from.
    pub version: String,
    /// Its address on the cell's network.
    pub address: Option<std::net::Ipv4Addr>,
    /// The port of the version that it runs; 0: it has none.
    pub port: u16,
    /// First sight of it by this driver: deadlines count from here, so that an adopted instance gets its whole time.
    pub born: Timestamp,
    /// Where its process stands.
    pub process: Process,
    /// How often it was started again.
    pub restarts: u32,
    /// How it last ended.
    pub last_exit: Option<Exit>,
    /// Why the engine could not start it.
    pub start_error: Option<(Reason, String)>,
    /// When an ended process is started again by us, where the engine does not.
    pub start_again: Option<Timestamp>,
    /// What its probes have shown.
    pub probed: Probed,
    /// Whether it leaves.
    pub leaving: Option<Leaving>,
    /// Whether the driver is carrying out a step on it now.
    pub busy: bool,
}

/// A rollout that stopped at its first instance. Drivers keep it over restarts, so that nobody tries the same version for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    /// The version that failed.
    pub version: String,
    /// The instance kept, stopped, for its logs.
    pub instance: InstanceName,
    /// Why it failed.
    pub reason: Reason,
    /// The evidence.
    pub message: String,
}

/// An instance that could not even be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotMade {
    /// Of which version.
    pub version: String,
    /// Why.
    pub reason: Reason,
    /// The evidence.
    pub message: String,
    /// When it may be tried again.
    pub again: Timestamp,
}

/// What a driver remembers of a cell beside its instances.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Notes {
    /// Stopped rollouts by service; durable.
    pub stopped: BTreeMap<ServiceName, Stopped>,
    /// Failed attempts to make an instance, by service; in memory.
    pub not_made: BTreeMap<ServiceName, NotMade>,
}

/// One step for a driver to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make and start an instance of this service (or gate) as wanted now.
    Make {
        /// Which service.
        service: ServiceName,
        /// The new instance.
        name: InstanceName,
    },
    /// Start an instance that has ended or was never started.
    Start(InstanceName),
    /// Mark it as leaving: reported as draining from now on, told to stop later.
    Drain(InstanceName),
    /// Stop it in its time and remove it.
    Retire(InstanceName),
    /// Stop it, keep it for its logs and note the rollout as stopped.
    StopRollout {
        /// Which service.
        service: ServiceName,
        /// What to note.
        note: Stopped,
    },
    /// The note of a stopped rollout no longer applies.
    Forget(ServiceName),
}

/// What is to be done, what to report, and when to look again at the latest.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// Steps; each on another instance, so they may run at the same time.
    pub actions: Vec<Action>,
    /// Rollout per service.
    pub rollouts: BTreeMap<ServiceName, ServiceRollout>,
    /// The next moment at which time alone changes the decision.
    pub next: Option<Timestamp>,
}

impl Decision {
    /// Notes a moment at which to look again.
    fn look_at(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

/// Everything a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The wanted set.
    pub wanted: &'a Wanted,
    /// What is there.
    pub seen: &'a [Seen],
    /// What the driver remembers.
    pub notes: &'a Notes,
    /// Now, by a clock that does not jump.
    pub now: Timestamp,
}

/// Decides the next steps of a cell.
#[must_use]
pub fn decide(input: Input<'_>) -> Decision {
    let mut decision = Decision::default();
    gates::decide(input, &mut decision);
    for (name, service) in &input.wanted.services {
        services::decide(input, name, service, &mut decision);
    }
    let stands = |rollout: &ServiceRollout| rollout.reason == Reason::AsWanted && rollout.old == 0;
    let all_stands = decision.rollouts.values().all(stands);
    for seen in input.seen {
        if seen.busy {
            continue;
        }
        let named = if seen.service.as_str() == GATE {
            input.wanted.gates.iter().any(|g| g.name.as_str() == seen.name.as_str())
        } else {
            input.wanted.services.contains_key(&seen.service)
        };
        if let Some(leaving) = seen.leaving {
            leave(seen, leaving, has_clients(input.wanted, &seen.service), input.now, &mut decision);
        } else if !named && (all_stands || seen.service.as_str() == GATE) {
            decision.actions.push(Action::Drain(seen.name.clone()));
        }
    }
    for service in input.notes.stopped.keys() {
        if !input.wanted.services.contains_key(service) {
            decision.actions.push(Action::Forget(service.clone()));
        }
    }
    decision
}

/// Whether somebody sends requests to instances of this service, so that its instances must be drained. A service that is wanted no more counts
/// as one with clients: gates may still know it.
fn has_clients(wanted: &Wanted, service: &ServiceName) -> bool {
    wanted.services.get(service).is_none_or(|s| s.port.is_some())
}

/// A leaving instance is told to stop when its drain was acknowledged, its time is up, or nobody can have sent it anything.
fn leave(seen: &Seen, leaving: Leaving, clients: bool, now: Timestamp, decision: &mut Decision) {
    let until = after(leaving.since, DRAIN_BOUND);
    if leaving.acknowledged || !clients || seen.process != Process::Running || now >= until {
        decision.actions.push(Action::Retire(seen.name.clone()));
    } else {
        decision.look_at(until);
    }
}

/// A moment some time after another.
pub(crate) fn after(at: Timestamp, span: Span) -> Timestamp {
    at.saturating_add(jiff::SignedDuration::from_millis(i64::try_from(span.0).unwrap_or(i64::MAX))).unwrap_or(at)
}

/// Starts an ended process again when its pause is over.
fn start(seen: &Seen, now: Timestamp, decision: &mut Decision) {
    if seen.busy || !matches!(seen.process, Process::Created | Process::Exited) {
        return;
    }
    match seen.start_again {
        Some(at) if at > now => decision.look_at(at),
        _ => decision.actions.push(Action::Start(seen.name.clone())),
    }
}

#[cfg(test)]
mod tests;
