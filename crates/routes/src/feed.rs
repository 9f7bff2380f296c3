//! The sender's side of the route feed: the table, the last deltas, and what an edge at some generation needs.
//!
//! One line of JSON each: the whole table as `{"begin":{..}}`, `{"part":[..]}` ..., `"end"`, or nothing; then `{"delta":{..}}` ..., and `{"alive":{..}}` while
//! nothing changes. Parts are made from a version of the table that costs nothing to keep, so nobody waits while they are sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::{CellName, Generation};
use serde::{Deserialize, Serialize};

use crate::build;
use crate::{ApplyError, CellEndpoint, Change, Delta, Record, RecordRef, Refused, Snapshot, Table, TableHash};

/// Records of one part.
const PART: usize = 512;

/// A table that is published, with enough past that a reader a little behind needs no snapshot.
#[derive(Debug)]
pub struct Feed {
    table: Table,
    deltas: VecDeque<Arc<Sent>>,
    keep: usize,
}

/// A delta as it is sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent {
    /// The change.
    pub delta: Delta,
    /// Its line.
    pub line: String,
}

/// What a reader needs to stand where the feed stands.
#[derive(Debug, Clone)]
pub enum Catchup {
    /// Nothing.
    Current,
    /// These, in order.
    Deltas(Vec<Arc<Sent>>),
    /// Everything.
    Whole(Table),
}

/// One line of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The whole table in one line, for readers that do not know parts.
    Snapshot(Box<Snapshot>),
    /// The whole table follows in parts.
    Begin(Box<Begin>),
    /// Some of its records.
    Part(Vec<Record>),
    /// That was the whole table.
    End,
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

/// A whole table's own data, before its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begin {
    /// Incarnation of the store it comes from.
    pub incarnation: String,
    /// Its generation.
    pub generation: Generation,
    /// Its running hash.
    pub hash: TableHash,
    /// How many records follow.
    pub records: usize,
    /// Cells by name.
    pub cells: Vec<CellEndpoint>,
}

impl Line {
    /// The line as it is sent, with its line feed.
    ///
    /// # Errors
    /// None that is known; JSON of these types cannot fail.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        line(self)
    }

    /// Reads a line, with or without its line feed.
    ///
    /// # Errors
    /// What the JSON breaks.
    pub fn decode(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

fn line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    Ok(text)
}

/// What is wanted next, seen from what stands.
#[derive(Debug, Default)]
pub struct Published {
    /// The step, where anything changed.
    pub delta: Option<Arc<Sent>>,
    /// What is not served, and why: nothing of it was sent, and what its host had before stays.
    pub refused: Vec<Refused>,
}

