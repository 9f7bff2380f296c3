//! A table on disk: a base that is written now and then, and a log of the changes since, to which each change is added.
//!
//! Base: one line of JSON (format, incarnation, generation, hash, count, cells), then the hosts in the table's own order, then 32 octets of BLAKE3 over all of
//! it. A route that several hosts share is written once and referred to by number; it is written signed, because a million signatures would take longer than
//! everything else at a start (the file holds the cells' keys anyway: its mode is 0600). Log: frames of length (four octets), sixteen octets of BLAKE3, and a
//! [`Delta`] as JSON. A log that was cut off in the middle of a frame is good up to there. A later format gets its own number, and a migration here.
//! Flags of a route that an earlier release does not know are not a later format: it takes such a base for damaged, and asks control for the table.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::Generation;
use serde::{Deserialize, Serialize};

use crate::table::CellEntry;
use crate::tree::{self, Item, Row, Source, Tree};
use crate::view::HostRef;
use crate::{ApplyError, CellEndpoint, Delta, DiskError, Route, Table, TableHash, hash};

const FORMAT: u32 = 2;
const CHECKSUM: usize = 32;
const FRAME_HEAD: usize = 4 + 16;
/// Octets of one piece.
const PIECE: usize = 256 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    format: u32,
    incarnation: String,
    generation: Generation,
    hash: TableHash,
    hosts: usize,
    cells: Vec<CellEndpoint>,
}

/// The base of a table, piece by piece, so that it never stands in memory as a whole.
///
/// # Errors
/// None that is known; JSON of these types cannot fail.
pub fn base(table: &Table) -> Result<impl Iterator<Item = Vec<u8>>, serde_json::Error> {
    let head = Head {
        format: FORMAT,
        incarnation: table.incarnation().to_owned(),
        generation: table.generation(),
        hash: table.hash(),
        hosts: table.len(),
        cells: table.cells().map(|endpoint| CellEndpoint::clone(endpoint)).collect(),
    };
    let mut first = serde_json::to_vec(&head)?;
    first.push(b'\n');
    let mut checksum = blake3::Hasher::new();
    checksum.update(&first);
    let mut leaves = table.leaves();
    let mut numbers = HashMap::with_capacity(table.len());
    let mut sealed = false;
    let rest = std::iter::from_fn(move || {
        let mut piece = Vec::new();
        while piece.len() < PIECE
            && let Some(leaf) = leaves.next()
        {
            // In the order of whole hashes, which is how they are needed when they are read.
            let mut items: Vec<_> = leaf.collect();
            items.sort_by_cached_key(|item| tree::hash(item.host()));
            items.iter().for_each(|item| write_item(&mut piece, item, &mut numbers));
        }
        if piece.is_empty() {
            return (!std::mem::replace(&mut sealed, true)).then(|| checksum.finalize().as_bytes().to_vec());
        }
        checksum.update(&piece);
        Some(piece)
    });
    Ok(std::iter::once(first).chain(rest))
}

/// Number of the route, the route where it is new, kind, host, target.
#[expect(
    clippy::cast_possible_truncation,
    reason = "domains have at most 253 octets, headers and classes far less than 65,536, and a table less than four billion hosts"
)]
fn write_item(piece: &mut Vec<u8>, item: &Item<'_>, numbers: &mut HashMap<usize, u32>) {
    let next = numbers.len() as u32;
    let number = *numbers.entry(item.route.place()).or_insert(next);
    piece.extend_from_slice(&number.to_le_bytes());
    if number == next {
        let text = item.route.stored();
        piece.extend_from_slice(&(text.len() as u16).to_le_bytes());
        piece.extend_from_slice(text.as_bytes());
    }
    piece.extend_from_slice(&[item.kind(), item.domain.len() as u8, item.to.len() as u8]);
    piece.extend_from_slice(item.domain.as_bytes());
    piece.extend_from_slice(item.to.as_bytes());
}

/// Reads a base.
///
/// # Errors
/// [`DiskError`]; whatever the octets are, this neither panics nor gives a table that was not written.
pub fn load(file: &[u8]) -> Result<Table, DiskError> {
    let line = file.iter().take(1 << 28).position(|&b| b == b'\n').ok_or(DiskError::Head)?;
    let head: Head = serde_json::from_slice(&file[..line]).map_err(|_| DiskError::Head)?;
    if head.format != FORMAT {
        return Err(DiskError::Newer(head.format));
    }
    let end = file.len().checked_sub(CHECKSUM).filter(|&end| end > line).ok_or(DiskError::Checksum)?;
    let body = &file[line + 1..end];
    // What is read of a wrong file is thrown away; it does no harm to have read it.
    let (whole, rows) = std::thread::scope(|threads| {
        let whole = threads.spawn(|| blake3::hash(&file[..end]).as_bytes() == &file[end..]);
        let rows = read_rows(body, head.hosts);
        (whole.join().unwrap_or(false), rows)
    });
    if !whole {
        return Err(DiskError::Checksum);
    }
    let (rows, routes) = rows.ok_or(DiskError::Rows)?;
    let entry = |endpoint: CellEndpoint| (endpoint.cell.clone(), CellEntry { hash: hash::endpoint(&endpoint), endpoint: Arc::new(endpoint) });
    let cells: BTreeMap<_, _> = head.cells.into_iter().map(entry).collect();
    let tree = Tree::build(&rows, Source { octets: body, routes: &routes });
    Ok(Table::stored(&head.incarnation, head.generation, head.hash, cells, tree))
}

