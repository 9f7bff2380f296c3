//! What the store says, read without any fault: for operators and for checks.

use std::collections::BTreeMap;

use model::v1alpha1::Operation;
use model::{DocumentName, Kind, OperationName, ShapeError, Typed};
use plan::Snapshot;
use store::fake::FakeStore;

/// All documents at one moment.
pub struct Docs {
    /// Platform, machines, blueprints, cells, tenants, claims.
    pub snapshot: Snapshot,
    /// Operations by name.
    pub operations: BTreeMap<OperationName, Typed<Operation>>,
    /// Names of secrets.
    pub secrets: Vec<DocumentName>,
}

impl Docs {
    /// Reads the store.
    ///
    /// # Errors
    /// [`ShapeError`] for a document that does not have the shape of its kind.
    pub fn read(store: &FakeStore) -> Result<Self, ShapeError> {
        let mut docs = Self { snapshot: Snapshot::default(), operations: BTreeMap::new(), secrets: Vec::new() };
        for document in store.snapshot() {
            match document.kind {
                Kind::Operation => {
                    let operation = Typed::<Operation>::read(document)?;
                    if let Ok(name) = OperationName::new(operation.metadata.name.as_str()) {
                        docs.operations.insert(name, operation);
                    }
                }
                Kind::Secret => docs.secrets.push(document.metadata.name),
                _ => docs.snapshot.put(document)?,
            }
        }
        Ok(docs)
    }

    /// Operations that have not ended.
    pub fn open(&self) -> impl Iterator<Item = (&OperationName, &Typed<Operation>)> {
        self.operations.iter().filter(|(_, operation)| !operation.status.state.ended())
    }
}
