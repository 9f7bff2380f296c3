//! A whole table as one value, in the form of the first release's disk; and the disk form of what a gate was told. (A table's present disk form: `disk`.)
//!
//! On disk: one line of JSON (`format`, `bytes`, `checksum` = BLAKE3 of what follows), then that many bytes of JSON. A later format gets its own number and a
//! migration here.

use model::Generation;
use serde::{Deserialize, Serialize};

use crate::{ApplyError, CellEndpoint, Record, Refused, Table, TableHash};

/// A whole table at one generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Incarnation of the store it comes from.
    pub incarnation: String,
    /// Its generation.
    pub generation: Generation,
    /// Its running hash.
    pub hash: TableHash,
    /// Cells by name.
    pub cells: Vec<CellEndpoint>,
    /// Records by host.
    pub records: Vec<Record>,
}

/// Why a file is not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The first line is not ours.
    #[error("the first line is not that of a state file")]
    Head,
    /// Written by a newer release.
    #[error("format {0} is newer than this release reads ({FORMAT})")]
    Newer(u32),
    /// Cut short, or something follows.
    #[error("{expected} bytes were written, {found} are there")]
    Length {
        /// By the first line.
        expected: usize,
        /// In the file.
        found: usize,
    },
    /// Bytes changed.
    #[error("the checksum does not fit")]
    Checksum,
    /// Hosts or routes that no table has.
    #[error("the hosts do not read")]
    Rows,
    /// The JSON does not fit the type.
    #[error("the content does not parse")]
    Content(#[source] serde_json::Error),
}

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    bytes: usize,
    checksum: String,
}

/// Wraps any state in the disk form.
pub(crate) fn encode<T: Serialize>(state: &T) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::to_vec(state)?;
    let head = Head { format: FORMAT, bytes: body.len(), checksum: blake3::hash(&body).to_string() };
    let mut file = serde_json::to_vec(&head)?;
    file.push(b'\n');
    file.extend_from_slice(&body);
    Ok(file)
}

/// Reads the disk form.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(file: &[u8]) -> Result<T, DiskError> {
    let line = file.iter().position(|&b| b == b'\n').ok_or(DiskError::Head)?;
    let head: Head = serde_json::from_slice(&file[..line]).map_err(|_| DiskError::Head)?;
    if head.format > FORMAT {
        return Err(DiskError::Newer(head.format));
    }
    let body = &file[line + 1..];
    if body.len() != head.bytes {
        return Err(DiskError::Length { expected: head.bytes, found: body.len() });
    }
    if blake3::hash(body).to_string() != head.checksum {
        return Err(DiskError::Checksum);
    }
    serde_json::from_slice(body).map_err(DiskError::Content)
}

impl Snapshot {
    /// Builds the table.
    ///
    /// # Errors
    /// [`ApplyError::Hash`] when the content is not what its sender had.
    pub fn compile(self) -> Result<(Table, Vec<Refused>), ApplyError> {
        let expected = self.hash;
        let (table, refused) = Table::compile(self.incarnation, self.generation, self.cells, self.records);
        if table.hash() == expected { Ok((table, refused)) } else { Err(ApplyError::Hash { expected, computed: table.hash() }) }
    }

    /// The disk form. It holds cell keys: the file's mode is 0600.
    ///
    /// # Errors
    /// None that is known; JSON of these types cannot fail.
    pub fn to_disk(&self) -> Result<Vec<u8>, serde_json::Error> {
        encode(self)
    }

    /// Reads the disk form.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn from_disk(file: &[u8]) -> Result<Self, DiskError> {
        decode(file)
    }
}

impl crate::GateState {
    /// The disk form. It holds cell keys: the file's mode is 0600.
    ///
    /// # Errors
    /// None that is known; JSON of these types cannot fail.
    pub fn to_disk(&self) -> Result<Vec<u8>, serde_json::Error> {
        encode(self)
    }

    /// Reads the disk form.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn from_disk(file: &[u8]) -> Result<Self, DiskError> {
        decode(file)
    }
}
