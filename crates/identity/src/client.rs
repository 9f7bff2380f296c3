//! A small HTTP/1.1 client over mutual TLS, the server's role demanded: one connection a request, or one that is kept by whoever speaks often.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{IdentityError, Role, tls};

/// Most bytes of an answer that is read whole.
const MOST: usize = 64 * 1024 * 1024;
/// Most time for the connection, handshake included.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Nothing was sent: nobody listens, or not in time. Safe to repeat.
    #[error("{role} at {addr} cannot be reached: {reason}")]
    Unreachable {
        /// Who was dialled.
        role: String,
        /// Where.
        addr: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// Nothing was sent: one side does not trust the other. Repeating does not help.
    #[error("{role} at {addr} and this side do not trust each other: {reason}")]
    Untrusted {
        /// Who was dialled.
        role: String,
        /// Where.
        addr: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// The request was sent and no whole answer came: it may or may not have been acted on.
    #[error("{role} at {addr} gave no answer: {reason}")]
    Unknown {
        /// Who was dialled.
        role: String,
        /// Where.
        addr: SocketAddr,
        /// Why not.
        reason: String,
    },
}

/// A client with the identity of a folder.
#[derive(Clone)]
pub struct HttpsClient {
    config: Arc<ClientConfig>,
    within: Duration,
}

impl HttpsClient {
    /// A client whose requests have 30 s each.
    ///
    /// # Errors
    /// [`IdentityError`] when the folder holds no usable identity.
    pub fn new(folder: &Path) -> Result<Self, IdentityError> {
        Ok(Self { config: tls::client_config(folder)?, within: Duration::from_secs(30) })
    }

    /// The same client with another time for a whole request and answer.
    #[must_use]
    pub fn within(&self, within: Duration) -> Self {
        Self { config: self.config.clone(), within }
    }

    /// Sends a request and reads the whole answer, at most 64 MiB. The target of the request is a path.
    ///
    /// # Errors
    /// [`RequestError`]; any status is an answer.
    pub async fn request(&self, addr: SocketAddr, server: &Role, request: Request<Bytes>) -> Result<Response<Bytes>, RequestError> {
        let unknown = |reason: String| RequestError::Unknown { role: server.to_string(), addr, reason };
        let exchange = async {
            let (head, body) = self.send(addr, server, request).await?.into_parts();
            let body = Limited::new(body, MOST).collect().await.map_err(|e| unknown(e.to_string()))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(self.within, exchange).await.map_err(|_| unknown(format!("not within {:?}", self.within)))?
    }

    /// Sends a request and gives the answer once its head is there; the body streams for as long as it likes. Dropping the body ends the connection.
    ///
    /// # Errors
    /// [`RequestError`]; the time limit is for the head.
    pub async fn stream(&self, addr: SocketAddr, server: &Role, request: Request<Bytes>) -> Result<Response<Incoming>, RequestError> {
        let head = tokio::time::timeout(self.within, self.send(addr, server, request)).await;
        head.map_err(|_| RequestError::Unknown { role: server.to_string(), addr, reason: format!("not within {:?}", self.within) })?
    }

    /// A connection that is kept between requests, opened when it is needed.
    #[must_use]
    pub const fn kept(self, addr: SocketAddr, server: Role) -> Kept {
        Kept { client: self, addr, server, sender: None }
    }

    async fn send(&self, addr: SocketAddr, server: &Role, request: Request<Bytes>) -> Result<Response<Incoming>, RequestError> {
        exchange(&mut self.open(addr, server).await?, addr, server, request).await
    }

    async fn open(&self, addr: SocketAddr, server: &Role) -> Result<SendRequest<Full<Bytes>>, RequestError> {
        let unreachable = |reason: String| RequestError::Unreachable { role: server.to_string(), addr, reason };
        let stream = self.dial(addr, server).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| unreachable(e.to_string()))?;
        // Ends by itself: with the last answer's body once nobody can send, or when either side hangs up.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
        Ok(sender)
    }

    /// A connection to a server whose role is proved, for other protocols than the requests of this client.
    ///
    /// # Errors
    /// [`RequestError::Unreachable`] or [`RequestError::Untrusted`]. The server judges this side when it reads; it may still hang up then.
    pub async fn dial(&self, addr: SocketAddr, server: &Role) -> Result<tokio_rustls::client::TlsStream<TcpStream>, RequestError> {
        match tokio::time::timeout(CONNECT, self.connect(addr, server)).await {
            Ok(stream) => stream,
            Err(_) => Err(RequestError::Unreachable { role: server.to_string(), addr, reason: format!("not within {CONNECT:?}") }),
        }
    }

    async fn connect(&self, addr: SocketAddr, server: &Role) -> Result<tokio_rustls::client::TlsStream<TcpStream>, RequestError> {
        let role = server.to_string();
        let name = tls::server_name(server).map_err(|e| RequestError::Untrusted { role: role.clone(), addr, reason: e.to_string() })?;
        let tcp = TcpStream::connect(addr).await;
        let tcp = tcp.map_err(|e| RequestError::Unreachable { role: role.clone(), addr, reason: e.to_string() })?;
        // A failure only costs some latency.
        let _ = tcp.set_nodelay(true);
        let trusted = TlsConnector::from(self.config.clone()).connect(name, tcp).await;
        trusted.map_err(|e| match distrust(&e) {
            Some(error) => RequestError::Untrusted { role, addr, reason: error.to_string() },
            None => RequestError::Unreachable { role, addr, reason: e.to_string() },
        })
    }
}

/// A connection to one server that is kept between requests.
pub struct Kept {
    client: HttpsClient,
    addr: SocketAddr,
    server: Role,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Kept {
    /// Sends a request and reads the whole answer, as [`HttpsClient::request`] does.
    ///
    /// # Errors
    /// [`RequestError`]; any status is an answer. The next request opens a connection anew.
    pub async fn request(&mut self, request: Request<Bytes>) -> Result<Response<Bytes>, RequestError> {
        let (addr, server, within) = (self.addr, self.server.clone(), self.client.within);
        let unknown = |reason: String| RequestError::Unknown { role: server.to_string(), addr, reason };
        let exchange = async {
            let mut sender = match self.sender.take().filter(|kept| kept.is_ready()) {
                Some(kept) => kept,
                // None yet, or the server has hung up meanwhile, before anything is sent.
                None => self.client.open(addr, &server).await?,
            };
            let (head, body) = exchange(&mut sender, addr, &server, request).await?.into_parts();
            let body = Limited::new(body, MOST).collect().await.map_err(|e| unknown(e.to_string()))?;
            self.sender = Some(sender);
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(within, exchange).await.map_err(|_| unknown(format!("not within {within:?}")))?
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    addr: SocketAddr,
    server: &Role,
    request: Request<Bytes>,
) -> Result<Response<Incoming>, RequestError> {
    let mut request = request.map(Full::new);
    request.headers_mut().entry(header::HOST).or_insert(host(server));
    let role = server.to_string();
    sender.send_request(request).await.map_err(|e| match distrust(&e) {
        // In TLS 1.3 the server judges our certificate after our handshake is done, and then nothing of the request was read.
        Some(error) => RequestError::Untrusted { role, addr, reason: error.to_string() },
        None => RequestError::Unknown { role, addr, reason: chain(&e) },
    })
}

fn host(server: &Role) -> HeaderValue {
    HeaderValue::try_from(server.dns_name()).unwrap_or_else(|_| HeaderValue::from_static("atoll.internal"))
}

/// The TLS error at the bottom of an error, where there is one.
fn distrust<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => Some(error),
        None => distrust(error.source()?),
    }
}

/// An error of hyper with its causes, which it does not print itself.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
