//! A rate with a burst, in one number: the generic cell rate algorithm (ITU-T I.371), without a lock.
//!
//! The number is the moment at which everything taken so far will have been earned. It may lie ahead of now by no more than the burst.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Parts of a nanosecond in which time is counted, so that a unit of a fast rate (octets) is not rounded away.
const PARTS: u64 = 1024;
const SECOND: u64 = 1_000_000_000 * PARTS;

/// How fast something may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Time in which one unit is earned; 0 means without limit.
    unit: u64,
    /// How far may be run ahead.
    burst: u64,
}

impl Rate {
    /// `per_second` units each second and up to `burst` at once; 0 a second means without limit.
    pub(crate) const fn new(per_second: u64, burst: u64) -> Self {
        if per_second == 0 {
            return Self { unit: 0, burst: 0 };
        }
        let unit = SECOND / per_second;
        let burst = if burst == 0 { 1 } else { burst };
        Self { unit: if unit == 0 { 1 } else { unit }, burst: unit.saturating_mul(burst) }
    }
}

/// What was taken of a rate so far.
#[derive(Debug, Default)]
pub(crate) struct Taken(AtomicU64);

impl Taken {
    /// Takes `units` at `now` (since any fixed moment), or says how long to wait until they can be taken.
    pub(crate) fn take(&self, rate: Rate, units: u64, now: Duration) -> Result<(), Duration> {
        if rate.unit == 0 {
            return Ok(());
        }
        let (now, cost) = (parts(now), rate.unit.saturating_mul(units));
        let fits = |earned: u64| {
            let next = earned.max(now).saturating_add(cost);
            (next <= now.saturating_add(rate.burst)).then_some(next)
        };
        match self.0.fetch_update(Relaxed, Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(earned) => Err(time(earned.max(now).saturating_add(cost) - now.saturating_add(rate.burst))),
        }
    }

    /// Takes what was used already, since `from`, also beyond the burst; whoever comes next waits for what was not earned in that time.
    pub(crate) fn owe(&self, rate: Rate, units: u64, from: Duration) {
        if rate.unit == 0 {
            return;
        }
        let (from, cost) = (parts(from), rate.unit.saturating_mul(units));
        let add = |earned: u64| Some(earned.max(from).saturating_add(cost));
        // The closure never refuses.
        let _ = self.0.fetch_update(Relaxed, Relaxed, add);
    }

    /// How long until what was taken is within the burst again.
    pub(crate) fn debt(&self, rate: Rate, now: Duration) -> Duration {
        if rate.unit == 0 { Duration::ZERO } else { time(self.0.load(Relaxed).saturating_sub(parts(now).saturating_add(rate.burst))) }
    }

    /// Whether everything taken was earned: nothing is lost when it is forgotten.
    pub(crate) fn is_even(&self, now: Duration) -> bool {
        self.0.load(Relaxed) <= parts(now)
    }
}

fn parts(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).saturating_mul(PARTS)
}

const fn time(parts: u64) -> Duration {
    Duration::from_nanos(parts.div_ceil(PARTS))
}

#[cfg(test)]
#[expect(clippy::print_stdout, reason = "tests say their seed")]
mod tests {
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (rate, taken) = (Rate::new(10, 3), Taken::default());
        let now = ms(5000);
        assert!((0..3).all(|_| taken.take(rate, 1, now).is_ok()));
        assert_eq!(taken.take(rate, 1, now), Err(ms(100)));
        assert_eq!(taken.take(rate, 1, now + ms(60)), Err(ms(40)));
        assert!(taken.take(rate, 1, now + ms(100)).is_ok());
        // A refusal costs nothing; a pause earns no more than the burst.
        let later = now + ms(60_000);
        assert_eq!((0..10).filter(|_| taken.take(rate, 1, later).is_ok()).count(), 3);
    }

    #[test]
    fn whatever_the_moments_no_more_passes_than_was_earned() {
        let seed: u64 = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        println!("seed {seed}");
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        for _ in 0..200 {
            let (per_second, burst) = (random.random_range(1..5_000_000), random.random_range(1..10_000));
            let (rate, taken) = (Rate::new(per_second, burst), Taken::default());
            let (mut now, mut passed) = (ms(random.random_range(0..1_000_000)), 0_u64);
            let began = now;
            for _ in 0..300 {
                now += Duration::from_nanos(random.random_range(0..20_000_000));
                let units = random.random_range(1..=burst);
                if taken.take(rate, units, now).is_ok() {
                    passed += units;
                }
                let earned = (now - began).as_secs_f64() * per_second as f64 * 1.01 + burst as f64;
                assert!(passed as f64 <= earned + 1.0, "{passed} of {earned} at {per_second}/s, burst {burst}");
            }
        }
    }

    #[test]
    fn what_was_used_already_is_owed() {
        let (rate, taken) = (Rate::new(1000, 1000), Taken::default());
        taken.owe(rate, 3000, ms(0));
        assert_eq!(taken.debt(rate, ms(0)), ms(2000));
        assert!(taken.take(rate, 1, ms(1900)).is_err());
        assert!(taken.take(rate, 1, ms(2001)).is_ok());
        assert!(!taken.is_even(ms(2900)) && taken.is_even(ms(3100)));
    }

    #[test]
    fn without_a_limit_everything_passes() {
        let (rate, taken) = (Rate::new(0, 0), Taken::default());
        assert!((0..1000).all(|_| taken.take(rate, u64::MAX, ms(1)).is_ok()));
    }
}
