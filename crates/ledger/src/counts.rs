//! What one tenant took in a while.

use serde::{Deserialize, Serialize};

/// Octets that weigh as much as one request when processor time is shared: about what relaying them costs beside what a request costs by itself.
const REQUEST_WEIGHS: u64 = 16 * 1024;

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident $column:literal,)*) => {
        /// What one tenant took in a while. All are sums, so two of them can be added.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct Counts { $($(#[$doc])* pub $field: u64,)* }

        /// Names of the counts in tables, in the order of [`Counts::values`].
        pub const COLUMNS: &[&str] = &[$($column,)*];

        impl Counts {
            /// Every count, in the order of [`COLUMNS`].
            #[must_use]
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$field,)*]
            }

            /// From as many values; those that are missing are 0.
            #[must_use]
            pub fn of(values: impl IntoIterator<Item = u64>) -> Self {
                let mut values = values.into_iter();
                Self { $($field: values.next().unwrap_or(0),)* }
            }

            /// Adds what was taken in another while.
            pub fn add(&mut self, more: &Self) {
                $(self.$field = self.$field.saturating_add(more.$field);)*
            }
        }
    };
}

counts! {
    /// Requests that were let in and ended.
    requests "requests",
    /// Requests refused with 429: more than the plan, or one address, may.
    limited "limited",
    /// Requests refused with 503: the edge was crowded, and this tenant held most of it.
    shed "shed",
    /// Answers of 500 and above that visitors got, whoever made them.
    errors "errors",
    /// Answers that ended early: something broke on the way, or the visitor left.
    cut "cut",
    /// Requests that the cell answered, with whatever status.
    answered "answered",
    /// Requests that the cell should have answered and the visitor got our 502, 503 or 504 instead. Suspended tenants' are not among them.
    failed "failed",
    /// Octets of requests' bodies.
    bytes_in "bytes_in",
    /// Octets of answers' bodies.
    bytes_out "bytes_out",
    /// Sum of the times from request to end of answer, in microseconds.
    busy_us "busy_us",
    /// Share of the processor time of the edge's serving threads, in microseconds ([`share`]).
    cpu_us "cpu_us",
}

impl Counts {
    /// Whether nothing was taken.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What processor time is shared by.
    fn weight(&self) -> u128 {
        let requests = u128::from(self.requests) + u128::from(self.limited) + u128::from(self.shed);
        requests * u128::from(REQUEST_WEIGHS) + u128::from(self.bytes_in) + u128::from(self.bytes_out)
    }
}

/// Shares processor time out by weight: 16 KiB for each request, refused ones too, and the octets of bodies both ways. It is an estimate (nothing is measured for
/// each request, which would cost more than many requests do), but it adds up: shares make the whole, to the microsecond. Time in which nobody took anything
/// is nobody's.
pub fn share<'c>(cpu_us: u64, counts: impl IntoIterator<Item = &'c mut Counts>) {
    let counts: Vec<_> = counts.into_iter().collect();
    let all: u128 = counts.iter().map(|counts| counts.weight()).sum();
    if all == 0 {
        return;
    }
    // Up to here, of everything: differences of rounded sums lose nothing, unlike rounded shares.
    let (mut weight, mut given) = (0, 0);
    for one in counts {
        weight += one.weight();
        let due = u64::try_from(u128::from(cpu_us) * weight / all).unwrap_or(cpu_us);
        one.cpu_us = one.cpu_us.saturating_add(due - given);
        given = due;
    }
}
