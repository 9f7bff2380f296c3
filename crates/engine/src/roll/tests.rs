#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what they expect by failing")]

use model::v1alpha1::{Limits, Probe};
use model::{GateName, Generation};

use super::*;
use crate::{GateWanted, Network, ServiceWanted};

const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);

fn service(image: &str, replicas: u32) -> ServiceWanted {
    ServiceWanted {
        image: image.to_owned(),
        command: Vec::new(),
        replicas,
        port: Some(80),
        after: Vec::new(),
        environment: BTreeMap::new(),
        user: 1,
        limits: Limits::default(),
        ready: Probe::default(),
        writable: Vec::new(),
        capabilities: Vec::new(),
        mounts: Vec::new(),
        secrets: Vec::new(),
        stop_within: Span::seconds(1),
        stop_signal: "SIGTERM".to_owned(),
    }
}

fn gate(number: u8) -> GateWanted {
    GateWanted {
        name: GateName::new(format!("gate-{number}")).unwrap(),
        address: [10, 0, 0, number].into(),
        image: "gate".to_owned(),
        command: Vec::new(),
        user: 1,
        limits: Limits::default(),
        fronts: Vec::new(),
        egress: false,
        mounts: Vec::new(),
        secrets: Vec::new(),
        ready: Probe::default(),
        probe_port: 80,
        stop_within: Span::seconds(1),
    }
}

fn wanted(service: Option<ServiceWanted>, gates: Vec<GateWanted>) -> Wanted {
    let services = service.map(|service| (ServiceName::new("app").unwrap(), service)).into_iter().collect();
    let network = Network { subnet: "10.0.0.0/24".parse().unwrap() };
    Wanted { cell: "a".parse().unwrap(), generation: Generation(1), network, gates, services }
}

fn seen(name: &str, service: &str, version: String) -> Seen {
    Seen {
        name: name.parse().unwrap(),
        service: service.parse().unwrap(),
        version,
        address: None,
        port: 80,
        born: NOW,
        process: Process::Running,
        restarts: 0,
        last_exit: None,
        start_error: None,
        start_again: None,
        probed: Probed { ready: true, ever_ready: true, words: String::new() },
        leaving: None,
        busy: false,
    }
}

fn actions(wanted: &Wanted, seen: &[Seen], notes: &Notes) -> Vec<Action> {
    decide(Input { wanted, seen, notes, now: NOW }).actions
}

fn name(text: &str) -> InstanceName {
    text.parse().unwrap()
}

#[test]
fn one_instance_gets_one_step() {
    // A stopped newcomer of a version that is wanted no more: it leaves and is not started again on its way.
    let set = wanted(Some(service("third", 2)), Vec::new());
    let old = service("first", 2).version();
    let mut broken = seen("app-3", "app", service("second", 2).version());
    broken.process = Process::Exited;
    broken.probed = Probed::default();
    let there = [seen("app-1", "app", old.clone()), seen("app-2", "app", old), broken];
    assert_eq!(actions(&set, &there, &Notes::default()), [Action::Drain(name("app-3"))]);
}

#[test]
fn a_busy_instance_gets_no_second_step() {
    let set = wanted(Some(service("first", 1)), Vec::new());
    let mut one = seen("app-1", "app", service("first", 1).version());
    one.process = Process::Exited;
    assert_eq!(actions(&set, std::slice::from_ref(&one), &Notes::default()), [Action::Start(name("app-1"))]);
    one.busy = true;
    assert_eq!(actions(&set, &[one], &Notes::default()), []);
}

#[test]
fn the_last_ready_instance_stays_until_the_new_one_is_ready() {
    let set = wanted(Some(service("second", 1)), Vec::new());
    let old = seen("app-1", "app", service("first", 1).version());
    assert_eq!(actions(&set, std::slice::from_ref(&old), &Notes::default()), [Action::Make { service: "app".parse().unwrap(), name: name("app-2") }]);
    let mut new = seen("app-2", "app", service("second", 1).version());
    new.probed.ready = false;
    assert_eq!(actions(&set, &[old.clone(), new.clone()], &Notes::default()), []);
    new.probed.ready = true;
    assert_eq!(actions(&set, &[old, new], &Notes::default()), [Action::Drain(name("app-1"))]);
}

