//! A server: a listening socket, threads that share nothing but counters, and an orderly end.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use cache::Cache;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::AccessLog;
use crate::behind::Behind;
use crate::buffer::tune;
use crate::connection::{Visitor, address};
use crate::decide::Decide;
use crate::h1::head::{Bounds, FIELDS};
use crate::h2;
use crate::metrics::Metrics;
use crate::page::{Page, Reason};
use crate::preamble::{self, Preamble, Refused};
use crate::pulse::Pulses;
use crate::stream::Stream;
use crate::tls::{self, Handshakes};
use crate::trunk::{self, Channel};
use crate::worker::Worker;

/// Pause after a failed accept, which is nearly always the lack of file descriptors.
const BREATHER: Duration = Duration::from_millis(50);
/// How often idle upstream connections are looked through.
const SWEEP: Duration = Duration::from_secs(5);
/// How long a connection that was already made is waited for when a server stops.
const LATE: Duration = Duration::from_millis(10);
/// How long such connections are taken in all. While another process listens on the same socket they never cease, and they are its own.
const LATE_IN_ALL: Duration = Duration::from_millis(100);

/// Who is in front, and thereby what is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faces {
    /// Nothing that they say about themselves is believed; answers come from gates.
    Visitors,
    /// They say who the visitor is; answers come from instances.
    Edges,
}

/// How much is taken at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Octets of a head that comes from outside; from one of ours it may be larger by what that one adds.
    pub head: usize,
    /// Connections open.
    pub connections: u64,
    /// Requests under way; more are answered 503 at once.
    pub requests: u64,
    /// Octets of a body that are kept so that it can be sent again.
    pub replay: usize,
    /// Idle connections kept for each upstream and thread.
    pub idle: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 32 * 1024, connections: 20_000, requests: 8192, replay: 64 * 1024, idle: 64 }
    }
}

/// How long is waited.
#[derive(Debug, Clone)]
pub struct Times {
    /// For a whole head, from its first octet.
    pub head: Duration,
    /// For the next request of a connection.
    pub idle: Duration,
    /// For the next octets of a request's body.
    pub body: Duration,
    /// For a connection to an upstream.
    pub connect: Duration,
    /// For the head of an answer, once the request is sent.
    pub answer: Duration,
    /// For the next octets of an answer, and until the visitor takes some.
    pub stream: Duration,
    /// Of a tunnel through which nothing comes from either side. Longer than the pause between two signs of life of any protocol that sends them.
    pub tunnel: Duration,
    /// How long an upstream connection waits for its next request. Shorter than the upstream's own patience, so that the two never cross.
    pub pooled: Duration,
    /// After the stop: for one more request on an idle connection, which is then told to close.
    pub last_request: Duration,
    /// After the stop: for everything under way.
    pub drain: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            head: seconds(10),
            idle: seconds(75),
            body: seconds(30),
            connect: seconds(2),
            answer: seconds(120),
            stream: seconds(600),
            tunnel: seconds(3600),
            pooled: seconds(15),
            last_request: seconds(3),
            drain: seconds(20),
        }
    }
}

/// What a server is.
#[derive(Debug, Clone)]
pub struct Options {
    /// `edge` or `gate`, for the log.
    pub name: &'static str,
    /// Who is in front.
    pub faces: Faces,
    /// Threads.
    pub workers: usize,
    /// How much.
    pub limits: Limits,
    /// How long.
    pub times: Times,
    /// The access log gets one request in so many; those that failed it gets all.
    pub log_one_in: NonZeroU32,
    /// Others in front of visitors; without it everybody speaks for itself.
    pub behind: Option<Behind>,
    /// Answers that are kept, of those that [`Decide::shelf`] names.
    pub cache: Option<Arc<Cache>>,
}

impl Options {
    /// With the usual limits and times.
    #[must_use]
    pub fn new(name: &'static str, faces: Faces, workers: usize) -> Self {
        let (limits, times) = (Limits::default(), Times::default());
        Self { name, faces, workers, limits, times, log_one_in: NonZeroU32::MIN, behind: None, cache: None }
    }

    /// How large the head of a request may be.
    pub(crate) const fn request_head(&self) -> Bounds {
        let outside = Bounds { octets: self.limits.head, fields: FIELDS };
        match self.faces {
            Faces::Visitors => outside,
            Faces::Edges => outside.and_ours(),
        }
    }

    /// How large the head of an answer may be.
    pub(crate) const fn answer_head(&self) -> Bounds {
        let outside = Bounds { octets: self.limits.head, fields: FIELDS };
        match self.faces {
            Faces::Visitors => outside.and_ours(),
            Faces::Edges => outside,
        }
    }
}

