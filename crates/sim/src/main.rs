//! Runs seeded worlds: `sim worlds` many of them, `sim world` one, `sim scale` plans a platform of 1,000 cells and 200,000 tenants and one of a tenth.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use sim::scale::{self, Size};
use sim::{many, world};

/// Seeded worlds of Atoll.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many worlds; ends with status 1 when one does not hold.
    Worlds {
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
    /// Runs one world again.
    World {
        /// Its seed.
        #[arg(long)]
        seed: u64,
        /// How often, at most until it fails.
        #[arg(long, default_value_t = 1)]
        times: u32,
    },
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

/// Seeds that take longer are worth a look.
const SLOW: Duration = Duration::from_secs(60);

/// Failures and slow worlds at once, the rest as a number that grows: a run of hours may be ended at any time.
fn say(seed: u64, took: Duration, outcome: Result<(), &str>) {
    static HELD: AtomicU64 = AtomicU64::new(0);
    let line = match outcome {
        Err(failure) => format!("seed {seed} did not hold, in {:.1} s: {failure}", took.as_secs_f64()),
        Ok(()) if took > SLOW => format!("seed {seed} held, but took {:.1} s", took.as_secs_f64()),
        Ok(()) if HELD.fetch_add(1, Relaxed) % 100 == 99 => format!("100 more seeds held, the last is {seed}"),
        Ok(()) => return,
    };
    // Nobody may be reading.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn main() -> Result<ExitCode> {
    let (text, holds) = match Options::parse().command {
        Command::Worlds { seeds, from } => {
            let many = many::run(from, seeds, Duration::MAX, say);
            (many.to_string(), many.failures.is_empty())
        }
        Command::World { seed, times } => {
            let mut summary = world::run(seed)?;
            for _ in 1..times {
                summary = world::run(seed)?;
            }
            (format!("{summary:#?}"), true)
        }
        Command::Scale { seed } => {
            let tenth = scale::measure_apart(scale::TENTH, seed)?;
            let full = scale::measure_apart(scale::FULL, seed)?;
            (scale::table(&tenth, &full), true)
        }
        Command::One { cells, tenants, seed } => (serde_json::to_string(&scale::measure(Size { cells, tenants }, seed)?)?, true),
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