#[test]
fn a_gate_that_could_not_be_made_holds_back_the_other_one_too() {
    let set = wanted(None, vec![gate(1), gate(2)]);
    let note = |version: String, again| NotMade { version, reason: Reason::ImageMissing, message: String::new(), again };
    let later = NOW + jiff::SignedDuration::from_secs(5);
    let notes = |version, again| Notes { not_made: BTreeMap::from([(gate_service(), note(version, again))]), ..Notes::default() };
    assert_eq!(actions(&set, &[], &notes(gate(2).version(), later)), []);
    assert_eq!(actions(&set, &[], &notes(gate(2).version(), NOW)).len(), 2, "its time has come");
    assert_eq!(actions(&set, &[], &notes("another set".to_owned(), later)).len(), 2, "a changed set is tried at once");
}

#[test]
fn a_gate_leaves_only_while_the_other_one_is_ready() {
    let set = wanted(None, vec![gate(1), gate(2)]);
    let old = |number: u8| seen(&format!("gate-{number}"), GATE, "old".to_owned());
    assert_eq!(actions(&set, &[old(1), old(2)], &Notes::default()), [Action::Drain(name("gate-1"))]);
    let mut other = old(2);
    other.probed.ready = false;
    assert_eq!(actions(&set, &[old(1), other.clone()], &Notes::default()), [Action::Drain(name("gate-2"))], "who does not serve goes first");
    other.leaving = Some(Leaving { since: NOW, acknowledged: false });
    assert_eq!(actions(&set, &[old(1), other], &Notes::default()), []);
}

#[test]
fn a_drain_waits_for_its_acknowledgement_or_its_time() {
    let set = wanted(None, Vec::new());
    let leaving = |since, acknowledged| {
        let mut one = seen("app-1", "app", "old".to_owned());
        one.leaving = Some(Leaving { since, acknowledged });
        one
    };
    let decision = decide(Input { wanted: &set, seen: &[leaving(NOW, false)], notes: &Notes::default(), now: NOW });
    assert_eq!((decision.actions, decision.next), (Vec::new(), Some(after(NOW, DRAIN_BOUND))));
    let retire = [Action::Retire(name("app-1"))];
    assert_eq!(actions(&set, &[leaving(NOW, true)], &Notes::default()), retire);
    assert_eq!(actions(&set, &[leaving(NOW - jiff::SignedDuration::from_secs(10), false)], &Notes::default()), retire);
}

#[test]
fn a_loop_says_the_same_while_it_runs_and_while_it_waits() {
    let mut looping = seen("app-1", "app", "1".to_owned());
    looping.probed = Probed { ready: false, ever_ready: false, words: "no connection".to_owned() };
    looping.last_exit = Some(Exit { code: 137, out_of_memory: true, at: None });
    let words = |seen: &Seen| {
        let judgement = judge(seen, &Probe::default(), None, NOW);
        (judgement.reason, judgement.message)
    };
    let waiting = |seen: &Seen| words(&Seen { process: Process::BackOff, ..seen.clone() });
    // The first end may have been chance: what the probe says now is news.
    assert!(words(&looping).1.ends_with("; now: no connection"), "{:?}", words(&looping));
    for restarts in [2, 9, 10, 39] {
        looping.restarts = restarts;
        assert_eq!(words(&looping), waiting(&looping));
        assert_eq!(words(&looping).0, Reason::OutOfMemory);
    }
    // What was ready once says why it is not, whatever it went through before.
    looping.probed.ever_ready = true;
    assert_ne!(words(&looping), waiting(&looping));
}
