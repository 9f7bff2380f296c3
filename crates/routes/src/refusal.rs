//! How a gate says no to an edge: before anything was processed.

use model::Epoch;

/// Name of the response header that carries a [`Refusal`]. Edges never let it through to a visitor.
pub const REFUSAL_HEADER: &str = "Atoll-Refusal";

/// Why a gate did not process a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another cell owns the tenant since this epoch: refresh, and send again once.
    Moved(Epoch),
    /// The gate has not been told of this epoch yet: wait a little, and send again.
    NotYet,
    /// The cell does not know the tenant.
    UnknownTenant,
    /// No header, one that does not parse, an unknown key or a wrong MAC.
    BadMac,
    /// The tenant is suspended.
    Suspended,
}

impl Refusal {
    /// The HTTP status with which a gate answers.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Moved(_) | Self::UnknownTenant | Self::BadMac => 421,
            Self::NotYet | Self::Suspended => 503,
        }
    }

    /// Reads a header value; `None` where it is none of ours.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "not-yet" => Some(Self::NotYet),
            "unknown-tenant" => Some(Self::UnknownTenant),
            "bad-mac" => Some(Self::BadMac),
            "suspended" => Some(Self::Suspended),
            _ => value.strip_prefix("moved;e=")?.parse().ok().map(|epoch| Self::Moved(Epoch(epoch))),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Moved(epoch) => write!(f, "moved;e={epoch}"),
            Self::NotYet => f.write_str("not-yet"),
            Self::UnknownTenant => f.write_str("unknown-tenant"),
            Self::BadMac => f.write_str("bad-mac"),
            Self::Suspended => f.write_str("suspended"),
        }
    }
}
