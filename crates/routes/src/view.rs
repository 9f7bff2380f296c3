//! A record as it is looked at: borrowed from a [`Record`] or from a table, which keeps no `Record`.

use model::Epoch;
use model::v1alpha1::EdgeSpec;
use serde::{Serialize, Serializer};

use crate::{HostPattern, Record, RedirectStatus, RouteState};

/// Host of a record: a domain, or all direct children of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostRef<'a> {
    /// All direct children of the domain.
    pub wildcard: bool,
    /// The domain without a star.
    pub domain: &'a str,
}

/// A redirect, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RedirectRef<'a> {
    /// The other host.
    pub to: &'a str,
    /// How it is said.
    pub status: RedirectStatus,
}

/// A record, borrowed. It is written exactly as a [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordRef<'a> {
    /// The host or wildcard.
    pub host: HostRef<'a>,
    /// Its tenant.
    pub tenant: &'a str,
    /// The tenant's cell.
    pub cell: &'a str,
    /// Number of that ownership.
    pub epoch: Epoch,
    /// Whether and how it is served.
    pub state: RouteState,
    /// Where visitors are sent instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<RedirectRef<'a>>,
    /// Class of limits. The empty class is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'a str>,
    /// What edges do with answers.
    #[serde(skip_serializing_if = "EdgeSpec::is_default")]
    pub edge: EdgeSpec,
}

impl std::fmt::Display for HostRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, self.domain)
    }
}

impl Serialize for HostRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl HostPattern {
    /// The pattern, borrowed.
    #[must_use]
    pub fn view(&self) -> HostRef<'_> {
        HostRef { wildcard: matches!(self, Self::Wildcard(_)), domain: self.domain().as_str() }
    }
}

impl Record {
    /// The record, borrowed.
    #[must_use]
    pub fn view(&self) -> RecordRef<'_> {
        RecordRef {
            host: self.host.view(),
            tenant: self.tenant.as_str(),
            cell: self.cell.as_str(),
            epoch: self.epoch,
            state: self.state,
            redirect: self.redirect.as_ref().map(|redirect| RedirectRef { to: redirect.to.as_str(), status: redirect.status }),
            class: self.class.as_deref().filter(|class| !class.is_empty()),
            edge: self.edge,
        }
    }
}

impl RecordRef<'_> {
    /// An own record; `None` where a name breaks the rules, which no table takes in.
    #[must_use]
    pub fn to_record(&self) -> Option<Record> {
        let redirect = match self.redirect {
            Some(redirect) => Some(crate::Redirect { to: model::DomainName::new(redirect.to).ok()?, status: redirect.status }),
            None => None,
        };
        let domain = model::DomainName::new(self.host.domain).ok()?;
        Some(Record {
            host: if self.host.wildcard { HostPattern::Wildcard(domain) } else { HostPattern::Exact(domain) },
            tenant: model::TenantName::new(self.tenant).ok()?,
            cell: model::CellName::new(self.cell).ok()?,
            epoch: self.epoch,
            state: self.state,
            redirect,
            class: self.class.map(str::to_owned),
            edge: self.edge,
        })
    }
}
