//! Worlds of many seeds. `SIM_SEEDS=5000` runs that many (from `SIM_FROM`, without a limit of time); by default as many as a minute holds.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(unexpected_cfgs, reason = "only tokio's unstable interface takes a seed for the order of tasks")]

use std::time::Duration;

/// Worlds that a default run begins at most, and the time in which it begins them: a smoke test. Thousands are asked for with `SIM_SEEDS`.
const SEEDS: u64 = 24;
const WITHIN: Duration = Duration::from_secs(55);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn every_world_converges_and_holds_its_invariants() {
    let (count, within) = number("SIM_SEEDS").map_or((SEEDS, WITHIN), |count| (count, Duration::MAX));
    let many = sim::many::run(number("SIM_FROM").unwrap_or(1), count, within, |_, _, _| {});
    assert!(many.failures.is_empty(), "{many}");
    assert!(many.held >= 4, "only {} worlds were begun in {WITHIN:?}", many.held);
    assert!(many.sum.operations > many.held, "the worlds are too tame: {many}");
}

#[cfg(tokio_unstable)]
#[test]
fn one_seed_gives_one_run() {
    assert_eq!(sim::world::run(7).unwrap(), sim::world::run(7).unwrap());
}
