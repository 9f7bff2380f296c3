//! The one binary of the platform: its command line and all its processes.
//!
//! Purpose: nothing but the choice between the two.
//! Invariants: a process of the platform and a command of a person never share a run.
//! Entry points: [`cli::run`], [`roles::run`].

mod cli;
mod platform;
mod roles;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Role(role) if !role.is_question() => roles::run(role, cli.global.state),
        _ => match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(cli::run(cli)),
            Err(error) => {
                anstream::eprintln!("error: no threads can be started: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
