//! Platform: the installation as a whole, a singleton.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Conditions, Kind, Resource, Span};

/// Kind `Platform`.
#[derive(Debug, Clone, PartialEq)]
pub struct Platform;

/// What an operator wants of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlatformSpec {
    /// Names of the regions in which cells may be opened; the first is the default.
    #[serde(default = "default_regions")]
    pub regions: Vec<String>,
    /// Private addresses that cells may use.
    #[serde(default)]
    pub network: NetworkSpec,
    /// How visitors reach the edge.
    #[serde(default)]
    pub public: PublicSpec,
    /// How long a removed tenant's data is kept before it is deleted.
    #[serde(default = "default_grace")]
    pub grace: Span,
    /// Images of our own parts.
    #[serde(default)]
    pub images: ImagesSpec,
    /// Where operators elsewhere reach the API; only the unix socket of control's machine without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiSpec>,
    /// Relay for the tenants' mail; mail is off without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailSpec>,
}

/// Private addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// Pool from which each cell gets two networks of 256 addresses.
    #[schemars(with = "String")]
    pub pool: ipnet::Ipv4Net,
}

/// The public side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicSpec {
    /// `http` or `https`, as visitors type it.
    #[serde(default = "default_scheme")]
    pub scheme: String,
    /// Address on which the edge listens.
    #[serde(default = "default_address")]
    #[schemars(with = "String")]
    pub address: std::net::IpAddr,
    /// Port on which the edge listens and which sites put in their links.
    #[serde(default = "default_port")]
    pub port: u16,
}

/// The API over TCP: TLS with certificates of the platform's own authority on both sides, and a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiSpec {
    /// Address on which control listens.
    #[serde(default = "default_address")]
    #[schemars(with = "String")]
    pub address: std::net::IpAddr,
    /// Port on which control listens; 1024 or above.
    #[serde(default = "default_api_port")]
    pub port: u16,
}

/// Images of our own parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImagesSpec {
    /// Gate, edge, agent, control.
    #[serde(default = "default_atoll")]
    pub atoll: String,
    /// Database nodes.
    #[serde(default = "default_mariadb")]
    pub mariadb: String,
    /// The database's single-writer endpoint.
    #[serde(default = "default_haproxy")]
    pub haproxy: String,
    /// Cache of a cell.
    #[serde(default = "default_memcached")]
    pub memcached: String,
}

/// A mail relay that instances may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MailSpec {
    /// Host of the relay.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Sender address of mails that name none.
    pub from: String,
}

/// What is known of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PlatformStatus {
    /// `Ready`.
    pub conditions: Conditions,
}

impl Resource for Platform {
    const KIND: Kind = Kind::Platform;
    type Spec = PlatformSpec;
    type Status = PlatformStatus;
}

impl Default for NetworkSpec {
    fn default() -> Self {
        // 10.91.0.0/16: a corner of RFC 1918 that home routers, clouds and Docker's own pools leave alone.
        let octets = std::net::Ipv4Addr::new(10, 91, 0, 0);
        Self { pool: ipnet::Ipv4Net::new_assert(octets, 16) }
    }
}

impl Default for PublicSpec {
    fn default() -> Self {
        Self { scheme: default_scheme(), address: default_address(), port: default_port() }
    }
}

impl Default for ImagesSpec {
    fn default() -> Self {
        Self { atoll: default_atoll(), mariadb: default_mariadb(), haproxy: default_haproxy(), memcached: default_memcached() }
    }
}

impl Default for PlatformSpec {
    fn default() -> Self {
        Self {
            regions: default_regions(),
            network: NetworkSpec::default(),
            public: PublicSpec::default(),
            grace: default_grace(),
            images: ImagesSpec::default(),
            api: None,
            mail: None,
        }
    }
}

fn default_regions() -> Vec<String> {
    vec!["local".to_owned()]
}
const fn default_grace() -> Span {
    Span(7 * 86_400_000)
}
fn default_scheme() -> String {
    "http".to_owned()
}
const fn default_address() -> std::net::IpAddr {
    std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)
}
const fn default_port() -> u16 {
    8080
}
const fn default_api_port() -> u16 {
    8443
}
fn default_atoll() -> String {
    concat!("localhost/atoll/atoll:", env!("CARGO_PKG_VERSION")).to_owned()
}
fn default_mariadb() -> String {
    "localhost/atoll/mariadb:10.11".to_owned()
}
fn default_haproxy() -> String {
    "localhost/atoll/haproxy:2.6".to_owned()
}
fn default_memcached() -> String {
    "localhost/atoll/memcached:1.6".to_owned()
}
