//! A small HTTP/1.1 server over mutual TLS: a router that knows the caller's role.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::{Role, tls};

/// Most time for a handshake, and for a request's head.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long answers under way may go on after the stop.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after a failed accept, which is nearly always the lack of file descriptors.
const BREATHER: Duration = Duration::from_millis(50);

/// Serves a router to callers whose role is allowed, until the stop; then answers under way have five seconds to end.
/// Handlers find the caller as `Extension<Role>`. A caller of our CA without an allowed role gets 403.
pub async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    allow: impl Fn(&Role) -> bool + Clone + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(config);
    let connections = TaskTracker::new();
    let end = CancellationToken::new();
    loop {
        let tcp = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATHER).await;
                    continue;
                }
            },
        };
        let connection = connection(tcp, acceptor.clone(), router.clone(), allow.clone(), stop.clone());
        let end = end.clone();
        connections.spawn(async move { end.run_until_cancelled(connection).await });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        end.cancel();
        connections.wait().await;
    }
}

async fn connection(tcp: TcpStream, acceptor: TlsAcceptor, router: Router, allow: impl Fn(&Role) -> bool, stop: CancellationToken) {
    // A failure only costs some latency.
    let _ = tcp.set_nodelay(true);
    let stream = match tokio::time::timeout(PATIENCE, acceptor.accept(tcp)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a handshake failed"),
        Err(_) => return tracing::debug!("a handshake did not end in time"),
    };
    let role = tls::peer_role(stream.get_ref().1);
    let allowed = role.filter(&allow);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| answer(router.clone(), allowed.clone(), request));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(router: Router, caller: Option<Role>, mut request: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
    let Some(role) = caller else {
        let mut refusal = Response::new(Body::from("this role may not ask here\n"));
        *refusal.status_mut() = StatusCode::FORBIDDEN;
        return Ok(refusal);
    };
    request.extensions_mut().insert(role);
    router.oneshot(request).await
}