/// A server that can listen on several sockets.
#[derive(Debug)]
pub struct Server<D> {
    pub(crate) decide: Arc<D>,
    pub(crate) options: Options,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: AccessLog,
    pulses: Pulses,
}

impl<D: Decide> Server<D> {
    /// A server that asks `decide`.
    #[must_use]
    pub fn new(decide: Arc<D>, options: Options, log: AccessLog) -> Arc<Self> {
        Arc::new(Self { decide, options, metrics: Arc::default(), log, pulses: Pulses::default() })
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Signs of life of its threads.
    #[must_use]
    pub const fn pulses(&self) -> &Pulses {
        &self.pulses
    }

    /// Serves until the stop, and returns once everything under way has ended or its time is over. What lasts is told to end.
    ///
    /// # Errors
    /// When the socket or a thread cannot be used.
    pub async fn serve(self: Arc<Self>, listener: StdListener, stop: CancellationToken) -> io::Result<()> {
        self.serve_all(listener, None, stop).await
    }

    /// As [`Server::serve`], under TLS.
    ///
    /// # Errors
    /// As [`Server::serve`].
    pub async fn serve_secure(self: Arc<Self>, listener: StdListener, handshakes: Arc<dyn Handshakes>, stop: CancellationToken) -> io::Result<()> {
        self.serve_all(listener, Some(handshakes), stop).await
    }

    async fn serve_all(self: Arc<Self>, listener: StdListener, handshakes: Option<Arc<dyn Handshakes>>, stop: CancellationToken) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let mut ends = Vec::new();
        for number in 0..self.options.workers.max(1) {
            let (end, ended) = tokio::sync::oneshot::channel();
            let (server, listener, handshakes, stop) = (self.clone(), listener.try_clone()?, handshakes.clone(), stop.clone());
            let thread = std::thread::Builder::new().name(format!("{}-{number}", self.options.name));
            thread.spawn(move || {
                // Nobody listens for the result only when the whole program ends.
                let _ = end.send(work(server, listener, handshakes, stop));
            })?;
            ends.push(ended);
        }
        // Threads have their own copies; the socket closes when the last of them stops.
        drop(listener);
        for ended in ends {
            ended.await.unwrap_or_else(|_| Err(io::Error::other("a worker thread panicked")))?;
        }
        Ok(())
    }
}

/// One thread: its own runtime, its own connections.
fn work<D: Decide>(
    server: Arc<Server<D>>,
    listener: StdListener,
    handshakes: Option<Arc<dyn Handshakes>>,
    stop: CancellationToken,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.spawn(server.pulses.clone().beat(std::thread::current().name().unwrap_or("worker").to_owned()));
    let result = runtime.block_on(listen(server, listener, handshakes, stop));
    // What is still open is cut here.
    drop(runtime);
    result
}

async fn listen<D: Decide>(
    server: Arc<Server<D>>,
    listener: StdListener,
    handshakes: Option<Arc<dyn Handshakes>>,
    stop: CancellationToken,
) -> io::Result<()> {
    // What is accepted has these settings from the beginning.
    tune(&socket2::SockRef::from(&listener));
    let listener = TcpListener::from_std(listener)?;
    let worker = Worker::new(server, stop.clone());
    let connections = TaskTracker::new();
    let take = |stream, peer| start(&worker, &connections, handshakes.as_ref(), stream, peer);
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => take(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATHER).await;
                }
            },
            _ = sweep.tick() => worker.sweep(),
        }
    }
    worker.stop();
    // Connections that the kernel already made for us would be reset with the socket.
    let end = tokio::time::Instant::now() + LATE_IN_ALL;
    while tokio::time::Instant::now() < end
        && let Ok(Ok((stream, peer))) = tokio::time::timeout(LATE, listener.accept()).await
    {
        take(stream, peer);
    }
    drop(listener);
    // Those who are told to come again at once find whoever listens now.
    worker.leaving.cancel();
    connections.close();
    // What outlasts this is cut with the runtime.
    let _ = tokio::time::timeout(worker.server.options.times.drain, connections.wait()).await;
    Ok(())
}

