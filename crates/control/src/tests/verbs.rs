//! The three tests that every verb inherits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::v1alpha1::{Cell, Secret, Tenant, TenantState, Verb};
use model::{CellName, Kind, OperationName, Resource};
use operation::harness::{Scenario, Stage, inherited};
use serde_json::{Value, json};
use store::{Key, Store, TypedStore};

use super::support::{Site, blueprint, cell, name, tenant};
use crate::world::World;
use crate::{RouteFeed, cells, operations, tenants};

/// The verb under test on a platform of fakes; the site is kept for looking.
struct OnFakes(Verb);

/// The fakes of a stage, found again by its store.
static SITES: std::sync::Mutex<Vec<(String, Arc<Site>)>> = std::sync::Mutex::new(Vec::new());

async fn stage() -> (Arc<Site>, Stage<World>) {
    let site = Arc::new(Site::new());
    site.data.set_forming(Duration::from_millis(500));
    site.found().await;
    site.put(&cell("a")).await;
    let lease = site.store.lease("control", "test", Duration::from_secs(1_000_000)).await.unwrap();
    let world = World::new(site.ports.clone(), site.options.clone(), RouteFeed::new(), lease.clone(), "life".to_owned());
    world.view.load(world.store()).await.unwrap();
    let stage = Stage {
        store: site.ports.store.clone(),
        lease,
        world,
        procedures: Arc::new(operations::procedures()),
        clock: site.ports.clock.clone(),
        operation: name("none"),
    };
    (site, stage)
}

/// The operation that runs on a subject now, after the reconcilers have looked once.
async fn begun<R: Resource>(stage: &mut Stage<World>, of: &str) {
    stage.world.view.load(stage.world.store()).await.unwrap();
    tenants::activate(&stage.world).await.unwrap();
    cells::wishes(&stage.world).await.unwrap();
    let document = stage.store.get(&Key { kind: R::KIND, name: name(of) }).await.unwrap().unwrap();
    let operation = document.status["operation"].as_str().unwrap_or_else(|| panic!("no operation runs on {of}: {document:#?}"));
    stage.operation = name::<OperationName>(operation);
}

