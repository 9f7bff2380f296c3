//! The processes of a platform: each a role of this one binary, started inside a container by `atoll up`, by control (gates) or by a person who debugs.
//!
//! Purpose: tie drivers to services, and nothing else.
//! Invariants: logs go to standard error as JSON lines; SIGTERM and SIGINT stop a role gracefully; a role that cannot start says why and ends with a failure, so
//! that the engine starts it again.
//! Entry points: [`Role`], [`run`].

mod agent;
mod control;
mod edge;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use model::{CellName, GateName, Network};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli::EdgeCommand;

/// Which process to be.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Decides and orders: API, store, planner, reconcilers, operations.
    #[command(hide = true)]
    Control {
        /// Socket of the engine.
        #[arg(long, default_value = "/var/run/docker.sock")]
        docker: PathBuf,
    },
    /// Keeps the database nodes of this machine.
    #[command(hide = true)]
    Agent {
        /// Socket of the engine.
        #[arg(long, default_value = "/var/run/docker.sock")]
        docker: PathBuf,
    },
    /// The public router of this machine.
    Edge(EdgeRole),
    /// Is a cell's door.
    #[command(hide = true)]
    Gate {
        /// Its folder: its certificate, and the last state it was told.
        #[arg(long)]
        folder: PathBuf,
        /// Its cell.
        #[arg(long)]
        cell: CellName,
        /// Its name.
        #[arg(long)]
        name: GateName,
        /// Where edges send requests.
        #[arg(long, default_value = "0.0.0.0:8080")]
        entry: SocketAddr,
        /// Where control pushes state.
        #[arg(long, default_value = "0.0.0.0:9443")]
        admin: SocketAddr,
        /// The access log gets one request in so many, and all that failed.
        #[arg(long, default_value = "1")]
        log_one_in: NonZeroU32,
    },
}

impl Role {
    /// Whether a person asks a process something, rather than being it.
    pub const fn is_question(&self) -> bool {
        matches!(self, Self::Edge(EdgeRole { ask: Some(_), .. }))
    }
}

/// `atoll edge`: the process itself, or a question to it.
#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub struct EdgeRole {
    /// The process.
    #[command(flatten)]
    pub serve: Option<EdgeServe>,
    /// The question.
    #[command(subcommand)]
    pub ask: Option<EdgeCommand>,
}

/// Routes visitors to cells.
#[derive(Debug, Args)]
pub struct EdgeServe {
    /// Public address and port.
    #[arg(long, hide = true)]
    pub listen: SocketAddr,
    /// Public address and port for visitors under TLS.
    #[arg(long, hide = true)]
    pub secure: Option<SocketAddr>,
    /// Networks of balancers in front, whose word about visitors is believed.
    #[arg(long, hide = true, value_delimiter = ',', value_name = "NETWORKS")]
    pub behind: Vec<Network>,
    /// Connections of these networks begin with a preamble of the PROXY protocol.
    #[arg(long, hide = true, requires = "behind")]
    pub proxy_protocol: bool,
    /// Name of this process among edges that replace one another.
    #[arg(long, hide = true)]
    pub name: String,
    /// The access log gets one request in so many, and all that failed.
    #[arg(long, hide = true, default_value = "1")]
    pub log_one_in: NonZeroU32,
    /// Octets of memory for answers that are kept.
    #[arg(long, hide = true, default_value = "268435456")]
    pub cache: u64,
}

/// Runs a role until it is told to stop.
pub fn run(role: Role, state: PathBuf) -> ExitCode {
    log();
    match block_on(role, state) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "this role cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn block_on(role: Role, state: PathBuf) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone())).await.context("signals cannot be heard")??;
        match role {
            Role::Control { docker } => control::run(&state, &docker, stop).await,
            Role::Agent { docker } => agent::run(&state, &docker, stop).await,
            Role::Edge(EdgeRole { serve: Some(serve), .. }) => edge::run(&state, serve, stop).await,
            Role::Edge(EdgeRole { serve: None, .. }) => bail!("an edge is started with --listen and --name; a person asks it with `atoll edge top`"),
            Role::Gate { folder, cell, name, entry, admin, log_one_in } => {
                let identity = folder.join("identity");
                Ok(gate::run(gate::Options { cell, name, state: folder, identity, entry, admin, requests: gate::REQUESTS, log_one_in }, stop).await?)
            }
        }
    })
}

/// Hears SIGTERM and SIGINT from now on.
async fn stop_on_signal(stop: CancellationToken) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => tracing::info!("asked to stop"),
            _ = interrupt.recv() => tracing::info!("interrupted"),
        }
        stop.cancel();
    });
    Ok(())
}

/// JSON lines on standard error; `ATOLL_LOG` sets what is told, for instance `info,control=debug`.
fn log() {
    let filter = EnvFilter::try_from_env("ATOLL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(std::io::stderr).init();
}
