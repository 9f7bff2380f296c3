//! Blueprint: the versioned description of a cell. Immutable: a change is a new version.
//!
//! Its document is named `<name>.<version>`, for instance `wordpress.2026.11.1`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Conditions, Cpu, Kind, Memory, Percent, Resource, ServiceName, Span};

/// Kind `Blueprint`.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint;

/// What a cell made from this blueprint consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlueprintSpec {
    /// How many tenants a cell takes.
    pub capacity: CapacitySpec,
    /// The cell's own doors.
    #[serde(default)]
    pub gates: GatesSpec,
    /// What edges do with the answers of its sites.
    #[serde(default, skip_serializing_if = "EdgeSpec::is_default")]
    pub edge: EdgeSpec,
    /// The cell's database cluster, made and kept by an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseSpec>,
    /// The cell's cache, which becomes a service named `cache`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheSpec>,
    /// Where tenants' files live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesSpec>,
    /// The services, by name. Exactly one is the entry.
    pub services: BTreeMap<ServiceName, Service>,
    /// What is done for each tenant.
    #[serde(default)]
    pub tenant: TenantHooks,
}

/// Capacity of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapacitySpec {
    /// Most tenants a cell serves; at least 1.
    #[schemars(range(min = 1, max = 100_000))]
    pub tenants: u32,
    /// Share at which the next cell should be opened.
    #[serde(default = "default_open_next_at")]
    pub open_next_at: Percent,
}

/// The gates of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatesSpec {
    /// How many; two let one be replaced or lost without a failed request.
    #[schemars(range(min = 1, max = 4))]
    pub replicas: u32,
    /// Limits of each.
    pub limits: Limits,
}

/// What edges do with the answers of sites. Each route carries it to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EdgeSpec {
    /// Whether texts are compressed for visitors who take that; `on` where left out.
    #[serde(skip_serializing_if = "is_default")]
    pub compress: EdgeCompress,
    /// Which answers edges keep and give again; `off` where left out.
    #[serde(skip_serializing_if = "is_default")]
    pub cache: EdgeCache,
}

/// Whether edges compress texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EdgeCompress {
    /// Answers pass as the site wrote them.
    Off,
    /// Texts that the site did not compress itself are, as the visitor's `Accept-Encoding` says.
    #[default]
    On,
}

/// Which answers edges keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EdgeCache {
    /// None.
    #[default]
    Off,
    /// Files that are the same for everybody, where the site says for how long.
    Static,
    /// Whatever the site says may be kept for everybody.
    On,
}

/// Database engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseEngine {
    /// MariaDB Galera Cluster.
    Mariadb,
}

/// The database cluster of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseSpec {
    /// Which engine.
    pub engine: DatabaseEngine,
    /// 1 or 3 nodes.
    pub nodes: u32,
    /// Buffer pool of each node; the container's limit is derived from it.
    pub memory: Memory,
    /// Processor share of each node.
    #[serde(default = "default_database_cpu")]
    pub cpu: Cpu,
    /// Most connections of the whole cell.
    #[serde(default = "default_connections")]
    pub connections: u32,
    /// Most connections of one tenant, so that one tenant cannot take them all.
    #[serde(default = "default_tenant_connections")]
    pub tenant_connections: u32,
}

/// Cache engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheEngine {
    /// memcached.
    Memcached,
}

/// The cache of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheSpec {
    /// Which engine.
    pub engine: CacheEngine,
    /// Memory for items.
    pub memory: Memory,
}

/// File stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FilesEngine {
    /// A directory of the machine.
    Directory,
}

/// Where tenants' files live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilesSpec {
    /// Which store.
    pub engine: FilesEngine,
}

/// One service of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// OCI image with tag or digest.
    pub image: String,
    /// Arguments instead of the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// How many instances.
    #[serde(default)]
    pub replicas: Replicas,
    /// The TCP port it listens on; other services reach it as `<service>:<port>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether visitors' requests enter the cell here (HTTP).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub entry: bool,
    /// Services (or `database`) that must be ready before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<ServiceName>,
    /// Plain settings; secrets never stand here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Limits of each instance.
    #[serde(default)]
    pub limits: Limits,
    /// When an instance takes requests.
    #[serde(default)]
    pub ready: Probe,
    /// User id inside the container; 0 is refused.
    pub user: u32,
    /// Paths that may be written, each in memory; everything else is read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writable: Vec<WritablePath>,
    /// Capabilities kept; all others are dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Whether tenants' settings are mounted (read-only, at `/atoll/settings`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settings: bool,
    /// How tenants' files are mounted (at `/atoll/files`).
    #[serde(default)]
    pub files: FilesAccess,
    /// Time to finish after the stop signal before it is killed.
    #[serde(default = "default_stop_within")]
    pub stop_within: Span,
    /// Signal that asks for a graceful stop.
    #[serde(default = "default_stop_signal")]
    pub stop_signal: String,
}

