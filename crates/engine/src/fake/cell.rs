//! One cell of the fake: instances that start, end and become ready as time goes by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::{InstanceName, ServiceName};

use super::Behaviour;
use crate::roll::{self, Action, Decision, Input, Leaving, NotMade, Notes, Probed, Process, Seen, Since, gate_service};
use crate::{Exit, LogLine, Observed, Reason, Stranger, Wanted};

/// How long a process that ends by itself lives.
const LIFE: Duration = Duration::from_millis(500);
/// Pause before something that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// The first pause before an ended process is started again; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// A cell.
pub(super) struct Cell {
    pub(super) wanted: Wanted,
    pub(super) fault: Option<(Reason, String)>,
    notes: Notes,
    since: Since,
    instances: BTreeMap<InstanceName, Instance>,
    at: Timestamp,
}

struct Instance {
    id: u64,
    service: ServiceName,
    version: String,
    address: Ipv4Addr,
    port: u16,
    born: Timestamp,
    behaviour: Behaviour,
    process: Process,
    /// When its process was started last, or when it will be.
    started: Timestamp,
    restarts: u32,
    last_exit: Option<Exit>,
    leaving: Option<Leaving>,
}

fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.saturating_add(SignedDuration::try_from(wait).unwrap_or_default()).unwrap_or(at)
}

impl Instance {
    /// What time alone does to it next, and when.
    fn next(&self) -> Option<Timestamp> {
        match (self.process, self.behaviour) {
            (Process::BackOff, _) => Some(self.started),
            (Process::Running, Behaviour::Ready(wait)) => Some(after(self.started, wait)),
            (Process::Running, Behaviour::Ends(_) | Behaviour::Hungry) => Some(after(self.started, LIFE)),
            _ => None,
        }
    }

    fn pass(&mut self, now: Timestamp) {
        match (self.process, self.behaviour) {
            (Process::BackOff, _) if now >= self.started => {
                self.process = Process::Running;
                self.restarts += 1;
            }
            (Process::Running, Behaviour::Ends(code)) if now >= after(self.started, LIFE) => self.end(code, false, now),
            (Process::Running, Behaviour::Hungry) if now >= after(self.started, LIFE) => self.end(137, true, now),
            _ => {}
        }
    }

    fn end(&mut self, code: i64, out_of_memory: bool, now: Timestamp) {
        self.process = Process::BackOff;
        self.last_exit = Some(Exit { code, out_of_memory, at: Some(now) });
        self.started = after(now, PAUSE * (1 << self.restarts.min(9)));
    }

    fn seen(&self, name: &InstanceName, now: Timestamp) -> Seen {
        let ready = self.process == Process::Running && matches!(self.behaviour, Behaviour::Ready(wait) if now >= after(self.started, wait));
        let words = if ready { String::new() } else { "no connection".to_owned() };
        let bad = self.behaviour == Behaviour::BadCommand && self.process == Process::Created;
        Seen {
            name: name.clone(),
            service: self.service.clone(),
            version: self.version.clone(),
            address: Some(self.address),
            port: self.port,
            born: self.born,
            process: self.process,
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
            start_error: bad.then(|| (Reason::BadCommand, "its command does not exist in its image".to_owned())),
            start_again: bad.then(|| after(self.started, AGAIN)),
            probed: Probed { ready, ever_ready: ready, words },
            leaving: self.leaving,
            busy: false,
        }
    }
}

/// Strangers as they are told.
pub(super) fn strangers(names: &[String]) -> Vec<Stranger> {
    let explanation = "carries the cell's label and was not made for it";
    names.iter().map(|name| Stranger { name: name.clone(), explanation: explanation.to_owned() }).collect()
}

impl Cell {
    pub(super) fn new(wanted: Wanted, now: Timestamp) -> Self {
        Self { wanted, fault: None, notes: Notes::default(), since: Since::default(), instances: BTreeMap::new(), at: now }
    }

    pub(super) fn take(&mut self, wanted: Wanted) {
        self.wanted = wanted;
        self.notes.not_made.clear();
    }

    pub(super) fn forget_memory(&mut self) {
        self.notes.not_made.clear();
        self.since = Since::default();
        self.instances.values_mut().for_each(|instance| instance.leaving = None);
    }

    pub(super) fn drained(&mut self, name: &InstanceName) {
        if let Some(leaving) = self.instances.get_mut(name).and_then(|instance| instance.leaving.as_mut()) {
            leaving.acknowledged = true;
        }
    }

    pub(super) fn end(&mut self, name: &InstanceName, now: Timestamp) {
        if let Some(instance) = self.instances.get_mut(name).filter(|instance| instance.process == Process::Running) {
            instance.end(137, false, now);
        }
    }

    pub(super) fn lose(&mut self, name: &InstanceName) {
        self.instances.remove(name);
    }

    pub(super) fn trace(&self) -> Vec<String> {
        let instances = self.instances.iter().map(|(name, i)| format!("{name} {} {} {}", i.id, i.started, i.restarts));
        instances.chain(["network".to_owned()]).collect()
    }

