//! Plans and wishes.

use std::sync::atomic::Ordering;

use api::v1::{Action, CellOpen, TenantAdd};
use model::v1alpha1::TenantState;
use model::{DocumentName, Kind};
use serde_json::json;
use store::fake::Faults;
use store::{Compare, Key, Write};

use super::{BLUEPRINT, House, TENANT, refusal, tenant};

fn add(name: &str, domain: &str) -> TenantAdd {
    TenantAdd {
        name: name.parse().unwrap(),
        blueprint: None,
        domains: vec![domain.parse().unwrap()],
        title: "Shop".to_owned(),
        contact: "a@alpha.example".to_owned(),
        language: None,
        plan: None,
        region: None,
        cell: None,
        group: None,
    }
}

fn cell(name: &str) -> CellOpen {
    CellOpen { name: name.parse().unwrap(), blueprint: None, region: None }
}

#[tokio::test]
async fn a_plan_is_shown_then_applied_as_shown_and_again_to_no_effect() {
    let house = House::open().await;
    let plan = house.plan(BLUEPRINT).await;
    assert_eq!(
        plan.changes.iter().map(|c| (c.kind, c.action)).collect::<Vec<_>>(),
        [(Kind::Machine, Action::Create), (Kind::Blueprint, Action::Create)]
    );
    assert!(house.store.snapshot().is_empty(), "a plan writes nothing");
    let applied = house.client.apply(&plan.id).await.unwrap();
    assert_eq!(applied.written.len(), 2);
    let again = house.client.apply(&plan.id).await.unwrap();
    assert_eq!((again.written.len(), house.store.head()), (2, applied.revision), "what stands as wanted counts as written");
    let plan = house.plan(BLUEPRINT).await;
    assert_eq!(plan.pending().count(), 0, "{:?}", plan.changes);
    house.client.apply(&plan.id).await.unwrap();
    house.apply(TENANT).await;
    let tenant = house.client.document(Kind::Tenant, &DocumentName::new("alpha").unwrap()).await.unwrap();
    assert!(tenant.metadata.finalizers.contains(crate::TENANT_FINALIZER));
}

#[tokio::test]
async fn a_plan_that_the_world_has_overtaken_is_refused_whole() {
    let house = House::open().await;
    house.apply(&format!("{BLUEPRINT}---{TENANT}")).await;
    let plan = house.plan(&format!("{}---{}", TENANT.replace("title: Alpha", "title: Beta"), tenant("gamma"))).await;
    house.client.tenant_suspend(&"alpha".parse().unwrap()).await.unwrap();
    let head = house.store.head();
    let (status, code, message) = refusal(house.client.apply(&plan.id).await);
    assert_eq!((status, code.as_str()), (409, plan::codes::PLAN_STALE.code), "{message}");
    assert_eq!(house.store.head(), head, "nothing of it was written");
}

#[tokio::test]
async fn plans_are_forgotten_after_an_hour_and_refused_ones_cannot_be_applied() {
    let house = House::open().await;
    let plan = house.plan(BLUEPRINT).await;
    house.ahead.store(3601, Ordering::SeqCst);
    assert_eq!(refusal(house.client.apply(&plan.id).await).0, 404);
    let plan = house.plan(TENANT).await;
    assert_eq!(plan.refused().count(), 1, "its blueprint is not known");
    let (status, code, _) = refusal(house.client.apply(&plan.id).await);
    assert_eq!((status, code.as_str()), (422, plan::codes::PLAN_REFUSED.code));
}

#[tokio::test]
async fn a_tenant_is_added_once_however_often_it_is_asked_for() {
    let house = House::open().await;
    assert_eq!(refusal(house.client.tenant_add(&add("alpha", "alpha.localhost")).await).1, "A0205");
    house.apply(BLUEPRINT).await;
    let added = house.client.tenant_add(&add("alpha", "Alpha.localhost")).await.unwrap();
    assert!(added.changed);
    assert_eq!(added.document.spec["blueprint"], "wordpress");
    assert!(!house.client.tenant_add(&add("alpha", "alpha.localhost")).await.unwrap().changed);
    let (status, code, message) = refusal(house.client.tenant_add(&add("alpha", "other.localhost")).await);
    assert_eq!((status, code.as_str()), (409, "A0204"));
    assert!(message.contains("spec.domains"), "{message}");
}

