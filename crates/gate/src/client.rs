//! How control speaks to a gate.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use identity::{HttpsClient, IdentityError, RequestError, Role};
use model::{CellName, GateName};
use routes::{GateReport, GateState};

/// Time for a whole push.
const WITHIN: Duration = Duration::from_secs(10);

/// Why a gate did not do it.
#[derive(Debug, thiserror::Error)]
pub enum GateClientError {
    /// No answer, or no trust.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It has this number or a higher one; the report says which.
    #[error("the gate already works from state {}", .0.number)]
    Older(Box<GateReport>),
    /// It refuses the state, with its words.
    #[error("the gate refuses ({status}): {words}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its words.
        words: String,
    },
}

/// A client with the identity of control.
#[derive(Clone)]
pub struct GateClient {
    https: HttpsClient,
}

impl std::fmt::Debug for GateClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GateClient")
    }
}

impl GateClient {
    /// A client that proves the identity of `folder`.
    ///
    /// # Errors
    /// [`IdentityError`] when the folder holds no usable identity.
    pub fn new(folder: &Path) -> Result<Self, IdentityError> {
        Ok(Self { https: HttpsClient::new(folder)?.within(WITHIN) })
    }

    /// Gives a gate its whole state. The same again is acknowledged again.
    ///
    /// # Errors
    /// [`GateClientError`]; after `Request(Unknown)` the state may have been taken: push again.
    pub async fn push(&self, address: SocketAddr, gate: &GateName, state: &GateState) -> Result<GateReport, GateClientError> {
        let body = serde_json::to_vec(state).map_err(|error| refused(StatusCode::BAD_REQUEST, error.to_string()))?;
        self.ask(address, &state.cell, gate, Method::PUT, body.into()).await
    }

    /// Asks a gate how it stands.
    ///
    /// # Errors
    /// [`GateClientError`].
    pub async fn report(&self, address: SocketAddr, cell: &CellName, gate: &GateName) -> Result<GateReport, GateClientError> {
        self.ask(address, cell, gate, Method::GET, Bytes::new()).await
    }

    async fn ask(&self, address: SocketAddr, cell: &CellName, gate: &GateName, method: Method, body: Bytes) -> Result<GateReport, GateClientError> {
        let role = Role::Gate(cell.clone(), gate.clone());
        let request = Request::builder().method(method).uri("/v1/state").header("content-type", "application/json").body(body);
        let request = request.map_err(|error| refused(StatusCode::BAD_REQUEST, error.to_string()))?;
        let answer: Response<Bytes> = self.https.request(address, &role, request).await?;
        let report = || serde_json::from_slice::<GateReport>(answer.body());
        match answer.status() {
            StatusCode::OK => report().map_err(|error| refused(StatusCode::OK, format!("its report does not parse: {error}"))),
            StatusCode::CONFLICT => {
                Err(report().map_or_else(|error| refused(StatusCode::CONFLICT, error.to_string()), |report| GateClientError::Older(Box::new(report))))
            }
            status => Err(refused(status, String::from_utf8_lossy(answer.body()).trim().to_owned())),
        }
    }
}

const fn refused(status: StatusCode, words: String) -> GateClientError {
    GateClientError::Refused { status, words }
}
