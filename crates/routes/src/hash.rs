//! The running hash of a whole table.
//!
//! Each entry hashes to 128 bits of BLAKE3 over a written-out canonical form; the table's hash is their sum. A sum does not depend on order and changes by a
//! subtraction and an addition. It finds drift and lost changes; it is not a signature (the wire is authenticated).

use model::v1alpha1::{EdgeCache, EdgeCompress};
use serde::{Deserialize, Serialize};

use crate::{CellEndpoint, RecordRef, RedirectStatus};

/// Hash of a whole table; written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableHash(u128);

impl TableHash {
    pub(crate) const fn add(self, entry: u128) -> Self {
        Self(self.0.wrapping_add(entry))
    }

    pub(crate) const fn subtract(self, entry: u128) -> Self {
        Self(self.0.wrapping_sub(entry))
    }
}

impl std::fmt::Display for TableHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::fmt::Debug for TableHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for TableHash {
    type Error = std::num::ParseIntError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

impl From<TableHash> for String {
    fn from(hash: TableHash) -> Self {
        hash.to_string()
    }
}

/// Collects fields, each with its length so that neighbours cannot flow into each other. A later version of the form gets its own first word.
struct Canonical(Vec<u8>);

impl Canonical {
    fn new(form: &str) -> Self {
        Self(Vec::with_capacity(256)).field(form.as_bytes())
    }

    fn field(self, octets: &[u8]) -> Self {
        self.parts(&[octets])
    }

    /// One field that stands in several pieces.
    fn parts(mut self, parts: &[&[u8]]) -> Self {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.0.extend_from_slice(&(length as u64).to_be_bytes());
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
        self
    }

    fn number(self, number: u64) -> Self {
        self.field(&number.to_be_bytes())
    }

    fn finish(self) -> u128 {
        let mut first = [0; 16];
        first.copy_from_slice(&blake3::hash(&self.0).as_bytes()[..16]);
        u128::from_be_bytes(first)
    }
}

/// Hash of one record.
pub(crate) fn record(record: RecordRef<'_>) -> u128 {
    let star: &[u8] = if record.host.wildcard { b"*." } else { b"" };
    let mut form = Canonical::new("record-1")
        .parts(&[star, record.host.domain.as_bytes()])
        .field(record.tenant.as_bytes())
        .field(record.cell.as_bytes())
        .number(record.epoch.0)
        .number(record.state as u64);
    form = match &record.redirect {
        Some(redirect) => form.field(redirect.to.as_bytes()).number(match redirect.status {
            RedirectStatus::Temporary => 0,
            RedirectStatus::Permanent => 1,
            RedirectStatus::Moved => 3,
            RedirectStatus::Found => 4,
        }),
        None => form.number(2),
    };
    form = form.field(record.class.unwrap_or("").as_bytes());
    // Added later: what says nothing of it hashes as ever. A record that does is another one to an edge that does not know of it, which then takes none of it.
    if !record.edge.is_default() {
        form = form.field(b"edge").number(match record.edge.compress {
            EdgeCompress::On => 0,
            EdgeCompress::Off => 1,
        });
        form = form.number(match record.edge.cache {
            EdgeCache::Off => 0,
            EdgeCache::Static => 1,
            EdgeCache::On => 2,
        });
    }
    form.finish()
}

/// Hash of one cell's endpoint. The key itself takes part only through BLAKE3.
pub(crate) fn endpoint(endpoint: &CellEndpoint) -> u128 {
    let mut form = Canonical::new("cell-1").field(endpoint.cell.as_str().as_bytes()).field(endpoint.key_id.as_str().as_bytes());
    form = form.field(endpoint.key.reveal());
    for gate in &endpoint.gates {
        form = form
            .field(gate.name.as_str().as_bytes())
            .field(gate.address.to_string().as_bytes())
            .number(u64::from(gate.weight))
            .number(u64::from(gate.draining))
            .field(gate.region.as_deref().unwrap_or("").as_bytes());
    }
    form.finish()
}
