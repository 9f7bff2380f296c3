//! An edge's word of what tenants took.

use model::TenantName;
use serde::{Deserialize, Serialize};

use crate::Counts;

/// Most rows of a report. One takes about 300 octets, so that a report stays far below the mebibyte that control reads.
pub const MOST_ROWS: usize = 2000;

/// How coarse a time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grain {
    /// 60 seconds.
    Minute,
    /// 3,600 seconds.
    Hour,
    /// 86,400 seconds, in UTC.
    Day,
}

impl Grain {
    /// Every grain, the finest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    /// The one of so many seconds.
    #[must_use]
    pub fn of_seconds(seconds: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|grain| grain.seconds() == seconds)
    }

    /// The next coarser one.
    #[must_use]
    pub const fn coarser(self) -> Option<Self> {
        match self {
            Self::Minute => Some(Self::Hour),
            Self::Hour => Some(Self::Day),
            Self::Day => None,
        }
    }
}

/// A whole minute, hour or day. Ordered by its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Its first second, since the epoch of Unix.
    pub start: i64,
    /// How long it is.
    pub grain: Grain,
}

impl Span {
    /// The one in which this second lies.
    #[must_use]
    pub const fn at(second: i64, grain: Grain) -> Self {
        Self { start: second - second.rem_euclid(grain.seconds()), grain }
    }

    /// The second after its last.
    #[must_use]
    pub const fn end(self) -> i64 {
        self.start.saturating_add(self.grain.seconds())
    }

    /// The next coarser one around it; a day has none.
    #[must_use]
    pub fn around(self) -> Option<Self> {
        self.grain.coarser().map(|grain| Self::at(self.start, grain))
    }
}

/// What one tenant took in one span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// When.
    #[serde(flatten)]
    pub span: Span,
    /// Who.
    pub tenant: TenantName,
    /// What, of this edge and since the report before.
    pub counts: Counts,
}

/// Body of `POST /v1/edges/<name>/facts`. Sent again unchanged until it is accepted; control counts it once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Of the edge's process.
    pub incarnation: String,
    /// Rises by one with each report of the incarnation. The next one is sent only once this one was accepted.
    pub sequence: u64,
    /// First second of which the rows tell.
    pub from: i64,
    /// The second after the last of which they tell.
    pub to: i64,
    /// At most [`MOST_ROWS`].
    pub rows: Vec<Row>,
    /// Requests whose rows the edge had to give up since the report before: control was away for too long, or refused a report.
    #[serde(default)]
    pub lost: u64,
}
