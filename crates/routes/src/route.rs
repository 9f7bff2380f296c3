//! What a host leads to, in one allocation that all hosts of a tenant share.
//!
//! A million of these stand in memory, so there is one text: the tenant header, signed, and the class of limits after it. Tenant, cell and epoch are parts of
//! that header and are read from it.

use std::sync::Arc;

use model::Epoch;
use model::v1alpha1::{EdgeCache, EdgeCompress, EdgeSpec};

use crate::{CellEndpoint, RecordRef, RouteState, TenantHeader};

const TENANT: &str = "v1;t=";
const CELL: &str = ";c=";
const EPOCH: &str = ";e=";
/// Octets that memory gives at once, on every processor that this is made for.
const LINE: usize = 64;
/// Octets of the MAC with the word before it.
const MAC: usize = 3 + 43;
/// Bit of the flags: the header carries a MAC.
const SIGNED: u8 = 0x40;
/// What edges keep of answers, in two bits.
const CACHE: u8 = 0x30;
const CACHE_STATIC: u8 = 0x10;
const CACHE_ON: u8 = 0x20;
/// Edges do not compress.
const PLAIN: u8 = 0x08;
/// The state.
const STATE: u8 = 0x07;

/// What a host leads to, ready for use: nothing is computed or allocated per request. A clone counts one reference.
///
/// The text: five characters (length of the header in two, of tenant and cell, flags), the header, the class of limits. A record of a handle beside it would
/// cost eight octets a host.
#[derive(Clone, PartialEq, Eq)]
pub struct Route(Arc<str>);

/// Characters before the header.
const PREFIX: usize = 5;

impl Route {
    /// The route of a record, signed for its cell where that is known.
    pub(crate) fn new(record: RecordRef<'_>, endpoint: Option<&CellEndpoint>) -> Self {
        let header = match endpoint {
            Some(endpoint) => TenantHeader::sign_parts(record.tenant, record.cell, record.epoch, &endpoint.key_id, &endpoint.key),
            None => format!("{TENANT}{}{CELL}{}{EPOCH}{}", record.tenant, record.cell, record.epoch),
        };
        // Names are labels of at most 63 octets and key ids have at most 32, so seven bits (and twice seven) hold every length.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        let character = |number: usize| char::from(number as u8 & 0x7f);
        let flags = state_number(record.state) | edge_bits(record.edge) | if endpoint.is_some() { SIGNED } else { 0 };
        let mut text = String::with_capacity(PREFIX + header.len() + record.class.map_or(0, str::len));
        for number in [header.len() >> 7, header.len(), record.tenant.len(), record.cell.len(), usize::from(flags)] {
            text.push(character(number));
        }
        text.push_str(&header);
        text.push_str(record.class.unwrap_or(""));
        Self(text.into())
    }

    /// Reads what [`Route::stored`] gave; `None` where it is none of that.
    pub(crate) fn from_stored(text: &str) -> Option<Self> {
        let &[high, low, tenant, cell, flags, ..] = text.as_bytes() else { return None };
        if high | low | tenant | cell | flags > 0x7f {
            return None;
        }
        let head = text.get(PREFIX..)?.get(..usize::from(high) << 7 | usize::from(low))?;
        let after = |begin: &str, label: u8, end: usize| {
            let from = end + begin.len();
            let to = from + usize::from(label);
            (head.get(end..from)? == begin && head.is_char_boundary(to) && (1..=63).contains(&label)).then_some(to)
        };
        let rest = head.get(after(CELL, cell, after(TENANT, tenant, 0)?)?..)?.strip_prefix(EPOCH)?;
        let (epoch, rest) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        epoch.parse::<u64>().ok()?;
        let signed = flags & SIGNED != 0;
        let is_signed = rest.starts_with(";k=") && rest.len() > MAC && rest.get(rest.len() - MAC..)?.starts_with(";m=");
        state_of(flags & STATE)?;
        edge_of(flags)?;
        (signed == is_signed && (signed || rest.is_empty())).then(|| Self(text.into()))
    }

    /// The text that a snapshot keeps.
    pub(crate) fn stored(&self) -> &str {
        &self.0
    }

    #[inline]
    fn number(&self, at: usize) -> usize {
        usize::from(self.0.as_bytes()[at])
    }

    #[inline]
    fn header_length(&self) -> usize {
        self.number(0) << 7 | self.number(1)
    }

