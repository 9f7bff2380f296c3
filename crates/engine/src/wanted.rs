//! What is wanted of a cell: one immutable value, compared by hash.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use model::v1alpha1::{Limits, Probe, WritablePath};
use model::{CellName, GateName, Generation, Sensitive, ServiceName, Span};
use serde::{Deserialize, Serialize};

/// A cell's whole wanted set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// Which cell.
    pub cell: CellName,
    /// Rises with each change; an older one is refused.
    pub generation: Generation,
    /// The cell's private network.
    pub network: Network,
    /// The cell's doors. They front every service with a port under its name.
    pub gates: Vec<GateWanted>,
    /// The services by name.
    pub services: BTreeMap<ServiceName, ServiceWanted>,
}

/// The cell's private network: nothing outside it is reachable from inside, and no other cell reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Its addresses, chosen by control. Instances get theirs from the upper half.
    pub subnet: Ipv4Net,
}

/// One of the cell's doors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateWanted {
    /// Its name: `gate-1`.
    pub name: GateName,
    /// Its fixed address.
    pub address: Ipv4Addr,
    /// Image of our binary.
    pub image: String,
    /// Arguments.
    pub command: Vec<String>,
    /// User id inside.
    pub user: u32,
    /// Its limits.
    pub limits: Limits,
    /// Names by which instances reach services through it: DNS names on the cell's network.
    pub fronts: Vec<ServiceName>,
    /// Whether it may dial beyond the cell, for the destinations that its state names. Instances never may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub egress: bool,
    /// Folders and files of the host.
    pub mounts: Vec<Mount>,
    /// Files with secrets.
    pub secrets: Vec<SecretFile>,
    /// When it serves.
    pub ready: Probe,
    /// Port of the probe.
    pub probe_port: u16,
    /// Time to finish after the stop signal.
    pub stop_within: Span,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceWanted {
    /// OCI image.
    pub image: String,
    /// Arguments instead of the image's own; empty: the image's.
    pub command: Vec<String>,
    /// How many instances.
    pub replicas: u32,
    /// Port it listens on.
    pub port: Option<u16>,
    /// Services that must have a ready instance before this one is started the first time.
    pub after: Vec<ServiceName>,
    /// Plain settings.
    pub environment: BTreeMap<String, String>,
    /// User id inside.
    pub user: u32,
    /// Limits of each instance.
    pub limits: Limits,
    /// When an instance takes requests.
    pub ready: Probe,
    /// Writable paths in memory.
    pub writable: Vec<WritablePath>,
    /// Capabilities kept.
    pub capabilities: Vec<String>,
    /// Folders and files of the host.
    pub mounts: Vec<Mount>,
    /// Files with secrets.
    pub secrets: Vec<SecretFile>,
    /// Time to finish after the stop signal.
    pub stop_within: Span,
    /// The stop signal: `SIGTERM`, `SIGQUIT`.
    pub stop_signal: String,
}

/// A folder of the host inside an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Path on the host; made (owned by the instance's user) where it is missing.
    pub host: PathBuf,
    /// Path inside.
    pub path: String,
    /// Whether it may be written.
    pub writable: bool,
}

/// A secret as a file: mode 0400, owned by the instance's user, changed without a restart, absent from the engine's inspection output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretFile {
    /// Path inside.
    pub path: String,
    /// Content. Not part of the hash that decides on a restart.
    pub content: Sensitive<String>,
}

/// A plain file given to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileMount {
    /// Path inside.
    pub path: String,
    /// Content, kept out of inspection output and removed with the job.
    pub content: Sensitive<String>,
}

/// A command run to its end beside a service: its image, user, limits, mounts, network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Asked twice with one key it runs once. A DNS label.
    pub key: String,
    /// Image, user, limits, mounts, writable paths are taken from here; replicas, port and probe do not count.
    pub service: ServiceWanted,
    /// Program and arguments.
    pub run: Vec<String>,
    /// Files given to it.
    pub files: Vec<FileMount>,
    /// Most time; then it is ended.
    pub within: Span,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobDone {
    /// Exit code; none: it was ended from outside or by the time limit.
    pub code: Option<i32>,
    /// Whether the time limit ended it.
    pub timed_out: bool,
    /// The last lines of its output, at most 16 KiB.
    pub tail: String,
}
