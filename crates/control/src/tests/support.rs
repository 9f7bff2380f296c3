//! A platform of fakes.

use std::sync::Arc;
use std::time::Duration;

use data::fake::FakeData;
use engine::fake::{Behaviour, FakeEngine};
use jiff::Timestamp;
use model::v1alpha1::{
    Blueprint, Cell, CellSpec, Machine, MachineSpec, Operation, Platform, PlatformSpec, Scheduling, Tenant, TenantSpec, TenantState,
};
use model::{CellName, DocumentName, PlatformName, Resource, TenantName, Typed};
use operation::Clock;
use reconcile::CancellationToken;
use serde_json::json;
use store::fake::FakeStore;
use store::{Key, Store, TypedStore};

use crate::fake::{FakeCertificates, FakeFiles, FakeGates, FakeHost, FakeKeys, OneAgent};
use crate::{Control, ControlError, Options, Ports};

/// All fakes of one platform.
pub struct Site {
    pub store: FakeStore,
    pub engine: FakeEngine,
    pub data: FakeData,
    pub gates: FakeGates,
    pub files: FakeFiles,
    pub certificates: FakeCertificates,
    pub ports: Ports,
    pub options: Options,
}

pub fn name<N: std::str::FromStr>(text: &str) -> N
where
    N::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

impl Site {
    pub fn new() -> Self {
        let clock: Clock = Arc::new(store::fake::tokio_clock(Timestamp::UNIX_EPOCH));
        let time = clock.clone();
        let store = FakeStore::new(move || time());
        let engine = FakeEngine::new(7);
        for image in ["web:1", "php:1", "web:2", "php:2"] {
            engine.set_image(image, Behaviour::Ready(Duration::from_millis(300)));
        }
        let data = FakeData::new(7);
        let gates = FakeGates::default();
        let files = FakeFiles::default();
        let certificates = FakeCertificates::default();
        let ports = Ports {
            store: store.shared(),
            engine: Arc::new(engine.clone()),
            machines: Arc::new(OneAgent(Arc::new(data.clone()))),
            gates: Arc::new(gates.clone()),
            keys: Arc::new(FakeKeys::new(7)),
            files: Arc::new(files.clone()),
            hosts: Arc::new(FakeHost::default()),
            certificates: Arc::new(certificates.clone()),
            clock,
        };
        let options = Options::new(name::<PlatformName>("test"), "/state").on(name("m1"), "127.0.0.1:9000".parse().unwrap());
        Self { store, engine, data, gates, files, certificates, ports, options }
    }

    /// A control at work, and how to stop it.
    pub fn control(&self) -> (Control, CancellationToken, tokio::task::JoinHandle<Result<(), ControlError>>) {
        let control = Control::new(self.ports.clone(), self.options.clone());
        let stop = CancellationToken::new();
        let (running, token) = (control.clone(), stop.clone());
        let join = tokio::spawn(async move { running.run(token).await });
        (control, stop, join)
    }

    pub async fn put<R: Resource>(&self, document: &Typed<R>) {
        let write = store::spec_write(document);
        self.store.commit(Vec::new(), vec![write]).await.unwrap();
    }

    pub async fn read<R: Resource>(&self, of: &str) -> Option<Typed<R>> {
        self.store.read::<R>(&name(of)).await.unwrap()
    }

    pub async fn delete<R: Resource>(&self, of: &str) {
        let write = store::Write::Delete(Key { kind: R::KIND, name: name(of) });
        self.store.commit(Vec::new(), vec![write]).await.unwrap();
    }

    /// Waits until a document looks like this, at most so long.
    pub async fn until<R: Resource + std::fmt::Debug>(&self, of: &str, within: u64, holds: impl Fn(Option<&Typed<R>>) -> bool) -> Option<Typed<R>> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(within);
        loop {
            let document = self.read::<R>(of).await;
            if holds(document.as_ref()) {
                return document;
            }
            if tokio::time::Instant::now() > deadline {
                let operations = self.store.read_all::<Operation>().await.unwrap().0;
                panic!("{} {of} does not get there: {document:#?}\n{operations:#?}", R::KIND);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The platform's documents, without cells and tenants.
    pub async fn found(&self) {
        self.put(&Typed::<Platform>::new(
            name::<DocumentName>("platform"),
            PlatformSpec { grace: model::Span::seconds(600), ..PlatformSpec::default() },
        ))
        .await;
        self.put(&blueprint("shop.1", 1)).await;
        let machine = MachineSpec { agent: "127.0.0.1:9000".parse().unwrap(), region: None };
        self.put(&Typed::<Machine>::new(name::<DocumentName>("m1"), machine)).await;
    }
}

/// A blueprint whose images end in this number.
pub fn blueprint(of: &str, version: u32) -> Typed<Blueprint> {
    let spec = json!({
        "capacity": { "tenants": 3 },
        "database": { "engine": "mariadb", "nodes": 3, "memory": "64Mi" },
        "cache": { "engine": "memcached", "memory": "16Mi" },
        "files": { "engine": "directory" },
        "services": {
            "web": { "image": format!("web:{version}"), "entry": true, "port": 8081, "user": 1002, "uses": ["php"], "replicas": { "min": 2, "max": 2 }, "files": "read" },
            "php": { "image": format!("php:{version}"), "port": 9000, "user": 1001, "uses": ["database"], "replicas": { "min": 2, "max": 2 }, "settings": true, "files": "write" },
        },
        "tenant": {
            "secrets": ["salt"],
            "settings": [{ "path": "settings.php", "template": format!("<?php return [{version}, {{{{ database.password | php }}}}, {{{{ domains | php }}}}, {{{{ secrets.salt | php }}}}];") }],
            "create": { "run": ["create"], "in": "php" },
            "migrate": { "run": ["migrate"], "in": "php" },
        },
    });
    Typed::new(name::<DocumentName>(of), serde_json::from_value(spec).unwrap())
}

pub fn cell(of: &str) -> Typed<Cell> {
    let spec = CellSpec { blueprint: name("shop.1"), region: None, machines: Vec::new(), scheduling: Scheduling::Open };
    Typed::new(&name::<CellName>(of), spec)
}

pub fn tenant(of: &str, domains: &[&str]) -> Typed<Tenant> {
    let spec = TenantSpec {
        blueprint: name("shop"),
        domains: domains.iter().map(|domain| model::DomainName::new(domain).unwrap()).collect(),
        hosts: model::v1alpha1::HostRules::default(),
        title: of.to_owned(),
        contact: "a@example.org".to_owned(),
        language: "en".to_owned(),
        plan: "standard".to_owned(),
        region: None,
        cell: None,
        group: None,
        https: None,
        state: TenantState::Active,
    };
    let mut tenant = Typed::new(&name::<TenantName>(of), spec);
    tenant.metadata.finalizers = [crate::names::TENANT_FINALIZER.to_owned()].into();
    tenant
}
