#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::NIL_UUID;

mod history;

const UUID: &str = "6f1b7c1e-1111-11ef-9c1a-000000000001";
const OTHER: &str = "6f1b7c1e-2222-11ef-9c1a-000000000002";

fn node(index: usize) -> NodeName {
    NodeName::new(format!("n{index}")).unwrap()
}

fn at(seqno: i64) -> Option<Position> {
    Some(Position { uuid: UUID.to_owned(), seqno })
}

fn member(index: usize, position: Option<Position>) -> MemberEvidence {
    MemberEvidence { node: node(index), position, transfer_unfinished: false, running: false }
}

fn evidence(positions: [Option<Position>; 3]) -> Evidence {
    Evidence {
        nodes: (1..=3).map(node).collect(),
        members: (1..=3).map(node).collect(),
        writer: Some(node(1)),
        recorded: at(10),
        witnessed: true,
        given_up: BTreeSet::new(),
        found: positions.into_iter().enumerate().map(|(index, position)| member(index + 1, position)).collect(),
    }
}

fn chosen(evidence: &Evidence) -> NodeName {
    match decide_bootstrap(evidence) {
        Decision::Bootstrap(proof) => proof.node().clone(),
        other => panic!("no bootstrap: {other:?}"),
    }
}

fn reason(evidence: &Evidence) -> &'static str {
    match decide_bootstrap(evidence) {
        Decision::Bootstrap(proof) => panic!("bootstrap: {proof:?}"),
        Decision::Wait { reason, .. } | Decision::Blocked { reason, .. } => reason,
    }
}

#[test]
fn the_highest_wins_and_order_breaks_ties() {
    assert_eq!(chosen(&evidence([at(12), at(15), at(14)])), node(2));
    assert_eq!(chosen(&evidence([at(12), at(15), at(15)])), node(2));
    assert_eq!(chosen(&evidence([at(10), at(10), at(10)])), node(1));
}

#[test]
fn a_wiped_or_half_transferred_node_never_wins() {
    let nil = Some(Position { uuid: NIL_UUID.to_owned(), seqno: 900 });
    assert_eq!(chosen(&evidence([at(12), nil, at(11)])), node(1));
    let mut half = evidence([at(12), at(99), at(11)]);
    half.found[1].transfer_unfinished = true;
    assert_eq!(chosen(&half), node(1));
    assert_eq!(reason(&evidence([None, None, None])), "NoEvidence");
    let unknown = Some(Position { uuid: UUID.to_owned(), seqno: -1 });
    assert_eq!(chosen(&evidence([at(12), unknown, at(11)])), node(1));
}

#[test]
fn a_missing_last_writer_is_waited_for() {
    assert_eq!(reason(&evidence([None, at(12), at(12)])), "LastWriterMissing");
    let mut given_up = evidence([None, at(12), at(12)]);
    given_up.given_up.insert(node(1));
    assert_eq!(chosen(&given_up), node(2));
}

#[test]
fn a_missing_reader_does_not_stop_unless_nobody_watched() {
    let mut missing = evidence([at(12), at(12), None]);
    assert_eq!(chosen(&missing), node(1));
    missing.witnessed = false;
    assert_eq!(reason(&missing), "MemberMissing");
}

#[test]
fn nothing_below_the_record() {
    assert_eq!(reason(&evidence([at(9), at(9), at(9)])), "BehindRecord");
    assert!(matches!(decide_bootstrap(&evidence([at(9), at(9), None])), Decision::Wait { reason: "BehindRecord", .. }));
}

#[test]
fn two_histories_stop() {
    let other = Some(Position { uuid: OTHER.to_owned(), seqno: 50 });
    assert_eq!(reason(&evidence([at(12), other.clone(), at(12)])), "ForeignHistory");
    let mut all_other = evidence([other.clone(), other.clone(), other]);
    assert_eq!(reason(&all_other), "ForeignHistory", "the record knows another history");
    all_other.recorded = None;
    assert_eq!(chosen(&all_other), node(1));
}

#[test]
fn a_running_member_comes_first() {
    let mut running = evidence([at(12), at(12), at(12)]);
    running.found[2].running = true;
    assert_eq!(reason(&running), "MemberRuns");
}

#[test]
fn a_single_node_bootstraps_itself() {
    let mut single = evidence([at(12), None, None]);
    single.nodes = vec![node(1)];
    single.members = BTreeSet::from([node(1)]);
    single.found.truncate(1);
    single.witnessed = false;
    assert_eq!(chosen(&single), node(1));
    single.found[0].position = None;
    assert_eq!(reason(&single), "NoEvidence");
}

#[test]
fn a_seed_happens_once() {
    let history = Position { uuid: UUID.to_owned(), seqno: 0 };
    let seed = SeedEvidence { node: node(1), history, ever_formed: false, seeded: true };
    assert!(matches!(decide_seed(&seed), Decision::Bootstrap(_)));
    assert!(matches!(decide_seed(&SeedEvidence { ever_formed: true, ..seed.clone() }), Decision::Blocked { reason: "AlreadyFormed", .. }));
    assert!(matches!(decide_seed(&SeedEvidence { seeded: false, ..seed.clone() }), Decision::Wait { .. }));
    let nil = Position { uuid: NIL_UUID.to_owned(), seqno: 0 };
    assert!(matches!(decide_seed(&SeedEvidence { history: nil, ..seed }), Decision::Blocked { .. }));
}
