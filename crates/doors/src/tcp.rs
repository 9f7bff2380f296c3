//! The same API over TCP, for operators elsewhere: TLS with a certificate of the platform's authority on both sides, and a token.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use identity::Role;
use model::Sensitive;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server::ServeError;
use crate::{Doors, codes, router};

/// Where to listen, and for whom.
#[derive(Debug, Clone)]
pub struct TcpDoor {
    /// Address.
    pub listen: SocketAddr,
    /// Folder of control's identity.
    pub identity: PathBuf,
    /// What callers must send as `Authorization: Bearer`; at least 32 characters.
    pub token: Sensitive<String>,
}

/// Fewest characters of a token.
const TOKEN: usize = 32;

/// Serves the API over TCP until the stop. [`crate::serve`] must run with the same doors: it keeps them informed.
///
/// # Errors
/// [`ServeError`] when the address or the identity cannot be used, or the token is too short to protect anything.
pub async fn serve_tcp(door: TcpDoor, doors: Doors, stop: CancellationToken) -> Result<(), ServeError> {
    let refused = |source| ServeError::Tcp { listen: door.listen, source };
    if door.token.reveal().len() < TOKEN {
        return Err(refused(io::Error::other(format!("the token has fewer than {TOKEN} characters"))));
    }
    let config = identity::tls::server_config(&door.identity).map_err(|error| refused(io::Error::other(error)))?;
    let listener = TcpListener::bind(door.listen).await.map_err(refused)?;
    serve_on(listener, config, door.token, doors, stop).await;
    Ok(())
}

/// The same on a listener.
pub(crate) async fn serve_on(listener: TcpListener, config: Arc<ServerConfig>, token: Sensitive<String>, doors: Doors, stop: CancellationToken) {
    let router = router::router(doors).layer(from_fn(move |request: Request, next: Next| {
        let allowed = bears(&request, token.reveal());
        async move { if allowed { next.run(request).await } else { refusal() } }
    }));
    identity::serve(listener, config, router, |role| *role == Role::Operator, stop).await;
}

fn refusal() -> Response {
    codes::NOT_ALLOWED.refuse("the request bears no token, or another one").into_response()
}

/// Whether the request bears this token, in a time that does not tell how much of it is right.
fn bears(request: &Request, token: &str) -> bool {
    let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(given) = value.and_then(|value| value.strip_prefix("Bearer ")) else { return false };
    let differences = given.bytes().zip(token.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b));
    given.len() == token.len() && differences == 0
}