fn read_rows(body: &[u8], hosts: usize) -> Option<(Vec<Row>, Vec<Route>)> {
    let mut reader = Reader(body);
    // Each host takes at least eight octets, so a wrong count does not take memory.
    let most = hosts.min(body.len() / 8);
    let (mut rows, mut routes) = (Vec::with_capacity(most), Vec::<Route>::with_capacity(most));
    for _ in 0..hosts {
        let number = reader.number::<4>()?;
        if number as usize == routes.len() {
            let length = reader.number::<2>()? as usize;
            routes.push(Route::from_stored(reader.text(length)?)?);
        }
        routes.get(number as usize)?;
        let &[kind, host, to] = reader.take(3)? else { return None };
        let start = body.len() - reader.0.len();
        let domain = reader.text(usize::from(host))?;
        reader.text(usize::from(to))?;
        if host == 0 || !tree::is_kind(kind, to > 0) {
            return None;
        }
        rows.push(Row { hash: tree::hash(HostRef { wildcard: tree::is_wildcard(kind), domain }), start, route: number, host, to, kind });
    }
    if !reader.0.is_empty() {
        return None;
    }
    // They were written in this order, unless the release that wrote them hashes otherwise.
    rows.sort_by_key(|row| row.hash);
    let source = Source { octets: body, routes: &routes };
    let twice = rows.windows(2).any(|two| two[0].hash == two[1].hash && two[0].item(source).host() == two[1].item(source).host());
    (!twice).then_some((rows, routes))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (these, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(these)
    }

    fn number<const N: usize>(&mut self) -> Option<u32> {
        let mut octets = [0; 4];
        octets[..N].copy_from_slice(self.take(N)?);
        Some(u32::from_le_bytes(octets))
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        std::str::from_utf8(self.take(length)?).ok()
    }
}

/// A change as a frame of the log.
///
/// # Errors
/// None that is known; JSON of these types cannot fail.
pub fn frame(delta: &Delta) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::to_vec(delta)?;
    let mut frame = Vec::with_capacity(FRAME_HEAD + body.len());
    // A delta of four gigabytes would not have come over the wire.
    #[expect(clippy::cast_possible_truncation, reason = "see above")]
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(&blake3::hash(&body).as_bytes()[..16]);
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// How far a log could be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Changes that were applied.
    pub applied: usize,
    /// Octets of the log that are good.
    pub good: usize,
    /// Why no further.
    pub end: LogEnd,
}

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEnd {
    /// Behind its last frame.
    Clean,
    /// In the middle of a frame: its writer was interrupted.
    Torn,
    /// With a frame whose octets changed.
    Corrupt,
    /// With a change that does not follow the one before.
    Gap,
}

/// Brings a table forward by a log. Changes that the table has already are passed over.
pub fn replay(table: &mut Table, log: &[u8]) -> Replayed {
    let mut reader = Reader(log);
    let mut replayed = Replayed { applied: 0, good: 0, end: LogEnd::Clean };
    while !reader.0.is_empty() {
        let body = match next_frame(&mut reader) {
            Ok(body) => body,
            Err(end) => return Replayed { end, ..replayed },
        };
        let Ok(delta) = serde_json::from_slice::<Delta>(body) else { return Replayed { end: LogEnd::Corrupt, ..replayed } };
        match table.apply(delta) {
            Ok(_) => replayed.applied += 1,
            Err(ApplyError::Older { .. }) => {}
            Err(_) => return Replayed { end: LogEnd::Gap, ..replayed },
        }
        replayed.good = log.len() - reader.0.len();
    }
    replayed
}

fn next_frame<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], LogEnd> {
    let length = reader.number::<4>().ok_or(LogEnd::Torn)? as usize;
    let checksum = reader.take(16).ok_or(LogEnd::Torn)?;
    let body = reader.take(length).ok_or(LogEnd::Torn)?;
    if &blake3::hash(body).as_bytes()[..16] == checksum { Ok(body) } else { Err(LogEnd::Corrupt) }
}
