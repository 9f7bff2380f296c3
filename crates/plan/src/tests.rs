//! What the tests of all parts share: small platforms made of plain data.
#![expect(clippy::unwrap_used, reason = "tests")]

use jiff::{Timestamp, ToSpan};
use model::v1alpha1::{
    Blueprint, BlueprintSpec, Cell, CellSpec, Domain, DomainClaim, Machine, MachineSpec, Platform, PlatformSpec, Scheduling, Tenant, TenantSpec,
    TenantState,
};
use model::{CellName, ConditionStatus, Document, DocumentName, DomainName, Generation, Kind, Metadata, Revision, TenantName, Typed};
use serde_json::{Value, json};

use crate::Snapshot;

pub(crate) fn cell_name(name: &str) -> CellName {
    CellName::new(name).unwrap()
}

pub(crate) fn tenant_name(name: &str) -> TenantName {
    TenantName::new(name).unwrap()
}

pub(crate) fn domain(name: &str) -> DomainName {
    DomainName::new(name).unwrap()
}

pub(crate) fn document_name(name: &str) -> DocumentName {
    DocumentName::new(name).unwrap()
}

/// A blueprint without faults, as a file would state it.
pub(crate) fn blueprint_json(capacity: u32) -> Value {
    json!({
        "capacity": { "tenants": capacity },
        "database": { "engine": "mariadb", "nodes": 3, "memory": "128Mi" },
        "cache": { "engine": "memcached", "memory": "64Mi" },
        "files": { "engine": "directory" },
        "services": {
            "web": { "image": "localhost/web:1", "replicas": { "min": 2, "max": 4 }, "port": 8080, "entry": true, "uses": ["php"], "user": 1002, "files": "read" },
            "php": { "image": "localhost/php:1", "replicas": { "min": 2, "max": 6 }, "port": 9000, "uses": ["database"], "user": 1001, "settings": true, "files": "write" }
        },
        "tenant": {
            "secrets": ["salt"],
            "settings": [{ "path": "settings.php", "template": "<?php return [{{ tenant.title | php }}, {{ secrets.salt | php }}, {{ database.port }}];\n" }],
            "create": { "run": ["php", "/create.php"], "in": "php" }
        }
    })
}

pub(crate) fn blueprint(capacity: u32) -> BlueprintSpec {
    serde_json::from_value(blueprint_json(capacity)).unwrap()
}

/// A blueprint with one part of its JSON replaced; `pointer` as in JSON pointers.
pub(crate) fn blueprint_with(pointer: &str, value: Value) -> BlueprintSpec {
    let mut json = blueprint_json(10);
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    json.pointer_mut(parent).unwrap()[key] = value;
    serde_json::from_value(json).unwrap()
}

pub(crate) fn tenant_spec(domains: &[&str]) -> TenantSpec {
    serde_json::from_value(json!({ "blueprint": "wordpress", "domains": domains, "contact": "a@example.org" })).unwrap()
}

pub(crate) fn wanted(kind: Kind, name: &str, spec: Value) -> Document {
    Document { kind, metadata: Metadata::named(document_name(name)), spec, status: Value::Null }
}

/// Builds a snapshot; each document gets the next revision and the next second as its creation.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    clock: i64,
}

impl World {
    /// A platform with one region, one machine and the blueprint `wordpress.1`.
    pub(crate) fn new(capacity: u32) -> Self {
        let mut world = Self::default();
        let mut platform = Typed::<Platform>::new(document_name("atoll"), PlatformSpec::default());
        world.stamp(&mut platform.metadata);
        world.snapshot.put(platform.document()).unwrap();
        world.machine("m1");
        world.blueprint("wordpress.1", blueprint(capacity));
        world
    }

    pub(crate) fn stamp(&mut self, metadata: &mut Metadata) {
        self.clock += 1;
        metadata.revision = Revision(u64::try_from(self.clock).unwrap());
        metadata.generation = Generation(1);
        metadata.uid = format!("uid-{}", self.clock);
        metadata.created_at = Some(Timestamp::UNIX_EPOCH + self.clock.seconds());
    }

    pub(crate) fn blueprint(&mut self, name: &str, spec: BlueprintSpec) {
        let mut blueprint = Typed::<Blueprint>::new(document_name(name), spec);
        self.stamp(&mut blueprint.metadata);
        self.snapshot.put(blueprint.document()).unwrap();
    }

    pub(crate) fn machine(&mut self, name: &str) {
        let spec = MachineSpec { agent: "127.0.0.1:7420".parse().unwrap(), region: None };
        let mut machine = Typed::<Machine>::new(document_name(name), spec);
        self.stamp(&mut machine.metadata);
        self.snapshot.put(machine.document()).unwrap();
    }