/// Number of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replicas {
    /// Always at least these.
    #[schemars(range(min = 1, max = 64))]
    pub min: u32,
    /// Never more than these.
    #[schemars(range(min = 1, max = 64))]
    pub max: u32,
}

/// Limits of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Processor share.
    #[serde(default = "default_cpu")]
    pub cpu: Cpu,
    /// Memory, without swap.
    #[serde(default = "default_memory")]
    pub memory: Memory,
    /// Processes and threads.
    #[serde(default = "default_pids")]
    pub pids: u32,
}

/// A path in memory that an instance may write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WritablePath {
    /// Absolute path.
    pub path: String,
    /// Most bytes.
    pub size: Memory,
}

/// How tenants' files are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FilesAccess {
    /// Not at all.
    #[default]
    None,
    /// To read.
    Read,
    /// To read and write.
    Write,
}

/// What is asked to see readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ProbeKind {
    /// A GET of this path answers 200 to 399.
    Http(String),
    /// The port accepts a connection.
    Tcp {},
    /// The container runs.
    Running {},
}

/// When an instance takes requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// What is asked. Left out: a connection to the port, or running where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<ProbeKind>,
    /// Time between questions.
    #[serde(default = "default_every")]
    pub every: Span,
    /// Time for an answer.
    #[serde(default = "default_within")]
    pub within: Span,
    /// Failures in a row that make it not ready.
    #[serde(default = "default_failures")]
    pub failures: u32,
    /// Time from start to the first success before the start counts as failed.
    #[serde(default = "default_start_within")]
    pub start_within: Span,
}

/// What is done for each tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TenantHooks {
    /// Files rendered for each tenant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
    /// Names of random secrets made once per tenant and given to the templates as `secrets.<name>`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Run once when a tenant is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<Hook>,
    /// Run for each tenant when a new blueprint version arrives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrate: Option<Hook>,
}

/// A file rendered for each tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Setting {
    /// Path under the tenant's settings directory, without `..`.
    pub path: String,
    /// The template (minijinja). In a file, `templateFile: <path beside the blueprint>` may stand instead.
    pub template: String,
}

/// A command run to its end in a one-off container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// Program and arguments.
    pub run: Vec<String>,
    /// The service whose image, user and mounts it gets.
    pub r#in: ServiceName,
    /// Most time.
    #[serde(default = "default_hook_within")]
    pub within: Span,
}

/// What is known of a blueprint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BlueprintStatus {
    /// `Accepted`, with the lint's words where it is not.
    pub conditions: Conditions,
}

impl Resource for Blueprint {
    const KIND: Kind = Kind::Blueprint;
    type Spec = BlueprintSpec;
    type Status = BlueprintStatus;
}

impl EdgeSpec {
    /// Whether it says nothing, which is not written down.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for GatesSpec {
    fn default() -> Self {
        Self { replicas: 2, limits: Limits { cpu: Cpu(1000), memory: Memory::mebi(128), pids: 64 } }
    }
}

impl Default for Replicas {
    fn default() -> Self {
        Self { min: 1, max: 1 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu: default_cpu(), memory: default_memory(), pids: default_pids() }
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self { check: None, every: default_every(), within: default_within(), failures: default_failures(), start_within: default_start_within() }
    }
}

const fn default_open_next_at() -> Percent {
    Percent(80)
}
const fn default_cpu() -> Cpu {
    Cpu(500)
}
const fn default_memory() -> Memory {
    Memory::mebi(128)
}
const fn default_pids() -> u32 {
    128
}
const fn default_database_cpu() -> Cpu {
    Cpu(1000)
}
const fn default_connections() -> u32 {
    300
}
const fn default_tenant_connections() -> u32 {
    50
}
const fn default_stop_within() -> Span {
    Span::seconds(30)
}
fn default_stop_signal() -> String {
    "SIGTERM".to_owned()
}
const fn default_every() -> Span {
    Span::seconds(1)
}
const fn default_within() -> Span {
    Span::seconds(2)
}
const fn default_failures() -> u32 {
    2
}
const fn default_start_within() -> Span {
    Span::seconds(60)
}
const fn default_hook_within() -> Span {
    Span::seconds(120)
}
