//! One control's hold on the world: while it runs, its calls pass; paused, they wait (as after SIGSTOP, and go on with whatever it believed then); dead,
//! they never come back (as after kill -9: what was begun may have happened, nobody hears of it).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use control::{Files, GateError, GateTarget, Gates, Machines, PortError};
use data::{ClusterOrder, ClusterReport, Data, DataError, SharedData, TenantOrder, TenantReport};
use engine::{Engine, EngineError, Job, JobDone, LogOptions, LogStream, Observation, SharedEngine, Wanted};
use model::{CellName, Document, Generation, InstanceName, Kind, MachineName, Revision, TenantName};
use routes::{GateReport, GateState};
use store::{Committed, Compare, Event, Key, Lease, ListOptions, Page, SharedStore, Store, StoreError, Watch, Write};
use tokio::sync::watch;

/// Whether a control's calls pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// They pass.
    Runs,
    /// They wait.
    Paused,
    /// They never come back.
    Dead,
}

/// A control's thread of life.
#[derive(Clone)]
pub struct Thread(watch::Receiver<Life>);

impl Thread {
    /// A thread and its end.
    #[must_use]
    pub fn new() -> (watch::Sender<Life>, Self) {
        let (sender, receiver) = watch::channel(Life::Runs);
        (sender, Self(receiver))
    }

    /// Goes on once the control runs; never, once it is dead.
    async fn runs(&self) {
        let mut life = self.0.clone();
        if life.wait_for(|life| *life != Life::Paused).await.is_ok_and(|life| *life == Life::Runs) {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// A call that passes both on its way and on its way back.
    async fn call<T>(&self, work: impl Future<Output = T> + Send) -> T {
        self.runs().await;
        let answer = work.await;
        self.runs().await;
        answer
    }
}

/// The store as one control reaches it.
pub struct CutStore(pub SharedStore, pub Thread);

#[async_trait]
impl Store for CutStore {
    async fn incarnation(&self) -> Result<String, StoreError> {
        self.1.call(self.0.incarnation()).await
    }
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.1.call(self.0.get(key)).await
    }
    async fn list(&self, kind: Kind, options: ListOptions) -> Result<Page, StoreError> {
        self.1.call(self.0.list(kind, options)).await
    }
    async fn commit(&self, compares: Vec<Compare>, writes: Vec<Write>) -> Result<Committed, StoreError> {
        self.1.call(self.0.commit(compares, writes)).await
    }
    async fn watch(&self, kind: Option<Kind>, from: Revision) -> Result<Box<dyn Watch>, StoreError> {
        let watch = self.1.call(self.0.watch(kind, from)).await?;
        Ok(Box::new(CutWatch(watch, self.1.clone())))
    }
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        self.1.call(self.0.lease(name, holder, ttl)).await
    }
    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.1.call(self.0.release(lease)).await
    }
}

struct CutWatch(Box<dyn Watch>, Thread);

#[async_trait]
impl Watch for CutWatch {
    async fn next(&mut self) -> Result<Event, StoreError> {
        let event = self.0.next().await;
        self.1.runs().await;
        event
    }
}

/// The engine as one control reaches it.
pub struct CutEngine(pub SharedEngine, pub Thread);

#[async_trait]
impl Engine for CutEngine {
    async fn ensure(&self, wanted: &Wanted) -> Result<(), EngineError> {
        self.1.call(self.0.ensure(wanted)).await
    }
    async fn observe(&self, cell: &CellName) -> Observation {
        self.1.call(self.0.observe(cell)).await
    }
    async fn run(&self, cell: &CellName, job: &Job) -> Result<JobDone, EngineError> {
        self.1.call(self.0.run(cell, job)).await
    }
    async fn logs(&self, cell: &CellName, instance: &InstanceName, options: LogOptions) -> Result<LogStream, EngineError> {
        self.1.call(self.0.logs(cell, instance, options)).await
    }
    async fn drained(&self, cell: &CellName, instance: &InstanceName) -> Result<(), EngineError> {
        self.1.call(self.0.drained(cell, instance)).await
    }
    async fn remove(&self, cell: &CellName) -> Result<(), EngineError> {
        self.1.call(self.0.remove(cell)).await
    }
}

/// The one agent as one control reaches it.
pub struct CutData(pub SharedData, pub Thread);

#[async_trait]
impl Data for CutData {
    async fn ensure(&self, order: &ClusterOrder) -> Result<(), DataError> {
        self.1.call(self.0.ensure(order)).await
    }
    async fn observe(&self, cell: &CellName) -> Result<ClusterReport, DataError> {
        self.1.call(self.0.observe(cell)).await
    }
    async fn tenant(&self, cell: &CellName, order: &TenantOrder) -> Result<TenantReport, DataError> {
        self.1.call(self.0.tenant(cell, order)).await
    }
    async fn stop(&self, cell: &CellName) -> Result<(), DataError> {
        self.1.call(self.0.stop(cell)).await
    }
    async fn retire(&self, cell: &CellName, number: Generation) -> Result<(), DataError> {
        self.1.call(self.0.retire(cell, number)).await
    }
}

/// The machines as one control reaches them: one agent for all.
pub struct CutMachines(pub SharedData);

impl Machines for CutMachines {
    fn data(&self, _: &MachineName, _: std::net::SocketAddr) -> SharedData {
        self.0.clone()
    }
}

/// The gates as one control reaches them.
pub struct CutGates(pub Arc<dyn Gates>, pub Thread);

#[async_trait]
impl Gates for CutGates {
    async fn push(&self, target: &GateTarget, state: &GateState) -> Result<GateReport, GateError> {
        self.1.call(self.0.push(target, state)).await
    }
    async fn report(&self, target: &GateTarget) -> Result<GateReport, GateError> {
        self.1.call(self.0.report(target)).await
    }
}

/// The folders as one control reaches them.
pub struct CutFiles(pub Arc<dyn Files>, pub Thread);

#[async_trait]
impl Files for CutFiles {
    async fn make_tenant(&self, cell: &CellName, tenant: &TenantName, owner: u32) -> Result<(), PortError> {
        self.1.call(self.0.make_tenant(cell, tenant, owner)).await
    }
    async fn write_settings(&self, cell: &CellName, tenant: &TenantName, files: &BTreeMap<String, String>, owner: u32) -> Result<(), PortError> {
        self.1.call(self.0.write_settings(cell, tenant, files, owner)).await
    }
    async fn remove_settings(&self, cell: &CellName, tenant: &TenantName) -> Result<(), PortError> {
        self.1.call(self.0.remove_settings(cell, tenant)).await
    }
    async fn remove_tenant(&self, cell: &CellName, tenant: &TenantName) -> Result<(), PortError> {
        self.1.call(self.0.remove_tenant(cell, tenant)).await
    }
    async fn remove_cell(&self, cell: &CellName) -> Result<(), PortError> {
        self.1.call(self.0.remove_cell(cell)).await
    }
}
