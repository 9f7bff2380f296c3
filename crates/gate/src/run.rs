//! A gate from start to end.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use identity::{IdentityError, Role, tls};
use model::{CellName, GateName};
use proxy::tcp::{TcpMetrics, TcpOptions};
use proxy::{AccessLog, Faces, Limits, Server};
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, router};
use crate::door::Door;
use crate::known::Memory;
use crate::{disk, egress, lasting, probes, services};

/// How long a gate that was told to stop serves on while it says so to whoever asks: edges then go to the other gate before this one closes.
const FAREWELL: Duration = Duration::from_millis(2500);
/// Requests that a gate serves at once, where nothing else is said.
pub const REQUESTS: usize = 8192;
/// Connections of inner services that may wait at a port.
const BACKLOG: i32 = 1024;

/// What a gate is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its cell.
    pub cell: CellName,
    /// Its name.
    pub name: GateName,
    /// Folder of its state.
    pub state: PathBuf,
    /// Folder of its certificate and key.
    pub identity: PathBuf,
    /// Where edges come in, and by whose address inner services are relayed.
    pub entry: SocketAddr,
    /// Where control comes in.
    pub admin: SocketAddr,
    /// Requests under way at once; from three quarters of it on, tenants that hold more than an equal share get no more.
    pub requests: usize,
    /// The access log gets one request in so many, and all that failed.
    pub log_one_in: NonZeroU32,
}

/// Why a gate cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("the gate cannot listen on {0}; see who does with `ss -ltnp`")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// Its identity cannot be used.
    #[error("the gate has no usable identity")]
    Identity(#[from] IdentityError),
    /// A thread or socket failed.
    #[error("the gate's entry failed")]
    Entry(#[source] std::io::Error),
}

/// Runs a gate until the stop, and ends it in order.
///
/// # Errors
/// [`Error`]; a gate without control or without a state is no error.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), Error> {
    let memory = Arc::new(Memory::new(disk::read(&options.state, &options.cell), options.requests));
    let listen = |address: SocketAddr| bind(address).map_err(|error| Error::Listen(address, error));
    let (entry, admin) = (listen(options.entry)?, listen(options.admin)?);
    let admin = tokio::net::TcpListener::from_std(admin).map_err(|error| Error::Listen(options.admin, error))?;
    let config = tls::server_config(&options.identity)?;
    let log = AccessLog::stdout().map_err(Error::Entry)?;
    let door = Arc::new(Door { memory: memory.clone(), stopping: stop.clone() });
    let limits = Limits { requests: options.requests as u64, ..Limits::default() };
    let serving = proxy::Options { limits, log_one_in: options.log_one_in, ..proxy::Options::new("gate", Faces::Edges, 1) };
    let server = Server::new(door, serving, log);
    let tcp = Arc::new(TcpMetrics::default());
    let state = Admin {
        name: options.name.clone(),
        folder: options.state.clone(),
        own_ports: [options.entry.port(), options.admin.port()],
        memory: memory.clone(),
        entry: server.metrics().clone(),
        tcp: tcp.clone(),
        stopping: stop.clone(),
        pushing: tokio::sync::Mutex::default(),
    };
    tracing::info!(cell = %options.cell, gate = %options.name, state = memory.known().state.number.0, entry = %options.entry, "the gate serves");
    let closing = CancellationToken::new();
    let ended = CancellationToken::new();
    let admin = tokio::spawn(identity::serve(admin, config, router(Arc::new(state)), |role| *role == Role::Control, ended.clone()));
    let probes = tokio::spawn(probes::probe(memory.clone(), ended.clone()));
    let beyond = tokio::spawn(egress::follow(memory.clone(), ended.clone()));
    let lasting = tokio::spawn(lasting::follow(memory.clone(), ended.clone()));
    let inner = tokio::spawn(services::relay_all(memory, options.entry.ip(), TcpOptions::default(), tcp, closing.clone()));
    let farewell = {
        let closing = closing.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
            closing.cancel();
        })
    };
    let served = server.serve(entry, closing.clone()).await;
    closing.cancel();
    farewell.abort();
    // Tasks end by their tokens; one that panicked has said so already.
    let _ = inner.await;
    ended.cancel();
    let _ = (probes.await, beyond.await, lasting.await, admin.await);
    served.map_err(Error::Entry)
}

/// Listens on an address that a gate before us may have used a moment ago.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