    /// A ready cell of `wordpress.1`, changed by `with`.
    pub(crate) fn cell(&mut self, name: &str, with: impl FnOnce(&mut Typed<Cell>)) {
        let spec = CellSpec { blueprint: document_name("wordpress.1"), region: None, machines: Vec::new(), scheduling: Scheduling::Open };
        let mut cell = Typed::<Cell>::new(&cell_name(name), spec);
        self.stamp(&mut cell.metadata);
        ready(&mut cell);
        with(&mut cell);
        self.snapshot.put(cell.document()).unwrap();
    }

    /// An active tenant without a cell, changed by `with`.
    pub(crate) fn tenant(&mut self, name: &str, domains: &[&str], with: impl FnOnce(&mut Typed<Tenant>)) {
        let mut tenant = Typed::<Tenant>::new(&tenant_name(name), tenant_spec(domains));
        self.stamp(&mut tenant.metadata);
        with(&mut tenant);
        self.snapshot.put(tenant.document()).unwrap();
    }

    pub(crate) fn claim(&mut self, name: &str, tenant: &str) {
        let tenant = tenant_name(tenant);
        let tenant_uid = self.snapshot.tenants.get(&tenant).map_or_else(|| "gone".to_owned(), |tenant| tenant.metadata.uid.clone());
        let mut claim = Typed::<Domain>::new(document_name(name), DomainClaim { tenant, tenant_uid });
        self.stamp(&mut claim.metadata);
        self.snapshot.put(claim.document()).unwrap();
    }
}

pub(crate) fn ready(cell: &mut Typed<Cell>) {
    for condition in ["Ready", "Opened"] {
        cell.status.conditions.set(condition, ConditionStatus::True, "AsWanted", "", Generation(1), Timestamp::UNIX_EPOCH);
    }
}

/// Everything of it is ready, and the operation that makes it has not ended.
pub(crate) fn opening(cell: &mut Typed<Cell>) {
    ready(cell);
    cell.status.conditions.set("Opened", ConditionStatus::False, "Opening", "", Generation(1), Timestamp::UNIX_EPOCH);
}

pub(crate) fn unready(cell: &mut Typed<Cell>) {
    cell.status.conditions.set("Ready", ConditionStatus::False, "Opening", "", Generation(1), Timestamp::UNIX_EPOCH);
}

/// Makes a tenant one that already lives in a cell.
pub(crate) fn home(cell: &str) -> impl FnOnce(&mut Typed<Tenant>) {
    let cell = cell_name(cell);
    move |tenant| tenant.status.cell = Some(cell)
}

pub(crate) fn state(state: TenantState) -> impl FnOnce(&mut Typed<Tenant>) {
    move |tenant| tenant.spec.state = state
}

#[test]
fn every_code_has_one_page_and_every_reason_too() {
    let codes: std::collections::BTreeSet<&str> = crate::codes::faults().map(|page| page.code).collect();
    assert_eq!(codes.len(), crate::codes::faults().count(), "a code stands twice");
    let reasons: std::collections::BTreeSet<&str> = crate::codes::REASONS.iter().map(|page| page.reason).collect();
    assert_eq!(reasons.len(), crate::codes::REASONS.len(), "a reason stands twice");
    for page in crate::codes::faults() {
        assert!(!page.meaning.is_empty() && !page.fix.is_empty() && page.code.starts_with("A0"), "{page:?}");
    }
}

#[test]
fn every_reason_of_placement_has_a_page() {
    let names =
        ["BlueprintUnknown", "NoCell", "RegionMissing", "CellsClosed", "CellNotReady", "CellsFull", "DomainTaken", "Placed", "Suspended", "Removed"];
    for name in names.into_iter().chain(["PinnedCellUnknown", "PinnedCellUnfit", "PinnedCellClosed", "PinnedCellFull", "NoNetwork", "NoMachine"]) {
        assert!(crate::codes::reason(name).is_some(), "{name} has no page");
    }
    let page = crate::codes::reason("DomainTaken").unwrap();
    assert_eq!(page.next_for(Kind::Tenant, "shop").as_deref(), Some("atoll explain tenant shop"));
}

#[test]
fn a_snapshot_follows_puts_and_gones_and_gives_documents_back() {
    let mut world = World::new(10);
    world.cell("a", |_| {});
    world.tenant("shop", &["shop.example"], home("a"));
    let document = world.snapshot.document(Kind::Tenant, &document_name("shop")).unwrap();
    let again = Typed::<Tenant>::read(document).unwrap();
    assert_eq!(again, *world.snapshot.tenants[&tenant_name("shop")].as_ref());
    world.snapshot.gone(Kind::Tenant, &document_name("shop"));
    assert!(world.snapshot.document(Kind::Tenant, &document_name("shop")).is_none());
}
