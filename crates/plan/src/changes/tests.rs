//! Tests of change plans.
#![expect(clippy::unwrap_used, reason = "tests")]

use model::v1alpha1::{Allocation, TenantState};
use model::{Document, Kind, Revision};
use proptest::prelude::*;
use serde_json::json;

use super::{Action, Base, Change, ChangePlan, plan_changes};
use crate::tests::{World, blueprint_json, document_name, home, state, wanted};

fn tenant(name: &str, domains: &[&str]) -> Document {
    wanted(Kind::Tenant, name, json!({ "blueprint": "wordpress", "domains": domains, "contact": "a@example.org" }))
}

fn cell(name: &str, blueprint: &str) -> Document {
    wanted(Kind::Cell, name, json!({ "blueprint": blueprint }))
}

fn one(plan: &ChangePlan) -> &Change {
    assert_eq!(plan.changes.len(), 1, "{plan:?}");
    &plan.changes[0]
}

fn code(plan: &ChangePlan, name: &str) -> String {
    let change = plan.changes.iter().find(|change| change.name.as_str() == name).unwrap();
    change.fault.as_ref().map_or_else(String::new, |fault| fault.code.to_string())
}

#[test]
fn an_empty_platform_gets_everything_in_order() {
    let snapshot = crate::Snapshot::default();
    let documents = vec![
        tenant("shop", &["shop.example"]),
        cell("a", "wordpress.1"),
        wanted(Kind::Blueprint, "wordpress.1", blueprint_json(10)),
        wanted(Kind::Machine, "m1", json!({ "agent": "127.0.0.1:7420" })),
        wanted(Kind::Platform, "atoll", json!({})),
    ];
    let plan = plan_changes(&snapshot, documents);
    assert_eq!(plan.refused().count(), 0, "{plan:#?}");
    let kinds: Vec<Kind> = plan.pending().map(|change| change.kind).collect();
    assert_eq!(kinds, [Kind::Platform, Kind::Machine, Kind::Blueprint, Kind::Cell, Kind::Tenant]);
    assert!(plan.changes.iter().all(|change| change.base == Base::Absent));
    assert!(plan.report.about(Kind::Tenant, "shop").any(|line| line.reason == "CellNotReady"), "{:?}", plan.report);
}

#[test]
fn applying_what_stands_changes_nothing_and_says_so() {
    let mut world = World::new(10);
    world.tenant("shop", &["shop.example"], |_| {});
    let plan = plan_changes(&world.snapshot, vec![tenant("shop", &["SHOP.example."])]);
    assert_eq!(one(&plan).action, Action::None);
    assert!(plan.report.about(Kind::Tenant, "shop").any(|line| line.reason == "NoChange"));
    assert!(plan.commits(100).is_empty());
}

#[test]
fn an_update_names_its_fields_and_what_it_is_based_on() {
    let mut world = World::new(10);
    world.tenant("shop", &["shop.example"], |_| {});
    let plan = plan_changes(&world.snapshot, vec![tenant("shop", &["shop.example", "new.example"])]);
    let change = one(&plan);
    assert_eq!((change.action, change.fields[0].path.as_str()), (Action::Update, "spec.domains[1]"));
    assert_eq!((change.fields[0].old.clone(), change.fields[0].new.clone()), (None, Some(json!("new.example"))));
    let revision = world.snapshot.tenants.values().next().unwrap().metadata.revision;
    assert_eq!(change.base, Base::Revision(revision));
}

#[test]
fn labels_are_compared_too() {
    let mut world = World::new(10);
    world.tenant("shop", &["shop.example"], |tenant| {
        tenant.metadata.labels.insert("team".to_owned(), "a".to_owned());
    });
    let plan = plan_changes(&world.snapshot, vec![tenant("shop", &["shop.example"])]);
    assert_eq!(one(&plan).fields[0].path, "metadata.labels.team");
}

