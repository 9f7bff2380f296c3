//! The sender's side of the route feed: the table, the last deltas, and what an edge at some generation needs.
//!
//! One line of JSON each: `{"snapshot":{..}}` or nothing, then `{"delta":{..}}` ..., and `{"alive":{..}}` while nothing changes.

use std::collections::VecDeque;
use std::sync::Arc;

use model::Generation;
use serde::{Deserialize, Serialize};

use crate::{CellEndpoint, Change, Delta, Record, Refused, Snapshot, Table, TableHash};

/// A table that is published, with enough past that a reader a little behind needs no snapshot.
#[derive(Debug)]
pub struct Feed {
    table: Table,
    deltas: VecDeque<Arc<Delta>>,
    keep: usize,
}

/// What a reader needs to stand where the feed stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Catchup {
    /// Nothing.
    Current,
    /// These, in order.
    Deltas(Vec<Arc<Delta>>),
    /// Everything.
    Snapshot(Box<Snapshot>),
}

/// One line of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The whole table.
    Snapshot(Box<Snapshot>),
    /// The next change.
    Delta(Box<Delta>),
    /// Nothing changed; where the sender stands, so that drift is found while nothing changes.
    Alive {
        /// The sender's generation.
        generation: Generation,
        /// The sender's hash.
        hash: TableHash,
    },
}

impl Line {
    /// The line as it is sent, with its line feed.
    ///
    /// # Errors
    /// None that is known; JSON of these types cannot fail.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads a line, with or without its line feed.
    ///
    /// # Errors
    /// What the JSON breaks.
    pub fn decode(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

impl Feed {
    /// A feed that begins with this content.
    ///
    /// `generation` should not be lower than any the same incarnation published before (a kept number, or milliseconds of the wall clock). When it is, the first
    /// reader that knows a higher one raises the feed above it, see [`Feed::catch_up`]. `keep` is how many deltas are kept.
    #[must_use]
    pub fn new(
        incarnation: impl Into<String>,
        generation: Generation,
        cells: impl IntoIterator<Item = CellEndpoint>,
        records: impl IntoIterator<Item = Record>,
        keep: usize,
    ) -> (Self, Vec<Refused>) {
        let (table, refused) = Table::compile(incarnation, generation, cells, records);
        (Self { table, deltas: VecDeque::new(), keep }, refused)
    }

    /// What is published.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Publishes what is wanted as a whole: the delta to it, or `None` where nothing changed. Also every record that is not served, and why.
    pub fn publish(
        &mut self,
        cells: impl IntoIterator<Item = CellEndpoint>,
        records: impl IntoIterator<Item = Record>,
    ) -> (Option<Arc<Delta>>, Vec<Refused>) {
        let (changes, mut refused) = self.table.diff(cells, records);
        let delta = self.publish_changes(changes);
        refused.extend(self.table.refused());
        (delta, refused)
    }

    /// Publishes single changes: costs what they cost, not what the table holds.
    pub fn publish_changes(&mut self, changes: Vec<Change>) -> Option<Arc<Delta>> {
        let hash = self.table.hash_after(&changes);
        if hash == self.table.hash() {
            return None;
        }
        let from = self.table.generation();
        let delta = Delta { incarnation: self.table.incarnation().to_owned(), from, to: from.next(), changes, hash };
        let applied = self.table.apply(delta.clone());
        debug_assert!(applied.is_ok(), "a delta made from the table fits it");
        let delta = Arc::new(delta);
        self.deltas.push_back(delta.clone());
        if self.deltas.len() > self.keep {
            self.deltas.pop_front();
        }
        Some(delta)
    }

    /// What a reader at `from` of `incarnation` needs. A reader ahead of the feed (a sender that lost its number) raises the feed's number, so that
    /// readers never see numbers go back.
    pub fn catch_up(&mut self, from: Option<Generation>, incarnation: &str) -> Catchup {
        let Some(from) = from.filter(|_| incarnation == self.table.incarnation()) else {
            return self.whole();
        };
        if from > self.table.generation() {
            self.table.raise_to(from.next());
            self.deltas.clear();
            return self.whole();
        }
        if from == self.table.generation() {
            return Catchup::Current;
        }
        match self.deltas.iter().position(|delta| delta.from == from) {
            Some(first) => Catchup::Deltas(self.deltas.range(first..).cloned().collect()),
            None => self.whole(),
        }
    }

    /// The line sent while nothing changes.
    #[must_use]
    pub const fn alive(&self) -> Line {
        Line::Alive { generation: self.table.generation(), hash: self.table.hash() }
    }

    fn whole(&self) -> Catchup {
        Catchup::Snapshot(Box::new(self.table.snapshot()))
    }
}

impl Catchup {
    /// The lines to send.
    #[must_use]
    pub fn lines(self) -> Vec<Line> {
        match self {
            Self::Current => Vec::new(),
            Self::Deltas(deltas) => deltas.into_iter().map(|delta| Line::Delta(Box::new(Delta::clone(&delta)))).collect(),
            Self::Snapshot(snapshot) => vec![Line::Snapshot(snapshot)],
        }
    }
}
