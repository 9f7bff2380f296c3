//! Classes of limits, by the plan a tenant is on.

use std::collections::BTreeMap;

use model::v1alpha1::{LimitsSpec, TenantLimits};

use super::rate::Rate;

/// Name of the class of those whose own has no limits.
const DEFAULT: &str = "default";

/// What one tenant of a class may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    /// Requests under way.
    pub under_way: usize,
    /// Requests.
    pub requests: Rate,
    /// Octets, both ways.
    pub octets: Rate,
}

/// Every class, and what one address may take.
#[derive(Debug, Clone)]
pub(crate) struct Classes {
    by_name: BTreeMap<String, Class>,
    default: Class,
    client: Option<Rate>,
}

impl Class {
    /// From what the platform says; 0 means without limit.
    fn new(limits: &TenantLimits) -> Self {
        let under_way = if limits.concurrency == 0 { usize::MAX } else { usize::try_from(limits.concurrency).unwrap_or(usize::MAX) };
        let per_second = limits.requests_per_second.into();
        Self {
            under_way,
            requests: Rate::new(per_second, limits.burst.map_or(per_second, u64::from)),
            octets: Rate::new(limits.bytes_per_second, limits.bytes_per_second),
        }
    }
}

impl Classes {
    /// From what the platform says.
    pub(crate) fn new(limits: &LimitsSpec) -> Self {
        let by_name: BTreeMap<_, _> = limits.classes.iter().map(|(name, limits)| (name.clone(), Class::new(limits))).collect();
        let default = by_name.get(DEFAULT).copied().unwrap_or_else(|| Class::new(&TenantLimits::default()));
        let per_second = u64::from(limits.client.requests_per_second);
        let client = (per_second > 0).then(|| Rate::new(per_second, limits.client.burst.map_or(per_second, u64::from)));
        Self { by_name, default, client }
    }

    /// The class of this name, or the default one.
    pub(crate) fn of(&self, name: Option<&str>) -> Class {
        name.and_then(|name| self.by_name.get(name)).copied().unwrap_or(self.default)
    }

    /// What one address may take; `None` means without limit.
    pub(crate) const fn client(&self) -> Option<Rate> {
        self.client
    }
}

impl Default for Classes {
    fn default() -> Self {
        Self::new(&LimitsSpec::default())
    }
}
