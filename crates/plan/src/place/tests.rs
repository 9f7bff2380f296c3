//! Tests of placement: each rule by example, and all of them against a plain reference by generated platforms.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use model::v1alpha1::{Scheduling, TenantState};
use model::{CellName, TenantName};
use proptest::prelude::*;

use super::{Outcome, Waiting, place};
use crate::tests::{World, blueprint, cell_name, document_name, home, opening, state, tenant_name, unready};
use crate::{Snapshot, lint, product_of};

fn outcome(world: &World, tenant: &str) -> Outcome {
    let placement = place(&world.snapshot);
    lint::placement(&world.snapshot, &placement).unwrap();
    placement.outcomes.get(&tenant_name(tenant)).cloned().unwrap()
}

fn cell_of(world: &World, tenant: &str) -> CellName {
    match outcome(world, tenant) {
        Outcome::Placed { cell, .. } => cell,
        other => panic!("{tenant} is not placed: {other:?}"),
    }
}

fn reason(world: &World, tenant: &str) -> &'static str {
    outcome(world, tenant).reason()
}

#[test]
fn a_tenant_goes_where_the_largest_share_is_free() {
    let mut world = World::new(10);
    world.cell("a", |cell| cell.status.tenants = 5);
    world.cell("b", |cell| cell.status.tenants = 4);
    world.tenant("shop", &["shop.example"], |_| {});
    assert_eq!(cell_of(&world, "shop"), cell_name("b"));
}

#[test]
fn equal_cells_are_told_apart_by_name() {
    let mut world = World::new(10);
    world.cell("b", |_| {});
    world.cell("a", |_| {});
    world.tenant("shop", &["shop.example"], |_| {});
    assert_eq!(cell_of(&world, "shop"), cell_name("a"));
}

#[test]
fn tenants_of_a_group_are_spread_before_room_counts() {
    let mut world = World::new(10);
    world.cell("a", |cell| cell.status.tenants = 1);
    world.cell("b", |cell| cell.status.tenants = 9);
    world.tenant("first", &["first.example"], |tenant| {
        tenant.spec.group = Some("chain".to_owned());
        tenant.status.cell = Some(cell_name("a"));
    });
    world.tenant("second", &["second.example"], |tenant| tenant.spec.group = Some("chain".to_owned()));
    assert_eq!(cell_of(&world, "second"), cell_name("b"));
}

#[test]
fn the_last_place_goes_to_the_tenant_created_first() {
    let mut world = World::new(10);
    world.cell("a", |cell| cell.status.tenants = 9);
    world.tenant("z-older", &["z.example"], |_| {});
    world.tenant("a-younger", &["a.example"], |_| {});
    assert_eq!(cell_of(&world, "z-older"), cell_name("a"));
    assert_eq!(reason(&world, "a-younger"), "CellsFull");
}

#[test]
fn room_is_what_both_the_count_and_the_tenants_leave() {
    let mut world = World::new(1);
    world.cell("a", |cell| cell.status.tenants = 0);
    world.tenant("old", &["old.example"], home("a"));
    world.tenant("new", &["new.example"], |_| {});
    assert_eq!(reason(&world, "new"), "CellsFull");
}

#[test]
fn what_a_tenant_waits_for_is_said() {
    let mut world = World::new(10);
    world.tenant("shop", &["shop.example"], |_| {});
    assert_eq!(reason(&world, "shop"), "NoCell");
    world.tenant("crm", &["crm.example"], |tenant| tenant.spec.blueprint = model::BlueprintName::new("crm").unwrap());
    assert_eq!(reason(&world, "crm"), "BlueprintUnknown");
    world.cell("a", unready);
    assert_eq!(outcome(&world, "shop"), Outcome::Waiting(Waiting::CellNotReady { cell: cell_name("a"), cells: 1 }));
    world.cell("a", opening);
    assert_eq!(reason(&world, "shop"), "CellNotReady", "its opening may yet be taken back");
    world.cell("a", |cell| cell.spec.scheduling = Scheduling::Draining);
    assert_eq!(reason(&world, "shop"), "CellsClosed");
    world.cell("a", |cell| cell.status.tenants = 10);
    assert_eq!(reason(&world, "shop"), "CellsFull");
    world.cell("a", |_| {});
    world.tenant("shop", &["shop.example"], |tenant| tenant.spec.region = Some("mars".to_owned()));
    assert_eq!(reason(&world, "shop"), "RegionMissing");
}

