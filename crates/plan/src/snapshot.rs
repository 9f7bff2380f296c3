//! What decisions are made from: typed documents, shared so that taking a snapshot of a whole platform copies pointers only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::version;
use model::v1alpha1::{Blueprint, BlueprintSpec, Cell, Domain, Machine, Platform, PlatformSpec, Tenant};
use model::{CellName, Document, DocumentName, Kind, MachineName, ShapeError, TenantName, Typed};

/// The documents that decisions need, as they stood at one revision.
///
/// Feed it with [`Snapshot::put`] and [`Snapshot::gone`] from a list and the watch that follows it; kinds that no decision needs are ignored.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The installation; the defaults stand in until one is applied.
    pub platform: Option<Arc<Typed<Platform>>>,
    /// Hosts that hold data, by name.
    pub machines: BTreeMap<MachineName, Arc<Typed<Machine>>>,
    /// Blueprints by `<name>.<version>`.
    pub blueprints: BTreeMap<DocumentName, Arc<Typed<Blueprint>>>,
    /// Cells by name.
    pub cells: BTreeMap<CellName, Arc<Typed<Cell>>>,
    /// Tenants by name.
    pub tenants: BTreeMap<TenantName, Arc<Typed<Tenant>>>,
    /// Claims by domain.
    pub domains: BTreeMap<DocumentName, Arc<Typed<Domain>>>,
}

impl Snapshot {
    /// Takes a document as it stands now.
    ///
    /// # Errors
    /// [`ShapeError`] when it does not have the shape of its kind; the snapshot then keeps what it had.
    pub fn put(&mut self, document: Document) -> Result<(), ShapeError> {
        match document.kind {
            Kind::Platform => self.platform = Some(Arc::new(Typed::read(document)?)),
            Kind::Machine => {
                if let Ok(name) = MachineName::new(document.metadata.name.as_str()) {
                    self.machines.insert(name, Arc::new(Typed::read(document)?));
                }
            }
            Kind::Blueprint => {
                self.blueprints.insert(document.metadata.name.clone(), Arc::new(Typed::read(document)?));
            }
            Kind::Cell => {
                if let Ok(name) = CellName::new(document.metadata.name.as_str()) {
                    self.cells.insert(name, Arc::new(Typed::read(document)?));
                }
            }
            Kind::Tenant => {
                if let Ok(name) = TenantName::new(document.metadata.name.as_str()) {
                    self.tenants.insert(name, Arc::new(Typed::read(document)?));
                }
            }
            Kind::Domain => {
                self.domains.insert(document.metadata.name.clone(), Arc::new(Typed::read(document)?));
            }
            Kind::Operation | Kind::Secret => {}
        }
        Ok(())
    }

    /// Forgets a document that is gone.
    pub fn gone(&mut self, kind: Kind, name: &DocumentName) {
        match kind {
            Kind::Platform => self.platform = None,
            Kind::Machine => {
                self.machines.remove(name.as_str());
            }
            Kind::Blueprint => {
                self.blueprints.remove(name);
            }
            Kind::Cell => {
                self.cells.remove(name.as_str());
            }
            Kind::Tenant => {
                self.tenants.remove(name.as_str());
            }
            Kind::Domain => {
                self.domains.remove(name);
            }
            Kind::Operation | Kind::Secret => {}
        }
    }

    /// The installation's spec, or the defaults.
    #[must_use]
    pub fn platform_spec(&self) -> PlatformSpec {
        self.platform.as_ref().map_or_else(PlatformSpec::default, |platform| platform.spec.clone())
    }

    /// The blueprint that a cell is made from, where it stands.
    #[must_use]
    pub fn blueprint_of(&self, cell: &Typed<Cell>) -> Option<&BlueprintSpec> {
        self.blueprints.get(&cell.spec.blueprint).map(|blueprint| &blueprint.spec)
    }

    /// The region of a cell: its own, or the platform's first.
    #[must_use]
    pub fn region_of<'a>(&'a self, cell: &'a Typed<Cell>) -> &'a str {
        cell.spec.region.as_deref().unwrap_or_else(|| self.default_region())
    }

    /// The platform's first region; `local` where none is stated.
    #[must_use]
    pub fn default_region(&self) -> &str {
        self.platform.as_ref().and_then(|platform| platform.spec.regions.first()).map_or("local", String::as_str)
    }
}

/// The product in a blueprint's document name: `wordpress` of `wordpress.2026.11.1`.
#[must_use]
pub fn product_of(blueprint: &DocumentName) -> &str {
    blueprint.as_str().split('.').next().unwrap_or_default()
}

impl Snapshot {
    /// The newest version of a product, where one stands.
    #[must_use]
    pub fn newest(&self, product: &str) -> Option<&Arc<Typed<Blueprint>>> {
        let versions = self.blueprints.iter().filter(|(name, _)| product_of(name) == product);
        versions.max_by(|(a, _), (b, _)| version::compare(version::version_of(a), version::version_of(b))).map(|(_, blueprint)| blueprint)
    }

    /// A document of the snapshot in the form that the store takes; none where it does not stand, or where no decision needs its kind.
    #[must_use]
    pub fn document(&self, kind: Kind, name: &DocumentName) -> Option<Document> {
        match kind {
            Kind::Platform => self.platform.as_ref().filter(|platform| platform.metadata.name == *name).map(|platform| platform.document()),
            Kind::Machine => self.machines.get(name.as_str()).map(|machine| machine.document()),
            Kind::Blueprint => self.blueprints.get(name).map(|blueprint| blueprint.document()),
            Kind::Cell => self.cells.get(name.as_str()).map(|cell| cell.document()),
            Kind::Tenant => self.tenants.get(name.as_str()).map(|tenant| tenant.document()),
            Kind::Domain => self.domains.get(name).map(|claim| claim.document()),
            Kind::Operation | Kind::Secret => None,
        }
    }
}
