//! Runs seeded worlds: `sim scale` plans a platform of 1,000 cells and 200,000 tenants and one of a tenth.

use std::io::Write as _;

use anyhow::Result;
use clap::{Parser, Subcommand};
use sim::scale::{self, Size};

/// Seeded worlds of Atoll.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plans 1,000 cells and 200,000 tenants, and a tenth of that; prints seconds and memory of both.
    Scale {
        /// What everything is drawn from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Plans one size and prints what was measured as JSON.
    #[command(hide = true)]
    One {
        /// Cells.
        cells: u32,
        /// Tenants.
        tenants: u32,
        /// What everything is drawn from.
        seed: u64,
    },
}

fn main() -> Result<()> {
    let text = match Options::parse().command {
        Command::Scale { seed } => {
            let tenth = scale::measure_apart(scale::TENTH, seed)?;
            let full = scale::measure_apart(scale::FULL, seed)?;
            scale::table(&tenth, &full)
        }
        Command::One { cells, tenants, seed } => serde_json::to_string(&scale::measure(Size { cells, tenants }, seed)?)?,
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}