#[test]
fn the_id_follows_from_changes_and_base() {
    let mut world = World::new(10);
    world.tenant("shop", &["shop.example"], |_| {});
    let documents = || vec![tenant("shop", &["other.example"])];
    let first = plan_changes(&world.snapshot, documents());
    assert_eq!(first, plan_changes(&world.snapshot, documents()));
    let other = plan_changes(&world.snapshot, vec![tenant("shop", &["another.example"])]);
    assert_ne!(first.id, other.id);
    world.tenant("shop", &["shop.example"], |_| {});
    assert_ne!(first.id, plan_changes(&world.snapshot, documents()).id, "another revision is another base");
}

#[test]
fn what_a_command_set_stays_where_the_file_is_silent() {
    let mut world = World::new(10);
    world.tenant("shop", &["shop.example"], state(TenantState::Suspended));
    let plan = plan_changes(&world.snapshot, vec![tenant("shop", &["shop.example"])]);
    assert_eq!(one(&plan).action, Action::None);
    assert!(plan.report.about(Kind::Tenant, "shop").any(|line| line.reason == "StateKept"));
    let mut stated = tenant("shop", &["shop.example"]);
    stated.spec["state"] = json!("Active");
    let plan = plan_changes(&world.snapshot, vec![stated]);
    assert_eq!(one(&plan).fields[0].path, "spec.state");
}

#[test]
fn a_blueprint_version_is_immutable() {
    let world = World::new(10);
    let plan = plan_changes(&world.snapshot, vec![wanted(Kind::Blueprint, "wordpress.1", blueprint_json(11))]);
    assert_eq!(code(&plan, "wordpress.1"), "A0305");
    assert!(one(&plan).fault.as_ref().unwrap().message.contains("spec.capacity.tenants"));
    let plan = plan_changes(&world.snapshot, vec![wanted(Kind::Blueprint, "wordpress.1", blueprint_json(10))]);
    assert_eq!(one(&plan).action, Action::None);
}

#[test]
fn two_tenants_that_want_one_domain_are_told_apart() {
    let world = World::new(10);
    let plan = plan_changes(&world.snapshot, vec![tenant("b", &["shop.example"]), tenant("a", &["shop.example"])]);
    assert_eq!((code(&plan, "a"), code(&plan, "b")), (String::new(), "A0341".to_owned()));
    let fault = plan.refusal().unwrap();
    assert_eq!(fault.code.0, "A0352");
    assert!(fault.message.contains("tenant a"), "{}", fault.message);
}

#[test]
fn a_claimed_domain_is_refused_to_others() {
    let mut world = World::new(10);
    world.cell("a", |_| {});
    world.tenant("old", &["shop.example"], home("a"));
    world.claim("shop.example", "old");
    assert_eq!(code(&plan_changes(&world.snapshot, vec![tenant("aaa", &["shop.example"])]), "aaa"), "A0341");
}

#[test]
fn bad_documents_are_refused_with_their_codes() {
    let mut world = World::new(10);
    let documents = vec![
        wanted(Kind::Operation, "x", json!({})),
        wanted(Kind::Tenant, "shape", json!({ "blueprint": "wordpress" })),
        cell("lost", "wordpress.9"),
        tenant("twice", &["t.example"]),
        tenant("twice", &["t.example"]),
        wanted(Kind::Platform, "second", json!({})),
        wanted(Kind::Cell, "mars", json!({ "blueprint": "wordpress.1", "region": "mars" })),
        wanted(Kind::Cell, "machine", json!({ "blueprint": "wordpress.1", "machines": ["m9"] })),
        wanted(Kind::Tenant, "nothing", json!({ "blueprint": "nothing", "domains": ["n.example"], "contact": "a@b.example" })),
        wanted(Kind::Tenant, "pinned", json!({ "blueprint": "wordpress", "domains": ["p.example"], "contact": "a@b.example", "cell": "nowhere" })),
    ];
    let plan = plan_changes(&world.snapshot, documents);
    let got: Vec<String> =
        ["x", "shape", "lost", "twice", "second", "mars", "machine", "nothing", "pinned"].iter().map(|name| code(&plan, name)).collect();
    assert_eq!(got, ["A0301", "A0302", "A0306", "A0303", "A0308", "A0310", "A0312", "A0306", "A0346"]);
    assert_eq!(plan.pending().count(), 0);
    world.tenant("leaving", &["l.example"], |tenant| tenant.metadata.deletion_requested_at = tenant.metadata.created_at);
    assert_eq!(code(&plan_changes(&world.snapshot, vec![tenant("leaving", &["l2.example"])]), "leaving"), "A0304");
}

