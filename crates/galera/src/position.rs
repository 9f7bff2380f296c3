//! Where a node stands in its cluster's history.

use serde::{Deserialize, Serialize};

/// The UUID of no history at all. A node that reports it has nothing, or lost what it had.
pub const NIL_UUID: &str = "00000000-0000-0000-0000-000000000000";

/// A node's recovered position: cluster UUID and sequence number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Cluster state UUID.
    pub uuid: String,
    /// Last committed sequence number; -1: not known.
    pub seqno: i64,
}

/// A text is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a position (UUID, colon, sequence number)")]
pub struct BadPosition(pub String);

impl Position {
    /// Whether it names a history and a place in it: neither nil nor unknown.
    #[must_use]
    pub fn is_evidence(&self) -> bool {
        self.uuid != NIL_UUID && is_uuid(&self.uuid) && self.seqno >= 0
    }
}

/// Whether a text has the form of a UUID; what cannot be a UUID must never reach a command line.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uuid, self.seqno)
    }
}

impl std::str::FromStr for Position {
    type Err = BadPosition;
    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let bad = || BadPosition(text.to_owned());
        let (uuid, seqno) = text.trim().split_once(':').ok_or_else(bad)?;
        // With GTID mode a third part (domain and server id) may follow a comma.
        let seqno = seqno.split(',').next().unwrap_or_default().parse().map_err(|_| bad())?;
        if !is_uuid(uuid) {
            return Err(bad());
        }
        Ok(Self { uuid: uuid.to_owned(), seqno })
    }
}
