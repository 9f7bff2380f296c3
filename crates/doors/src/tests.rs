#![expect(clippy::unwrap_used, reason = "tests")]

mod tcp;
mod told;
mod usage;
mod wire;
mod wishes;

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use api::v1::{PlanAnswer, PlanRequest};
use api::{Client, ClientError};
use async_trait::async_trait;
use engine::{Engine, EngineError, Job, JobDone, LogLine, LogOptions, LogStream, Observation, Wanted};
use jiff::Timestamp;
use model::v1alpha1::SealedSecret;
use model::{CellName, Document, DocumentName, InstanceName, Sensitive};
use store::fake::FakeStore;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Doors, Options, Reveal, serve};

const BLUEPRINT: &str = r#"
apiVersion: atoll.dev/v1alpha1
kind: Blueprint
metadata: { name: wordpress, version: 2026.11.1 }
spec:
  capacity: { tenants: 10 }
  services:
    web: { image: "localhost/atoll/web:1", user: 1002, port: 8080, entry: true, replicas: { min: 2, max: 4 } }
---
apiVersion: atoll.dev/v1alpha1
kind: Machine
metadata: { name: local }
spec: { agent: "127.0.0.1:7001" }
"#;

const TENANT: &str = "
apiVersion: atoll.dev/v1alpha1
kind: Tenant
metadata: { name: alpha }
spec: { blueprint: wordpress, domains: [alpha.localhost], contact: a@alpha.example, title: Alpha }
";

/// An engine with what a test put into it.
#[derive(Default)]
struct Told {
    observation: Mutex<Option<Observation>>,
    lines: Mutex<Vec<LogLine>>,
    /// Parts that have no container.
    absent: Mutex<Vec<&'static str>>,
}

#[async_trait]
impl Engine for Told {
    async fn ensure(&self, _: &Wanted) -> Result<(), EngineError> {
        Err(EngineError::Unreachable("doors never order anything".to_owned()))
    }
    async fn observe(&self, _: &CellName) -> Observation {
        self.observation.lock().unwrap().clone().unwrap_or_else(|| Observation::Unknown("stopped by the test".to_owned()))
    }
    async fn run(&self, _: &CellName, _: &Job) -> Result<JobDone, EngineError> {
        Err(EngineError::Unreachable("doors never order anything".to_owned()))
    }
    async fn logs(&self, _: &CellName, instance: &InstanceName, options: LogOptions) -> Result<LogStream, EngineError> {
        if self.absent.lock().unwrap().contains(&instance.as_str()) {
            return Err(EngineError::Refused { reason: engine::Reason::NoSuchInstance, message: format!("no {instance}") });
        }
        let (sender, receiver) = tokio::sync::mpsc::channel(100);
        for line in self.lines.lock().unwrap().iter().filter(|line| line.instance == *instance) {
            sender.try_send(line.clone()).unwrap();
        }
        if options.follow {
            // Goes on until the reader is gone.
            tokio::spawn(async move { sender.closed().await });
        }
        Ok(receiver)
    }
    async fn drained(&self, _: &CellName, _: &InstanceName) -> Result<(), EngineError> {
        Ok(())
    }
    async fn remove(&self, _: &CellName) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Sealed is what was written backwards.
struct Backwards;

impl Reveal for Backwards {
    fn open(&self, _: &DocumentName, sealed: &SealedSecret) -> Result<Sensitive<String>, String> {
        if sealed.key == "lost" { Err("its key is not known".to_owned()) } else { Ok(Sensitive::new(sealed.sealed.chars().rev().collect())) }
    }
}

/// Doors over a socket, with everything behind them at hand.
struct House {
    _folder: TempDir,
    socket: PathBuf,
    store: FakeStore,
    engine: Arc<Told>,
    /// Seconds that the clock is ahead.
    ahead: Arc<AtomicI64>,
    ledger: Arc<ledger_sqlite::SqliteLedger>,
    doors: Doors,
    client: Client,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), crate::ServeError>>,
}

impl House {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("api.sock");
        let store = FakeStore::new(Timestamp::now);
        let engine = Arc::new(Told::default());
        let ahead = Arc::new(AtomicI64::new(0));
        let clock = {
            let ahead = ahead.clone();
            move || Timestamp::now() + jiff::SignedDuration::from_secs(ahead.load(Ordering::SeqCst))
        };
        let platform = "atoll".parse().unwrap();
        let doors = Doors::new(store.shared(), engine.clone(), Arc::new(Backwards), platform).clock(clock);
        let ledger = Arc::new(ledger_sqlite::SqliteLedger::open(&folder.path().join("ledger.db")).unwrap());
        let doors = doors.ledger(ledger.clone());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(Options { socket: socket.clone() }, doors.clone(), stop.clone()));
        while !socket.exists() {
            tokio::task::yield_now().await;
        }
        let client = Client::unix(&socket, "test:doors");
        Self { _folder: folder, socket, store, engine, ahead, ledger, doors, client, stop, serving }
    }

    async fn plan(&self, text: &str) -> PlanAnswer {
        self.client.plan(&PlanRequest { documents: read(text) }).await.unwrap()
    }

    async fn apply(&self, text: &str) {
        let plan = self.plan(text).await;
        assert_eq!(plan.refused().count(), 0, "{:?}", plan.changes);
        self.client.apply(&plan.id).await.unwrap();
    }

    /// Writes a status as control would.
    async fn status(&self, kind: model::Kind, name: &str, status: serde_json::Value) {
        let key = store::Key::new(kind, DocumentName::new(name).unwrap());
        self.store.shared().commit(vec![], vec![store::Write::Status { key, status }]).await.unwrap();
    }
}

/// The manifest of a tenant by this name.
fn tenant(name: &str) -> String {
    TENANT.replace("name: alpha", &format!("name: {name}")).replace("alpha.localhost", &format!("{name}.localhost"))
}

fn read(text: &str) -> Vec<Document> {
    manifest::parse("test.yaml", text).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Status and code of a refusal, with its message.
fn refusal<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> (u16, String, String) {
    match answer.unwrap_err() {
        ClientError::Fault(refusal) => (refusal.status.as_u16(), refusal.fault.code.to_string(), refusal.fault.message.clone()),
        other => panic!("{other}"),
    }
}
