//! What a request costs at the edge, beside nginx with Lua, HAProxy and Envoy, each configured as those who know it would.
//!
//! Invariants: every proxy has one processor for itself; backend and load share another. All run in interleaved rounds: what disturbs one round disturbs all of them alike,
//! and ratios are medians of each round's own. A proxy is measured only after it answered right: the tenant's field set, a forged one gone, an unknown host
//! refused, a body whole. CPU is what the kernel accounts to a proxy's processes and threads, over the requests of the same span.
//!
//! Entry points: [`run::run`]; [`backend`] and [`load`] run as processes of their own from the same program.

mod backend;
mod cases;
mod certificate;
mod check;
mod cpu;
mod load;
mod peer;
mod report;
mod run;
mod world;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures the edge beside its peers.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    run: run::Options,
}

/// Processes that the measurement starts itself.
#[derive(Debug, Subcommand)]
enum Role {
    /// The backend.
    #[command(hide = true)]
    Backend(backend::Options),
    /// The load.
    #[command(hide = true)]
    Load(load::Options),
    /// Edge or gate, as the program `atoll` runs it.
    #[command(hide = true)]
    Ours(peer::ours::Options),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.role {
        None => run::run(&options.run),
        Some(Role::Backend(options)) => backend::run(options),
        Some(Role::Load(options)) => load::run(options),
        Some(Role::Ours(options)) => peer::ours::run(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
