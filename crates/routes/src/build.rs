//! Many records at once: collected compactly, sorted, and made a tree.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use model::{CellName, TenantName};

use crate::table::CellEntry;
use crate::tree::{Row, Source, Tree, hash, kind};
use crate::view::HostRef;
use crate::{HostPattern, Reason, RecordRef, Refused, Route, hash as digest};

/// Octets that a host with its target mostly has.
const TEXT: usize = 40;

/// Collects the records of a table whose cells are known.
#[derive(Debug)]
pub(crate) struct Builder {
    cells: Arc<BTreeMap<CellName, CellEntry>>,
    rows: Vec<Row>,
    octets: Vec<u8>,
    routes: Vec<Route>,
    /// Number of the last route of a tenant, by hash of its name: only a hint what may be shared, compared whole.
    shared: HashMap<u64, u32>,
    sum: u128,
    refused: Vec<Refused>,
}

impl Builder {
    pub(crate) fn new(cells: Arc<BTreeMap<CellName, CellEntry>>, expected: usize) -> Self {
        // A count that was only told is a hint, and no reason to take all memory. Room is taken at once where it is known: what grows by doubling leaves holes
        // between what stays.
        let expected = expected.min(4_000_000);
        Self {
            cells,
            rows: Vec::with_capacity(expected),
            octets: Vec::with_capacity(expected * TEXT),
            routes: Vec::new(),
            shared: HashMap::with_capacity(expected),
            sum: 0,
            refused: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, record: RecordRef<'_>) {
        let endpoint = self.cells.get(record.cell).map(|cell| &*cell.endpoint);
        let mut hasher = DefaultHasher::new();
        hasher.write(record.tenant.as_bytes());
        let signed = endpoint.is_some();
        // A table of four billion tenants does not fit any memory.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        let next = self.routes.len() as u32;
        let number = self.shared.entry(hasher.finish()).or_insert(next);
        if !self.routes.get(*number as usize).is_some_and(|route| route.is_of(record, signed)) {
            *number = next;
            self.routes.push(Route::new(record, endpoint));
        }
        let reason = reason(record, signed);
        let kind = kind(record, matches!(reason, Some(Reason::RedirectToSelf)));
        let start = self.octets.len();
        self.octets.extend_from_slice(record.host.domain.as_bytes());
        let to = record.redirect.map_or("", |redirect| redirect.to);
        self.octets.extend_from_slice(to.as_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "domains have at most 253 octets")]
        let row = Row { hash: hash(record.host), start, route: *number, host: record.host.domain.len() as u8, to: to.len() as u8, kind };
        self.rows.push(row);
        self.sum = self.sum.wrapping_add(digest::record(record));
        if let Some(reason) = reason {
            self.refused.extend(refused(record, reason));
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// The tree, the sum of the records' hashes, and who is refused.
    pub(crate) fn finish(self) -> (Tree, u128, Vec<Refused>) {
        let Self { mut rows, octets, routes, mut sum, mut refused, shared, cells: _ } = self;
        drop(shared);
        let source = Source { octets: &octets, routes: &routes };
        rows.sort_by(|a, b| a.hash.cmp(&b.hash).then_with(|| rank(a.item(source).record(), b.item(source).record())));
        rows.dedup_by(|later, first| {
            let (later, first) = (later.item(source).record(), first.item(source).record());
            let double = later.host == first.host;
            if double {
                sum = sum.wrapping_sub(digest::record(later));
                // What was found wrong with it before is of no account now.
                let same = |one: &Refused| one.host.view() == later.host && one.tenant.as_str() == later.tenant;
                if let Some(at) = refused.iter().rposition(|one| same(one) && !matches!(one.reason, Reason::HostTwice(_))) {
                    refused.remove(at);
                }
                refused.extend(TenantName::new(first.tenant).ok().and_then(|tenant| self::refused(later, Reason::HostTwice(tenant))));
            }
            double
        });
        (Tree::build(&rows, source), sum, refused)
    }
}

/// Hosts in order; of one host the record that stays comes first.
fn rank(a: RecordRef<'_>, b: RecordRef<'_>) -> Ordering {
    let by_name = a.host.cmp(&b.host).then_with(|| b.epoch.cmp(&a.epoch)).then_with(|| a.tenant.cmp(b.tenant));
    by_name.then_with(|| digest::record(a).cmp(&digest::record(b)))
}

/// What is wrong with a record.
pub(crate) fn reason(record: RecordRef<'_>, cell_known: bool) -> Option<Reason> {
    if record.redirect.is_some_and(|redirect| !record.host.wildcard && redirect.to == record.host.domain) {
        return Some(Reason::RedirectToSelf);
    }
    if cell_known { None } else { CellName::new(record.cell).ok().map(Reason::UnknownCell) }
}

pub(crate) fn refused(record: RecordRef<'_>, reason: Reason) -> Option<Refused> {
    Some(Refused { host: pattern(record.host)?, tenant: TenantName::new(record.tenant).ok()?, reason })
}

pub(crate) fn pattern(host: HostRef<'_>) -> Option<HostPattern> {
    let domain = model::DomainName::new(host.domain).ok()?;
    Some(if host.wildcard { HostPattern::Wildcard(domain) } else { HostPattern::Exact(domain) })
}