    /// The log of an instance: `started`, then a line a second.
    pub(super) fn log(&self, name: &InstanceName, now: Timestamp) -> Option<Vec<LogLine>> {
        let instance = self.instances.get(name)?;
        let line = |at: Timestamp, text: String| LogLine { instance: name.clone(), at: Some(at), stderr: false, text };
        let passed = if instance.process == Process::Running { now.duration_since(instance.started).as_secs().max(0) } else { 0 };
        let numbered = (1..=passed).map(|n| line(after(instance.started, Duration::from_secs(n.unsigned_abs())), format!("line {n}")));
        Some([line(instance.started, "started".to_owned())].into_iter().chain(numbered).collect())
    }

    /// Lets everything happen that was due until now, moment by moment.
    pub(super) fn catch_up(&mut self, now: Timestamp, images: &BTreeMap<String, Behaviour>, ids: &mut u64, writes: &mut u64) {
        loop {
            let at = self.at;
            self.instances.values_mut().for_each(|instance| instance.pass(at));
            let decision = self.decide(at);
            if self.carry_out(&decision, at, images, ids) {
                *writes += 1;
                continue;
            }
            let due = self.instances.values().filter_map(Instance::next).chain(decision.next).filter(|moment| *moment > at && *moment <= now).min();
            match due {
                Some(moment) => self.at = moment,
                None if at < now => self.at = now,
                None => return,
            }
        }
    }

    fn seen(&self, now: Timestamp) -> Vec<Seen> {
        self.instances.iter().map(|(name, instance)| instance.seen(name, now)).collect()
    }

    fn decide(&self, now: Timestamp) -> Decision {
        roll::decide(Input { wanted: &self.wanted, seen: &self.seen(now), notes: &self.notes, now })
    }

    pub(super) fn observe(&mut self, now: Timestamp, stranger_names: &[String]) -> Observed {
        let seen = self.seen(now);
        let input = Input { wanted: &self.wanted, seen: &seen, notes: &self.notes, now };
        let observed = roll::report(input, &roll::decide(input), &mut self.since);
        Observed { strangers: strangers(stranger_names), fault: self.fault.clone(), ..observed }
    }

    /// Carries steps out at once; true where one changed anything.
    fn carry_out(&mut self, decision: &Decision, now: Timestamp, images: &BTreeMap<String, Behaviour>, ids: &mut u64) -> bool {
        let mut changed = false;
        for action in &decision.actions {
            changed |= match action {
                Action::Make { service, name } => self.make(service, name, now, images, ids),
                Action::Start(name) => self.instances.get_mut(name).is_some_and(|instance| {
                    let works = instance.behaviour != Behaviour::BadCommand;
                    instance.process = if works { Process::Running } else { Process::Created };
                    instance.started = now;
                    true
                }),
                Action::Drain(name) => self.instances.get_mut(name).is_some_and(|instance| {
                    let new = instance.leaving.is_none();
                    instance.leaving.get_or_insert(Leaving { since: now, acknowledged: false });
                    new
                }),
                Action::Retire(name) => self.instances.remove(name).is_some(),
                Action::StopRollout { service, note } => {
                    if let Some(instance) = self.instances.get_mut(&note.instance) {
                        instance.process = Process::Exited;
                    }
                    self.notes.stopped.insert(service.clone(), note.clone()).as_ref() != Some(note)
                }
                Action::Forget(service) => self.notes.stopped.remove(service).is_some(),
            };
        }
        changed
    }

    fn make(&mut self, service: &ServiceName, name: &InstanceName, now: Timestamp, images: &BTreeMap<String, Behaviour>, ids: &mut u64) -> bool {
        if self.fault.is_some() {
            return false;
        }
        let gate = self.wanted.gates.iter().find(|gate| *service == gate_service() && gate.name.as_str() == name.as_str());
        let (image, version, address, port) = match (gate, self.wanted.services.get(service)) {
            (Some(gate), _) => (&gate.image, gate.version(), Some(gate.address), gate.probe_port),
            (None, Some(of)) => (&of.image, of.version(), self.free_address(), of.port.unwrap_or(0)),
            (None, None) => return false,
        };
        let Some(address) = address else { return false };
        let behaviour = images.get(image).copied().unwrap_or(Behaviour::Ready(Duration::from_secs(1)));
        if behaviour == Behaviour::Missing {
            let message = format!("image {image} is not on the engine");
            let note = NotMade { version, reason: Reason::ImageMissing, message, again: after(now, AGAIN) };
            self.notes.not_made.insert(service.clone(), note);
            return true;
        }
        self.notes.not_made.remove(service);
        *ids += 1;
        let process = if behaviour == Behaviour::BadCommand { Process::Created } else { Process::Running };
        let instance = Instance {
            id: *ids,
            service: service.clone(),
            version,
            address,
            port,
            born: now,
            behaviour,
            process,
            started: now,
            restarts: 0,
            last_exit: None,
            leaving: None,
        };
        self.instances.insert(name.clone(), instance);
        true
    }

    /// The lowest free address of the upper half.
    fn free_address(&self) -> Option<Ipv4Addr> {
        let taken: BTreeSet<Ipv4Addr> = self.instances.values().map(|instance| instance.address).collect();
        let hosts: Vec<Ipv4Addr> = self.wanted.network.subnet.hosts().collect();
        hosts.get(hosts.len() / 2..)?.iter().find(|address| !taken.contains(address)).copied()
    }
}
