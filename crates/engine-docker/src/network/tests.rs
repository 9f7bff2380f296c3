#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what they expect by failing")]

use std::collections::BTreeSet;

use super::Plan;

#[test]
fn addresses_go_round_and_come_back_last() {
    let plan = Plan::new("10.91.4.0/24".parse().unwrap());
    let first = plan.free(&BTreeSet::new(), None).unwrap();
    assert_eq!(first.to_string(), "10.91.4.128");
    let second = plan.free(&BTreeSet::new(), Some(first)).unwrap();
    assert_eq!(second.to_string(), "10.91.4.129", "the first one is free again and still comes last");
    let last = "10.91.4.223".parse().unwrap();
    assert_eq!(plan.free(&BTreeSet::from([first]), Some(last)).unwrap(), second);
    let all: BTreeSet<_> = (128..224).map(|n| format!("10.91.4.{n}").parse().unwrap()).collect();
    assert_eq!(plan.free(&all, None), None);
    assert_eq!(plan.jobs().unwrap().to_string(), "10.91.4.224/27");
    assert_eq!(plan.gateway().to_string(), "10.91.4.1");
}
