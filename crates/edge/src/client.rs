//! Asks an edge's admin door, which only this machine reaches.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

pub use crate::fair::Facts;

/// Over how long [`Took`] is counted: an edge's turn.
pub const TURN: Duration = Duration::from_secs(5);
/// Time for an answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Most octets of an answer; a tenant takes about 250.
const MOST: usize = 64 << 20;

/// What a tenant took of this edge in its last turn of [`TURN`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// The tenant.
    pub tenant: String,
    /// What it took.
    #[serde(flatten)]
    pub facts: Facts,
}

/// Why an edge did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no edge answers at {0}")]
    Unreachable(SocketAddr, #[source] std::io::Error),
    /// It took too long.
    #[error("the edge at {0} did not answer within {WITHIN:?}")]
    Late(SocketAddr),
    /// Not what an edge says.
    #[error("what answers at {0} is not an edge of this release: {1}")]
    Strange(SocketAddr, String),
}

/// What each tenant took in the last turn; those that took nothing are left out.
///
/// # Errors
/// [`AskError`].
pub async fn tenants(admin: SocketAddr) -> Result<Vec<Took>, AskError> {
    tokio::time::timeout(WITHIN, ask(admin, "/tenants")).await.unwrap_or(Err(AskError::Late(admin)))
}

async fn ask(admin: SocketAddr, path: &str) -> Result<Vec<Took>, AskError> {
    let strange = |error: &dyn std::fmt::Display| AskError::Strange(admin, error.to_string());
    let stream = TcpStream::connect(admin).await.map_err(|error| AskError::Unreachable(admin, error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| strange(&error))?;
    tokio::spawn(connection);
    let request = http::Request::get(path).header(http::header::HOST, "localhost").body(Full::<Bytes>::default()).map_err(|error| strange(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| strange(&error))?;
    if answer.status() != http::StatusCode::OK {
        return Err(strange(&answer.status()));
    }
    let body = Limited::new(answer.into_body(), MOST).collect().await.map_err(|error| strange(&error))?.to_bytes();
    serde_json::from_slice(&body).map_err(|error| strange(&error))
}