#[tokio::test]
async fn a_domain_of_another_tenant_is_refused() {
    let house = House::open().await;
    house.apply(BLUEPRINT).await;
    let owner = house.client.tenant_add(&add("alpha", "alpha.localhost")).await.unwrap().document;
    let key = Key::new(Kind::Domain, DocumentName::new("alpha.localhost").unwrap());
    let spec = json!({ "tenant": "alpha", "tenantUid": owner.metadata.uid });
    let claim = Write::Spec { key: key.clone(), spec, labels: Default::default(), finalizers: Default::default() };
    house.store.shared().commit(vec![Compare::Absent(key)], vec![claim]).await.unwrap();
    let (_, code, message) = refusal(house.client.tenant_add(&add("beta", "ALPHA.localhost")).await);
    assert_eq!(code, plan::codes::DOMAIN_TAKEN.code, "{message}");
}

#[tokio::test]
async fn states_of_a_tenant_follow_the_wish_and_nothing_else() {
    let house = House::open().await;
    house.apply(&format!("{BLUEPRINT}---{TENANT}")).await;
    let alpha = "alpha".parse().unwrap();
    let client = &house.client;
    let state = |accepted: &api::v1::Accepted| accepted.document.spec["state"].as_str().unwrap().to_owned();
    let suspended = client.tenant_suspend(&alpha).await.unwrap();
    assert_eq!((state(&suspended).as_str(), suspended.changed), ("Suspended", true));
    assert!(!client.tenant_suspend(&alpha).await.unwrap().changed);
    assert_eq!(state(&client.tenant_remove(&alpha).await.unwrap()), "Removed");
    assert_eq!(refusal(client.tenant_suspend(&alpha).await).1, "A0206");
    let plan = house.plan(TENANT).await;
    assert_eq!(plan.pending().count(), 0, "a file that does not state it leaves it");
    assert_eq!(state(&client.tenant_resume(&alpha).await.unwrap()), format!("{:?}", TenantState::Active));
    let (status, code, message) = refusal(client.tenant_suspend(&"omega".parse().unwrap()).await);
    assert_eq!((status, code.as_str(), message.as_str()), (404, "A0203", "there is no tenant omega"));
}

#[tokio::test]
async fn a_cell_opens_from_the_newest_version_and_closes_when_it_is_empty() {
    let house = House::open().await;
    house.apply(BLUEPRINT).await;
    house.apply(&BLUEPRINT.replace("2026.11.1", "2026.11.10")).await;
    house.apply(&BLUEPRINT.replace("2026.11.1", "2026.11.9")).await;
    let client = &house.client;
    let opened = client.cell_open(&cell("a")).await.unwrap();
    assert_eq!(opened.document.spec["blueprint"], "wordpress.2026.11.10");
    assert!(opened.document.metadata.finalizers.contains(crate::CELL_FINALIZER));
    assert_eq!(refusal(client.cell_open(&CellOpen { blueprint: Some(DocumentName::new("shop").unwrap()), ..cell("b") }).await).1, "A0306");

    house.apply(TENANT).await;
    house.status(Kind::Tenant, "alpha", json!({ "cell": "a", "epoch": 1 })).await;
    house.status(Kind::Cell, "a", json!({ "tenants": 1 })).await;
    let a = "a".parse().unwrap();
    for (status, code, message) in [refusal(client.cell_drain(&a).await), refusal(client.cell_close(&a).await)] {
        assert_eq!((status, code.as_str()), (409, "A0207"));
        assert!(message.contains("1 tenants that cannot leave: alpha ("), "{message}");
    }
    house.status(Kind::Tenant, "alpha", json!({})).await;
    house.status(Kind::Cell, "a", json!({ "tenants": 0 })).await;
    assert_eq!(client.cell_drain(&a).await.unwrap().document.spec["scheduling"], "Draining");
    assert!(!client.cell_drain(&a).await.unwrap().changed);
    let closed = client.cell_close(&a).await.unwrap();
    assert!(closed.changed && closed.document.metadata.deletion_requested_at.is_some());
    assert!(!client.cell_close(&a).await.unwrap().changed);
    assert_eq!(refusal(client.cell_drain(&a).await).1, plan::codes::BEING_DELETED.code);
}

