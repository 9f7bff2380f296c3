//! Control as a whole, on fakes and a clock that does not wait.

use std::time::Duration;

use model::v1alpha1::{Blueprint, Cell, Domain, EdgeCache, EdgeCompress, EdgeSpec, Operation, OperationState, Scheduling, Tenant, TenantState, Verb};
use model::{CellName, GateName};
use store::TypedStore;
use tokio::time::Instant;

use super::support::{Site, blueprint, cell, name, tenant};

fn ready<R: model::Resource>(conditions: impl Fn(&model::Typed<R>) -> &model::Conditions) -> impl Fn(Option<&model::Typed<R>>) -> bool {
    move |document| document.is_some_and(|document| conditions(document).is_true("Ready"))
}

fn cell_ready(document: Option<&model::Typed<Cell>>) -> bool {
    ready::<Cell>(|c| &c.status.conditions)(document)
}

fn tenant_ready(document: Option<&model::Typed<Tenant>>) -> bool {
    document.is_some_and(|t| t.status.conditions.is_true("Ready") && t.status.operation.is_none())
}

/// A site with one open cell and one served tenant.
async fn served() -> Site {
    let site = Site::new();
    site.found().await;
    site.put(&cell("a")).await;
    site.put(&tenant("alpha", &["alpha.example", "www.alpha.example"])).await;
    site
}

