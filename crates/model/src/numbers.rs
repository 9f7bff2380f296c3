//! Numbers by which stale actors are refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

counters! {
    /// Number of a tenant's ownership. Rises by one each time another cell takes over; whoever holds an old one is refused. The first owner has 1.
    Epoch;
    /// Number of a document's spec, or of a numbered order or push. Rises by one with each change; receivers refuse older ones.
    Generation;
    /// A store's revision of a document. Opaque outside the store: compare for equality only.
    Revision;
}
