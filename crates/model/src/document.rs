//! Documents: what the store keeps. Spec (what is wanted) and status (what is) are written apart.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{DocumentName, Generation, Revision};

/// The one API version of this release.
pub const API_VERSION: &str = "atoll.dev/v1alpha1";

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $plural:literal;)*) => {
        /// The kinds of documents.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// Every kind, in the order in which documents of one file are applied.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The kind as written in `kind:`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)* }
            }

            /// The plural in lower case, as in API paths.
            #[must_use]
            pub const fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural,)* }
            }
        }
    };
}

kinds! {
    /// The installation: regions, network pool, public address.
    Platform, "platforms";
    /// A host that holds data.
    Machine, "machines";
    /// A versioned description of a cell.
    Blueprint, "blueprints";
    /// An isolated environment.
    Cell, "cells";
    /// A customer.
    Tenant, "tenants";
    /// The claim of a tenant on a domain, named by the domain.
    Domain, "domains";
    /// A durable piece of work.
    Operation, "operations";
    /// A sealed secret.
    Secret, "secrets";
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Kind {
    type Err = String;
    /// Accepts the kind, its singular or its plural in lower case.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|k| k.as_str() == text || k.plural() == text || k.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("unknown kind {text:?}"))
    }
}

/// What every document carries besides spec and status. Only `name` and `labels` are written by users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Unique within the kind.
    pub name: DocumentName,
    /// Free pairs for selection.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Given by the store at creation, never reused. Empty before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The store's revision of this document; zero before it is stored.
    #[serde(default)]
    pub revision: Revision,
    /// Rises by one when spec changes; starts at 1.
    #[serde(default)]
    pub generation: Generation,
    /// When it was created, by the store's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Set by a delete while finalizers are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_requested_at: Option<Timestamp>,
    /// Who must act before the document goes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub finalizers: BTreeSet<String>,
    /// Who asked for the last change that a person or a program asked for through a door: `cli:ann@uid:1000`. Control's own changes leave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
}

impl Metadata {
    /// Metadata of a document not yet stored.
    #[must_use]
    pub fn named(name: DocumentName) -> Self {
        Self {
            name,
            labels: BTreeMap::new(),
            uid: String::new(),
            revision: Revision(0),
            generation: Generation(0),
            created_at: None,
            deletion_requested_at: None,
            finalizers: BTreeSet::new(),
            asked_by: None,
        }
    }

    /// Who asked for this document as it is wanted now, or else who acts by himself: what operations on it say of where they come from.
    #[must_use]
    pub fn asked_by_or(&self, itself: &str) -> String {
        self.asked_by.clone().unwrap_or_else(|| itself.to_owned())
    }
}

/// One object in the store. The store never looks inside `spec` and `status`; [`Typed`] does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Its kind.
    pub kind: Kind,
    /// Its metadata.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Value,
    /// What is; `null` before the first observation.
    #[serde(default)]
    pub status: Value,
}

/// A kind with typed spec and status.
pub trait Resource: Sized + Send + Sync + 'static {
    /// The kind.
    const KIND: Kind;
    /// What is wanted.
    type Spec: Serialize + DeserializeOwned + Clone + std::fmt::Debug + PartialEq + Send + Sync;
    /// What is.
    type Status: Serialize + DeserializeOwned + Clone + std::fmt::Debug + PartialEq + Default + Send + Sync;
}

/// A stored document does not have the shape of its kind.
#[derive(Debug, thiserror::Error)]
pub enum ShapeError {
    /// Another kind was given.
    #[error("{name} is a {found}, not a {wanted}")]
    Kind {
        /// The document.
        name: DocumentName,
        /// Its kind.
        found: Kind,
        /// The kind asked for.
        wanted: Kind,
    },
    /// Spec or status does not parse.
    #[error("{kind} {name}: {part} does not have the shape of this release")]
    Json {
        /// The kind.
        kind: Kind,
        /// The document.
        name: DocumentName,
        /// `spec` or `status`.
        part: &'static str,
        /// The parser's words.
        #[source]
        source: serde_json::Error,
    },
}

/// A document whose spec and status have been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Typed<R: Resource> {
    /// Its metadata.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: R::Spec,
    /// What is.
    pub status: R::Status,
}

impl<R: Resource> Typed<R> {
    /// A document not yet stored, with an empty status.
    #[must_use]
    pub fn new(name: impl Into<DocumentName>, spec: R::Spec) -> Self {
        Self { metadata: Metadata::named(name.into()), spec, status: R::Status::default() }
    }

    /// Reads a stored document.
    ///
    /// # Errors
    /// [`ShapeError`] when kind, spec or status do not fit.
    pub fn read(document: Document) -> Result<Self, ShapeError> {
        let Document { kind, metadata, spec, status } = document;
        if kind != R::KIND {
            return Err(ShapeError::Kind { name: metadata.name, found: kind, wanted: R::KIND });
        }
        let shape = |part, name: &DocumentName| {
            let name = name.clone();
            move |source| ShapeError::Json { kind, name, part, source }
        };
        let spec = serde_json::from_value(spec).map_err(shape("spec", &metadata.name))?;
        let status = match status {
            Value::Null => R::Status::default(),
            status => serde_json::from_value(status).map_err(shape("status", &metadata.name))?,
        };
        Ok(Self { metadata, spec, status })
    }

    /// The document as the store takes it.
    #[must_use]
    pub fn document(&self) -> Document {
        // A derived Serialize of plain data has no failing path: no maps with non-string keys stand in any kind.
        Document {
            kind: R::KIND,
            metadata: self.metadata.clone(),
            spec: serde_json::to_value(&self.spec).unwrap_or_default(),
            status: serde_json::to_value(&self.status).unwrap_or_default(),
        }
    }
}
