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

use crate::asked::Operator;
use crate::server::ServeError;
use crate::{Doors, codes, router};

/// Where to listen, and for whom.
#[derive(Debug, Clone)]
pub struct TcpDoor {
    /// Address.
    pub listen: SocketAddr,
    /// Folder of control's identity.
    pub identity: PathBuf,
    /// Who may ask.
    pub operators: Operators,
}

/// Each operator's name and token, which callers must send as `Authorization: Bearer`. Asked anew for each request, so that a token can be given and
/// taken away at any time; one of fewer than 32 characters protects nothing and opens nothing.
#[derive(Clone)]
pub struct Operators(Arc<dyn Fn() -> Vec<(String, Sensitive<String>)> + Send + Sync>);

impl Operators {
    /// Operators as this tells them.
    pub fn new(tell: impl Fn() -> Vec<(String, Sensitive<String>)> + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// The operator whose token this is, found in a time that does not tell how much of it is right.
    fn bearer(&self, given: &str) -> Option<Operator> {
        let usable = (self.0)().into_iter().filter(|(_, token)| token.reveal().len() >= TOKEN);
        usable.fold(None, |found, (name, token)| if same(given, token.reveal()) { Some(Operator(name.into())) } else { found })
    }
}

impl std::fmt::Debug for Operators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operators")
    }
}

/// Fewest characters of a token.
const TOKEN: usize = 32;

/// Serves the API over TCP until the stop. [`crate::serve`] must run with the same doors: it keeps them informed.
///
/// # Errors
/// [`ServeError`] when the address or the identity cannot be used.
pub async fn serve_tcp(door: TcpDoor, doors: Doors, stop: CancellationToken) -> Result<(), ServeError> {
    let refused = |source| ServeError::Tcp { listen: door.listen, source };
    let config = identity::tls::server_config(&door.identity).map_err(|error| refused(io::Error::other(error)))?;
    let listener = TcpListener::bind(door.listen).await.map_err(refused)?;
    serve_on(listener, config, door.operators, doors, stop).await;
    Ok(())
}

/// The same on a listener.
pub(crate) async fn serve_on(listener: TcpListener, config: Arc<ServerConfig>, operators: Operators, doors: Doors, stop: CancellationToken) {
    let router = router::router(doors).layer(from_fn(move |mut request: Request, next: Next| {
        let bearer = token(&request).and_then(|given| operators.bearer(given));
        async move {
            let Some(operator) = bearer else { return refusal() };
            request.extensions_mut().insert(operator);
            next.run(request).await
        }
    }));
    identity::serve(listener, config, router, |role| *role == Role::Operator, stop).await;
}

fn refusal() -> Response {
    codes::NOT_ALLOWED.refuse("the request bears no token, or one that is not known").into_response()
}

fn token(request: &Request) -> Option<&str> {
    request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn same(given: &str, token: &str) -> bool {
    let differences = given.bytes().zip(token.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b));
    given.len() == token.len() && differences == 0
}
