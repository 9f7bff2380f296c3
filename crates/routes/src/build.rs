//! Many records at once: collected compactly, sorted, and made a tree.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use model::{CellName, TenantName};

use crate::table::CellEntry;
use crate::tree::{Row, Tree, hash, kind};
use crate::view::HostRef;
use crate::{HostPattern, Reason, RecordRef, Refused, Route, hash as digest};

/// Collects the records of a table whose cells are known.
#[derive(Debug)]
pub(crate) struct Builder {
    cells: Arc<BTreeMap<CellName, CellEntry>>,
    rows: Vec<Row>,
    text: String,
    /// The last route of a tenant, by hash of its name: only a hint what may be shared, compared whole.
    shared: HashMap<u64, Route>,
    sum: u128,
    refused: Vec<Refused>,
}

impl Builder {
    pub(crate) fn new(cells: Arc<BTreeMap<CellName, CellEntry>>, expected: usize) -> Self {
        let mut rows = Vec::new();
        // A count that was only told is a hint, and no reason to take all memory.
        rows.reserve(expected.min(4_000_000));
        Self { cells, rows, text: String::new(), shared: HashMap::new(), sum: 0, refused: Vec::new() }
    }

    pub(crate) fn add(&mut self, record: RecordRef<'_>) {
        let endpoint = self.cells.get(record.cell).map(|cell| &*cell.endpoint);
        let mut hasher = DefaultHasher::new();
        hasher.write(record.tenant.as_bytes());
        let known = self.shared.entry(hasher.finish());
        let route = known.or_insert_with(|| Route::new(record, endpoint));
        if !route.is_of(record, endpoint.is_some()) {
            *route = Route::new(record, endpoint);
        }
        let reason = reason(record, endpoint.is_some());
        let kind = kind(record, matches!(reason, Some(Reason::RedirectToSelf)));
        let start = self.text.len();
        self.text.push_str(record.host.domain);
        let to = record.redirect.map_or("", |redirect| redirect.to);
        self.text.push_str(to);
        #[expect(clippy::cast_possible_truncation, reason = "domains have at most 253 octets")]
        let row = Row { hash: hash(record.host), route: route.clone(), start, host: record.host.domain.len() as u8, to: to.len() as u8, kind };
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
        let Self { mut rows, text, mut sum, mut refused, shared, cells: _ } = self;
        drop(shared);
        rows.sort_by(|a, b| a.hash.cmp(&b.hash).then_with(|| rank(a.item(&text).record(), b.item(&text).record())));
        rows.dedup_by(|later, first| {
            let (later, first) = (later.item(&text).record(), first.item(&text).record());
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
        (Tree::build(&rows, &text), sum, refused)
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
