//! Gates, dialled over mutual TLS.

use std::path::Path;

use async_trait::async_trait;
use control::{GateError, GateTarget};
use gate::client::{GateClient, GateClientError};
use identity::IdentityError;
use routes::{GateReport, GateState};

/// Implements control's port.
pub struct Gates(GateClient);

impl Gates {
    /// Gates that trust the identity of this folder.
    ///
    /// # Errors
    /// When the folder holds none.
    pub fn new(identity: &Path) -> Result<Self, IdentityError> {
        Ok(Self(GateClient::new(identity)?))
    }
}

#[async_trait]
impl control::Gates for Gates {
    async fn push(&self, target: &GateTarget, state: &GateState) -> Result<GateReport, GateError> {
        self.0.push(target.admin, &target.gate, state).await.map_err(told)
    }

    async fn report(&self, target: &GateTarget) -> Result<GateReport, GateError> {
        self.0.report(target.admin, &target.cell, &target.gate).await.map_err(told)
    }
}

fn told(error: GateClientError) -> GateError {
    match error {
        GateClientError::Request(error) => GateError::Unreachable(error.to_string()),
        GateClientError::Older(report) => GateError::Older { held: report.number },
        refused @ GateClientError::Refused { .. } => GateError::Refused(refused.to_string()),
    }
}
