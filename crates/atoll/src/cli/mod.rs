//! The command line: what people and scripts type.
//!
//! Purpose: turn arguments into calls of control's API and show the answers; only `up`, `down` and `doctor` touch the machine itself.
//! Invariants: results go to standard output, everything else to standard error; a failure carries a code, how to fix it and the next command; an
//! exit status means one thing ([`exit::Exit`]); Ctrl-C stops the waiting, never the work; no secret is taken from an argument or the environment.
//! Entry points: [`Cli`] (the arguments), [`run`].

mod age;
mod args;
mod backup;
mod cache;
mod cells;
mod completions;
mod confirm;
mod doctor;
mod edge;
mod exit;
mod explain;
mod faults;
mod logs;
mod operations;
mod output;
mod plan;
mod remote;
mod session;
mod status;
mod table;
mod tenants;
mod updown;
mod usage;
mod wait;
mod yaml;

use std::process::ExitCode;

use model::{Fault, Whose};

pub use args::{Cli, Command, EdgeCommand};
use exit::Failure;
use session::Session;

use crate::roles::{EdgeRole, Role};

/// Runs a command for people; the processes of a platform are not its business.
pub async fn run(cli: Cli) -> ExitCode {
    let session = match Session::new(&cli.global) {
        Ok(session) => session,
        Err(failure) => {
            output::Output::new(&cli.global).failure(&failure);
            return failure.exit.into();
        }
    };
    let result = tokio::select! {
        result = dispatch(&session, cli.command) => result,
        interrupted = session.interrupted() => Err(interrupted),
    };
    session.output.still();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            session.output.failure(&failure);
            failure.exit.into()
        }
    }
}

async fn dispatch(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(args) => updown::up(session, args).await,
        Command::Down => updown::down(session).await,
        Command::Doctor(args) => doctor::doctor(session, args).await,
        Command::Plan(args) => plan::plan(session, args).await,
        Command::Apply(args) => plan::apply(session, args).await,
        Command::Status(args) => status::status(session, args).await,
        Command::Explain(args) => explain::explain(session, args).await,
        Command::Logs(args) => logs::logs(session, args).await,
        Command::Usage(args) => usage::usage(session, args).await,
        Command::Backup(args) => backup::backup(session, args).await,
        Command::Restore(args) => backup::restore(session, args).await,
        Command::Tenant(command) => tenants::run(session, command).await,
        Command::Cache(command) => cache::run(session, command).await,
        Command::Cell(command) => cells::run(session, command).await,
        Command::Operation(command) => operations::run(session, command).await,
        Command::Role(Role::Edge(EdgeRole { ask: Some(EdgeCommand::Top(args)), .. })) => edge::top(session, args).await,
        Command::Role(role) => {
            let fault = Fault::new(faults::NOT_HERE, Whose::Atoll, format!("{role:?} is a process of its own, not a command of a running one"));
            Err(Failure::new(exit::Exit::Failed, fault))
        }
        Command::Completions { shell } => completions::print(session, shell),
    }
}

#[cfg(test)]
mod tests;
