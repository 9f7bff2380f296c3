//! Quantities with units, in the spelling Kubernetes users know: `500m`, `256Mi`, `80%`, `5m`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct QuantityError {
    /// The offending text.
    pub text: String,
    /// What was expected, with an example.
    pub expected: &'static str,
}

macro_rules! quantities {
    ($($(#[$doc:meta])* $name:ident($inner:ty), $expected:literal, $pattern:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub $inner);

        impl $name {
            const EXPECTED: &'static str = $expected;

            fn refuse(text: &str) -> QuantityError {
                QuantityError { text: text.to_owned(), expected: Self::EXPECTED }
            }
        }

        impl std::str::FromStr for $name {
            type Err = QuantityError;
            fn from_str(text: &str) -> Result<Self, QuantityError> {
                Self::parse(text).ok_or_else(|| Self::refuse(text))
            }
        }

        impl TryFrom<String> for $name {
            type Error = QuantityError;
            fn try_from(text: String) -> Result<Self, QuantityError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": $expected })
            }
        }
    )*};
}

quantities! {
    /// Processor share in thousandths of a core.
    Cpu(u32), "a processor share such as 500m or 2", "^[0-9]+m?$";
    /// Memory in bytes.
    Memory(u64), "a memory size such as 256Mi or 2Gi", "^[0-9]+(Ki|Mi|Gi)?$";
    /// A share in whole percent, 0 to 100.
    Percent(u8), "a share such as 80%", "^[0-9]{1,3}%$";
    /// A length of time in milliseconds.
    Span(u64), "a length of time such as 500ms, 30s, 5m, 24h or 7d", "^[0-9]+(ms|s|m|h|d)$";
}

/// Suffixes of memory sizes, largest first so that printing finds the shortest form.
const MEMORY: [(&str, u64); 3] = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
/// Suffixes of times in milliseconds, largest first; `ms` must be tried before `s` and `m` when parsing.
const SPAN: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Cpu {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('m') {
            Some(milli) => milli.parse().ok().map(Self),
            None => text.parse::<u32>().ok()?.checked_mul(1000).map(Self),
        }
    }
}

impl std::fmt::Display for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

impl Memory {
    fn parse(text: &str) -> Option<Self> {
        for (suffix, factor) in MEMORY {
            if let Some(number) = text.strip_suffix(suffix) {
                return number.parse::<u64>().ok()?.checked_mul(factor).map(Self);
            }
        }
        text.parse().ok().map(Self)
    }

    /// Mebibytes.
    #[must_use]
    pub const fn mebi(count: u64) -> Self {
        Self(count << 20)
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match MEMORY.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((suffix, factor)) => write!(f, "{}{suffix}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Percent {
    fn parse(text: &str) -> Option<Self> {
        text.strip_suffix('%')?.parse().ok().filter(|share| *share <= 100).map(Self)
    }

    /// This share of a count, rounded up.
    #[must_use]
    pub const fn of(self, count: u32) -> u32 {
        (count as u64 * self.0 as u64).div_ceil(100) as u32
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, suffix) = text.split_at(digits);
        let (_, factor) = SPAN.iter().find(|(name, _)| *name == suffix)?;
        number.parse::<u64>().ok()?.checked_mul(*factor).map(Self)
    }

    /// Seconds.
    #[must_use]
    pub const fn seconds(count: u64) -> Self {
        Self(count * 1000)
    }

    /// The same length as the standard library's type.
    #[must_use]
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match SPAN.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((suffix, factor)) => write!(f, "{}{suffix}", self.0 / factor),
            None => write!(f, "{}ms", self.0),
        }
    }
}
