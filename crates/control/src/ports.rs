//! What control works over. Drivers are tied to these traits where the binary is put together; fakes stand in [`crate::fake`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use data::SharedData;
use engine::SharedEngine;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use model::v1alpha1::SealedSecret;
use model::{CellName, DocumentName, DomainName, GateName, Generation, MachineName, Sensitive, TenantName};
use operation::Clock;
use routes::{GateReport, GateState};
use store::SharedStore;

/// Everything outside of control.
#[derive(Clone)]
pub struct Ports {
    /// Where documents stand.
    pub store: SharedStore,
    /// What runs cells.
    pub engine: SharedEngine,
    /// Agents by machine.
    pub machines: Arc<dyn Machines>,
    /// The doors of cells.
    pub gates: Arc<dyn Gates>,
    /// Secrets and identities.
    pub keys: Arc<dyn Keys>,
    /// Folders of cells and tenants.
    pub files: Arc<dyn Files>,
    /// Networks that the host already knows.
    pub hosts: Arc<dyn HostRoutes>,
    /// Visitors' certificates.
    pub certificates: Arc<dyn Certificates>,
    /// Wall time.
    pub clock: Clock,
}

/// A port did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    /// CamelCase reason: `DiskFull`, `SecretUnreadable` ...
    pub reason: String,
    /// A sentence with the evidence.
    pub message: String,
}

impl PortError {
    /// A failure with its reason and a sentence.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// Agents by machine.
pub trait Machines: Send + Sync {
    /// The agent of a machine, dialled where its document says. Cheap: connections are made when they are needed.
    fn data(&self, machine: &MachineName, agent: SocketAddr) -> SharedData;
}

/// Where a gate takes its state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GateTarget {
    /// The gate's cell.
    pub cell: CellName,
    /// The gate.
    pub gate: GateName,
    /// Its admin address (mutual TLS).
    pub admin: SocketAddr,
}

/// A gate did not take it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// It holds a newer state.
    #[error("the gate holds state {held}, which is newer")]
    Older {
        /// What it holds.
        held: Generation,
    },
    /// It answered and refuses.
    #[error("the gate refuses: {0}")]
    Refused(String),
    /// It cannot be reached: the outcome is not known.
    #[error("the gate cannot be reached: {0}")]
    Unreachable(String),
}

/// Speaks to gates. Calls end by themselves within a few seconds.
#[async_trait]
pub trait Gates: Send + Sync {
    /// Gives a gate its whole numbered state.
    ///
    /// # Errors
    /// [`GateError`].
    async fn push(&self, target: &GateTarget, state: &GateState) -> Result<GateReport, GateError>;

    /// Asks a gate how it stands.
    ///
    /// # Errors
    /// [`GateError`].
    async fn report(&self, target: &GateTarget) -> Result<GateReport, GateError>;
}

/// Secrets and identities. Calls do not wait for anybody.
pub trait Keys: Send + Sync {
    /// Seals a secret for the document of this name.
    fn seal(&self, name: &DocumentName, plain: &Sensitive<String>) -> SealedSecret;

    /// Opens what was sealed for the document of this name.
    ///
    /// # Errors
    /// [`PortError`] with reason `SecretUnreadable`.
    fn open(&self, name: &DocumentName, sealed: &SealedSecret) -> Result<Sensitive<String>, PortError>;

    /// A random password of letters and digits.
    fn password(&self, characters: usize) -> Sensitive<String>;

    /// So many random bytes in base64url.
    fn token(&self, bytes: usize) -> Sensitive<String>;

    /// Makes sure that a gate's identity lies in its folder (`gates/<cell>/<gate>/identity` of the state folder) and is good for some days.
    ///
    /// # Errors
    /// [`PortError`].
    fn gate_identity(&self, cell: &CellName, gate: &GateName) -> Result<(), PortError>;
}

/// Folders of cells and tenants on the machine. Every call may be repeated.
#[async_trait]
pub trait Files: Send + Sync {
    /// Makes a tenant's folder for files, owned by this user.
    ///
    /// # Errors
    /// [`PortError`].
    async fn make_tenant(&self, cell: &CellName, tenant: &TenantName, owner: u32) -> Result<(), PortError>;

    /// Replaces a tenant's settings as a whole: path below its settings folder to content, readable by this user only. Writes nothing where they stand already.
    ///
    /// # Errors
    /// [`PortError`].
    async fn write_settings(&self, cell: &CellName, tenant: &TenantName, files: &BTreeMap<String, String>, owner: u32) -> Result<(), PortError>;

    /// Removes a tenant's settings.
    ///
    /// # Errors
    /// [`PortError`].
    async fn remove_settings(&self, cell: &CellName, tenant: &TenantName) -> Result<(), PortError>;

    /// Removes a tenant's files for good.
    ///
    /// # Errors
    /// [`PortError`].
    async fn remove_tenant(&self, cell: &CellName, tenant: &TenantName) -> Result<(), PortError>;

    /// Removes what is left of a closed cell: its folders and those of its gates.
    ///
    /// # Errors
    /// [`PortError`].
    async fn remove_cell(&self, cell: &CellName) -> Result<(), PortError>;
}

/// Who is to mend what keeps a domain from its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateFault {
    /// The domain does not lead to an edge of ours.
    Elsewhere,
    /// The domain's zone names other authorities (CAA).
    Forbidden,
    /// The authority looked at the domain and refuses it.
    Refused,
    /// What the authority wants to see could not be shown, or what it gave not be kept.
    Ours,
    /// The authority is asked too often.
    Limited,
    /// The authority does not answer as it should.
    Authority,
}

/// How a domain stands with its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateFacts {
    /// When the certificate that visitors are shown ends, or has ended; nothing where there is none.
    pub ends: Option<Timestamp>,
    /// Whether an authority is asked for one, now or when the time comes.
    pub asked: bool,
    /// What the last try found wrong, in words that are the same for as long as the trouble is.
    pub failed: Option<(CertificateFault, Arc<str>)>,
}

/// Visitors' certificates. Answers come from memory.
pub trait Certificates: Send + Sync {
    /// How a domain of an active tenant stands; nothing while that is not known.
    fn facts(&self, domain: &DomainName) -> Option<CertificateFacts>;
}

/// Networks that the host already knows.
pub trait HostRoutes: Send + Sync {
    /// Destinations of the host's routes.
    ///
    /// # Errors
    /// [`PortError`].
    fn in_use(&self) -> Result<Vec<Ipv4Net>, PortError>;
}