async fn drive(stage: &Stage<World>) {
    let runner = operation::Runner::new(stage.store.clone(), stage.lease.clone(), stage.world.clone(), stage.procedures.clone(), stage.clock.clone());
    for _ in 0..500 {
        match runner.drive(&stage.operation).await.unwrap() {
            operation::Drove::Until(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => break,
        }
    }
    stage.world.view.load(stage.world.store()).await.unwrap();
}

async fn opened(site: &Site, stage: &mut Stage<World>) {
    begun::<Cell>(stage, "a").await;
    drive(stage).await;
    site.until::<Cell>("a", 5, |c| c.is_some_and(|c| c.status.serving.is_some())).await;
}

async fn created(site: &Site, stage: &mut Stage<World>) {
    opened(site, stage).await;
    site.put(&tenant("alpha", &["alpha.example"])).await;
    begun::<Tenant>(stage, "alpha").await;
    drive(stage).await;
    site.until::<Tenant>("alpha", 5, |t| t.is_some_and(|t| t.status.conditions.is_true("Installed"))).await;
}

async fn wish(site: &Site, stage: &mut Stage<World>, state: TenantState) {
    let mut alpha = site.read::<Tenant>("alpha").await.unwrap();
    alpha.spec.state = state;
    site.put(&alpha).await;
    begun::<Tenant>(stage, "alpha").await;
}

#[async_trait]
impl Scenario for OnFakes {
    type World = World;

    fn verb(&self) -> Verb {
        self.0
    }

    async fn fresh(&self) -> Stage<World> {
        let (site, mut stage) = stage().await;
        match self.0 {
            Verb::CellOpen => begun::<Cell>(&mut stage, "a").await,
            Verb::TenantCreate => {
                opened(&site, &mut stage).await;
                site.put(&tenant("alpha", &["alpha.example"])).await;
                begun::<Tenant>(&mut stage, "alpha").await;
            }
            Verb::TenantSuspend | Verb::TenantRemove => {
                created(&site, &mut stage).await;
                let state = if self.0 == Verb::TenantSuspend { TenantState::Suspended } else { TenantState::Removed };
                wish(&site, &mut stage, state).await;
            }
            Verb::TenantResume | Verb::TenantPurge => {
                created(&site, &mut stage).await;
                wish(&site, &mut stage, TenantState::Removed).await;
                drive(&stage).await;
                if self.0 == Verb::TenantPurge {
                    tokio::time::sleep(Duration::from_secs(700)).await;
                    begun::<Tenant>(&mut stage, "alpha").await;
                } else {
                    wish(&site, &mut stage, TenantState::Active).await;
                }
            }
            Verb::CellRoll => {
                created(&site, &mut stage).await;
                site.put(&blueprint("shop.2", 2)).await;
                let mut a = site.read::<Cell>("a").await.unwrap();
                a.spec.blueprint = name("shop.2");
                site.put(&a).await;
                begun::<Cell>(&mut stage, "a").await;
            }
            Verb::CellDrain => {
                opened(&site, &mut stage).await;
                let mut a = site.read::<Cell>("a").await.unwrap();
                a.spec.scheduling = model::v1alpha1::Scheduling::Draining;
                site.put(&a).await;
                begun::<Cell>(&mut stage, "a").await;
            }
            Verb::CellClose => {
                opened(&site, &mut stage).await;
                site.delete::<Cell>("a").await;
                begun::<Cell>(&mut stage, "a").await;
            }
        }
        SITES.lock().unwrap().push((format!("{:p}", Arc::as_ptr(&stage.world)), site));
        stage
    }

    async fn look(&self, stage: &Stage<World>) -> Value {
        let address = format!("{:p}", Arc::as_ptr(&stage.world));
        let site = SITES.lock().unwrap().iter().rev().find(|(of, _)| *of == address).map(|(_, site)| site.clone()).unwrap();
        look(&site, stage).await
    }
}

/// Everything that a verb may change. A tenant whose creation has not come to its end counts as not placed: the commit that begins it is not its own.
async fn look(site: &Site, stage: &Stage<World>) -> Value {
    let a: CellName = name("a");
    let cell = stage.store.read::<Cell>(&(&a).into()).await.unwrap();
    let alpha = stage.store.read::<Tenant>(&name("alpha")).await.unwrap();
    let installed = alpha.as_ref().is_some_and(|t| t.status.conditions.is_true("Installed"));
    let opened = cell.as_ref().is_some_and(|c| c.status.conditions.is_true("Opened"));
    let secrets = stage.store.read_all::<Secret>().await.unwrap().0.iter().map(|s| s.metadata.name.to_string()).collect::<Vec<_>>();
    let domains = stage.store.list(Kind::Domain, store::ListOptions::default()).await.unwrap().documents.len();
    let gates = site.gates.states().into_values().map(|s| json!(s.tenants)).collect::<Vec<_>>();
    let images = site.engine.wanted(&a).map(|w| w.services.into_values().map(|s| s.image).collect::<Vec<_>>());
    json!({
        "cell": cell.as_ref().filter(|_| opened).map(|c| json!([c.status.serving, c.status.allocation])),
        "room": cell.map(|c| if installed { c.status.tenants } else { 0 }),
        "tenant": alpha.filter(|_| installed).map(|t| json!([t.status.cell, t.status.serving, t.status.schema, t.status.purge_at.is_some()])),
        "domains": if installed { domains } else { 0 },
        "secrets": secrets,
        "gates": if opened { gates } else { Vec::new() },
        "images": images,
        "cluster": site.data.orders().len(),
        "accounts": site.data.tenants(&a).into_values().map(|t| json!([t.order.schema, t.order.access])).collect::<Vec<_>>(),
        "folders": site.files.folders().len(),
        "settings": site.files.settings().into_values().map(|s| s["settings.php"].chars().take(16).collect::<String>()).collect::<Vec<_>>(),
        "records": stage.world.feed.snapshot().map(|s| s.records).filter(|records| !records.is_empty()).map(|records| json!(records)),
    })
}

macro_rules! verbs {
    ($($test:ident: $verb:ident, $runs:expr;)+) => {$(
        #[tokio::test(start_paused = true)]
        async fn $test() {
            assert_eq!(inherited(&OnFakes(Verb::$verb)).await, $runs);
        }
    )+};
}

// Six disturbed runs for each step that can be undone, four for each behind the point of no return.
verbs! {
    tenant_create: TenantCreate, 7 * 6;
    tenant_suspend: TenantSuspend, 2 * 6;
    tenant_resume: TenantResume, 3 * 6;
    tenant_remove: TenantRemove, 2 * 6;
    tenant_purge: TenantPurge, 3 * 4;
    cell_open: CellOpen, 3 * 6;
    cell_roll: CellRoll, 2 * 6 + 4;
    cell_drain: CellDrain, 6;
    cell_close: CellClose, 3 * 4;
}

#[tokio::test(start_paused = true)]
async fn of_a_cell_nothing_is_told_before_the_step_whose_undoing_takes_it_back() {
    let (site, mut stage) = stage().await;
    begun::<Cell>(&mut stage, "a").await;
    let cell: CellName = name("a");
    let pass = cells::pass(&stage.world, &cell).await.unwrap();
    assert_eq!(pass, cells::Pass::default());
    assert!(site.engine.wanted(&cell).is_none() && site.data.orders().is_empty(), "an opening that is cancelled now undoes nothing");
    drive(&stage).await;
    assert!(site.engine.wanted(&cell).is_some() && site.data.orders().contains_key(&cell));
}
