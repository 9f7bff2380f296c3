//! What an engine tells of a cell.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jiff::Timestamp;
use model::{Generation, InstanceName, ServiceName};
use serde::{Deserialize, Serialize};

/// CamelCase code of a cause. The same fault gives the same one on every engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Nothing is wrong.
    AsWanted,
    /// Being made or started.
    Starting,
    /// Waits for services that it uses.
    WaitingForUses,
    /// Runs but its probe fails.
    NotReady,
    /// Ready once, its probe fails now.
    Unready,
    /// Never became ready within its time.
    NeverReady,
    /// Ends again and again; started anew with growing pauses.
    CrashLoop,
    /// Ended for lack of memory.
    OutOfMemory,
    /// The image is not on the engine and cannot be had.
    ImageMissing,
    /// The command does not exist in the image or may not be run.
    BadCommand,
    /// A port of the host is taken.
    PortTaken,
    /// The network's addresses clash with another network of the host.
    SubnetClash,
    /// The host has no space left.
    DiskFull,
    /// Leaves: no new requests.
    Draining,
    /// Being replaced by a newer version.
    Rolling,
    /// The newer version stopped after its first instance; the older serves on.
    RolloutStopped,
    /// No such instance.
    NoSuchInstance,
    /// The engine is older than what we need.
    TooOldEngine,
    /// The engine refused for a cause of its own; the message has its words.
    EngineRefused,
}

impl Reason {
    /// The code as it stands in conditions.
    #[must_use]
    pub fn as_str(self) -> String {
        format!("{self:?}")
    }
}

/// The answer of `observe`.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// The engine could not be asked, with why.
    Unknown(String),
    /// How the cell stands.
    Known(Observed),
}

/// How a cell stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// The generation that the engine holds; none: it knows nothing of this cell.
    pub generation: Option<Generation>,
    /// Every instance of services (and gates, under service `gate`) that carries the cell's label and that we know.
    pub instances: Vec<ObservedInstance>,
    /// Rollout per service.
    pub rollouts: BTreeMap<ServiceName, ServiceRollout>,
    /// What carries the cell's label and belongs to nothing wanted.
    pub strangers: Vec<Stranger>,
    /// A fault of the whole cell (network clash, engine refusal), where there is one.
    pub fault: Option<(Reason, String)>,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceState {
    /// Made, not yet ready.
    Starting,
    /// Takes requests.
    Ready,
    /// Runs, takes no requests.
    NotReady,
    /// Leaves: takes no new requests.
    Draining,
    /// Does not run.
    Stopped,
}

/// One instance.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedInstance {
    /// Its name, stable over restarts.
    pub name: InstanceName,
    /// Its service.
    pub service: ServiceName,
    /// Where it listens, once it has an address: at the port of the version it runs, which may be another than the one wanted now; port 0 where that
    /// has none.
    pub address: Option<SocketAddr>,
    /// The hash of the wanted service it was made from.
    pub version: String,
    /// Where it stands.
    pub state: InstanceState,
    /// Since when.
    pub since: Timestamp,
    /// How often it was started again.
    pub restarts: u32,
    /// How it last ended.
    pub last_exit: Option<Exit>,
    /// Why it is not ready; [`Reason::AsWanted`] when it is.
    pub reason: Reason,
    /// A sentence with the evidence.
    pub message: String,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; above 128: ended by signal code - 128.
    pub code: i64,
    /// Ended for lack of memory.
    pub out_of_memory: bool,
    /// When.
    pub at: Option<Timestamp>,
}

/// How the roll of a service stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRollout {
    /// Instances wanted.
    pub wanted: u32,
    /// Ready instances of the wanted version.
    pub ready: u32,
    /// Instances of older versions still there.
    pub old: u32,
    /// [`Reason::AsWanted`], `Rolling`, `RolloutStopped`, or what the first unready instance says.
    pub reason: Reason,
    /// A sentence with the evidence.
    pub message: String,
}

/// Something with the cell's label that belongs to nothing wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The engine's name of it.
    pub name: String,
    /// What it is and why it is strange.
    pub explanation: String,
}
