//! Checks, generators and proofs, as `cargo xtask NAME`.
//!
//! Purpose: what keeps the workspace in its shape (`layers`, `tidy`, `licences`), what is made from code (`generate`), and the runner of proofs (`prove`).
//! Invariants: a check prints each finding with its file and what to do, and ends with status 1 when there is one; a generator writes only what differs.
//! Entry point: [`main`]; one file per command.

mod generate;
mod layers;
mod licences;
mod pages;
mod prove;
mod tidy;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Checks, generators and proofs of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fails on a dependency that does not go to a lower layer, and on crates of layer 1 that could wait or do I/O.
    Layers {
        /// Print the graph as well.
        #[arg(long)]
        graph: bool,
    },
    /// Fails on a dependency whose licence or source deny.toml does not allow, or that it refuses. Advisories are cargo-deny's to check.
    Licences,
    /// Fails on files too long, crates without a head, words that do not belong here, links that lead nowhere.
    Tidy,
    /// Writes schemas and documentation made from code.
    Generate {
        /// Write nothing; fail when something is not current.
        #[arg(long)]
        check: bool,
    },
    /// Runs a proof on real components, or `all` of them.
    Prove {
        /// Which one; `list` names them.
        name: String,
        /// Passed on to the proof.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Options::parse().command {
        Command::Layers { graph } => layers::run(graph),
        Command::Licences => licences::run(),
        Command::Tidy => tidy::run(),
        Command::Generate { check } => generate::run(check),
        Command::Prove { name, rest } => prove::run(&name, &rest),
    };
    match result {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            for finding in &findings {
                say(finding);
            }
            say(&format!("{} finding{}", findings.len(), if findings.len() == 1 { "" } else { "s" }));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn root() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(Path::to_owned).context("xtask does not lie in crates/xtask")
}

/// Prints a line; a closed pipe is nobody's fault.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
