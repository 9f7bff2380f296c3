//! Typed access: the same calls for a kind whose spec and status have a shape.

use std::collections::BTreeSet;

use model::{Document, DocumentName, Resource, ShapeError, Typed};

use crate::{Compare, Key, ListOptions, Store, StoreError, Write};

/// Typed reading and writing over any [`Store`].
#[async_trait::async_trait]
pub trait TypedStore {
    /// A document of this kind, where it stands.
    async fn read<R: Resource>(&self, name: &DocumentName) -> Result<Option<Typed<R>>, StoreError>;

    /// All documents of this kind. One that does not have the shape of this release is reported and left out, so that it cannot stop the others.
    async fn read_all<R: Resource>(&self) -> Result<(Vec<Typed<R>>, model::Revision), StoreError>;

    /// Writes a status if the document still stands at the revision it was read at.
    async fn write_status<R: Resource>(&self, document: &Typed<R>, compares: Vec<Compare>) -> Result<Typed<R>, StoreError>;
}

#[async_trait::async_trait]
impl<S: Store + ?Sized> TypedStore for S {
    async fn read<R: Resource>(&self, name: &DocumentName) -> Result<Option<Typed<R>>, StoreError> {
        self.get(&Key::new(R::KIND, name.clone())).await?.map(Typed::read).transpose().map_err(|e| shape(&e))
    }

    async fn read_all<R: Resource>(&self) -> Result<(Vec<Typed<R>>, model::Revision), StoreError> {
        let page = self.list(R::KIND, ListOptions::default()).await?;
        let typed = page.documents.into_iter().filter_map(|document| match Typed::read(document) {
            Ok(typed) => Some(typed),
            Err(error) => {
                tracing::error!(%error, source = ?std::error::Error::source(&error), "a stored document is left out");
                None
            }
        });
        Ok((typed.collect(), page.revision))
    }

    async fn write_status<R: Resource>(&self, document: &Typed<R>, mut compares: Vec<Compare>) -> Result<Typed<R>, StoreError> {
        let key = key_of(document);
        compares.push(Compare::Revision(key.clone(), document.metadata.revision));
        let status = document.document().status;
        let committed = self.commit(compares, vec![Write::Status { key: key.clone(), status }]).await?;
        let document: Document = committed.documents.into_iter().next().flatten().ok_or(StoreError::NotFound(key))?;
        Typed::read(document).map_err(|e| shape(&e))
    }
}

/// The key of a typed document.
#[must_use]
pub fn key_of<R: Resource>(document: &Typed<R>) -> Key {
    Key { kind: R::KIND, name: document.metadata.name.clone() }
}

/// A write that creates or replaces the spec of a typed document.
#[must_use]
pub fn spec_write<R: Resource>(document: &Typed<R>) -> Write {
    Write::Spec {
        key: key_of(document),
        spec: document.document().spec,
        labels: document.metadata.labels.clone(),
        finalizers: BTreeSet::clone(&document.metadata.finalizers),
    }
}

/// A write that replaces the status of a typed document.
#[must_use]
pub fn status_write<R: Resource>(document: &Typed<R>) -> Write {
    Write::Status { key: key_of(document), status: document.document().status }
}

fn shape(error: &ShapeError) -> StoreError {
    StoreError::Refused(error.to_string())
}
