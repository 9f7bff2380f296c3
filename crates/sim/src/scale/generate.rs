//! Platforms of any size, from a seed: regions, two products, groups, pinned tenants, one to four domains each.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::{Timestamp, ToSpan as _};
use model::v1alpha1::{
    Blueprint, BlueprintSpec, Cell, CellSpec, Domain, DomainClaim, Machine, MachineSpec, Platform, PlatformSpec, Scheduling, Tenant, TenantSpec,
};
use model::{CellName, ConditionStatus, Document, DocumentName, Generation, Kind, Metadata, Revision, TenantName, Typed};
use plan::{Snapshot, place};
use serde_json::json;

use super::Size;
use crate::random::Random;

/// Who already has a cell and domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Nobody.
    Nobody,
    /// All but one tenant in a hundred.
    AllButOneInAHundred,
}

/// Regions of the generated platform.
const REGIONS: [&str; 3] = ["north", "south", "west"];
/// Products of the generated platform.
const PRODUCTS: [&str; 2] = ["wordpress", "crm"];

/// A platform of this size, with every cell ready and room for all.
///
/// # Errors
/// Never for sizes above zero: names are made from numbers.
pub fn platform(size: Size, seed: u64, share: Share) -> Result<Snapshot> {
    let mut random = Random::new(seed);
    let mut snapshot = Snapshot::default();
    let mut stamp = Stamp::default();
    let mut spec = PlatformSpec { regions: REGIONS.map(str::to_owned).to_vec(), ..PlatformSpec::default() };
    spec.network.pool = "10.0.0.0/8".parse()?;
    snapshot.put(stamp.document(Typed::<Platform>::new(DocumentName::new("atoll")?, spec)))?;
    // Half as much room again as there are tenants, so that places are found but must be looked for.
    let capacity = (size.tenants.saturating_mul(3) / size.cells.max(1) / 2).max(4);
    for product in PRODUCTS {
        let blueprint = Typed::<Blueprint>::new(DocumentName::new(format!("{product}.1"))?, blueprint(capacity)?);
        snapshot.put(stamp.document(blueprint))?;
    }
    for (index, region) in REGIONS.iter().enumerate() {
        for machine in 0..3_usize {
            let name = DocumentName::new(format!("m-{region}-{machine}"))?;
            let agent = std::net::SocketAddr::from(([192, 168, u8::try_from(index)?, u8::try_from(machine)? + 1], 7420));
            snapshot.put(stamp.document(Typed::<Machine>::new(name, MachineSpec { agent, region: Some((*region).to_owned()) })))?;
        }
    }
    for index in 0..size.cells {
        snapshot.put(stamp.document(cell(index)?))?;
    }
    for index in 0..size.tenants {
        snapshot.put(stamp.document(tenant(&mut random, index)?))?;
    }
    if share == Share::AllButOneInAHundred {
        settle(&mut snapshot, &mut stamp)?;
    }
    Ok(snapshot)
}

/// One more tenant, as a file states it.
pub(super) fn addition(index: u32) -> Result<Document> {
    let spec = json!({ "blueprint": PRODUCTS[0], "domains": [format!("added-{index}.example")], "contact": "added@example.org" });
    let name = DocumentName::new(format!("added-{index}"))?;
    Ok(Document { kind: Kind::Tenant, metadata: Metadata::named(name), spec, status: serde_json::Value::Null })
}

/// Places all tenants but one in a hundred, and gives those their domains.
fn settle(snapshot: &mut Snapshot, stamp: &mut Stamp) -> Result<()> {
    let placement = place::place(snapshot);
    let mut counts: BTreeMap<CellName, u32> = BTreeMap::new();
    let placed: Vec<(TenantName, CellName)> = placement.placed().map(|(tenant, cell)| (tenant.clone(), cell.clone())).collect();
    for (index, (name, cell)) in placed.into_iter().enumerate() {
        if index % 100 == 0 {
            continue;
        }
        let Some(tenant) = snapshot.tenants.get(&name) else { continue };
        let mut tenant = tenant.as_ref().clone();
        tenant.status.cell = Some(cell.clone());
        tenant.status.epoch = model::Epoch(1);
        tenant.status.schema = Some(format!("t_{index}"));
        *counts.entry(cell).or_default() += 1;
        for domain in &tenant.spec.domains {
            let claim = DomainClaim { tenant: name.clone(), tenant_uid: tenant.metadata.uid.clone() };
            snapshot.put(stamp.document(Typed::<Domain>::new(domain.document_name(), claim)))?;
        }
        snapshot.put(tenant.document())?;
    }
    for (name, count) in counts {
        let Some(cell) = snapshot.cells.get(&name) else { continue };
        let mut cell = cell.as_ref().clone();
        cell.status.tenants = count;
        snapshot.put(cell.document())?;
    }
    Ok(())
}

fn cell(index: u32) -> Result<Typed<Cell>> {
    let number = index as usize;
    let spec = CellSpec {
        blueprint: DocumentName::new(format!("{}.1", PRODUCTS[number % PRODUCTS.len()]))?,
        region: Some(REGIONS[number / PRODUCTS.len() % REGIONS.len()].to_owned()),
        machines: Vec::new(),
        scheduling: Scheduling::Open,
    };
    let mut cell = Typed::<Cell>::new(&CellName::new(format!("cell-{index:05}"))?, spec);
    for condition in ["Ready", "Opened"] {
        cell.status.conditions.set(condition, ConditionStatus::True, "AsWanted", "", Generation(1), Timestamp::UNIX_EPOCH);
    }
    Ok(cell)
}

fn tenant(random: &mut Random, index: u32) -> Result<Typed<Tenant>> {
    let domains: Vec<String> = (0..random.between(1, 4)).map(|number| format!("d{number}.tenant-{index:06}.example")).collect();
    let product = random.pick(&PRODUCTS).copied().unwrap_or(PRODUCTS[0]);
    let region = random.chance(300).then(|| random.pick(&REGIONS).copied()).flatten();
    // A few groups are huge (resellers), most are small.
    let group = random
        .chance(200)
        .then(|| if random.chance(100) { format!("reseller-{}", random.below(3)) } else { format!("group-{}", random.below(5_000)) });
    let mut spec: TenantSpec = serde_json::from_value(json!({ "blueprint": product, "domains": domains, "contact": "owner@example.org" }))?;
    spec.title = format!("Tenant {index}");
    spec.region = region.map(str::to_owned);
    spec.group = group;
    Ok(Typed::<Tenant>::new(&TenantName::new(format!("tenant-{index:06}"))?, spec))
}

fn blueprint(capacity: u32) -> Result<BlueprintSpec> {
    Ok(serde_json::from_value(json!({
        "capacity": { "tenants": capacity },
        "database": { "engine": "mariadb", "nodes": 3, "memory": "256Mi" },
        "services": { "web": { "image": "localhost/web:1", "port": 8080, "entry": true, "user": 1002, "replicas": { "min": 2, "max": 4 } } }
    }))?)
}

/// Gives documents what a store gives them.
#[derive(Default)]
struct Stamp(i64);

impl Stamp {
    fn document<R: model::Resource>(&mut self, mut typed: Typed<R>) -> Document {
        self.0 += 1;
        typed.metadata.uid = format!("{:016x}", self.0);
        typed.metadata.revision = Revision(self.0.unsigned_abs());
        typed.metadata.generation = Generation(1);
        typed.metadata.created_at = Timestamp::UNIX_EPOCH.checked_add(self.0.seconds()).ok();
        typed.document()
    }
}