#[test]
fn a_cell_that_opens_in_good_time_is_waited_for_and_keeps_its_share() {
    let mut world = World::new(10);
    world.cell("a", opening);
    world.cell("b", |_| {});
    world.tenant("first", &["first.example"], |_| {});
    world.tenant("second", &["second.example"], |_| {});
    assert_eq!(outcome(&world, "first"), Outcome::Waiting(Waiting::CellNotReady { cell: cell_name("a"), cells: 1 }));
    assert_eq!(cell_of(&world, "second"), cell_name("b"));
    world.cell("a", |cell| {
        unready(cell);
        cell.status.conditions.set("Opened", model::ConditionStatus::False, "OpeningSlowly", "", model::Generation(1), jiff::Timestamp::UNIX_EPOCH);
    });
    assert_eq!(cell_of(&world, "first"), cell_name("b"));
}

#[test]
fn a_pinned_tenant_goes_there_or_nowhere() {
    let mut world = World::new(10);
    world.cell("a", |_| {});
    world.cell("b", |cell| cell.status.tenants = 9);
    let pin = |world: &mut World, cell: &str| {
        let cell = cell_name(cell);
        world.tenant("shop", &["shop.example"], |tenant| tenant.spec.cell = Some(cell));
    };
    pin(&mut world, "b");
    assert_eq!(cell_of(&world, "shop"), cell_name("b"));
    pin(&mut world, "c");
    assert_eq!(reason(&world, "shop"), "PinnedCellUnknown");
    world.cell("b", |cell| cell.status.tenants = 10);
    pin(&mut world, "b");
    assert_eq!(reason(&world, "shop"), "PinnedCellFull");
    world.cell("b", |cell| cell.spec.scheduling = Scheduling::Closed);
    assert_eq!(reason(&world, "shop"), "PinnedCellClosed");
    world.blueprint("crm.1", blueprint(10));
    world.cell("b", |cell| cell.spec.blueprint = document_name("crm.1"));
    assert_eq!(reason(&world, "shop"), "PinnedCellUnfit");
}

#[test]
fn a_tenant_without_all_of_its_domains_waits() {
    let mut world = World::new(10);
    world.cell("a", |_| {});
    world.tenant("old", &["shop.example"], home("a"));
    world.claim("shop.example", "old");
    world.tenant("new", &["new.example", "shop.example"], |_| {});
    assert_eq!(reason(&world, "new"), "DomainTaken");
}

#[test]
fn nobody_places_what_nobody_wants_served() {
    let mut world = World::new(10);
    world.cell("a", |_| {});
    world.tenant("off", &["off.example"], state(TenantState::Suspended));
    world.tenant("gone", &["gone.example"], state(TenantState::Removed));
    assert_eq!((reason(&world, "off"), reason(&world, "gone")), ("Suspended", "Removed"));
}

/// A cell of a generated platform: fill, scheduling, readiness, region.
type CellSeed = (u32, u8, u8, bool);
/// A tenant of a generated platform: home, group, region, product, pin.
type TenantSeed = (Option<u8>, Option<u8>, Option<bool>, bool, Option<u8>);

fn generated(capacity: u32, cells: &[CellSeed], tenants: &[TenantSeed]) -> World {
    let mut world = World::new(capacity);
    world.blueprint("crm.1", blueprint(capacity));
    for (index, (fill, scheduling, is_ready, here)) in cells.iter().enumerate() {
        world.cell(&format!("c{index:02}"), |cell| {
            cell.status.tenants = fill % (capacity + 1);
            cell.spec.region = (!here).then(|| "north".to_owned());
            cell.spec.scheduling = if *scheduling == 0 { Scheduling::Closed } else { Scheduling::Open };
            if index % 5 == 4 {
                cell.spec.blueprint = document_name("crm.1");
            }
            match is_ready {
                0..=7 => {}
                8 => unready(cell),
                _ => opening(cell),
            }
        });
    }
    for (index, (home, group, region, product, pin)) in tenants.iter().enumerate() {
        let existing = |seed: &u8| cell_name(&format!("c{:02}", usize::from(*seed) % cells.len().max(1)));
        world.tenant(&format!("t{index:03}"), &[&format!("t{index}.example")], |tenant| {
            tenant.status.cell = home.as_ref().filter(|_| !cells.is_empty()).map(existing);
            tenant.spec.group = group.map(|group| format!("g{}", group % 3));
            tenant.spec.region = region.map(|here| if here { "local" } else { "north" }.to_owned());
            tenant.spec.cell = pin.as_ref().filter(|pin| **pin < 40).map(existing);
            if !product {
                tenant.spec.blueprint = model::BlueprintName::new("crm").unwrap();
            }
        });
    }
    world
}

