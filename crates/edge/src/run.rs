//! An edge from start to end.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cache::Cache;
use identity::{HttpsClient, IdentityError};
use proxy::{AccessLog, Behind, Faces, Server};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{Admin, router};
use crate::certificates::{self, Shaking};
use crate::deliver::Deliver;
use crate::disk::Disk;
use crate::fair::Fair;
use crate::feed::Feed;
use crate::follow::Source;
use crate::handover::{self, Sockets};
use crate::https::Https;
use crate::table::Routes;
use crate::watchdog::{self, Watchdog};
use crate::{audit, disk, facts, feed, limits, probes, purges, report};

/// How long an address that somebody else still holds is tried.
const BIND_WITHIN: Duration = Duration::from_secs(10);
const BIND_AGAIN: Duration = Duration::from_millis(100);
const BACKLOG: i32 = 4096;

/// What an edge is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name; `<name>.ready` stands in its folder while it serves.
    pub name: String,
    /// Where visitors come in.
    pub listen: SocketAddr,
    /// Where operators of this machine look: metrics, health, routes.
    pub admin: SocketAddr,
    /// Its folder: routes, hand-over.
    pub state: PathBuf,
    /// Folder of its certificate and key.
    pub identity: PathBuf,
    /// Control's route feed.
    pub feed: SocketAddr,
    /// The door for visitors under TLS, where there is one.
    pub secure: Option<Secure>,
    /// Balancers in front, where there are any.
    pub behind: Option<Behind>,
    /// Threads that serve; 0 means one for each processor.
    pub workers: usize,
    /// The access log gets one request in so many, and all that failed.
    pub log_one_in: NonZeroU32,
    /// Octets of memory for answers that are kept; 0 means that none are.
    pub cache: u64,
}

/// A door under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secure {
    /// Where visitors come in.
    pub listen: SocketAddr,
    /// The port that they see, which redirects name.
    pub port: u16,
}

