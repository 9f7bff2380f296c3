//! What may be applied: rules between documents, and between what stands and what is wanted.

use std::collections::BTreeMap;

use model::v1alpha1::{Blueprint, BlueprintSpec, Cell, Machine, Platform, Tenant};
use model::{CellName, Document, DocumentName, Fault, Kind, Metadata, Resource, TenantName, Typed};
use serde_json::Value;

use super::{Action, Change, Draft, refuse};
use crate::domains::{self, Ownership};
use crate::lint::{self, Lint};
use crate::{Snapshot, cells, codes, product_of};

/// The spec as this release writes it, every default filled in.
pub(super) fn canonical(kind: Kind, name: &DocumentName, spec: Value) -> Result<Value, Fault> {
    fn read<R: Resource>(name: &DocumentName, spec: Value) -> Result<Value, Fault> {
        let document = Document { kind: R::KIND, metadata: Metadata::named(name.clone()), spec, status: Value::Null };
        match Typed::<R>::read(document) {
            Ok(typed) => Ok(typed.document().spec),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
                Err(codes::SHAPE.fault(format!("{error}{cause}")))
            }
        }
    }
    match kind {
        Kind::Platform => read::<Platform>(name, spec),
        Kind::Machine => read::<Machine>(name, spec),
        Kind::Blueprint => read::<Blueprint>(name, spec),
        Kind::Cell => read::<Cell>(name, spec),
        Kind::Tenant => read::<Tenant>(name, spec),
        Kind::Domain | Kind::Operation | Kind::Secret => Ok(spec),
    }
}

/// The rules, with what they look at.
pub(super) struct Rules<'a> {
    before: &'a Snapshot,
    /// What the platform would look like.
    after: &'a Snapshot,
    ownership: Ownership,
}

impl<'a> Rules<'a> {
    pub(super) fn new(before: &'a Snapshot, after: &'a Snapshot) -> Self {
        Self { before, after, ownership: domains::decide(after) }
    }

    /// The change, refused where a rule forbids it.
    pub(super) fn check(&self, draft: Draft, findings: &mut Vec<Fault>) -> Change {
        let change = draft.change;
        if !matches!(change.action, Action::Create | Action::Update) {
            return change;
        }
        let mut lint = match change.kind {
            Kind::Platform => self.platform(&change),
            Kind::Machine => self.machine(&change),
            Kind::Blueprint => self.blueprint(&change),
            Kind::Cell => self.cell(&change),
            Kind::Tenant => self.tenant(&change),
            Kind::Domain | Kind::Operation | Kind::Secret => Lint::default(),
        };
        for finding in &mut lint.findings {
            finding.message = format!("{} {}: {}", change.kind.as_str().to_lowercase(), change.name, finding.message);
        }
        findings.append(&mut lint.findings);
        match lint.refusal() {
            Some(fault) => refuse(change, fault),
            None => change,
        }
    }

    fn platform(&self, change: &Change) -> Lint {
        let Some(wanted) = self.after.platform.as_ref() else { return Lint::default() };
        let mut lint = lint::platform(&wanted.spec);
        let other = self.before.platform.as_ref().filter(|standing| standing.metadata.name != change.name);
        if let Some(other) = other {
            lint.refuse(&codes::ONE_PLATFORM, format!("platform {} stands", other.metadata.name));
        }
        for (name, cell) in &self.after.cells {
            let networks = cell.status.allocation.iter().flat_map(|allocation| [allocation.app_network, allocation.data_network]);
            if let Some(outside) = networks.into_iter().find(|network| !wanted.spec.network.pool.contains(network)) {
                lint.refuse(&codes::POOL, format!("cell {name} has network {outside}, outside the pool {}", wanted.spec.network.pool));
                break;
            }
            // A cell without a region of its own lies in the first: moving the first under it would move the cell.
            let region = self.before.cells.get(name).map(|standing| self.before.region_of(standing));
            if let Some(region) = region.filter(|region| cell.spec.region.is_none() && *region != self.after.default_region()) {
                lint.refuse(&codes::REGION, format!("cell {name} lies in region {region}, which would no longer be the first"));
                break;
            }
            if let Some(region) = cell.spec.region.as_ref().filter(|region| !wanted.spec.regions.contains(region)) {
                lint.refuse(&codes::REGION, format!("cell {name} lies in region {region}, which the platform would not have"));
                break;
            }
        }
        lint
    }