#[test]
fn what_was_already_made_does_not_change_under_it() {
    let mut world = World::new(10);
    let allocation = Allocation { app_network: "10.91.0.0/24".parse().unwrap(), data_network: "10.91.1.0/24".parse().unwrap(), machines: Vec::new() };
    world.blueprint("crm.1", crate::tests::blueprint(10));
    world.blueprint("wordpress.2", crate::tests::blueprint(1));
    world.blueprint("wordpress.3", crate::tests::blueprint_with("/database/nodes", json!(1)));
    world.cell("a", |cell| {
        cell.status.allocation = Some(allocation);
        cell.status.tenants = 2;
    });
    world.cell("b", |_| {});
    world.tenant("shop", &["shop.example"], home("a"));
    let refused = |document: Document| {
        let plan = plan_changes(&world.snapshot, vec![document]);
        code(&plan, plan.changes[0].name.as_str())
    };
    assert_eq!(refused(cell("a", "crm.1")), "A0307");
    assert_eq!(refused(cell("a", "wordpress.2")), "A0347");
    assert_eq!(refused(cell("a", "wordpress.3")), "A0307");
    assert_eq!(refused(wanted(Kind::Cell, "a", json!({ "blueprint": "wordpress.1", "machines": ["m1"] }))), "A0307");
    let moved = json!({ "blueprint": "wordpress", "domains": ["shop.example"], "contact": "a@example.org", "cell": "b" });
    assert_eq!(refused(wanted(Kind::Tenant, "shop", moved)), "A0307");
    let other = json!({ "blueprint": "crm", "domains": ["shop.example"], "contact": "a@example.org" });
    assert_eq!(refused(wanted(Kind::Tenant, "shop", other)), "A0307");
    assert_eq!(refused(wanted(Kind::Platform, "atoll", json!({ "network": { "pool": "10.92.0.0/16" } }))), "A0309");
    assert_eq!(refused(wanted(Kind::Platform, "atoll", json!({ "regions": ["north", "local"] }))), "A0310");
}

#[test]
fn a_port_may_change_but_not_pass_to_another_service_while_the_cell_stands() {
    let mut world = World::new(10);
    let mut taken = crate::tests::blueprint_json(10);
    let php = taken["services"].as_object_mut().unwrap().remove("php").unwrap();
    taken["services"]["fpm"] = php;
    taken["services"]["web"]["uses"] = json!(["fpm"]);
    taken["tenant"]["create"]["in"] = json!("fpm");
    world.blueprint("wordpress.2", crate::tests::blueprint_with("/services/php/port", json!(9001)));
    world.blueprint("wordpress.3", serde_json::from_value(taken).unwrap());
    world.cell("new", |_| {});
    world.cell("a", |cell| {
        let allocation = json!({ "appNetwork": "10.91.0.0/24", "dataNetwork": "10.91.1.0/24", "machines": [] });
        cell.status.allocation = Some(serde_json::from_value(allocation).unwrap());
    });
    let refused = |of: &str, blueprint: &str| code(&plan_changes(&world.snapshot, vec![cell(of, blueprint)]), of);
    assert_eq!(refused("a", "wordpress.2"), "");
    assert_eq!(refused("a", "wordpress.3"), "A0349");
    assert_eq!(refused("new", "wordpress.3"), "", "nothing runs there yet");
}