/// The same rules, written without any structure that could go stale: every tenant looks at every cell.
fn reference(snapshot: &Snapshot) -> BTreeMap<TenantName, CellName> {
    let mut count: BTreeMap<&CellName, u32> = BTreeMap::new();
    let mut mates: BTreeMap<(&CellName, &str), u32> = BTreeMap::new();
    for tenant in snapshot.tenants.values() {
        if let Some(cell) = &tenant.status.cell {
            *count.entry(cell).or_default() += 1;
            if let Some(group) = &tenant.spec.group {
                *mates.entry((cell, group)).or_default() += 1;
            }
        }
    }
    for (name, cell) in &snapshot.cells {
        let counted = count.entry(name).or_default();
        *counted = (*counted).max(cell.status.tenants);
    }
    let ready = |cell: &model::Typed<model::v1alpha1::Cell>| ["Ready", "Opened"].iter().all(|said| cell.status.conditions.is_true(said));
    let is_opening = |cell: &model::Typed<model::v1alpha1::Cell>| cell.status.conditions.get("Opened").is_some_and(|said| said.reason == "Opening");
    let mut queue: Vec<_> = snapshot.tenants.iter().filter(|(_, tenant)| tenant.status.cell.is_none()).collect();
    queue.sort_by_key(|(name, tenant)| (tenant.metadata.created_at, *name));
    let mut placed = BTreeMap::new();
    for (name, tenant) in queue {
        let fits = |(cell_name, cell): &(&CellName, &std::sync::Arc<model::Typed<model::v1alpha1::Cell>>)| {
            let capacity = snapshot.blueprint_of(cell).map_or(0, |blueprint| blueprint.capacity.tenants);
            cell.spec.scheduling == Scheduling::Open
                && (ready(cell) || tenant.spec.cell.is_none() && is_opening(cell))
                && product_of(&cell.spec.blueprint) == tenant.spec.blueprint.as_str()
                && tenant.spec.region.as_deref().is_none_or(|region| region == snapshot.region_of(cell))
                && tenant.spec.cell.as_ref().is_none_or(|pinned| pinned == *cell_name)
                && count[cell_name] < capacity
        };
        let share = |cell: &CellName| {
            let capacity = snapshot.blueprint_of(&snapshot.cells[cell]).map_or(1, |blueprint| blueprint.capacity.tenants);
            u64::from(count[cell]) * 1_000_000 / u64::from(capacity)
        };
        let group = tenant.spec.group.as_deref();
        let score = |cell: &CellName| (group.map_or(0, |group| mates.get(&(cell, group)).copied().unwrap_or_default()), share(cell));
        let best = snapshot.cells.iter().filter(fits).map(|(cell, _)| cell).min_by_key(|cell| (score(cell), *cell));
        if let Some(cell) = best {
            if ready(&snapshot.cells[cell]) {
                placed.insert(name.clone(), cell.clone());
            }
            *count.get_mut(cell).unwrap() += 1;
            if let Some(group) = group {
                *mates.entry((cell, group)).or_default() += 1;
            }
        }
    }
    placed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn placement_agrees_with_a_plain_reference(
        capacity in 1_u32..8,
        cells in prop::collection::vec((0_u32..8, 0_u8..6, 0_u8..10, any::<bool>()), 0..60),
        tenants in prop::collection::vec(
            (prop::option::weighted(0.3, any::<u8>()), prop::option::of(any::<u8>()), prop::option::weighted(0.3, any::<bool>()), prop::bool::weighted(0.8), prop::option::weighted(0.2, any::<u8>())),
            0..120,
        ),
    ) {
        let world = generated(capacity, &cells, &tenants);
        let placement = place(&world.snapshot);
        prop_assert_eq!(lint::placement(&world.snapshot, &placement), Ok(()));
        let placed: BTreeMap<TenantName, CellName> = placement.placed().map(|(tenant, cell)| (tenant.clone(), cell.clone())).collect();
        prop_assert_eq!(placed, reference(&world.snapshot));
        // Every tenant without a cell gets an answer with a page, and asking again gives the same.
        for outcome in placement.outcomes.values() {
            prop_assert!(crate::codes::reason(outcome.reason()).is_some(), "{} has no page", outcome.reason());
        }
        prop_assert_eq!(place(&world.snapshot), placement);
    }
}
