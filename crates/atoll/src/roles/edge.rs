//! Edge: routes visitors to cells by the last good routes, with control or without.

use std::path::Path;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use super::EdgeServe;
use crate::platform::Layout;

/// Runs until it is told to stop. Once the next edge has taken its sockets it serves the visitors it has and idles.
pub async fn run(state: &Path, serve: EdgeServe, stop: CancellationToken) -> Result<()> {
    let layout = Layout::open(state)?;
    let EdgeServe { listen, secure, behind, proxy_protocol, name, log_one_in, cache } = serve;
    let networks: Vec<_> = behind.iter().map(model::Network::net).collect();
    let options = edge::Options {
        name,
        listen,
        admin: Layout::local(layout.ports.edge_admin),
        state: layout.edge(),
        identity: layout.identity("edge"),
        feed: Layout::local(layout.ports.feed),
        secure: secure.map(|listen| edge::Secure { listen, port: listen.port() }),
        behind: (!networks.is_empty()).then_some(edge::Behind { networks, preamble: proxy_protocol }),
        workers: 0,
        log_one_in,
        cache,
    };
    Ok(edge::run(options, stop).await?)
}
