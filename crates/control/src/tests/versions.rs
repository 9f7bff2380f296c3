//! What follows from a cell's state and from the version that an instance runs.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::fake::{Behaviour, FakeJob};
use model::v1alpha1::{Blueprint, Cell, ProbeKind, Tenant};
use model::{ConditionStatus, Typed};
use routes::{GateProbe, GateService, GateState};

use super::support::{Site, blueprint, cell, name, tenant};

fn ready(tenant: Option<&Typed<Tenant>>) -> bool {
    tenant.is_some_and(|t| t.status.conditions.is_true("Ready") && t.status.operation.is_none())
}

fn says(condition: &'static str, reason: &'static str) -> impl Fn(Option<&Typed<Cell>>) -> bool {
    move |cell| cell.and_then(|cell| cell.status.conditions.get(condition)).is_some_and(|said| said.reason == reason)
}

async fn wants(site: &Site, blueprint: &str) {
    let mut a = site.read::<Cell>("a").await.unwrap();
    a.spec.blueprint = name(blueprint);
    site.put(&a).await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_ready_as_its_cell_is() {
    let site = Site::new();
    site.found().await;
    site.put(&cell("a")).await;
    site.put(&tenant("alpha", &["alpha.example"])).await;
    let (_control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, ready).await;
    let said = |status: ConditionStatus, cause: &'static str| {
        move |t: Option<&Typed<Tenant>>| {
            let said = t.and_then(|t| t.status.conditions.get("Ready"));
            said.is_some_and(|said| said.status == status && said.reason == "CellNotReady" && said.message.contains(cause))
        }
    };
    site.data.force(&name("a"), Some((data::ClusterState::Blocked, "MemberMissing")));
    site.until::<Tenant>("alpha", 30, said(ConditionStatus::False, "MemberMissing")).await;
    site.data.force(&name("a"), None);
    site.until::<Tenant>("alpha", 60, ready).await;
    site.engine.set_reachable(false);
    site.until::<Tenant>("alpha", 30, said(ConditionStatus::Unknown, "EngineUnreachable")).await;
    site.engine.set_reachable(true);
    site.until::<Tenant>("alpha", 60, ready).await;
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_failed_is_made_up_for() {
    let site = Site::new();
    site.found().await;
    site.put(&cell("a")).await;
    site.put(&tenant("alpha", &["alpha.example"])).await;
    site.engine.set_jobs(|_, _| FakeJob { takes: Duration::from_secs(1), code: 3, tail: "no luck".to_owned() });
    let (_control, stop, join) = site.control();
    let failed = |t: Option<&Typed<Tenant>>| t.is_some_and(|t| t.status.creation.is_some_and(|creation| creation.failed == 2));
    let alpha = site.until::<Tenant>("alpha", 180, failed).await.unwrap();
    let message = &alpha.status.conditions.get("Ready").unwrap().message;
    assert!(message.contains("failed 2 of 6 times, tried again at"), "{message}");
    site.engine.set_jobs(|_, _| FakeJob::default());
    site.until::<Tenant>("alpha", 120, ready).await;
    stop.cancel();
    join.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cell_that_never_served_is_not_ready_by_what_another_version_left() {
    let site = Site::new();
    site.found().await;
    site.data.set_forming(Duration::from_secs(1));
    // A gate that cannot be told keeps the opening under way until another version is wanted.
    site.gates.set_down(&name("a"), &name("gate-1"), true);
    site.engine.set_image("web:2", Behaviour::Ends(1));
    site.put(&blueprint("shop.2", 2)).await;
    site.put(&cell("a")).await;
    site.put(&tenant("alpha", &["alpha.example"])).await;
    let (_control, stop, join) = site.control();
    let up = |c: Option<&Typed<Cell>>| c.is_some_and(|c| c.status.services.get("web").is_some_and(|web| web.ready == 2));
    let a = site.until::<Cell>("a", 60, up).await.unwrap();
    assert!(a.status.serving.is_none(), "it is still being opened, or this test says nothing: {:#?}", a.status);
    wants(&site, "shop.2").await;
    let a = site.until::<Cell>("a", 120, says("ServicesReady", "RolloutStopped")).await.unwrap();
    assert!(!a.status.conditions.is_true("Ready") && a.status.tenants == 0, "{:#?}", a.status);
    site.gates.set_down(&name("a"), &name("gate-1"), false);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!site.read::<Cell>("a").await.unwrap().status.conditions.is_true("Ready"));
    wants(&site, "shop.1").await;
    site.until::<Tenant>("alpha", 120, ready).await;
    stop.cancel();
    join.await.unwrap().unwrap();
}

fn service<'s>(state: &'s GateState, name: &str) -> &'s GateService {
    state.services.iter().find(|service| service.name.as_str() == name).unwrap()
}

