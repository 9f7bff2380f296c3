//! The unix socket.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::{Doors, router};

/// Who may use the API: owner and group of the socket.
const MODE: u32 = 0o660;
/// How long answers under way may go on after the stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Path of the unix socket. Its folder must exist; what lies there from an earlier life is replaced.
    pub socket: PathBuf,
}

/// The doors could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be made.
    #[error("cannot listen at {}", socket.display())]
    Listen {
        /// Its path.
        socket: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The address cannot be served.
    #[error("cannot serve {listen}")]
    Tcp {
        /// The address.
        listen: std::net::SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another process answers there.
    #[error("another control answers at {}", socket.display())]
    InUse {
        /// Its path.
        socket: PathBuf,
    },
}

/// Who is at the other end, by the kernel's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

/// Serves the API until the stop; then streams end at once and other answers have five seconds.
///
/// # Errors
/// [`ServeError`] when the socket cannot be made.
pub async fn serve(options: Options, doors: Doors, stop: CancellationToken) -> Result<(), ServeError> {
    let socket = options.socket;
    let listener = listen(&socket).await?;
    let mirror = tokio::spawn({
        let (mirror, store, stop) = (doors.0.mirror.clone(), doors.0.store.clone(), stop.clone());
        async move { mirror.run(store, stop).await }
    });
    let streams = doors.0.stop.clone();
    let service = router::router(doors).into_make_service_with_connect_info::<Peer>();
    let stopped = stop.clone();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
        stopped.cancelled().await;
        streams.cancel();
    });
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        // Its errors are those of single connections, which it handles itself.
        _ = serving.into_future() => {}
        () = late => {}
    }
    // It ends by the same stop.
    let _ = mirror.await;
    Ok(())
}

/// Listens under a name of its own first, so that the socket never stands with wider permissions, then takes the place of what lay there.
async fn listen(socket: &Path) -> Result<UnixListener, ServeError> {
    if UnixStream::connect(socket).await.is_ok() {
        return Err(ServeError::InUse { socket: socket.to_owned() });
    }
    let make = || -> io::Result<UnixListener> {
        let mut name = socket.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = socket.with_file_name(name);
        match fs_err::remove_file(&new) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(&new)?;
        fs_err::set_permissions(&new, std::fs::Permissions::from_mode(MODE))?;
        fs_err::rename(&new, socket)?;
        Ok(listener)
    };
    make().map_err(|source| ServeError::Listen { socket: socket.to_owned(), source })
}
