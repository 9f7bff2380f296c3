//! The far side: an agent's data port as control sees it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use data::{ClusterOrder, ClusterReport, Data, DataError, TenantOrder, TenantReport};
use http::{Method, Request, Response, StatusCode, header};
use identity::{HttpsClient, IdentityError, Role};
use model::{CellName, Generation, MachineName};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Time for a call that answers from memory or only takes an order.
const SHORT: Duration = Duration::from_secs(5);
/// Time for a call that works on the database.
const LONG: Duration = Duration::from_secs(60);

/// Agents of many machines, for a caller with one identity.
#[derive(Clone)]
pub struct Agents(HttpsClient);

impl Agents {
    /// Agents that trust the identity of this folder.
    ///
    /// # Errors
    /// [`IdentityError`] when the folder holds no usable identity.
    pub fn new(identity: &Path) -> Result<Self, IdentityError> {
        Ok(Self(HttpsClient::new(identity)?))
    }

    /// The agent of a machine at an address. Nothing is dialled yet.
    #[must_use]
    pub fn at(&self, machine: &MachineName, address: SocketAddr) -> RemoteData {
        RemoteData { https: self.0.clone(), address, agent: Role::Agent(machine.clone()) }
    }
}

/// An agent, dialled anew for each call.
pub struct RemoteData {
    https: HttpsClient,
    address: SocketAddr,
    agent: Role,
}

impl RemoteData {
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: &(impl Serialize + Sync),
        within: Duration,
    ) -> Result<T, DataError> {
        let refused = |message: String| DataError::Refused { reason: "WireShape".to_owned(), message };
        let body = if method == Method::GET { Bytes::new() } else { serde_json::to_vec(body).map_err(|e| refused(e.to_string()))?.into() };
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json").body(body);
        let request = request.map_err(|e| refused(e.to_string()))?;
        let answer = self.https.within(within).request(self.address, &self.agent, request).await;
        read(&answer.map_err(|e| DataError::Unreachable(e.to_string()))?)
    }
}

fn read<T: DeserializeOwned>(answer: &Response<Bytes>) -> Result<T, DataError> {
    // A body that is not what the port says comes from another release or from something in between: the outcome is not known.
    let strange = |e: serde_json::Error| DataError::Unreachable(format!("its answer ({}) is not understood: {e}", answer.status()));
    if answer.status() == StatusCode::OK {
        return serde_json::from_slice(answer.body()).map_err(strange);
    }
    Err(serde_json::from_slice::<DataError>(answer.body()).unwrap_or_else(strange))
}

#[async_trait]
impl Data for RemoteData {
    async fn ensure(&self, order: &ClusterOrder) -> Result<(), DataError> {
        self.call(Method::PUT, format!("/v1/clusters/{}", order.cell), order, SHORT).await
    }

    async fn observe(&self, cell: &CellName) -> Result<ClusterReport, DataError> {
        self.call(Method::GET, format!("/v1/clusters/{cell}"), &(), SHORT).await
    }

    async fn tenant(&self, cell: &CellName, order: &TenantOrder) -> Result<TenantReport, DataError> {
        self.call(Method::PUT, format!("/v1/clusters/{cell}/tenant"), order, LONG).await
    }

    async fn stop(&self, cell: &CellName) -> Result<(), DataError> {
        self.call(Method::POST, format!("/v1/clusters/{cell}/stop"), &(), LONG).await
    }

    async fn retire(&self, cell: &CellName, number: Generation) -> Result<(), DataError> {
        self.call(Method::POST, format!("/v1/clusters/{cell}/retire"), &number, LONG).await
    }
}