    /// The tenant.
    #[must_use]
    #[inline]
    pub fn tenant(&self) -> &str {
        let at = PREFIX + TENANT.len();
        &self.0[at..at + self.number(2)]
    }

    /// Its cell.
    #[must_use]
    #[inline]
    pub fn cell(&self) -> &str {
        let at = PREFIX + TENANT.len() + self.number(2) + CELL.len();
        &self.0[at..at + self.number(3)]
    }

    /// Number of that ownership.
    #[must_use]
    #[inline]
    pub fn epoch(&self) -> Epoch {
        let at = TENANT.len() + self.number(2) + CELL.len() + self.number(3) + EPOCH.len();
        let digits = self.header().as_bytes()[at..].iter().take_while(|b| b.is_ascii_digit());
        Epoch(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
    }

    /// Whether and how it is served.
    #[must_use]
    #[inline]
    pub fn state(&self) -> RouteState {
        state_of(self.0.as_bytes()[4] & STATE).unwrap_or_default()
    }

    /// Whether edges compress its answers.
    #[must_use]
    #[inline]
    pub fn compress(&self) -> EdgeCompress {
        self.edge().compress
    }

    /// Which of its answers edges keep.
    #[must_use]
    #[inline]
    pub fn cache(&self) -> EdgeCache {
        self.edge().cache
    }

    /// What edges do with its answers.
    #[inline]
    pub(crate) fn edge(&self) -> EdgeSpec {
        edge_of(self.0.as_bytes()[4]).unwrap_or_default()
    }

    /// Class of limits.
    #[must_use]
    #[inline]
    pub fn class(&self) -> Option<&str> {
        Some(&self.0[PREFIX + self.header_length()..]).filter(|class| !class.is_empty())
    }

    /// Value of the tenant header, signed under the cell's key.
    #[must_use]
    #[inline]
    pub fn header(&self) -> &str {
        &self.0[PREFIX..PREFIX + self.header_length()]
    }

    /// Whether its cell is known, without which it is not served.
    pub(crate) fn is_signed(&self) -> bool {
        self.0.as_bytes()[4] & SIGNED != 0
    }

    /// Whether it says of the tenant what a record says.
    pub(crate) fn is_of(&self, record: RecordRef<'_>, signed: bool) -> bool {
        self.is_signed() == signed
            && self.tenant() == record.tenant
            && self.cell() == record.cell
            && self.epoch() == record.epoch
            && self.state() == record.state
            && self.class() == record.class
            && self.edge() == record.edge
    }

    /// Asks for all of its text, which is in no cache mostly: lines that are asked for at once take the time of one.
    #[inline]
    pub fn near(&self) {
        let octets = self.0.as_bytes();
        std::hint::black_box([0, LINE, 2 * LINE, 3 * LINE].map(|at| octets.get(at).copied()));
    }

    /// Where its text stands: equal for those that share it.
    #[inline]
    pub(crate) fn place(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<u8>().addr()
    }
}

impl std::fmt::Debug for Route {
    /// Without the MAC.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Route({} in {} at {}, {:?}, class {:?})", self.tenant(), self.cell(), self.epoch(), self.state(), self.class())
    }
}

const fn edge_bits(edge: EdgeSpec) -> u8 {
    let cache = match edge.cache {
        EdgeCache::Off => 0,
        EdgeCache::Static => CACHE_STATIC,
        EdgeCache::On => CACHE_ON,
    };
    cache | if matches!(edge.compress, EdgeCompress::Off) { PLAIN } else { 0 }
}

const fn edge_of(flags: u8) -> Option<EdgeSpec> {
    let cache = match flags & CACHE {
        0 => EdgeCache::Off,
        CACHE_STATIC => EdgeCache::Static,
        CACHE_ON => EdgeCache::On,
        _ => return None,
    };
    Some(EdgeSpec { compress: if flags & PLAIN == 0 { EdgeCompress::On } else { EdgeCompress::Off }, cache })
}

const fn state_number(state: RouteState) -> u8 {
    match state {
        RouteState::Open => 0,
        RouteState::ReadOnly => 1,
        RouteState::Held => 2,
        RouteState::Suspended => 3,
        RouteState::Moved => 4,
    }
}

const fn state_of(number: u8) -> Option<RouteState> {
    match number {
        0 => Some(RouteState::Open),
        1 => Some(RouteState::ReadOnly),
        2 => Some(RouteState::Held),
        3 => Some(RouteState::Suspended),
        4 => Some(RouteState::Moved),
        _ => None,
    }
}
