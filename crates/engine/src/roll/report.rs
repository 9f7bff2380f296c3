//! What `observe` tells, from what a driver knows and what was decided.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jiff::Timestamp;
use model::InstanceName;
use model::v1alpha1::Probe;

use super::{Decision, GATE, Input, judge};
use crate::{InstanceState, Observed, ObservedInstance};

/// Since when each instance stands where it stands.
#[derive(Debug, Clone, Default)]
pub struct Since(BTreeMap<InstanceName, (InstanceState, Timestamp)>);

impl Since {
    fn note(&mut self, name: &InstanceName, state: InstanceState, now: Timestamp) -> Timestamp {
        let entry = self.0.entry(name.clone()).or_insert((state, now));
        if entry.0 != state {
            *entry = (state, now);
        }
        entry.1
    }
}

/// Builds the answer of `observe`; strangers and faults are the driver's to add.
#[must_use]
pub fn report(input: Input<'_>, decision: &Decision, since: &mut Since) -> Observed {
    let idle = Probe::default();
    let mut instances = Vec::with_capacity(input.seen.len());
    for seen in input.seen {
        let gate = input.wanted.gates.iter().find(|g| seen.service.as_str() == GATE && g.name.as_str() == seen.name.as_str());
        let service = input.wanted.services.get(&seen.service);
        let probe = gate.map(|g| &g.ready).or(service.map(|s| &s.ready)).unwrap_or(&idle);
        let kept = input.notes.stopped.get(&seen.service).filter(|note| note.instance == seen.name && note.version == seen.version);
        let judgement = judge(seen, probe, kept, input.now);
        instances.push(ObservedInstance {
            name: seen.name.clone(),
            service: seen.service.clone(),
            address: seen.address.map(|ip| SocketAddr::new(ip.into(), seen.port)),
            version: seen.version.clone(),
            since: since.note(&seen.name, judgement.state, input.now),
            state: judgement.state,
            restarts: seen.restarts,
            last_exit: seen.last_exit.clone(),
            reason: judgement.reason,
            message: judgement.message,
        });
    }
    since.0.retain(|name, _| input.seen.iter().any(|s| s.name == *name));
    Observed { generation: Some(input.wanted.generation), instances, rollouts: decision.rollouts.clone(), strangers: Vec::new(), fault: None }
}
