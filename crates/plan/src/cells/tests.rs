//! Tests of networks, machines, sums and due cells.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use model::v1alpha1::{Allocation, Scheduling};
use model::{ConditionStatus, Generation, Memory};
use proptest::prelude::*;

use super::{AllocationError, allocate, due, footprint, stays};
use crate::tests::{World, blueprint, cell_name, home, tenant_name};

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

#[test]
fn the_lowest_free_networks_are_taken() {
    let mut world = World::new(10);
    world.cell("a", |_| {});
    let host = [net("0.0.0.0/0"), net("10.91.0.0/24"), net("10.91.2.128/25"), net("172.17.0.0/16")];
    let allocation = allocate(&world.snapshot, &cell_name("a"), &host).unwrap();
    assert_eq!((allocation.app_network, allocation.data_network), (net("10.91.1.0/24"), net("10.91.3.0/24")));
    assert_eq!(allocation.machines.len(), 3, "three nodes on one machine where there is one");
}

#[test]
fn a_choice_once_made_stands() {
    let mut world = World::new(10);
    let made = Allocation { app_network: net("10.91.7.0/24"), data_network: net("10.91.9.0/24"), machines: Vec::new() };
    let kept = made.clone();
    world.cell("a", |cell| cell.status.allocation = Some(made));
    assert_eq!(allocate(&world.snapshot, &cell_name("a"), &[net("10.91.7.0/24")]), Ok(kept));
}

#[test]
fn a_host_network_around_the_pool_leaves_nothing() {
    let mut world = World::new(10);
    world.cell("a", |_| {});
    let error = allocate(&world.snapshot, &cell_name("a"), &[net("10.0.0.0/8")]).unwrap_err();
    assert_eq!(error, AllocationError::NoNetwork { pool: net("10.91.0.0/16") });
}

#[test]
fn three_nodes_go_to_three_machines_where_there_are_three() {
    let mut world = World::new(10);
    world.machine("m2");
    world.machine("m3");
    world.cell("a", |_| {});
    let machines: BTreeSet<_> = allocate(&world.snapshot, &cell_name("a"), &[]).unwrap().machines.into_iter().collect();
    assert_eq!(machines.len(), 3);
}

#[test]
fn a_lost_machine_takes_no_new_cell() {
    let mut world = World::new(10);
    world.cell("a", |_| {});
    let mut machine = world.snapshot.machines.values().next().unwrap().as_ref().clone();
    machine.status.conditions.set("Ready", ConditionStatus::False, "AgentUnreachable", "", Generation(1), jiff::Timestamp::UNIX_EPOCH);
    world.snapshot.put(machine.document()).unwrap();
    assert_eq!(allocate(&world.snapshot, &cell_name("a"), &[]).unwrap_err().reason(), "NoMachine");
}

#[test]
fn the_next_cell_is_due_at_the_stated_share() {
    let mut world = World::new(10);
    world.cell("a", |cell| cell.status.tenants = 7);
    assert!(due(&world.snapshot).is_empty());
    world.cell("a", |cell| cell.status.tenants = 8);
    assert_eq!(due(&world.snapshot)[0].next(), "atoll cell open <name> --blueprint wordpress.1 --region local");
    world.cell("b", crate::tests::unready);
    assert!(due(&world.snapshot).is_empty(), "the next cell is on its way");
    world.cell("b", |cell| cell.spec.scheduling = Scheduling::Closed);
    assert_eq!(due(&world.snapshot).len(), 1, "a closed cell takes nobody");
}

#[test]
fn tenants_that_keep_a_cell_are_named() {
    let mut world = World::new(10);
    world.cell("a", |_| {});
    world.tenant("shop", &["shop.example"], home("a"));
    world.tenant("other", &["other.example"], |_| {});
    let stays = stays(&world.snapshot, &cell_name("a"));
    assert_eq!(stays.keys().collect::<Vec<_>>(), [&tenant_name("shop")]);
}

#[test]
fn sums_count_every_part() {
    let sum = footprint(&blueprint(10));
    // Gates 2 x 128, web 2 x 128, php 2 x 128, cache 64 + 16, nodes 3 x (128 + 192), endpoint 64.
    assert_eq!(sum.memory, Memory::mebi(256 + 256 + 256 + 80 + 960 + 64));
    assert_eq!(sum.addresses, 5 + 7 + 2);
}

proptest! {
    #[test]
    fn allocations_never_overlap(host in prop::collection::vec((0_u8..=255, 17_u8..=30), 0..40), cells in 1_usize..20) {
        let mut world = World::new(10);
        let host: Vec<Ipv4Net> = host.into_iter().map(|(octet, prefix)| Ipv4Net::new([10, 91, octet, 0].into(), prefix).unwrap().trunc()).collect();
        let mut taken: Vec<Ipv4Net> = host.clone();
        for index in 0..cells {
            let name = format!("c{index}");
            world.cell(&name, |_| {});
            let Ok(allocation) = allocate(&world.snapshot, &cell_name(&name), &host) else { break };
            for network in [allocation.app_network, allocation.data_network] {
                let clash = taken.iter().find(|other| other.contains(&network) || network.contains(*other));
                prop_assert!(clash.is_none(), "{network} clashes with {clash:?}");
                taken.push(network);
            }
            world.cell(&name, |cell| cell.status.allocation = Some(allocation));
        }
    }
}
