//! Platform: the installation as a whole, a singleton.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Conditions, Kind, Memory, Network, Resource, Span};

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
    /// What tenants and visitors may take of the edges.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// What edges and gates write down of requests.
    #[serde(default, skip_serializing_if = "AccessLogSpec::is_default")]
    pub access_log: AccessLogSpec,
    /// What edges keep of answers, for blueprints whose `spec.edge.cache` is not off.
    #[serde(default, skip_serializing_if = "EdgeCacheSpec::is_default")]
    pub edge_cache: EdgeCacheSpec,
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

/// The access logs of edges and gates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessLogSpec {
    /// One request in so many is written down, the same at edge and gate; what failed is written always. 1: every request.
    #[serde(default = "default_one_in")]
    pub one_in: NonZeroU32,
}

/// What edges keep of answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EdgeCacheSpec {
    /// Memory of each edge for it. When it is full, tenants that have more than an equal share lose theirs first. 0: nothing is kept.
    #[serde(default = "default_cache_memory")]
    pub memory: Memory,
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
    /// HTTPS; off where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Balancers between visitors and the edge; without it everybody who connects is a visitor, and nobody is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<BehindSpec>,
}

/// Balancers in front of the edge, and what is believed of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BehindSpec {
    /// Networks that they connect from. Of these the visitor's address is believed (X-Forwarded-For, else Forwarded), and that it came by HTTPS
    /// (X-Forwarded-Proto). Name nothing here that visitors could connect from.
    pub proxies: Vec<Network>,
    /// Each of their connections must begin with a preamble of the PROXY protocol, version 1 or 2. Whoever connects from elsewhere is a visitor without one.
    pub proxy_protocol: bool,
}

/// HTTPS for visitors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSpec {
    /// Port on which the edge listens under TLS. With `scheme: https` sites put this one in their links.
    #[serde(default = "default_tls_port")]
    pub port: u16,
    /// Certificate authorities (ACME) for tenants' domains, the preferred first, the others step in. None: only certificates that lie in the folder
    /// `certificates` of the state folder.
    #[serde(default)]
    pub authorities: Vec<AuthoritySpec>,
    /// Also asks for domains that no public authority vouches for (`.internal` and the like): for an authority of your own.
    #[serde(default)]
    pub private_names: bool,
    /// Shows visitors a certificate that nobody signed where there is no other.
    #[serde(default)]
    pub self_signed: bool,
    /// Ways to prove domains, tried in turn.
    #[serde(default = "default_proofs")]
    pub proofs: Vec<DomainProof>,
    /// Port under which authorities reach the edge by HTTP. Each domain is looked at there before an authority is asked.
    #[serde(default = "default_probe_port")]
    pub probe_port: u16,
    /// What visitors are told, where their tenant does not say otherwise. Domains of this machine alone (`.localhost`) are left out.
    #[serde(default)]
    pub https: HttpsSpec,
}

/// A certificate authority that speaks ACME.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthoritySpec {
    /// URL of its directory.
    pub directory: String,
    /// Mail address that it may write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// File, below the state folder, with the root that its own server is trusted by; the system's roots where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Id of an account that it gave you elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// File, below the state folder, with that account's key in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_key: Option<String>,
}

/// How a domain is proved to an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DomainProof {
    /// `http-01`, on port 80.
    #[serde(rename = "http-01")]
    Http,
    /// `tls-alpn-01`, on port 443.
    #[serde(rename = "tls-alpn-01")]
    Tls,
}

/// What visitors are told about HTTPS. Nothing is said for a domain that no certificate covers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpsSpec {
    /// Those who come by HTTP are sent to HTTPS.
    #[serde(default)]
    pub redirect: bool,
    /// How long browsers shall use nothing but HTTPS (HSTS); they are not told where left out. What they remember cannot be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Span>,
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

/// What tenants and visitors may take of an edge, so that one's peak is not everybody's. Each edge counts for itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// By the tenants' `plan`; those whose plan is not named get `default`.
    pub classes: BTreeMap<String, TenantLimits>,
    /// For each visitor's address (of IPv6: each network of 64 bits).
    pub client: ClientLimits,
}

/// What one tenant may take of an edge. 0 means without limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TenantLimits {
    /// Requests under way.
    pub concurrency: u32,
    /// Requests.
    pub requests_per_second: u32,
    /// Requests at once; those of one second where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Octets of bodies, both ways.
    pub bytes_per_second: u64,
}

/// What one address may take of an edge. 0 means without limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientLimits {
    /// Requests.
    pub requests_per_second: u32,
    /// Requests at once; those of one second where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
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

impl PublicSpec {
    /// The port that sites put in their links.
    #[must_use]
    pub fn link_port(&self) -> u16 {
        match &self.tls {
            Some(tls) if self.scheme == "https" => tls.port,
            _ => self.port,
        }
    }
}

impl AccessLogSpec {
    /// Whether some requests are left out.
    #[must_use]
    pub const fn samples(&self) -> bool {
        self.one_in.get() > 1
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for AccessLogSpec {
    fn default() -> Self {
        Self { one_in: default_one_in() }
    }
}

impl EdgeCacheSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for EdgeCacheSpec {
    fn default() -> Self {
        Self { memory: default_cache_memory() }
    }
}

impl Default for TenantLimits {
    fn default() -> Self {
        // An eighth of what an edge serves at once: enough for any site, and nobody fills an edge alone.
        Self { concurrency: 1000, requests_per_second: 0, burst: None, bytes_per_second: 0 }
    }
}

impl Default for PublicSpec {
    fn default() -> Self {
        Self { scheme: default_scheme(), address: default_address(), port: default_port(), tls: None, behind: None }
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
            limits: LimitsSpec::default(),
            access_log: AccessLogSpec::default(),
            edge_cache: EdgeCacheSpec::default(),
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
const fn default_cache_memory() -> Memory {
    Memory(256 << 20)
}
const fn default_one_in() -> NonZeroU32 {
    NonZeroU32::MIN
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
    7443
}
const fn default_tls_port() -> u16 {
    8443
}
const fn default_probe_port() -> u16 {
    80
}
fn default_proofs() -> Vec<DomainProof> {
    vec![DomainProof::Http, DomainProof::Tls]
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