    fn machine(&self, change: &Change) -> Lint {
        let Some(wanted) = self.after.machines.get(change.name.as_str()) else { return name_lint(change) };
        let mut lint = lint::machine(&wanted.spec);
        self.region(&mut lint, wanted.spec.region.as_deref());
        let before = self.before.machines.get(change.name.as_str());
        let used = self
            .before
            .cells
            .values()
            .filter_map(|cell| cell.status.allocation.as_ref())
            .any(|allocation| allocation.machines.iter().any(|machine| machine.as_str() == change.name.as_str()));
        if used && before.is_some_and(|before| before.spec.region != wanted.spec.region) {
            lint.refuse(&codes::FIELD_FIXED, "region: the machine holds data of cells");
        }
        lint
    }

    fn blueprint(&self, change: &Change) -> Lint {
        if change.action == Action::Update && change.fields.iter().any(|field| field.path.starts_with("spec")) {
            let mut lint = Lint::default();
            let paths: Vec<&str> = change.fields.iter().map(|field| field.path.as_str()).take(3).collect();
            lint.refuse(&codes::BLUEPRINT_FIXED, format!("this version stands already and differs in {}", paths.join(", ")));
            return lint;
        }
        self.after.blueprints.get(&change.name).map_or_else(Lint::default, |wanted| lint::blueprint(&change.name, &wanted.spec))
    }

    fn cell(&self, change: &Change) -> Lint {
        let Some(wanted) = self.after.cells.get(change.name.as_str()) else { return name_lint(change) };
        let mut lint = lint::cell(&change.name, &wanted.spec);
        self.region(&mut lint, wanted.spec.region.as_deref());
        let blueprint = self.after.blueprint_of(wanted);
        if blueprint.is_none() {
            lint.refuse(&codes::BLUEPRINT_UNKNOWN, self.blueprint_unknown(&wanted.spec.blueprint));
        }
        for machine in wanted.spec.machines.iter().filter(|machine| !self.after.machines.contains_key(*machine)) {
            lint.refuse(&codes::MACHINE_UNKNOWN, format!("machine {machine} is not known"));
        }
        let Some(before) = self.before.cells.get(change.name.as_str()) else { return lint };
        let (old, new) = (&before.spec.blueprint, &wanted.spec.blueprint);
        if product_of(old) != product_of(new) {
            lint.refuse(&codes::FIELD_FIXED, format!("blueprint: a cell of {} cannot become one of {}", product_of(old), product_of(new)));
        }
        if self.before.region_of(before) != self.after.region_of(wanted) {
            lint.refuse(&codes::FIELD_FIXED, format!("region: the cell lies in {}", self.before.region_of(before)));
        }
        if before.status.allocation.is_some() && before.spec.machines != wanted.spec.machines {
            lint.refuse(&codes::FIELD_FIXED, "machines: the cell's data lies on those it has");
        }
        if let Some(blueprint) = blueprint.filter(|blueprint| !cells::fits(before, blueprint)) {
            lint.refuse(&codes::TOO_FULL, format!("{new} takes {} tenants, the cell has {}", blueprint.capacity.tenants, before.status.tenants));
        }
        if let (Some(old), Some(new)) = (self.before.blueprint_of(before), blueprint)
            && old.database.as_ref().map(|database| database.nodes) != new.database.as_ref().map(|database| database.nodes)
            && before.status.allocation.is_some()
        {
            lint.refuse(&codes::FIELD_FIXED, "database.nodes: a cell keeps the number of nodes it was made with");
        }
        if before.status.allocation.is_some()
            && old != new
            && let Some(new) = blueprint
        {
            // Instances of what it serves may be there, and of what it was rolling to.
            for old in before.status.serving.iter().chain([old]).filter_map(|old| self.before.blueprints.get(old)) {
                if let Some((port, was, is)) = port_passed(&old.spec, new) {
                    lint.refuse(&codes::PORT_PASSED, format!("port {port} is {was}'s in {}, and would be {is}'s", old.metadata.name));
                    break;
                }
            }
        }
        lint
    }

