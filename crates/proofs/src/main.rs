//! Proofs: each starts the real platform from the real binary, does what its name says, prints a table and as last line
//! `PROVE <name> ok|FAIL key=value ...`; the exit status is 0 or 1.
//!
//! Invariants: a proof never relaxes its limits to pass; it checks that the fault it injects really happened; it removes everything it made,
//! also when it fails. Entry point: [`main`]; one file per proof in [`proof`].

mod fault;
mod fleet;
mod http_client;
mod lab;
mod ledger;
mod load;
mod mailbox;
mod outcome;
mod power;
mod proof;
mod site;
mod tls;
mod world;
mod writers;

use std::process::ExitCode;

use clap::Parser;

/// Options of a proof.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// Which proof; `list` prints them.
    name: String,
    /// Seeds or repetitions, where the proof has some; the proof's own number where left out.
    #[arg(long)]
    rounds: Option<u32>,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the platform running at the end, to look at it.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.name == "list" {
        for (name, what) in proof::ALL {
            outcome::say(&format!("{name:15} {what}"));
        }
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            outcome::say(&format!("no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = match runtime.block_on(proof::run(&options)) {
        Ok(outcome) => outcome,
        Err(error) => outcome::Outcome::failed(&options.name, &error),
    };
    outcome.print();
    if outcome.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
