//! Agents by machine, dialled over mutual TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use agent::Agents as Known;
use data::SharedData;
use identity::IdentityError;
use model::MachineName;

/// Implements control's port.
pub struct Agents(Known);

impl Agents {
    /// Agents that trust the identity of this folder.
    ///
    /// # Errors
    /// When the folder holds none.
    pub fn new(identity: &Path) -> Result<Self, IdentityError> {
        Ok(Self(Known::new(identity)?))
    }
}

impl control::Machines for Agents {
    fn data(&self, machine: &MachineName, agent: SocketAddr) -> SharedData {
        Arc::new(self.0.at(machine, agent))
    }
}
