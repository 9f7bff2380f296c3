//! Manifests: files that people write, read into documents.
//!
//! Purpose: YAML (and so JSON) with one or more documents a file becomes [`Document`]s, and every mistake becomes a [`FileFault`] that names
//! file, line and column, the offending value, the rule and a hint.
//! Invariants: unknown fields are refused; nothing is guessed (`no` is a text, a text that looks like a number must be quoted); no input of any kind
//! makes this crate panic or use memory out of proportion to the input; as many mistakes as possible are told at once.
//! Entry points: [`load`] (files and folders), [`parse`] (a text), [`schema::all`] (JSON Schemas of what a file may hold).

pub mod codes;
mod de;
mod fault;
mod files;
mod problem;
mod read;
pub mod schema;
mod tree;

use model::{Document, Kind};

pub use fault::{Faults, FileFault, Position};
pub use files::{load, load_noted};
pub use read::{parse, parse_noted};

/// Documents read, in order of application: by kind, then as they stand in the files.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Manifests {
    /// The documents. Their specs are complete: what was left out has its default, but for `state` of a tenant and `scheduling` of a cell,
    /// which commands set too: left out, they stay as they are.
    pub documents: Vec<Placed>,
    /// What was understood otherwise than it is spelled, one sentence each with file, line and column.
    pub notes: Vec<String>,
}

/// A document and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The document.
    pub document: Document,
    /// The file's name, as it was given.
    pub file: String,
    /// Where in the file it begins.
    pub at: Position,
}

/// The kinds that a file may state; control alone makes the others.
pub const FILE_KINDS: [Kind; 5] = [Kind::Platform, Kind::Machine, Kind::Blueprint, Kind::Cell, Kind::Tenant];

#[cfg(test)]
mod tests;
