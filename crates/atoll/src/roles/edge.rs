//! Edge: routes visitors to cells by the last good routes, with control or without.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::platform::Layout;

/// Runs until it is told to stop. Once the next edge has taken its sockets it serves the visitors it has and idles.
pub async fn run(
    state: &Path,
    listen: SocketAddr,
    secure: Option<SocketAddr>,
    name: String,
    log_one_in: NonZeroU32,
    stop: CancellationToken,
) -> Result<()> {
    let layout = Layout::open(state)?;
    let options = edge::Options {
        name,
        listen,
        admin: Layout::local(layout.ports.edge_admin),
        state: layout.edge(),
        identity: layout.identity("edge"),
        feed: Layout::local(layout.ports.feed),
        secure: secure.map(|listen| edge::Secure { listen, port: listen.port() }),
        workers: 0,
        log_one_in,
    };
    Ok(edge::run(options, stop).await?)
}