fn start<D: Decide>(
    worker: &Arc<Worker<D>>,
    connections: &TaskTracker,
    handshakes: Option<&Arc<dyn Handshakes>>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let open = Open::begin(worker);
    if open.before >= worker.server.options.limits.connections {
        worker.counts.refused_connection();
        if handshakes.is_some() {
            return;
        }
        refuse(&stream);
        return;
    }
    let (worker, handshakes) = (worker.clone(), handshakes.cloned());
    let announced = worker.server.options.behind.as_ref().is_some_and(|behind| behind.preamble && behind.trusts(peer.ip().to_canonical()));
    if announced {
        connections.spawn(async move {
            // On the heap, and gone before the first request, like a handshake.
            if let Some(peer) = Box::pin(announced_peer(&worker, &stream, peer)).await {
                Box::pin(serve_visitor(worker, handshakes, stream, peer)).await;
            }
            drop(open);
        });
    } else if handshakes.is_some() {
        connections.spawn(async move {
            serve_visitor(worker, handshakes, stream, peer).await;
            drop(open);
        });
    } else if worker.server.options.faces == Faces::Edges {
        let channels = connections.clone();
        connections.spawn(async move {
            // On the heap, and gone before the first request, like a handshake.
            match Box::pin(is_trunk(&worker, &stream)).await {
                Some(true) => Box::pin(serve_trunk(worker, channels, stream, peer)).await,
                Some(false) => Visitor::new(worker, stream, peer).serve().await,
                None => {}
            }
            drop(open);
        });
    } else {
        let visitor = Visitor::new(worker, stream, peer);
        connections.spawn(async move {
            visitor.serve().await;
            drop(open);
        });
    }
}

/// Whether a connection is a trunk; nothing where nothing came in time.
async fn is_trunk<D: Decide>(worker: &Worker<D>, stream: &TcpStream) -> Option<bool> {
    let times = &worker.server.options.times;
    let stopped = async {
        worker.stop.cancelled().await;
        tokio::time::sleep(times.last_request).await;
    };
    tokio::select! {
        biased;
        asked = tokio::time::timeout(times.idle, trunk::asked(stream)) => asked.ok(),
        () = stopped => None,
    }
}

/// Serves a trunk: each of its channels as a connection.
async fn serve_trunk<D: Decide>(worker: Arc<Worker<D>>, connections: TaskTracker, stream: TcpStream, peer: SocketAddr) {
    let client: Arc<str> = address(peer).into();
    let (within, stop) = (worker.server.options.times.head, worker.stop.clone());
    let serve = |channel: Channel| {
        let open = Open::begin(&worker);
        if open.before >= worker.server.options.limits.connections {
            worker.counts.refused_connection();
            refuse(&channel);
            return;
        }
        let visitor = Visitor::of(worker.clone(), channel, peer, client.clone());
        connections.spawn(async move {
            visitor.serve().await;
            drop(open);
        });
    };
    worker.counts.trunk();
    trunk::take(stream, within, stop, serve).await;
}

/// Answers that there is no room. One attempt: whoever does not take it is not waited for.
fn refuse(stream: &impl Stream) {
    let mut page = Vec::new();
    Page::of(Reason::Overloaded).write(&mut page, false, true);
    let _ = stream.try_write(&page);
}

/// Whose a connection is by its preamble; nothing where that is missing.
async fn announced_peer<D: Decide>(worker: &Worker<D>, stream: &TcpStream, peer: SocketAddr) -> Option<SocketAddr> {
    match preamble::take(stream, worker.server.options.times.head).await {
        Ok(Preamble::Told(visitor)) => Some(visitor),
        Ok(Preamble::Own) => Some(peer),
        // A balancer that looks whether the port is open.
        Err(Refused::Nothing) => None,
        Err(error) => {
            tracing::debug!(%peer, %error, "a connection without a preamble was closed");
            worker.counts.without_preamble();
            None
        }
    }
}

/// Serves a connection, with a handshake where its door asks for one.
async fn serve_visitor<D: Decide>(worker: Arc<Worker<D>>, handshakes: Option<Arc<dyn Handshakes>>, stream: TcpStream, peer: SocketAddr) {
    let Some(handshakes) = handshakes else { return Visitor::new(worker, stream, peer).serve().await };
    let within = worker.server.options.times.head;
    // On the heap, and gone before the first request: an idle connection keeps nothing of it.
    let Some(stream) = Box::pin(tls::accept(stream, &*handshakes, within)).await else { return };
    match stream.protocol().as_deref() {
        // On the heap: a connection of HTTP/1.1 has no room for it.
        Some(b"h2") => Box::pin(h2::serve(worker, stream, peer)).await,
        Some(b"http/1.1") | None => Visitor::new(worker, stream, peer).serve().await,
        // A certificate authority has seen what it wanted.
        Some(_) => {}
    }
}

/// Counts a connection for as long as it is open.
struct Open {
    metrics: Arc<Metrics>,
    before: u64,
}

impl Open {
    fn begin<D>(worker: &Worker<D>) -> Self {
        worker.counts.connection();
        let metrics = worker.server.metrics.clone();
        Self { before: metrics.opened(), metrics }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.closed();
    }
}