/// The second version of the shop: other ports and another way to ask for readiness.
fn moved() -> Typed<Blueprint> {
    let mut second = blueprint("shop.2", 2);
    second.spec.services.get_mut("php").unwrap().port = Some(9001);
    let web = second.spec.services.get_mut("web").unwrap();
    (web.port, web.ready.check) = (Some(8082), Some(ProbeKind::Http("/healthz".to_owned())));
    second
}

#[tokio::test(start_paused = true)]
async fn ports_change_in_a_roll_and_every_instance_keeps_its_own() {
    let site = Site::new();
    site.found().await;
    site.put(&cell("a")).await;
    site.put(&tenant("alpha", &["alpha.example"])).await;
    let (_control, stop, join) = site.control();
    site.until::<Tenant>("alpha", 60, ready).await;
    site.put(&moved()).await;
    wants(&site, "shop.2").await;
    let rolled = |c: &Typed<Cell>| c.status.serving.as_ref() == Some(&name("shop.2")) && c.status.operation.is_none();
    let mut seen = BTreeSet::new();
    let mut mixed = false;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(300);
    loop {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", site.read::<Cell>("a").await);
        for state in site.gates.states().values() {
            assert_eq!(state.check(), Ok(()));
            let (web, php) = (service(state, "web"), service(state, "php"));
            assert!(web.instances.iter().any(|instance| instance.ready), "{web:#?}");
            assert!(php.instances.iter().any(|instance| instance.ready), "{php:#?}");
            for instance in &web.instances {
                let probe = instance.probe.as_ref().unwrap_or(&web.probe);
                let right = if instance.address.port() == 8082 { GateProbe::Http("/healthz".to_owned()) } else { GateProbe::Tcp };
                assert_eq!(*probe, right, "{web:#?}");
            }
            let ports: BTreeSet<u16> = web.instances.iter().map(|instance| instance.address.port()).collect();
            mixed |= ports.len() == 2;
            // Whoever is there, old or new, finds the service where he knows it.
            let old = state.services.iter().flat_map(|s| &s.instances).any(|instance| [8081, 9000].contains(&instance.address.port()));
            let listens: BTreeSet<u16> = php.ports().collect();
            assert!(!old || listens.contains(&9000), "{php:#?}");
            let new = state.services.iter().flat_map(|s| &s.instances).any(|instance| [8082, 9001].contains(&instance.address.port()));
            assert!(!new || listens.contains(&9001), "{php:#?}");
            seen.insert(listens.into_iter().collect::<Vec<_>>());
        }
        if rolled(&site.read::<Cell>("a").await.unwrap()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let last: BTreeSet<Vec<u16>> = site.gates.states().values().map(|state| service(state, "php").ports().collect()).collect();
    assert_eq!(last, [vec![9001]].into(), "the old port is closed in the end");
    assert!(mixed && seen.contains(&vec![9000, 9001]), "both were there at some time: {seen:?}");
    stop.cancel();
    join.await.unwrap().unwrap();
}
