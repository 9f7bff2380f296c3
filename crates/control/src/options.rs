//! What an installation decides about control.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::{MachineName, PlatformName};

/// Options of control.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the installation.
    pub platform: PlatformName,
    /// State folder, at the same path on the host.
    pub state: PathBuf,
    /// The machine on which control itself stands: its document is made where it is missing, and its address kept right.
    pub local: Option<LocalMachine>,
    /// How long the lease is good without renewal; renewed three times as often.
    pub lease: Duration,
    /// Time between looks at a cell that is on its way.
    pub look_busy: Duration,
    /// Time between looks at a cell that is as wanted.
    pub look_calm: Duration,
    /// At least so often everything is looked at, whether or not something woke it.
    pub period: Duration,
    /// How many hooks run at the same time in one cell.
    pub hooks_per_cell: usize,
    /// How long an ended operation is kept.
    pub keep_operations: Duration,
}

/// The machine on which control itself stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMachine {
    /// Its name.
    pub name: MachineName,
    /// Where its agent listens.
    pub agent: SocketAddr,
}

impl Options {
    /// The defaults of an installation.
    #[must_use]
    pub fn new(platform: PlatformName, state: impl Into<PathBuf>) -> Self {
        Self {
            platform,
            state: state.into(),
            local: None,
            lease: Duration::from_secs(6),
            look_busy: Duration::from_millis(100),
            look_calm: Duration::from_millis(500),
            period: Duration::from_secs(30),
            hooks_per_cell: 2,
            keep_operations: Duration::from_secs(7 * 86_400),
        }
    }

    /// The same with the machine on which control stands.
    #[must_use]
    pub fn on(mut self, name: MachineName, agent: SocketAddr) -> Self {
        self.local = Some(LocalMachine { name, agent });
        self
    }
}