impl Feed {
    /// A feed that begins with this content, without what is bad of it.
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
        let cells: BTreeMap<_, _> = cells.into_iter().map(|endpoint| (endpoint.cell.clone(), endpoint)).collect();
        let mut refused = Vec::new();
        let known = |cell: &CellName| cells.contains_key(cell);
        let good: Vec<_> = records.into_iter().filter(|record| is_good(record, known, &mut refused)).collect();
        let (table, doubles) = Table::compile(incarnation.into(), generation, cells.values().cloned(), good);
        refused.extend(doubles);
        (Self { table, deltas: VecDeque::new(), keep }, refused)
    }

    /// A feed that goes on from a table.
    #[must_use]
    pub const fn of(table: Table, keep: usize) -> Self {
        Self { table, deltas: VecDeque::new(), keep }
    }

    /// What is published.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Publishes what is wanted as a whole. Costs what the table holds.
    ///
    /// # Errors
    /// [`ApplyError`]: see [`Feed::publish_changes`].
    pub fn publish(
        &mut self,
        cells: impl IntoIterator<Item = CellEndpoint>,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Published, ApplyError> {
        let cells: BTreeMap<_, _> = cells.into_iter().map(|endpoint| (endpoint.cell.clone(), endpoint)).collect();
        let mut refused = Vec::new();
        let known = |cell: &CellName| cells.contains_key(cell);
        let mut kept: Vec<_> = Vec::new();
        let mut good: Vec<_> = Vec::new();
        for record in records {
            if is_good(&record, known, &mut refused) {
                good.push(record);
            } else if let Some(before) = self.table.record(&record.host).and_then(|record| record.to_record()) {
                kept.extend(is_good(&before, known, &mut Vec::new()).then_some(before));
            }
        }
        let hosts: std::collections::HashSet<_> = good.iter().map(|record| record.host.clone()).collect();
        good.extend(kept.into_iter().filter(|record| !hosts.contains(&record.host)));
        let (changes, doubles) = self.table.diff(cells.values().cloned(), good);
        refused.extend(doubles);
        let mut published = self.publish_changes(changes)?;
        published.refused.extend(refused);
        Ok(published)
    }

    /// Publishes single changes: costs what they cost, not what the table holds. Bad records are left out. The rest is tried first: its line is read back and
    /// applied to a version of the table that only replaces the present one when everything fits.
    ///
    /// # Errors
    /// [`ApplyError`]: the line does not lead where it should (a defect of this release). Nothing is published.
    pub fn publish_changes(&mut self, mut changes: Vec<Change>) -> Result<Published, ApplyError> {
        let mut refused = Vec::new();
        let mut cells: BTreeMap<CellName, bool> = BTreeMap::new();
        changes.retain(|change| match change {
            Change::SetCell(endpoint) => cells.insert(endpoint.cell.clone(), true).is_none_or(|_| true),
            Change::RemoveCell(cell) => cells.insert(cell.clone(), false).is_none_or(|_| true),
            Change::RemoveRecord(_) => true,
            Change::SetRecord(record) => {
                let known = |cell: &CellName| cells.get(cell).copied().unwrap_or_else(|| self.table.endpoint(cell.as_str()).is_some());
                is_good(record, known, &mut refused)
            }
        });
        let hash = self.table.hash_after(&changes);
        if hash == self.table.hash() {
            return Ok(Published { delta: None, refused });
        }
        let from = self.table.generation();
        let delta = Delta { incarnation: self.table.incarnation().to_owned(), from, to: from.next(), changes, hash };
        let line = line(&Borrowed::Delta(&delta)).map_err(|error| ApplyError::Line(error.to_string()))?;
        let mut next = self.table.clone();
        match Line::decode(line.as_bytes()) {
            Ok(Line::Delta(read)) => next.apply(*read)?,
            Ok(_) => return Err(ApplyError::Line("it reads as another kind of line".to_owned())),
            Err(error) => return Err(ApplyError::Line(error.to_string())),
        };
        self.table = next;
        let sent = Arc::new(Sent { delta, line });
        self.deltas.push_back(sent.clone());
        if self.deltas.len() > self.keep {
            self.deltas.pop_front();
        }
        Ok(Published { delta: Some(sent), refused })
    }

    /// What a reader at `from` of `incarnation` needs. A reader ahead of the feed (a sender that lost its number) raises the feed's number, so that
    /// readers never see numbers go back.
    pub fn catch_up(&mut self, from: Option<Generation>, incarnation: &str) -> Catchup {
        let Some(from) = from.filter(|_| incarnation == self.table.incarnation()) else {
            return Catchup::Whole(self.table.clone());
        };
        if from > self.table.generation() {
            self.table.raise_to(from.next());
            self.deltas.clear();
            return Catchup::Whole(self.table.clone());
        }
        if from == self.table.generation() {
            return Catchup::Current;
        }
        match self.deltas.binary_search_by_key(&from, |sent| sent.delta.from) {
            Ok(first) => Catchup::Deltas(self.deltas.range(first..).cloned().collect()),
            Err(_) => Catchup::Whole(self.table.clone()),
        }
    }

    /// The line sent while nothing changes.
    #[must_use]
    pub const fn alive(&self) -> Line {
        self.table.alive()
    }
}

/// A line that owns nothing.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Borrowed<'a> {
    Begin(&'a Begin),
    Part(&'a [RecordRef<'a>]),
    End,
    Delta(&'a Delta),
}

impl Table {
    /// The line that says where it stands.
    #[must_use]
    pub const fn alive(&self) -> Line {
        Line::Alive { generation: self.generation(), hash: self.hash() }
    }

    /// The whole table as lines, made one by one as they are asked for.
    ///
    /// # Errors
    /// None that is known; JSON of these types cannot fail.
    pub fn parts(&self) -> impl Iterator<Item = Result<String, serde_json::Error>> {
        let begin = Begin {
            incarnation: self.incarnation().to_owned(),
            generation: self.generation(),
            hash: self.hash(),
            records: self.len(),
            cells: self.cells().map(|endpoint| CellEndpoint::clone(endpoint)).collect(),
        };
        let mut records = self.records();
        let parts = std::iter::from_fn(move || {
            let part: Vec<_> = records.by_ref().take(PART).collect();
            (!part.is_empty()).then(|| line(&Borrowed::Part(&part)))
        });
        std::iter::once(line(&Borrowed::Begin(&begin))).chain(parts).chain(std::iter::once(line(&Borrowed::End)))
    }
}

impl Catchup {
    /// The lines to send, all at once.
    ///
    /// # Errors
    /// None that is known; JSON of these types cannot fail.
    pub fn lines(self) -> Result<Vec<String>, serde_json::Error> {
        match self {
            Self::Current => Ok(Vec::new()),
            Self::Deltas(deltas) => Ok(deltas.into_iter().map(|sent| sent.line.clone()).collect()),
            Self::Whole(table) => table.parts().collect(),
        }
    }
}

/// Whether a record may be published; where not, it is listed.
fn is_good(record: &Record, known: impl Fn(&CellName) -> bool, refused: &mut Vec<Refused>) -> bool {
    let Some(reason) = build::reason(record.view(), known(&record.cell)) else { return true };
    refused.push(Refused { host: record.host.clone(), tenant: record.tenant.clone(), reason });
    false
}
