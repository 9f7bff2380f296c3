//! Secrets and identities by way of the platform's master key and certificate authority.

use std::path::PathBuf;

use control::PortError;
use identity::{Ca, Role, Sealer};
use jiff::Timestamp;
use model::v1alpha1::SealedSecret;
use model::{CellName, DocumentName, GateName, Sensitive};

/// User of gates.
const GATE_USER: u32 = 1006;
/// Which master key seals; a rotation would name a second one.
const KEY: &str = "master-1";

/// Implements control's port.
pub struct Keys {
    /// Seals and opens.
    pub sealer: Sealer,
    /// Signs.
    pub ca: Ca,
    /// State folder.
    pub state: PathBuf,
}

impl control::Keys for Keys {
    fn seal(&self, name: &DocumentName, plain: &Sensitive<String>) -> SealedSecret {
        SealedSecret { key: KEY.to_owned(), sealed: self.sealer.seal(name.as_str(), plain) }
    }

    fn open(&self, name: &DocumentName, sealed: &SealedSecret) -> Result<Sensitive<String>, PortError> {
        if sealed.key != KEY {
            return Err(PortError::new(
                "SecretUnreadable",
                format!("secret {name} was sealed under key {}, which this control does not have", sealed.key),
            ));
        }
        self.sealer.open(name.as_str(), &sealed.sealed).map_err(|e| PortError::new("SecretUnreadable", e.to_string()))
    }

    fn password(&self, characters: usize) -> Sensitive<String> {
        identity::alphanumeric(characters)
    }

    fn token(&self, bytes: usize) -> Sensitive<String> {
        identity::token(bytes)
    }

    fn gate_identity(&self, cell: &CellName, gate: &GateName) -> Result<(), PortError> {
        let own = self.state.join("gates").join(cell.as_str()).join(gate.as_str());
        let folder = own.join("identity");
        let role = Role::Gate(cell.clone(), gate.clone());
        self.ca.ensure(&folder, &role, Some(GATE_USER), Timestamp::now()).map_err(|e| PortError::new("IdentityNotWritten", e.to_string()))?;
        // The folders were made by us just now or by an earlier term; their owner writes its state beside its identity.
        for path in [own, folder] {
            std::os::unix::fs::chown(&path, Some(GATE_USER), Some(GATE_USER))
                .map_err(|e| PortError::new("IdentityNotWritten", format!("{} could not be given to the gate: {e}", path.display())))?;
        }
        Ok(())
    }
}

impl doors::Reveal for Keys {
    fn open(&self, name: &DocumentName, sealed: &SealedSecret) -> Result<Sensitive<String>, String> {
        control::Keys::open(self, name, sealed).map_err(|error| error.message)
    }
}
