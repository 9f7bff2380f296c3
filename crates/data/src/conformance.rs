//! The contract, case by case; every agent runs it.
//!
//! Invariants: cases may run one after another on one cluster in the order of [`CASES`] (a real cluster takes seconds to form), or each on its own.
//! A case panics with what was broken.
//! Entry points: [`CASES`], [`run_all`].

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{CellName, Generation};
use tokio::time::Instant;

use crate::{ClusterOrder, ClusterReport, ClusterState, DataError, NodeState, SharedData, TenantAccess, TenantOrder};

/// What a case works on.
#[derive(Clone)]
pub struct Subject {
    /// The agent.
    pub data: SharedData,
    /// An order it can follow, of a cell it does not know at first.
    pub order: ClusterOrder,
    /// How long a cluster may need to form.
    pub patience: Duration,
}

/// A case.
pub type Case = for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Every case by name, in an order in which they may share one cluster.
        pub const CASES: &[(&str, Case)] = &[$((stringify!($name), |subject| Box::pin($name(subject)))),*];
    };
}

cases! {
    unknown_cell_is_refused,
    bad_order_is_refused,
    ensure_returns_before_it_is_met,
    older_order_is_refused,
    forms_and_reports,
    bad_tenant_is_refused,
    tenant_opens_once,
    tenant_locks_and_unlocks,
    tenant_goes,
    late_tenant_order_is_refused,
    stop_keeps_the_data,
    retire_is_repeatable,
}

/// Runs every case on one subject.
pub async fn run_all(subject: &Subject) {
    for (name, case) in CASES {
        tracing::info!(case = name, "conformance");
        case(subject).await;
    }
}

/// Each call gives the next order.
fn tenant(access: TenantAccess) -> TenantOrder {
    static NUMBER: AtomicU64 = AtomicU64::new(100);
    let password = model::Sensitive::new("it's \\ a \"secret\"".to_owned());
    let generation = Generation(NUMBER.fetch_add(10, Ordering::Relaxed));
    TenantOrder { schema: "t_conformance".to_owned(), password, connections: 5, access, generation }
}

