#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn target() -> GateTarget {
    GateTarget { cell: CellName::new("cell-a").unwrap(), gate: GateName::new("gate-1").unwrap(), admin: "127.0.0.1:9443".parse().unwrap() }
}

/// The answer of a gate that was told one state and works from another.
fn ack(told: u64, works_from: u64) -> Ack {
    let GateTarget { cell, gate, .. } = target();
    let state = GateState {
        number: Generation(told),
        incarnation: "one".to_owned(),
        cell: cell.clone(),
        keys: Vec::new(),
        tenants: Vec::new(),
        services: Vec::new(),
        egress: Vec::new(),
    };
    let (number, incarnation) = (Generation(works_from), "one".to_owned());
    let report = GateReport { cell, gate, number, incarnation, ready: true, instances: Vec::new(), tenants: Vec::new() };
    Ack { state: Arc::new(state), report }
}

fn told(acks: &Acks, number: u64) -> bool {
    let GateTarget { cell, gate, .. } = target();
    acks.told(&cell, Generation(number), &BTreeSet::from([gate]))
}

fn number(acks: &Acks) -> u64 {
    acks.number(&target().cell, &target().gate).0
}

#[test]
fn a_late_answer_takes_nothing_back() {
    let acks = Acks::default();
    acks.note(&target(), ack(5, 5));
    // The gate was asked about state 4 before 5 was known to have arrived.
    acks.note(&target(), ack(4, 5));
    assert_eq!(number(&acks), 5);
    assert!(told(&acks, 5));
    assert!(!acks.drop(&target(), Generation(4)), "4 was refused because of 5");
    assert_eq!(number(&acks), 5);
    assert!(acks.drop(&target(), Generation(5)));
    assert_eq!(number(&acks), 0);
}

#[test]
fn a_gate_is_told_again_what_nobody_knows_it_took() {
    let acks = Acks::default();
    // Its answer names a later state than the one whose tenants are looked up here.
    acks.note(&target(), ack(4, 5));
    assert_eq!(number(&acks), 4);
    assert!(!told(&acks, 5));
    acks.note(&target(), ack(5, 5));
    assert!(told(&acks, 5));
}
