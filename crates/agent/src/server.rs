//! The near side: a machine's data port over mutual TLS.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use axum::extract::{Path as Captured, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use axum::{Json, Router};
use data::{ClusterOrder, ClusterReport, DataError, SharedData, TenantOrder, TenantReport};
use identity::{IdentityError, Role, tls};
use model::{CellName, Generation};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::wire;

/// The agent cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its address cannot be listened on.
    #[error("the agent cannot listen on {0}; see who does with `ss -ltnp`")]
    Listen(SocketAddr, #[source] io::Error),
    /// Its identity cannot be used.
    #[error("the agent has no usable identity")]
    Identity(#[from] IdentityError),
}

/// Serves a data port to control until the stop. The nodes are not the server's business: they run on.
///
/// # Errors
/// [`ServeError`], before anything is served.
pub async fn serve(data: SharedData, address: SocketAddr, identity: &Path, stop: CancellationToken) -> Result<(), ServeError> {
    let config = tls::server_config(identity)?;
    let listener = TcpListener::bind(address).await.map_err(|error| ServeError::Listen(address, error))?;
    identity::serve(listener, config, router(data), |role| *role == Role::Control, stop).await;
    Ok(())
}

fn router(data: SharedData) -> Router {
    Router::new()
        .route("/v1/clusters/{cell}", put(ensure).get(observe))
        .route("/v1/clusters/{cell}/tenant", put(tenant))
        .route("/v1/clusters/{cell}/stop", post(stop_nodes))
        .route("/v1/clusters/{cell}/retire", post(retire))
        .with_state(data)
}

/// A refusal on its way out.
struct Refusal(DataError);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (wire::status(&self.0), Json(self.0)).into_response()
    }
}

impl From<DataError> for Refusal {
    fn from(error: DataError) -> Self {
        Self(error)
    }
}

async fn ensure(State(data): State<SharedData>, Captured(cell): Captured<CellName>, Json(order): Json<ClusterOrder>) -> Result<Json<()>, Refusal> {
    if order.cell != cell {
        let message = format!("the order of {} was sent to {cell}", order.cell);
        return Err(Refusal(DataError::Refused { reason: "BadOrder".to_owned(), message }));
    }
    Ok(Json(data.ensure(&order).await?))
}

async fn observe(State(data): State<SharedData>, Captured(cell): Captured<CellName>) -> Result<Json<ClusterReport>, Refusal> {
    Ok(Json(data.observe(&cell).await?))
}

async fn tenant(
    State(data): State<SharedData>,
    Captured(cell): Captured<CellName>,
    Json(order): Json<TenantOrder>,
) -> Result<Json<TenantReport>, Refusal> {
    Ok(Json(data.tenant(&cell, &order).await?))
}

async fn stop_nodes(State(data): State<SharedData>, Captured(cell): Captured<CellName>) -> Result<Json<()>, Refusal> {
    Ok(Json(data.stop(&cell).await?))
}

async fn retire(
    State(data): State<SharedData>,
    Captured(cell): Captured<CellName>,
    Json(number): Json<Option<Generation>>,
) -> Result<Json<()>, Refusal> {
    // A control of an older release sends no number. It is refused as the oldest, and asks again until it is replaced.
    Ok(Json(data.retire(&cell, number.unwrap_or(Generation(0))).await?))
}
