//! Edge and gate: the same code that the program `atoll` runs, from the state on disk that they would have.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use super::{Doors, Place, Running, free};
use crate::world;

/// The field by which a gate tells the application whose request it is.
pub const APPLICATION_FIELD: &str = "X-Atoll-Tenant";

/// Memory for answers that are kept, in octets: what an edge has by itself.
const CACHE: u64 = 256 * 1024 * 1024;

/// Which of the two, and where.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// `edge` or `gate`.
    part: String,
    #[arg(long)]
    listen: SocketAddr,
    /// The edge's door under TLS.
    #[arg(long)]
    secure: Option<SocketAddr>,
    #[arg(long)]
    folder: PathBuf,
}

/// An edge whose gate is at `gate`.
pub fn edge(place: &Place<'_>, at: Doors, gate: SocketAddr) -> Result<Running> {
    let folder = place.folder.join("edge");
    world::edge_state(&folder, place.domains, gate)?;
    place.certificate.enter(&folder)?;
    start(place, "edge", at)
}

/// A gate whose one instance is the backend.
pub fn gate(place: &Place<'_>, listen: SocketAddr) -> Result<Running> {
    world::gate_state(&place.folder.join("gate"), place.domains, place.backend)?;
    start(place, "gate", Doors { plain: listen, secure: None })
}

fn start(place: &Place<'_>, part: &str, at: Doors) -> Result<Running> {
    world::identities(place.folder)?;
    let mut arguments =
        ["ours", part, "--listen", &at.plain.to_string(), "--folder", &place.folder.display().to_string()].map(str::to_owned).to_vec();
    arguments.extend(at.secure.into_iter().flat_map(|at| ["--secure".to_owned(), at.to_string()]));
    place.spawn(&std::env::current_exe()?, &arguments)
}

/// Serves until it is told to stop.
pub fn run(options: &Options) -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (at, listen) = (&options.folder, options.listen);
    // Nobody is there: an edge and a gate serve without control.
    let nobody = free()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let told = stop.clone();
        tokio::spawn(async move {
            term.recv().await;
            told.cancel();
        });
        let (state, identity) = (at.join(&options.part), at.join(format!("{}-identity", options.part)));
        if options.part == "edge" {
            let options = edge::Options {
                name: "edge".to_owned(),
                listen,
                secure: options.secure.map(|listen| edge::Secure { listen, port: listen.port() }),
                behind: None,
                admin: free()?,
                state,
                identity,
                feed: nobody,
                workers: 1,
                log_one_in: NonZeroU32::MIN,
                cache: CACHE,
            };
            return Ok(edge::run(options, stop).await?);
        }
        let options = gate::Options {
            cell: "a".parse()?,
            name: "gate-1".parse()?,
            state,
            identity,
            entry: listen,
            admin: free()?,
            requests: gate::REQUESTS,
            log_one_in: NonZeroU32::MIN,
        };
        Ok(gate::run(options, stop).await?)
    })
}