#[tokio::test(start_paused = true)]
async fn a_cell_opens_and_a_tenant_is_served() {
    let site = served().await;
    let (control, stop, join) = site.control();
    let cell = site.until::<Cell>("a", 60, cell_ready).await.unwrap();
    assert!(cell.status.allocation.is_some() && cell.status.serving.is_some());
    let began = Instant::now();
    let alpha = site.until::<Tenant>("alpha", 60, tenant_ready).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    assert_eq!(alpha.status.serving, Some(TenantState::Active));
    let table = control.feed().snapshot().unwrap();
    assert_eq!(table.records.iter().map(|r| r.host.to_string()).collect::<Vec<_>>(), ["alpha.example", "www.alpha.example"]);
    assert_eq!(table.cells[0].gates.len(), 2);
    assert!(site.gates.states().values().all(|state| state.tenants.len() == 1));
    let schema = alpha.status.schema.unwrap();
    assert!(site.data.tenants(&name("a")).contains_key(&schema));
    let settings = site.files.settings();
    let text = &settings.values().next().unwrap()["settings.php"];
    assert!(text.starts_with("<?php return [1, '"), "{text}");
    assert_eq!(site.engine.runs().len(), 1);
    let create = site.store.read_all::<Operation>().await.unwrap().0.into_iter().find(|o| o.spec.verb == Verb::TenantCreate).unwrap();
    assert!(create.status.reveal.is_some());
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_blueprint_says_what_edges_do_and_its_next_version_something_else() {
    let site = served().await;
    let (control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, tenant_ready).await;
    let edge = |control: &crate::Control| control.feed().snapshot().unwrap().records[0].edge;
    assert_eq!(edge(&control), EdgeSpec::default());
    let mut second = blueprint("shop.2", 2);
    second.spec.edge = EdgeSpec { compress: EdgeCompress::Off, cache: EdgeCache::Static };
    site.put(&second).await;
    let mut wanted = site.read::<Cell>("a").await.unwrap();
    wanted.spec.blueprint = name("shop.2");
    site.put(&wanted).await;
    let deadline = Instant::now() + Duration::from_secs(120);
    while edge(&control) != second.spec.edge {
        assert!(Instant::now() < deadline, "{:?}", edge(&control));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn once_all_is_as_wanted_nothing_is_written() {
    let site = served().await;
    let (_control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, tenant_ready).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = (site.store.head(), site.engine.writes(), site.data.writes(), site.gates.pushes());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((site.store.head(), site.engine.writes(), site.data.writes(), site.gates.pushes()), before);
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restarted_control_adopts_and_publishes_the_same() {
    let site = served().await;
    let (control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, tenant_ready).await;
    let before = control.feed().snapshot().unwrap();
    stop.cancel();
    join.await.unwrap().unwrap();
    let trace = site.engine.trace(&name("a"));
    let (control, stop, join) = site.control();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let after = control.feed().snapshot().unwrap();
    assert_eq!((&after.records, &after.cells), (&before.records, &before.cells));
    assert!(after.generation > before.generation);
    assert_eq!(site.engine.trace(&name("a")), trace);
    assert!(cell_ready(site.read::<Cell>("a").await.as_ref()));
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn aliases_www_wildcards_and_international_names_are_owned_and_published() {
    let site = served().await;
    let mut shop = tenant("shop", &["B\u{fc}cher.Example", "www.kiosk.example"]);
    shop.spec.hosts = serde_json::from_value(serde_json::json!({
        "aliases": ["Old.example"], "www": "Redirect", "wildcards": ["b\u{fc}cher.example"], "redirect": 301,
    }))
    .unwrap();
    site.put(&shop).await;
    let (control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, tenant_ready).await;
    let mut shop = site.until::<Tenant>("shop", 60, tenant_ready).await.unwrap();
    let published = || {
        let records = control.feed().snapshot().unwrap().records;
        let line = |r: routes::Record| match r.redirect {
            Some(redirect) => format!("{} {} {}", r.host, redirect.status.code(), redirect.to),
            None => r.host.to_string(),
        };
        records.into_iter().filter(|r| r.tenant.as_str() == "shop").map(line).collect::<std::collections::BTreeSet<_>>()
    };
    let primary = "xn--bcher-kva.example";
    let lines = |lines: &[&str]| lines.iter().map(|line| line.replace('@', primary)).collect::<std::collections::BTreeSet<_>>();
    let all = ["@", "*.@", "www.@ 301 @", "old.example 301 @", "www.kiosk.example", "kiosk.example 301 www.kiosk.example"];
    assert_eq!(published(), lines(&all));
    // What another tenant owns is said, and not published; nor has anybody else a host below the wildcard.
    let taken = |condition: &'static str, by: &'static str| {
        move |t: Option<&model::Typed<Tenant>>| {
            let said = t.and_then(|t| t.status.conditions.get(condition));
            said.is_some_and(|said| said.reason == "DomainTaken" && said.message.ends_with(&format!("belongs to tenant {by}")))
        }
    };
    shop.spec.hosts.aliases.push("alpha.example".parse().unwrap());
    shop.spec.hosts.wildcards.push("alpha.example".parse().unwrap());
    site.put(&shop).await;
    shop = site.until::<Tenant>("shop", 60, taken("DomainsOwned", "alpha")).await.unwrap();
    assert_eq!(published(), lines(&all));
    site.put(&tenant("late", &[&format!("x.{primary}")])).await;
    site.until::<Tenant>("late", 60, taken("Placed", "shop")).await.unwrap();
    shop.spec.hosts = model::v1alpha1::HostRules::default();
    site.put(&shop).await;
    site.until::<Domain>("old.example", 60, |claim| claim.is_none()).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while published() != lines(&["@", "www.kiosk.example"]) {
        assert!(Instant::now() < deadline, "{:?}", published());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    site.until::<Domain>(&format!("x.{primary}"), 60, |claim| claim.is_some_and(|claim| claim.spec.tenant.as_str() == "late")).await.unwrap();
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn suspend_resume_remove_and_purge() {
    let site = served().await;
    let (control, stop, join) = site.control();
    let mut alpha = site.until::<Tenant>("alpha", 60, tenant_ready).await.unwrap();
    let schema = alpha.status.schema.clone().unwrap();
    let serving = |state: TenantState| {
        move |t: Option<&model::Typed<Tenant>>| t.is_some_and(|t| t.status.serving == Some(state) && t.status.operation.is_none())
    };
    for state in [TenantState::Suspended, TenantState::Active, TenantState::Removed, TenantState::Active] {
        alpha.spec.state = state;
        site.put(&alpha).await;
        site.until::<Tenant>("alpha", 10, serving(state)).await;
        let records = control.feed().snapshot().unwrap().records;
        let states: Vec<_> = records.iter().map(|r| format!("{:?}", r.state)).collect();
        match state {
            TenantState::Active => assert_eq!(states, ["Open", "Open"]),
            TenantState::Suspended => assert_eq!(states, ["Suspended", "Suspended"]),
            TenantState::Removed => assert!(states.is_empty()),
        }
        let access = site.data.tenants(&name("a"))[&schema].order.access;
        assert_eq!(access == data::TenantAccess::Locked, state == TenantState::Removed);
    }
    site.delete::<Tenant>("alpha").await;
    let removed = site.until::<Tenant>("alpha", 10, serving(TenantState::Removed)).await.unwrap();
    assert!(removed.status.purge_at.is_some());
    assert!(site.data.tenants(&name("a")).contains_key(&schema), "data is kept for the grace period");
    tokio::time::sleep(Duration::from_secs(700)).await;
    site.until::<Tenant>("alpha", 60, |t| t.is_none()).await;
    assert!(site.data.tenants(&name("a")).is_empty());
    assert!(site.files.folders().is_empty() && site.files.settings().is_empty());
    assert!(site.read::<Domain>("alpha.example").await.is_none());
    assert_eq!(site.read::<Cell>("a").await.unwrap().status.tenants, 0);
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cell_with_tenants_is_neither_drained_nor_closed() {
    let site = served().await;
    let (_control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, tenant_ready).await;
    let mut a = site.read::<Cell>("a").await.unwrap();
    a.spec.scheduling = Scheduling::Draining;
    site.put(&a).await;
    let said = |condition: &'static str| {
        move |c: Option<&model::Typed<Cell>>| {
            c.and_then(|c| c.status.conditions.get(condition)).is_some_and(|c| c.reason == "TenantsStay" && c.message.contains("alpha"))
        }
    };
    site.until::<Cell>("a", 10, said("DrainAsked")).await;
    site.until::<Cell>("a", 10, said("Drained")).await;
    site.delete::<Cell>("a").await;
    site.until::<Cell>("a", 10, said("Closing")).await;
    let mut alpha = site.read::<Tenant>("alpha").await.unwrap();
    alpha.spec.state = TenantState::Removed;
    site.put(&alpha).await;
    tokio::time::sleep(Duration::from_secs(700)).await;
    site.until::<Cell>("a", 60, |c| c.is_none()).await;
    assert!(site.engine.wanted(&name("a")).is_none());
    assert!(site.data.orders().is_empty());
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_blueprint_is_rolled_and_every_tenant_migrated() {
    let site = served().await;
    let (_control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, tenant_ready).await;
    site.put(&blueprint("shop.2", 2)).await;
    let mut a = site.read::<Cell>("a").await.unwrap();
    a.spec.blueprint = name("shop.2");
    site.put(&a).await;
    let rolled =
        |c: Option<&model::Typed<Cell>>| c.is_some_and(|c| c.status.serving.as_ref() == Some(&name("shop.2")) && c.status.operation.is_none());
    site.until::<Cell>("a", 120, rolled).await;
    assert!(site.engine.wanted(&name("a")).unwrap().services.values().all(|s| !s.image.ends_with(":1")));
    assert_eq!(site.engine.runs().len(), 2);
    assert!(site.files.settings().values().next().unwrap()["settings.php"].contains("[2,"));
    assert!(site.read::<Tenant>("alpha").await.unwrap().status.conditions.is_true("Migrated"));
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_version_that_never_gets_ready_stops_and_the_old_one_restores() {
    let site = served().await;
    site.engine.set_image("php:2", engine::fake::Behaviour::Ends(1));
    let (_control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, tenant_ready).await;
    site.put(&blueprint("shop.2", 2)).await;
    let mut a = site.read::<Cell>("a").await.unwrap();
    a.spec.blueprint = name("shop.2");
    site.put(&a).await;
    let stopped = |c: Option<&model::Typed<Cell>>| c.and_then(|c| c.status.conditions.get("Rolled")).is_some_and(|c| c.reason == "RolloutStopped");
    let a = site.until::<Cell>("a", 300, stopped).await.unwrap();
    assert!(a.status.conditions.is_true("Ready"), "the old ones serve on: {:#?}", a.status.conditions);
    let mut a = site.read::<Cell>("a").await.unwrap();
    a.spec.blueprint = name("shop.1");
    site.put(&a).await;
    let back = |c: Option<&model::Typed<Cell>>| {
        c.is_some_and(|c| c.status.operation.is_none() && c.status.conditions.is_true("Rolled") && c.status.conditions.is_true("ServicesReady"))
    };
    site.until::<Cell>("a", 120, back).await;
    assert!(site.files.settings().values().next().unwrap()["settings.php"].contains("[1,"));
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_leaves_nothing_is_tried_again_for_a_while_and_with_another_spec() {
    let site = served().await;
    site.engine.set_jobs(|_, _| engine::fake::FakeJob { takes: Duration::from_secs(1), code: 3, tail: "no luck".to_owned() });
    let (control, stop, join) = site.control();
    let failed = |t: Option<&model::Typed<Tenant>>| {
        t.is_some_and(|t| t.status.cell.is_none() && t.status.conditions.get("Installed").is_some_and(|c| c.reason == "HookFailed"))
    };
    let alpha = site.until::<Tenant>("alpha", 120, failed).await.unwrap();
    assert!(alpha.status.conditions.get("Installed").unwrap().message.contains("no luck"));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let alpha = site.until::<Tenant>("alpha", 0, failed).await.unwrap();
    let message = &alpha.status.conditions.get("Ready").unwrap().message;
    assert!(message.contains("no luck") && message.contains("failed 6 times"), "{message}");
    assert_eq!(site.engine.runs().len(), 6 * 5, "each creation runs it a few times");
    assert!(site.data.tenants(&name("a")).is_empty() && site.files.folders().is_empty() && site.files.settings().is_empty());
    assert!(site.read::<Domain>("alpha.example").await.is_none());
    assert_eq!(site.read::<Cell>("a").await.unwrap().status.tenants, 0);
    assert!(control.feed().snapshot().unwrap().records.is_empty());
    site.engine.set_jobs(|_, _| engine::fake::FakeJob::default());
    let mut alpha = site.read::<Tenant>("alpha").await.unwrap();
    alpha.spec.title = "again".to_owned();
    site.put(&alpha).await;
    let alpha = site.until::<Tenant>("alpha", 60, tenant_ready).await.unwrap();
    assert_eq!((alpha.status.epoch.0, alpha.status.creation), (7, None));
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_domain_has_one_owner_and_a_full_cell_takes_nobody() {
    let site = served().await;
    for (of, domain) in [("bravo", "alpha.example"), ("carol", "c.example"), ("david", "d.example"), ("emily", "e.example")] {
        tokio::time::sleep(Duration::from_millis(5)).await;
        site.put(&tenant(of, &[domain])).await;
    }
    let (control, stop, join) = site.control();
    site.until::<Tenant>("david", 60, tenant_ready).await;
    let waits = |reason: &'static str| {
        move |t: Option<&model::Typed<Tenant>>| t.and_then(|t| t.status.conditions.get("Placed")).is_some_and(|c| c.reason == reason)
    };
    site.until::<Tenant>("bravo", 10, waits("DomainTaken")).await;
    site.until::<Tenant>("emily", 10, waits("CellsFull")).await;
    site.put(&cell("b")).await;
    let emily = site.until::<Tenant>("emily", 60, tenant_ready).await.unwrap();
    assert_eq!(emily.status.cell, Some(name("b")));
    // A domain that its owner gives up goes to whoever waits for it.
    let mut alpha = site.read::<Tenant>("alpha").await.unwrap();
    alpha.spec.domains = vec![name("www.alpha.example")];
    site.put(&alpha).await;
    site.until::<Tenant>("bravo", 60, tenant_ready).await;
    let records = control.feed().snapshot().unwrap().records;
    let owner = records.iter().find(|r| r.host.to_string() == "alpha.example").unwrap();
    assert_eq!(owner.tenant, name("bravo"));
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_opening_cell_that_is_deleted_leaves_nothing() {
    let site = Site::new();
    site.found().await;
    site.data.set_forming(Duration::from_secs(100_000));
    site.put(&cell("a")).await;
    let (_control, stop, join) = site.control();
    site.until::<Cell>("a", 60, |c| c.is_some_and(|c| c.status.conditions.get("DatabaseReady").is_some())).await;
    site.delete::<Cell>("a").await;
    site.until::<Cell>("a", 60, |c| c.is_none()).await;
    assert!(site.engine.wanted(&name("a")).is_none() && site.data.orders().is_empty());
    let operations = site.store.read_all::<Operation>().await.unwrap().0;
    assert!(operations.iter().all(|o| o.status.state.ended()));
    assert!(operations.iter().any(|o| o.spec.verb == Verb::CellOpen && o.status.state == OperationState::Failed));
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_is_unknown() {
    let site = served().await;
    let (_control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, tenant_ready).await;
    site.engine.set_reachable(false);
    let unknown = |c: Option<&model::Typed<Cell>>| {
        c.and_then(|c| c.status.conditions.get("ServicesReady"))
            .is_some_and(|c| c.status == model::ConditionStatus::Unknown && c.reason == "EngineUnreachable")
    };
    let a = site.until::<Cell>("a", 30, unknown).await.unwrap();
    assert!(!a.status.services.is_empty(), "the last word is kept");
    assert!(site.gates.states().values().all(|state| state.services.iter().all(|s| !s.instances.is_empty())), "gates keep their instances");
    site.engine.set_reachable(true);
    site.until::<Cell>("a", 30, cell_ready).await;
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn once_control_has_looked_documents_do_not_tell_of_before() {
    let site = served().await;
    let (_control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, tenant_ready).await;
    stop.cancel();
    join.await.unwrap().unwrap();
    // Everything goes while nobody looks, and documents go on saying that it stands.
    engine::Engine::remove(&site.engine, &name("a")).await.unwrap();
    let (control, stop, join) = site.control();
    assert!(!control.looked() && cell_ready(site.read::<Cell>("a").await.as_ref()));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !control.looked() {
        assert!(tokio::time::Instant::now() < deadline, "it never looks");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!cell_ready(site.read::<Cell>("a").await.as_ref()), "what it saw is written down");
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deposed_control_stops() {
    let site = served().await;
    let (control, _stop, join) = site.control();
    site.until::<Cell>("a", 60, cell_ready).await;
    // The store refuses for longer than the lease is good, and another control takes over.
    site.store.set_down(Some("away"));
    tokio::time::sleep(Duration::from_secs(20)).await;
    site.store.set_down(None);
    assert!(matches!(join.await.unwrap(), Err(crate::ControlError::Deposed)));
    assert!(!control.active());
    let (_control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, tenant_ready).await;
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_gate_does_not_hold_a_tenant_back_once_the_engine_says_so() {
    let site = served().await;
    let (_control, stop, join) = site.control();
    site.until::<Cell>("a", 60, cell_ready).await;
    let (a, gate): (CellName, GateName) = (name("a"), name("gate-2"));
    site.gates.set_down(&a, &gate, true);
    site.put(&tenant("bravo", &["b.example"])).await;
    let waits = |c: Option<&model::Typed<Cell>>| c.and_then(|c| c.status.conditions.get("GatesReady")).is_some_and(|c| c.reason == "WaitingForGates");
    site.until::<Cell>("a", 30, waits).await;
    site.gates.set_down(&a, &gate, false);
    site.until::<Tenant>("bravo", 30, tenant_ready).await;
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_blueprint_that_breaks_the_rules_is_refused_and_said() {
    let site = Site::new();
    site.found().await;
    let mut bad = blueprint("shop.9", 9);
    bad.spec.services.get_mut("web").unwrap().entry = false;
    site.put(&bad).await;
    let mut c = cell("c");
    c.spec.blueprint = name("shop.9");
    site.put(&c).await;
    let (_control, stop, join) = site.control();
    site.until::<Blueprint>("shop.9", 10, |b| b.and_then(|b| b.status.conditions.get("Accepted")).is_some_and(|c| c.reason == "LintFailed")).await;
    site.until::<Cell>("c", 10, |c| c.and_then(|c| c.status.conditions.get("Ready")).is_some_and(|c| c.reason == "LintFailed")).await;
    assert!(site.engine.wanted(&name("c")).is_none());
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn trouble_with_certificates_is_told_as_a_condition_and_goes_with_https() {
    let site = served().await;
    let platform = |on: bool| {
        let public = if on { serde_json::json!({ "tls": {} }) } else { serde_json::json!({}) };
        model::Typed::<model::v1alpha1::Platform>::new(
            name::<model::DocumentName>("platform"),
            serde_json::from_value(serde_json::json!({ "public": public })).unwrap(),
        )
    };
    site.put(&platform(true)).await;
    let failed = Some((crate::CertificateFault::Elsewhere, "www.alpha.example points to 192.0.2.1:80".into()));
    let good = crate::CertificateFacts { ends: Some(jiff::Timestamp::MAX), asked: true, failed: None };
    site.certificates.set("alpha.example", good.clone());
    let (_control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, tenant_ready).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let said = |t: Option<&model::Typed<Tenant>>| t.and_then(|t| t.status.conditions.get("CertificatesReady")).map(|c| c.reason.clone());
    assert_eq!(said(site.read::<Tenant>("alpha").await.as_ref()), None, "nothing is known of one of its domains");
    site.certificates.set("www.alpha.example", crate::CertificateFacts { failed, ..crate::CertificateFacts { asked: true, ..Default::default() } });
    let told = site.until::<Tenant>("alpha", 60, |t| said(t).as_deref() == Some("DomainElsewhere")).await.unwrap();
    let message = &told.status.conditions.get("CertificatesReady").unwrap().message;
    assert!(message.starts_with("www.alpha.example: ") && message.contains("192.0.2.1"), "{message}");
    assert!(told.status.conditions.is_true("Ready"), "it is served over HTTP");
    let before = site.store.head();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(site.store.head(), before, "the same trouble is written once");
    site.certificates.set("www.alpha.example", good);
    site.until::<Tenant>("alpha", 60, |t| said(t).as_deref() == Some("AsWanted")).await;
    site.put(&platform(false)).await;
    site.until::<Tenant>("alpha", 60, |t| said(t).is_none()).await;
    stop.cancel();
    join.await.unwrap().unwrap();
}
