//! What a host leads to, in one allocation that all hosts of a tenant share.
//!
//! A million of these stand in memory, so there is one text: the tenant header, signed, and the class of limits after it. Tenant, cell and epoch are parts of
//! that header and are read from it.

use std::sync::Arc;

use model::Epoch;

use crate::{CellEndpoint, RecordRef, RouteState, TenantHeader};

const TENANT: &str = "v1;t=";
const CELL: &str = ";c=";
const EPOCH: &str = ";e=";
/// Octets of the MAC with the word before it.
const MAC: usize = 3 + 43;
/// Bit of the flags: the header carries a MAC.
const SIGNED: u8 = 0x80;

/// What a host leads to, ready for use: nothing is computed or allocated per request. A clone counts one reference.
#[derive(Clone, PartialEq, Eq)]
pub struct Route {
    text: Arc<str>,
    header: u16,
    tenant: u8,
    cell: u8,
    flags: u8,
}

impl Route {
    /// The route of a record, signed for its cell where that is known.
    pub(crate) fn new(record: RecordRef<'_>, endpoint: Option<&CellEndpoint>) -> Self {
        let mut text = match endpoint {
            Some(endpoint) => TenantHeader::sign_parts(record.tenant, record.cell, record.epoch, &endpoint.key_id, &endpoint.key),
            None => format!("{TENANT}{}{CELL}{}{EPOCH}{}", record.tenant, record.cell, record.epoch),
        };
        let header = text.len();
        text.push_str(record.class.unwrap_or(""));
        // Names are labels of at most 63 octets and key ids have at most 32, so every length fits.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        Self {
            text: text.into(),
            header: header as u16,
            tenant: record.tenant.len() as u8,
            cell: record.cell.len() as u8,
            flags: state_number(record.state) | if endpoint.is_some() { SIGNED } else { 0 },
        }
    }

    /// Reads what [`Route::stored`] gave; `None` where it is none of that.
    pub(crate) fn from_stored(text: &str, header: u16, [tenant, cell, flags]: [u8; 3]) -> Option<Self> {
        let head = text.get(..usize::from(header))?;
        let after = |begin: &str, label: u8, end: usize| {
            let from = end + begin.len();
            let to = from + usize::from(label);
            (head.get(end..from)? == begin && head.is_char_boundary(to) && (1..=63).contains(&label)).then_some(to)
        };
        let at = after(CELL, cell, after(TENANT, tenant, 0)?)?;
        let (epoch, rest) = head
            .get(at..)?
            .strip_prefix(EPOCH)?
            .split_at_checked(head.get(at + EPOCH.len()..)?.find(';').unwrap_or(head.len() - at - EPOCH.len()))?;
        epoch.parse::<u64>().ok()?;
        let signed = flags & SIGNED != 0;
        let is_signed = rest.starts_with(";k=") && rest.len() > MAC && rest.get(rest.len() - MAC..)?.starts_with(";m=");
        state_of(flags & !SIGNED)?;
        (signed == is_signed && (signed || rest.is_empty())).then(|| Self { text: text.into(), header, tenant, cell, flags })
    }

    /// Text, length of the header; lengths of tenant and cell, flags: as a snapshot keeps them.
    pub(crate) fn stored(&self) -> (&str, u16, [u8; 3]) {
        (&self.text, self.header, [self.tenant, self.cell, self.flags])
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.text[TENANT.len()..TENANT.len() + usize::from(self.tenant)]
    }

    /// Its cell.
    #[must_use]
    pub fn cell(&self) -> &str {
        let at = TENANT.len() + usize::from(self.tenant) + CELL.len();
        &self.text[at..at + usize::from(self.cell)]
    }

    /// Number of that ownership.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        let at = TENANT.len() + usize::from(self.tenant) + CELL.len() + usize::from(self.cell) + EPOCH.len();
        let digits = self.text.as_bytes()[at..usize::from(self.header)].iter().take_while(|b| b.is_ascii_digit());
        Epoch(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
    }

    /// Whether and how it is served.
    #[must_use]
    pub fn state(&self) -> RouteState {
        state_of(self.flags & !SIGNED).unwrap_or_default()
    }

    /// Class of limits.
    #[must_use]
    pub fn class(&self) -> Option<&str> {
        Some(&self.text[usize::from(self.header)..]).filter(|class| !class.is_empty())
    }

    /// Value of the tenant header, signed under the cell's key.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.text[..usize::from(self.header)]
    }

    /// Whether its cell is known, without which it is not served.
    pub(crate) const fn is_signed(&self) -> bool {
        self.flags & SIGNED != 0
    }

    /// Whether it says of the tenant what a record says.
    pub(crate) fn is_of(&self, record: RecordRef<'_>, signed: bool) -> bool {
        self.is_signed() == signed
            && self.tenant() == record.tenant
            && self.cell() == record.cell
            && self.epoch() == record.epoch
            && self.state() == record.state
            && self.class() == record.class
    }

    /// Where its text stands: equal for those that share it.
    pub(crate) fn place(&self) -> usize {
        Arc::as_ptr(&self.text).cast::<u8>().addr()
    }
}

impl std::fmt::Debug for Route {
    /// Without the MAC.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Route({} in {} at {}, {:?}, class {:?})", self.tenant(), self.cell(), self.epoch(), self.state(), self.class())
    }
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
