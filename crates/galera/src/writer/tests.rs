#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn node(index: usize) -> NodeName {
    NodeName::new(format!("n{index}")).unwrap()
}

fn healthy() -> Vec<Candidate> {
    (1..=3).map(|index| Candidate { node: node(index), synced: true, donor: false, view: Some(4), failed: false }).collect()
}

#[test]
fn the_first_is_the_first_choice_and_the_present_one_stays() {
    assert_eq!(choose_writer(None, &healthy()), Some(&node(1)));
    assert_eq!(choose_writer(Some(&node(2)), &healthy()), Some(&node(2)));
    let mut silent = healthy();
    silent[1].synced = false;
    assert_eq!(choose_writer(Some(&node(2)), &silent), Some(&node(2)), "no answer alone changes nothing");
}

#[test]
fn a_failed_writer_is_followed_by_the_first_synced_node_of_the_newest_view() {
    let mut nodes = healthy();
    nodes[0].failed = true;
    assert_eq!(choose_writer(Some(&node(1)), &nodes), Some(&node(2)));
    nodes[2].view = Some(5);
    assert_eq!(choose_writer(Some(&node(1)), &nodes), Some(&node(3)), "n2 still believes in an old view");
    nodes[1].view = Some(5);
    nodes[1].donor = true;
    assert_eq!(choose_writer(Some(&node(1)), &nodes), Some(&node(3)), "a donor is the second choice");
    nodes[2].synced = false;
    assert_eq!(choose_writer(Some(&node(1)), &nodes), Some(&node(2)), "and still better than none");
    nodes[1].failed = true;
    assert_eq!(choose_writer(Some(&node(1)), &nodes), None);
}

#[test]
fn leaving_needs_two_others_and_not_the_writer() {
    let mut nodes = healthy();
    assert_eq!(may_leave(&node(2), Some(&node(1)), &nodes), Ok(()));
    assert_eq!(may_leave(&node(1), Some(&node(1)), &nodes), Err(MayNotLeave::Writer(node(1))));
    assert_eq!(may_leave(&node(9), Some(&node(1)), &nodes), Err(MayNotLeave::Unknown(node(9))));
    nodes[2].synced = false;
    assert_eq!(may_leave(&node(2), Some(&node(1)), &nodes), Err(MayNotLeave::TooFew { left: 1, of: 3 }));
    assert!(may_leave(&node(1), None, &nodes[..1]).is_err(), "a single node stays");
}