    fn tenant(&self, change: &Change) -> Lint {
        let Ok(name) = TenantName::new(change.name.as_str()) else { return name_lint(change) };
        let Some(wanted) = self.after.tenants.get(&name) else { return Lint::default() };
        let spec = &wanted.spec;
        let mut lint = lint::tenant(&change.name, spec);
        self.region(&mut lint, spec.region.as_deref());
        if !self.after.blueprints.keys().any(|blueprint| product_of(blueprint) == spec.blueprint.as_str()) {
            lint.refuse(&codes::BLUEPRINT_UNKNOWN, format!("no version of blueprint {} is known", spec.blueprint));
        }
        for conflict in self.ownership.tenants.get(&name).into_iter().flat_map(|domains| &domains.conflicts) {
            lint.refuse(&codes::DOMAIN_TAKEN, format!("domain {} belongs to tenant {}", conflict.domain, conflict.owner));
        }
        match (&wanted.status.cell, &spec.cell) {
            (Some(home), pinned) => self.placed(&mut lint, &name, home, pinned.as_ref(), wanted),
            (None, Some(pinned)) => self.pinned(&mut lint, pinned, wanted),
            (None, None) => {}
        }
        lint
    }

    /// What a tenant that has a cell may no longer change.
    fn placed(&self, lint: &mut Lint, name: &TenantName, home: &CellName, pinned: Option<&CellName>, wanted: &Typed<Tenant>) {
        let before = self.before.tenants.get(name).map(|before| &before.spec);
        if let Some(before) = before.filter(|before| before.blueprint != wanted.spec.blueprint) {
            lint.refuse(&codes::FIELD_FIXED, format!("blueprint: the tenant's site runs {}", before.blueprint));
        }
        if let Some(pinned) = pinned.filter(|pinned| *pinned != home) {
            lint.refuse(&codes::FIELD_FIXED, format!("cell: the tenant lives in {home}, and tenants cannot move to {pinned} in this release"));
        }
        let region = self.after.cells.get(home).map(|cell| self.after.region_of(cell));
        if let (Some(here), Some(wanted)) = (region, wanted.spec.region.as_deref())
            && here != wanted
        {
            lint.refuse(&codes::FIELD_FIXED, format!("region: the tenant lives in cell {home} in region {here}"));
        }
    }

    /// Whether the cell that a waiting tenant names can ever take it.
    fn pinned(&self, lint: &mut Lint, pinned: &CellName, wanted: &Typed<Tenant>) {
        let Some(cell) = self.after.cells.get(pinned) else {
            return lint.refuse(&codes::PINNED_CELL, format!("cell {pinned}, which the tenant names, is not known"));
        };
        if product_of(&cell.spec.blueprint) != wanted.spec.blueprint.as_str() {
            lint.refuse(&codes::PINNED_CELL, format!("cell {pinned} runs {}", product_of(&cell.spec.blueprint)));
        }
        let here = self.after.region_of(cell);
        if let Some(region) = wanted.spec.region.as_deref().filter(|region| *region != here) {
            lint.refuse(&codes::PINNED_CELL, format!("cell {pinned} lies in region {here}, the tenant wants {region}"));
        }
    }

    fn region(&self, lint: &mut Lint, region: Option<&str>) {
        let regions = self.after.platform_spec().regions;
        if let Some(region) = region.filter(|region| !regions.iter().any(|known| known == region)) {
            lint.refuse(&codes::REGION, format!("region {region} is not one of the platform's: {}", regions.join(", ")));
        }
    }

    fn blueprint_unknown(&self, wanted: &DocumentName) -> String {
        let versions: Vec<&str> =
            self.after.blueprints.keys().filter(|name| product_of(name) == product_of(wanted)).map(DocumentName::as_str).collect();
        if versions.is_empty() {
            format!("blueprint {wanted} is not known")
        } else {
            format!("blueprint {wanted} is not known; known are {}", versions.join(", "))
        }
    }
}

/// A port of the gates that belongs to one service before and to another one after.
fn port_passed<'b>(before: &'b BlueprintSpec, after: &'b BlueprintSpec) -> Option<(u16, &'b str, &'b str)> {
    fn ports(of: &BlueprintSpec) -> impl Iterator<Item = (u16, &str)> {
        let services = of.services.iter().filter(|(_, service)| !service.entry);
        let cache = of.cache.iter().map(|_| (crate::settings::CACHE_PORT, "cache"));
        services.filter_map(|(name, service)| Some((service.port?, name.as_str()))).chain(cache)
    }
    let held: BTreeMap<u16, &str> = ports(before).collect();
    ports(after).find_map(|(port, is)| held.get(&port).filter(|was| **was != is).map(|was| (port, *was, is)))
}

/// A document whose name is none of its kind's never came into the snapshot.
fn name_lint(change: &Change) -> Lint {
    let mut lint = Lint::default();
    lint.refuse(&codes::SHAPE, format!("{:?} is not a name of a {}", change.name.as_str(), change.kind.as_str().to_lowercase()));
    lint
}