#[test]
fn a_roll_is_announced() {
    let mut world = World::new(10);
    world.blueprint("wordpress.2", crate::tests::blueprint(10));
    world.cell("a", |_| {});
    let plan = plan_changes(&world.snapshot, vec![cell("a", "wordpress.2")]);
    assert_eq!(one(&plan).action, Action::Update);
    assert!(plan.report.about(Kind::Cell, "a").any(|line| line.reason == "Rolling" && line.message.contains("wordpress.2")), "{:?}", plan.report);
}

#[test]
fn a_large_plan_is_cut_into_commits_in_order() {
    let world = World::new(10);
    let documents = (0..250).map(|index| tenant(&format!("t{index:03}"), &[&format!("t{index}.example")])).collect();
    let plan = plan_changes(&world.snapshot, documents);
    let sizes: Vec<usize> = plan.commits(100).iter().map(Vec::len).collect();
    assert_eq!(sizes, [100, 100, 50]);
    assert!(plan.report.lines.iter().any(|line| line.reason == "Parts"));
}

#[test]
fn every_reason_of_a_report_has_a_page() {
    let mut world = World::new(1);
    world.cell("a", |cell| cell.status.tenants = 1);
    world.tenant("shop", &["shop.example"], state(TenantState::Suspended));
    let mut removed = tenant("shop", &["shop.example"]);
    removed.spec["state"] = json!("Removed");
    let documents =
        vec![removed, tenant("new", &["new.example"]), cell("b", "wordpress.2"), wanted(Kind::Blueprint, "wordpress.2", blueprint_json(2))];
    for line in plan_changes(&world.snapshot, documents).report.lines {
        assert!(crate::codes::reason(&line.reason).is_some(), "{} has no page", line.reason);
    }
}

/// Writes a plan into a snapshot as a store would.
fn apply(snapshot: &mut crate::Snapshot, plan: &ChangePlan, revision: u64) {
    for change in plan.pending() {
        let mut document = snapshot.document(change.kind, &change.name).unwrap_or_else(|| wanted(change.kind, change.name.as_str(), json!(null)));
        document.spec = change.spec.clone();
        document.metadata.labels = change.labels.clone();
        document.metadata.revision = Revision(revision);
        document.metadata.name = document_name(change.name.as_str());
        snapshot.put(document).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is wanted: once applied, planning the same again writes nothing.
    #[test]
    fn a_plan_applied_leaves_nothing_to_do(
        tenants in prop::collection::vec((0_u8..10, prop::collection::vec(0_u8..200, 1..4), prop::option::of(0_u8..3), any::<bool>()), 0..12),
        cells in prop::collection::btree_set(0_u8..4, 0..4),
    ) {
        let mut snapshot = World::new(10).snapshot;
        let mut documents: Vec<Document> = cells.iter().map(|cell_number| cell(&format!("c{cell_number}"), "wordpress.1")).collect();
        for (number, domains, group, stated) in &tenants {
            let domains: Vec<String> = domains.iter().map(|domain| format!("d{domain}.example")).collect();
            let mut spec = json!({ "blueprint": "wordpress", "domains": domains, "contact": "a@example.org" });
            if let Some(group) = group {
                spec["group"] = json!(format!("g{group}"));
            }
            if *stated {
                spec["state"] = json!("Suspended");
            }
            documents.push(wanted(Kind::Tenant, &format!("t{number}"), spec));
        }
        let first = plan_changes(&snapshot, documents.clone());
        apply(&mut snapshot, &first, 1000);
        let second = plan_changes(&snapshot, documents);
        prop_assert_eq!(second.pending().count(), 0, "{:#?}", second);
        let refused = |plan: &ChangePlan| plan.refused().map(|change| change.name.clone()).collect::<Vec<_>>();
        prop_assert_eq!(refused(&first), refused(&second));
    }
}