/// Why an edge cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("the edge cannot listen on {0}; see who does with `ss -ltnp`")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// Its folder cannot be used.
    #[error("the edge cannot use its folder {}", .0.display())]
    Folder(PathBuf, #[source] std::io::Error),
    /// Its identity cannot be used.
    #[error("the edge has no usable identity")]
    Identity(#[from] IdentityError),
    /// The certificates' file cannot be used.
    #[error("the edge cannot use its certificates")]
    Certificates(#[from] certs::BookError),
    /// A thread or socket failed.
    #[error("the edge's public door failed")]
    Public(#[source] std::io::Error),
}

/// Runs an edge until the stop, and ends it in order. It takes over from one that runs in the same folder, and gives way to the next.
///
/// # Errors
/// [`Error`]; an edge without control or without routes is no error.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), Error> {
    let folder = |error| Error::Folder(options.state.clone(), error);
    fs_err::create_dir_all(&options.state).map_err(folder)?;
    let client = HttpsClient::new(&options.identity)?;
    let stuck = options.state.join(format!("{}.stuck", options.name));
    if let Some(why) = watchdog::last_end(&stuck) {
        tracing::warn!(why, "the edge before this one was ended by its watchdog");
    }
    let (disk, table) = Disk::open(&options.state, &options.name);
    let routes = Arc::new(Routes::new(table));
    let shaking = match options.secure {
        Some(_) => Some(Arc::new(Shaking::new(Arc::new(certificates::open(&options.state)?))?)),
        None => None,
    };
    let https = options.secure.zip(shaking.as_ref()).map(|(secure, shaking)| Https { book: shaking.book().clone(), port: secure.port });
    let workers = if options.workers > 0 { options.workers } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let mut serving = proxy::Options::new("edge", Faces::Visitors, workers);
    let fair = Arc::new(Fair::new(usize::try_from(serving.limits.requests).unwrap_or(usize::MAX)));
    let deliver = Arc::new(Deliver::new(routes.clone(), fair.clone(), https));
    let log = AccessLog::stdout().map_err(Error::Public)?;
    serving.log_one_in = options.log_one_in;
    serving.behind.clone_from(&options.behind);
    serving.cache = (options.cache > 0).then(|| Cache::new(cache::Options::new(options.cache)));
    let kept = serving.cache.clone();
    // A gate gives up first, and says why.
    serving.times.answer += Duration::from_secs(10);
    let server = Server::new(deliver.clone(), serving, log);
    let told = Arc::new(Feed::default());
    let background = CancellationToken::new();
    let tasks = TaskTracker::new();
    let beat = server.pulses().clone().beat("main".to_owned());
    let alive = background.clone();
    tasks.spawn(async move { alive.run_until_cancelled(beat).await.unwrap_or_default() });
    let watchdog = Watchdog::start(server.pulses().clone(), stuck).map_err(Error::Public)?;
    tasks.spawn(disk::keep(routes.clone(), routes.changes(), disk, background.clone()));
    let source = Source { client: client.clone(), control: options.feed, name: options.name.clone() };
    tasks.spawn(feed::follow(routes.clone(), source.clone(), told.clone(), background.clone()));
    tasks.spawn(audit::audit(routes.clone(), told.clone(), background.clone()));
    if let Some(kept) = kept.clone() {
        tasks.spawn(purges::follow(kept, source.clone(), background.clone()));
    }
    if let Some(shaking) = &shaking {
        let book = shaking.book().clone();
        tasks.spawn(certificates::follow(book, source, background.clone()));
    }
    tasks.spawn(facts::report(fair.clone(), client.clone(), options.feed, options.name.clone(), background.clone()));
    tasks.spawn(limits::follow(fair, client.clone(), options.feed, options.state.clone(), options.name.clone(), background.clone()));
    tasks.spawn(report::report(routes.clone(), told.clone(), client, options.feed, options.name.clone(), background.clone()));
    tasks.spawn(probes::probe(routes.clone(), background.clone()));
    let admin =
        Arc::new(Admin { routes, deliver, feed: told, shaking: shaking.clone(), kept, metrics: server.metrics().clone(), stopping: stop.clone() });
    let edge = Edge { options, server, shaking, admin, tasks: tasks.clone() };
    let result = edge.serve(&stop).await;
    background.cancel();
    tasks.close();
    tasks.wait().await;
    drop(watchdog);
    result
}

/// The doors of an edge.
struct Edge {
    options: Options,
    server: Arc<Server<Deliver>>,
    shaking: Option<Arc<Shaking>>,
    admin: Arc<Admin>,
    tasks: TaskTracker,
}

impl Edge {
    async fn serve(&self, stop: &CancellationToken) -> Result<(), Error> {
        let ready = Ready(self.options.state.join(format!("{}.ready", self.options.name)));
        // One that was killed leaves its marker behind.
        ready.unsay();
        let (sockets, before) = self.sockets().await?;
        let mut told = false;
        loop {
            let closing = stop.child_token();
            let copy = sockets.try_clone().map_err(Error::Public)?;
            let served = tokio::spawn(self.serve_visitors(copy.public, copy.secure, closing.clone()));
            self.open_admin(copy.admin, closing.clone());
            let next = self.open_handover()?;
            ready.say().map_err(|error| Error::Folder(self.options.state.clone(), error))?;
            // Once: a second word would mean that this one is gone.
            if let Some(before) = before.as_ref().filter(|_| !told)
                && let Err(error) = handover::serving(before)
            {
                tracing::warn!(%error, "the edge before this one could not be told");
            }
            told = true;
            tracing::info!(name = self.options.name, listen = %self.options.listen, "the edge serves");
            let after = stop.run_until_cancelled(self.give_way(next, &sockets)).await;
            closing.cancel();
            let Some(after) = after else {
                drop(sockets);
                // One that still waits behind this one serves again at once, while this one drains.
                drop(before);
                ready.unsay();
                return served.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(Error::Public);
            };
            ready.unsay();
            tracing::info!("another edge serves; this one finishes what it has");
            if stop.run_until_cancelled(handover::until_gone(after)).await.is_none() {
                return served.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(Error::Public);
            }
            tracing::warn!("the edge that took over is gone; this one serves again");
        }
    }

    /// Both doors of visitors, until the stop.
    fn serve_visitors(
        &self,
        public: TcpListener,
        secure: Option<TcpListener>,
        closing: CancellationToken,
    ) -> impl Future<Output = std::io::Result<()>> + use<> {
        let plain = self.server.clone().serve(public, closing.clone());
        let secure = secure.zip(self.shaking.clone()).map(|(listener, shaking)| self.server.clone().serve_secure(listener, shaking, closing));
        async move {
            match secure {
                Some(secure) => tokio::try_join!(plain, secure).map(|_| ()),
                None => plain.await,
            }
        }
    }

    /// The sockets of the edge before this one, or new ones.
    async fn sockets(&self) -> Result<(Sockets, Option<UnixStream>), Error> {
        let folder = self.options.state.clone();
        let asked = tokio::task::spawn_blocking(move || handover::ask(&folder)).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let (listen, admin, door) = (self.options.listen, self.options.admin, self.options.secure.map(|secure| secure.listen));
        match asked {
            Ok(Some((sockets, before))) => {
                // An address that changed is opened anew; the old one closes with the old edge.
                let fits = |socket: &TcpListener, wanted: SocketAddr| socket.local_addr().is_ok_and(|have| have == wanted || wanted.port() == 0);
                let public = if fits(&sockets.public, listen) { sockets.public } else { bind(listen).await? };
                let admin = if fits(&sockets.admin, admin) { sockets.admin } else { bind(admin).await? };
                let secure = match (sockets.secure, door) {
                    (Some(socket), Some(wanted)) if fits(&socket, wanted) => Some(socket),
                    (_, Some(wanted)) => Some(bind(wanted).await?),
                    (_, None) => None,
                };
                tracing::info!("the sockets of the running edge were taken over");
                return Ok((Sockets { public, admin, secure }, Some(before)));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the running edge did not hand its sockets over"),
        }
        let secure = match door {
            Some(door) => Some(bind(door).await?),
            None => None,
        };
        Ok((Sockets { public: bind(listen).await?, admin: bind(admin).await?, secure }, None))
    }

    fn open_admin(&self, listener: TcpListener, closing: CancellationToken) {
        let router = router(self.admin.clone());
        self.tasks.spawn(async move {
            let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
            let served = match listener {
                // Idle connections of those who scrape must not keep the edge from ending.
                Ok(listener) => {
                    closing.run_until_cancelled(std::future::IntoFuture::into_future(axum::serve(listener, router))).await.unwrap_or(Ok(()))
                }
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::error!(%error, "the admin door failed");
            }
        });
    }

    /// The socket on which the next edge asks. Whoever serves owns the path; an old one's file is replaced.
    fn open_handover(&self) -> Result<UnixListener, Error> {
        let path = handover::path(&self.options.state);
        let beside = path.with_extension(format!("{}.new", self.options.name));
        let open = || {
            if beside.exists() {
                fs_err::remove_file(&beside)?;
            }
            let listener = UnixListener::bind(&beside)?;
            fs_err::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
            fs_err::rename(&beside, &path)?;
            Ok(listener)
        };
        open().map_err(|error| Error::Folder(self.options.state.clone(), error))
    }

    /// Waits for an edge that takes over, and serves.
    async fn give_way(&self, next: UnixListener, sockets: &Sockets) -> UnixStream {
        loop {
            let given = async {
                let (stream, _) = next.accept().await?;
                let (stream, sockets) = (stream.into_std()?, sockets.try_clone()?);
                let give = move || handover::give(&stream, &sockets).map(|()| stream);
                tokio::task::spawn_blocking(give).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
            };
            match given.await {
                Ok(stream) => return stream,
                Err(error) => {
                    tracing::warn!(%error, "a hand-over failed; this edge serves on");
                    tokio::time::sleep(BIND_AGAIN).await;
                }
            }
        }
    }
}

/// Listens on an address, which the edge before may hold for a moment yet.
async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let deadline = tokio::time::Instant::now() + BIND_WITHIN;
    loop {
        match try_bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(BIND_AGAIN).await;
            }
            Err(error) => return Err(Error::Listen(address, error)),
        }
    }
}

fn try_bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The marker by which whoever started the edge sees that it serves.
struct Ready(PathBuf);

impl Ready {
    fn say(&self) -> std::io::Result<()> {
        fs_err::write(&self.0, b"")
    }

    fn unsay(&self) {
        remove(&self.0);
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(path: &Path) {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => tracing::warn!(%error, "the ready marker stays"),
        _ => {}
    }
}
