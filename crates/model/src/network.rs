//! Networks of addresses, as `10.0.0.0/8`.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::QuantityError;

/// What a network is, for those who wrote something else.
const EXPECTED: &str = "a network such as 10.0.0.0/8, 192.0.2.7/32 or 2001:db8::/32, with nothing set behind its length";

/// A network of either family: the address is its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Without the promise.
    #[must_use]
    pub const fn net(&self) -> IpNet {
        self.0
    }
}

impl std::str::FromStr for Network {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let refuse = || QuantityError { text: text.to_owned(), expected: EXPECTED };
        text.parse::<IpNet>().ok().filter(|net| net.trunc() == *net).map(Self).ok_or_else(refuse)
    }
}

impl TryFrom<String> for Network {
    type Error = QuantityError;
    fn try_from(text: String) -> Result<Self, QuantityError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Network {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$", "description": EXPECTED })
    }
}
