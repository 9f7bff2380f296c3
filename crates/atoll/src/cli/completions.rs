//! `atoll completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::Cli;
use super::exit::Failure;
use super::session::Session;

/// Prints the script of a shell.
#[expect(clippy::unnecessary_wraps, reason = "the same shape as every command")]
pub fn print(session: &Session, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "atoll", &mut script);
    session.output.script(&script);
    Ok(())
}
