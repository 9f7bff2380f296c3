//! Many worlds, one after the other on each core, until the seeds or the time are used up.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::world::{self, Summary};

/// What many worlds did.
#[derive(Debug, Default)]
pub struct Many {
    /// Worlds that held.
    pub held: u64,
    /// The first failures, by seed.
    pub failures: Vec<(u64, String)>,
    /// Sums over all worlds that held.
    pub sum: Summary,
    /// How long it took.
    pub took: Duration,
}

/// Most failures that are kept.
const KEPT: usize = 20;

/// Runs the worlds of these seeds, as many at once as there are cores; none is begun after `within`. Each one's end is told at once, with how long it took.
#[must_use]
pub fn run(from: u64, count: u64, within: Duration, told: impl Fn(u64, Duration, Result<(), &str>) + Sync) -> Many {
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let many = Mutex::new(Many::default());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while began.elapsed() < within {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from.saturating_add(count) {
                        return;
                    }
                    let start = Instant::now();
                    let outcome = world::run(seed).map_err(|error| format!("{error:#}"));
                    told(seed, start.elapsed(), outcome.as_ref().map(drop).map_err(String::as_str));
                    let mut many = many.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    match outcome {
                        Ok(summary) => {
                            many.held += 1;
                            add(&mut many.sum, summary);
                        }
                        Err(error) if many.failures.len() < KEPT => many.failures.push((seed, error)),
                        Err(_) => {}
                    }
                }
            });
        }
    });
    let mut many = many.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    many.took = began.elapsed();
    many.failures.sort();
    many
}

const fn add(sum: &mut Summary, one: Summary) {
    let Summary { asked, troubles, looks, operations, served, cells, seconds } = one;
    sum.asked += asked;
    sum.troubles += troubles;
    sum.looks += looks;
    sum.operations += operations;
    sum.served += served;
    sum.cells += cells;
    sum.seconds += seconds;
}

impl std::fmt::Display for Many {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (_, failure) in &self.failures {
            writeln!(f, "{failure}\n")?;
        }
        let Summary { asked, troubles, looks, operations, served, cells, seconds } = self.sum;
        write!(
            f,
            "{} worlds held, {} did not, in {:.1} s: {} h simulated, {asked} wishes, {troubles} troubles, {operations} operations, {looks} looks; \
             {served} tenants served in {cells} cells at the end",
            self.held,
            self.failures.len(),
            self.took.as_secs_f64(),
            seconds / 3600,
        )
    }
}
