//! Plain TCP to the services inside a cell: least connections, only to those that are ready.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::buffer::tune_stream;
use crate::pool::connect_tcp;
use crate::upstream::{Group, InFlight};

/// Octets on their way in one direction.
const CHUNK: usize = 16 * 1024;
const BREATHER: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_millis(10);

/// How a relay behaves.
#[derive(Debug, Clone)]
pub struct TcpOptions {
    /// Connections open.
    pub connections: usize,
    /// Time for a connection to an upstream.
    pub connect: Duration,
    /// After the stop: for connections under way.
    pub drain: Duration,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { connections: 4096, connect: Duration::from_secs(2), drain: Duration::from_secs(20) }
    }
}

/// What a relay counts.
#[derive(Debug, Default)]
pub struct TcpMetrics {
    /// Connections taken.
    pub connections: AtomicU64,
    /// Connections for which nobody was found.
    pub unserved: AtomicU64,
    /// Connections to upstreams that failed.
    pub connect_failures: AtomicU64,
}

/// Relays connections to whoever `group` gives, until the stop; returns once those under way have ended or their time is over.
///
/// # Errors
/// When the socket cannot be used.
pub async fn relay(
    listener: StdListener,
    group: impl Fn() -> Group + Clone + Send + Sync + 'static,
    options: TcpOptions,
    metrics: Arc<TcpMetrics>,
    stop: CancellationToken,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (connections, end) = (TaskTracker::new(), CancellationToken::new());
    let take = |visitor: TcpStream| {
        metrics.connections.fetch_add(1, Relaxed);
        if connections.len() >= options.connections {
            metrics.unserved.fetch_add(1, Relaxed);
            return;
        }
        let one = one(visitor, group.clone(), options.clone(), metrics.clone());
        let end = end.clone();
        connections.spawn(async move { end.run_until_cancelled(one).await });
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((visitor, _)) => take(visitor),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATHER).await;
                }
            },
        }
    }
    while let Ok(Ok((visitor, _))) = tokio::time::timeout(LATE, listener.accept()).await {
        take(visitor);
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(options.drain, connections.wait()).await.is_err() {
        end.cancel();
        connections.wait().await;
    }
    Ok(())
}

async fn one(mut visitor: TcpStream, group: impl Fn() -> Group, options: TcpOptions, metrics: Arc<TcpMetrics>) {
    tune_stream(&visitor);
    let mut tried: Vec<SocketAddr> = Vec::new();
    while let Some(upstream) = group().pick(&tried) {
        let _in_flight = InFlight::begin(&upstream);
        match connect_tcp(upstream.address(), options.connect).await {
            Ok(mut stream) => {
                upstream.succeeded();
                // Either side's end ends the relay; there is nothing to say about it.
                let _ = tokio::io::copy_bidirectional_with_sizes(&mut visitor, &mut stream, CHUNK, CHUNK).await;
                return;
            }
            Err(error) => {
                tracing::debug!(upstream = upstream.name(), %error, "no connection");
                upstream.failed();
                metrics.connect_failures.fetch_add(1, Relaxed);
                tried.push(upstream.address());
            }
        }
    }
    metrics.unserved.fetch_add(1, Relaxed);
    // A reset tells the other side at once that nobody is here, as a closed port would.
    let _ = socket2::SockRef::from(&visitor).set_linger(Some(Duration::ZERO));
}