#[tokio::test]
async fn lost_answers_of_the_store_end_in_the_wish_or_in_a_refusal_never_in_between() {
    let house = House::open().await;
    house.apply(BLUEPRINT).await;
    house.store.set_faults(Faults { seed: 7, lost_answer_ppm: 300_000, lost_request_ppm: 200_000, unavailable_ppm: 100_000, ..Faults::default() });
    let mut added = 0;
    for number in 0..60 {
        let name = format!("t{number}");
        let answer = house.client.tenant_add(&add(&name, &format!("{name}.localhost"))).await;
        let stands = house.store.snapshot().iter().any(|d| d.kind == Kind::Tenant && d.metadata.name.as_str() == name);
        match answer {
            Ok(_) => {
                assert!(stands, "{name} was answered and does not stand");
                added += 1;
            }
            Err(api::ClientError::Fault(refusal)) => {
                assert!([500, 503].contains(&refusal.status.as_u16()) || !stands, "{name}: {refusal}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(added > 10, "only {added} of 60 came through");
}

#[tokio::test]
async fn operations_are_cancelled_while_they_are_under_way() {
    let house = House::open().await;
    let key = Key::new(Kind::Operation, DocumentName::new("create-alpha").unwrap());
    let spec = json!({ "verb": "TenantCreate", "subject": { "kind": "Tenant", "name": "alpha" }, "parameters": {}, "requestedBy": "t", "idempotencyKey": "k" });
    let write = Write::Spec { key, spec, labels: Default::default(), finalizers: Default::default() };
    house.store.shared().commit(vec![], vec![write]).await.unwrap();
    let name = "create-alpha".parse().unwrap();
    assert_eq!(house.client.operation_cancel(&name).await.unwrap().document.spec["cancel"], true);
    assert!(!house.client.operation_cancel(&name).await.unwrap().changed);
    house.status(Kind::Operation, "create-alpha", json!({ "state": "Done" })).await;
    assert_eq!(refusal(house.client.operation_cancel(&name).await).1, "A0206");
}

#[tokio::test]
async fn secrets_are_shown_once_and_then_gone() {
    let house = House::open().await;
    let write = |kind, name: &str, spec| {
        let key = Key::new(kind, DocumentName::new(name).unwrap());
        Write::Spec { key, spec, labels: Default::default(), finalizers: Default::default() }
    };
    let operation = json!({ "verb": "TenantCreate", "subject": { "kind": "Tenant", "name": "alpha" }, "parameters": {}, "requestedBy": "t", "idempotencyKey": "k" });
    let sealed: String = r#"{"adminUser":"admin","adminPassword":"hunter2"}"#.chars().rev().collect();
    let writes =
        vec![write(Kind::Operation, "create-alpha", operation), write(Kind::Secret, "reveal.create-alpha", json!({ "key": "k", "sealed": sealed }))];
    house.store.shared().commit(vec![], writes).await.unwrap();
    let name = "create-alpha".parse().unwrap();
    assert_eq!(refusal(house.client.operation_reveal(&name).await).1, "A0210", "there is nothing yet");
    house.status(Kind::Operation, "create-alpha", json!({ "state": "Done", "reveal": "reveal.create-alpha" })).await;
    let revealed = house.client.operation_reveal(&name).await.unwrap();
    assert_eq!(revealed.values["adminPassword"].reveal(), "hunter2");
    assert_eq!(refusal(house.client.operation_reveal(&name).await).0, 410);
    let left = house.store.snapshot();
    assert!(left.iter().all(|d| d.kind != Kind::Secret) && left[0].status.get("reveal").is_none(), "{left:?}");
    assert_eq!(left[0].status["state"], "Done");
}