async fn until(subject: &Subject, what: &str, good: impl Fn(&ClusterReport) -> bool) -> ClusterReport {
    let deadline = Instant::now() + subject.patience;
    loop {
        let report = must(subject.data.observe(&subject.order.cell).await, "observe");
        if good(&report) {
            return report;
        }
        assert!(Instant::now() < deadline, "not {what} within {:?}: {report:#?}", subject.patience);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn formed(subject: &Subject) -> ClusterReport {
    must(subject.data.ensure(&subject.order).await, "ensure");
    until(subject, "synced", |report| report.state == ClusterState::Synced).await
}

fn must<T>(answer: Result<T, DataError>, what: &str) -> T {
    match answer {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, DataError>, wanted: &str) {
    match answer {
        Err(DataError::Refused { reason, .. }) if reason == wanted => {}
        other => panic!("expected the refusal {wanted}, got {other:?}"),
    }
}

async fn unknown_cell_is_refused(subject: &Subject) {
    let cell: CellName = must(CellName::new("never-ordered").map_err(|e| DataError::Unreachable(e.to_string())), "name");
    refused(subject.data.observe(&cell).await, "UnknownCell");
    refused(subject.data.tenant(&cell, &tenant(TenantAccess::Open)).await, "UnknownCell");
    refused(subject.data.stop(&cell).await, "UnknownCell");
    must(subject.data.retire(&cell, Generation(0)).await, "retire of what is not there: nothing happens");
}

async fn bad_order_is_refused(subject: &Subject) {
    let mut order = subject.order.clone();
    order.nodes.clear();
    refused(subject.data.ensure(&order).await, "BadOrder");
    let mut order = subject.order.clone();
    order.app_network = order.data_network;
    refused(subject.data.ensure(&order).await, "BadOrder");
    let mut order = subject.order.clone();
    order.connections = 0;
    refused(subject.data.ensure(&order).await, "BadOrder");
}

async fn ensure_returns_before_it_is_met(subject: &Subject) {
    let began = Instant::now();
    must(subject.data.ensure(&subject.order).await, "ensure");
    must(subject.data.ensure(&subject.order).await, "the same order again");
    assert!(began.elapsed() < Duration::from_secs(2), "ensure waited {:?}", began.elapsed());
    let report = must(subject.data.observe(&subject.order.cell).await, "observe");
    assert_eq!(report.generation, subject.order.generation);
    assert_eq!(report.nodes.len(), subject.order.nodes.len());
    if report.writer.is_none() {
        let early = subject.data.tenant(&subject.order.cell, &tenant(TenantAccess::Open)).await;
        assert!(matches!(early, Err(DataError::NotNow { .. }) | Ok(_)), "a tenant before there is a writer: {early:?}");
    }
}

async fn older_order_is_refused(subject: &Subject) {
    must(subject.data.ensure(&subject.order).await, "ensure");
    let mut older = subject.order.clone();
    older.generation = Generation(subject.order.generation.0 - 1);
    let answer = subject.data.ensure(&older).await;
    assert_eq!(answer, Err(DataError::Older { held: subject.order.generation, offered: older.generation }));
    let mut other = subject.order.clone();
    other.connections += 1;
    refused(subject.data.ensure(&other).await, "GenerationReused");
}

async fn forms_and_reports(subject: &Subject) {
    let report = formed(subject).await;
    assert_eq!(report.endpoint, Some(subject.order.endpoint()));
    assert_eq!(report.writer.as_ref(), subject.order.nodes.first().map(|node| &node.name), "the first node is the first choice");
    assert!(report.reason.is_none(), "a synced cluster needs no reason: {:?}", report.reason);
    let mut uuids: Vec<_> = report.nodes.values().map(|node| node.position.as_ref().map(|position| position.uuid.clone())).collect();
    uuids.dedup();
    assert_eq!(uuids.len(), 1, "one cluster UUID: {:#?}", report.nodes);
    assert!(uuids[0].is_some(), "a synced node has a position");
    for (name, node) in &report.nodes {
        assert!(matches!(node.state, NodeState::Synced | NodeState::Donor), "{name}: {node:?}");
    }
}

async fn bad_tenant_is_refused(subject: &Subject) {
    formed(subject).await;
    for schema in ["mysql", "t_", "t_x;drop", "T_x", "t_`x"] {
        let order = TenantOrder { schema: schema.to_owned(), ..tenant(TenantAccess::Open) };
        refused(subject.data.tenant(&subject.order.cell, &order).await, "BadTenantOrder");
    }
}

async fn tenant_opens_once(subject: &Subject) {
    formed(subject).await;
    let first = must(subject.data.tenant(&subject.order.cell, &tenant(TenantAccess::Open)).await, "open");
    let again = must(subject.data.tenant(&subject.order.cell, &tenant(TenantAccess::Open)).await, "open again");
    assert_eq!(first, again);
    assert!(!first.host.is_empty());
}

async fn tenant_locks_and_unlocks(subject: &Subject) {
    formed(subject).await;
    let cell = &subject.order.cell;
    must(subject.data.tenant(cell, &tenant(TenantAccess::Open)).await, "open");
    for _ in 0..2 {
        let report = must(subject.data.tenant(cell, &tenant(TenantAccess::Locked)).await, "lock");
        assert_eq!(report.sessions, 0, "a locked account has no session left");
    }
    must(subject.data.tenant(cell, &tenant(TenantAccess::Open)).await, "unlock");
}

async fn tenant_goes(subject: &Subject) {
    formed(subject).await;
    let cell = &subject.order.cell;
    must(subject.data.tenant(cell, &tenant(TenantAccess::Open)).await, "open");
    for _ in 0..2 {
        let report = must(subject.data.tenant(cell, &tenant(TenantAccess::Gone)).await, "drop");
        assert_eq!(report.sessions, 0);
    }
}

/// What a control that was paused says when it goes on brings nothing back.
async fn late_tenant_order_is_refused(subject: &Subject) {
    formed(subject).await;
    let cell = &subject.order.cell;
    let older = |than: &TenantOrder, access| TenantOrder { generation: Generation(than.generation.0 - 1), ..tenant(access) };
    for (newer, late) in [
        (TenantAccess::Open, TenantAccess::Gone),
        (TenantAccess::Locked, TenantAccess::Open),
        (TenantAccess::Gone, TenantAccess::Open),
        (TenantAccess::Gone, TenantAccess::Locked),
    ] {
        let newer = tenant(newer);
        must(subject.data.tenant(cell, &newer).await, "the newer order");
        let late = older(&newer, late);
        let answer = subject.data.tenant(cell, &late).await;
        assert_eq!(answer, Err(DataError::Older { held: newer.generation, offered: late.generation }), "{:?} after {:?}", late.access, newer.access);
        must(subject.data.tenant(cell, &newer).await, "the newer order again");
    }
}

async fn stop_keeps_the_data(subject: &Subject) {
    let uuid = |report: &ClusterReport| report.nodes.values().next().and_then(|node| node.position.clone()).map(|position| position.uuid);
    let before = uuid(&formed(subject).await);
    for _ in 0..2 {
        must(subject.data.stop(&subject.order.cell).await, "stop");
    }
    let stopped = until(subject, "stopped", |report| report.state == ClusterState::Stopped).await;
    assert_eq!(stopped.writer, None, "a stopped cluster has no writer");
    let refusal = subject.data.tenant(&subject.order.cell, &tenant(TenantAccess::Open)).await;
    assert!(matches!(refusal, Err(DataError::NotNow { .. })), "a stopped cluster takes no tenant: {refusal:?}");
    assert_eq!(uuid(&formed(subject).await), before, "the same data comes back");
}

async fn retire_is_repeatable(subject: &Subject) {
    must(subject.data.ensure(&subject.order).await, "ensure");
    let (cell, held) = (&subject.order.cell, subject.order.generation);
    // What a control that was paused says when it goes on does not end what was ordered after it.
    let old = Generation(held.0 - 1);
    assert_eq!(subject.data.retire(cell, old).await, Err(DataError::Older { held, offered: old }));
    let number = Generation(held.0 + 2);
    for _ in 0..2 {
        must(subject.data.retire(cell, number).await, "retire");
    }
    refused(subject.data.observe(&subject.order.cell).await, "UnknownCell");
    // Nor does it make it anew: not the order that stood, doubled, nor one that was never heard before.
    for late in [old, held, Generation(held.0 + 1), number] {
        let late = ClusterOrder { generation: late, ..subject.order.clone() };
        assert_eq!(subject.data.ensure(&late).await, Err(DataError::Older { held: number, offered: late.generation }));
    }
    refused(subject.data.observe(&subject.order.cell).await, "UnknownCell");
}
