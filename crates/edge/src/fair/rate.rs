//! A rate with a burst, in one number: the generic cell rate algorithm (ITU-T I.371), without a lock.
//!
//! The number is the moment at which everything taken so far will have been earned. It may lie ahead of now by no more than the burst. It counts whole
//! nanoseconds, which last for five centuries; only the price of a unit is finer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bits after the point of what a unit costs in nanoseconds, so that a unit of a fast rate (octets) is not rounded away.
const FINER: u32 = 10;
const SECOND: u64 = 1_000_000_000 << FINER;

/// How fast something may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Time in which one unit is earned, finer than nanoseconds; 0 means without limit.
    unit: u64,
    /// How far may be run ahead, in nanoseconds.
    burst: u64,
}

impl Rate {
    /// `per_second` units each second and up to `burst` at once; 0 a second means without limit.
    pub(crate) const fn new(per_second: u64, burst: u64) -> Self {
        if per_second == 0 {
            return Self { unit: 0, burst: 0 };
        }
        let unit = SECOND / per_second;
        let unit = if unit == 0 { 1 } else { unit };
        Self { unit, burst: cost(unit, if burst == 0 { 1 } else { burst }) }
    }
}

/// Nanoseconds in which `units` are earned. Rounded down, so that units taken one by one cost no more than all of them at once; what costs anything costs one.
const fn cost(unit: u64, units: u64) -> u64 {
    // The product of two words needs two.
    let nanoseconds = (unit as u128 * units as u128) >> FINER;
    if units == 0 {
        0
    } else if nanoseconds == 0 {
        1
    } else if nanoseconds > u64::MAX as u128 {
        u64::MAX
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "looked at above")]
        let nanoseconds = nanoseconds as u64;
        nanoseconds
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
        let (now, cost) = (nanoseconds(now), cost(rate.unit, units));
        let fits = |earned: u64| {
            let next = earned.max(now).saturating_add(cost);
            (next <= now.saturating_add(rate.burst)).then_some(next)
        };
        match self.0.fetch_update(Relaxed, Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(earned) => Err(Duration::from_nanos(earned.max(now).saturating_add(cost).saturating_sub(now.saturating_add(rate.burst)))),
        }
    }

    /// Takes what was used already, since `from`, also beyond the burst; whoever comes next waits for what was not earned in that time.
    pub(crate) fn owe(&self, rate: Rate, units: u64, from: Duration) {
        if rate.unit == 0 {
            return;
        }
        let (from, cost) = (nanoseconds(from), cost(rate.unit, units));
        let add = |earned: u64| Some(earned.max(from).saturating_add(cost));
        // The closure never refuses.
        let _ = self.0.fetch_update(Relaxed, Relaxed, add);
    }

    /// How long until what was taken is within the burst again.
    pub(crate) fn debt(&self, rate: Rate, now: Duration) -> Duration {
        if rate.unit == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.0.load(Relaxed).saturating_sub(nanoseconds(now).saturating_add(rate.burst)))
    }

    /// Whether everything taken was earned: nothing is lost when it is forgotten.
    pub(crate) fn is_even(&self, now: Duration) -> bool {
        self.0.load(Relaxed) <= nanoseconds(now)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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
    fn it_holds_however_long_the_clock_ran() {
        for days in [1, 208, 209, 3660, 36_600, 180_000] {
            let now = Duration::from_secs(days * 24 * 3600);
            let (rate, taken) = (Rate::new(10, 3), Taken::default());
            assert_eq!((0..10).filter(|_| taken.take(rate, 1, now).is_ok()).count(), 3, "after {days} days");
            assert_eq!(taken.take(rate, 1, now), Err(ms(100)), "after {days} days");
            assert!(taken.take(rate, 1, now + ms(100)).is_ok() && !taken.is_even(now + ms(100)), "after {days} days");
            taken.owe(rate, 10, now + ms(400));
            assert_eq!(taken.debt(rate, now + ms(400)), ms(700), "after {days} days");
        }
    }

    #[test]
    fn no_rate_is_so_fast_that_it_is_free_and_no_debt_is_forgiven() {
        for per_second in [3, 7_000_000, 900_000_000, 3_000_000_000] {
            let (rate, taken) = (Rate::new(per_second, per_second), Taken::default());
            for _ in 0..3 {
                assert!(taken.take(rate, per_second / 3, ms(0)).is_ok(), "{per_second}/s");
            }
            assert!(taken.take(rate, per_second.div_ceil(100), ms(0)).is_err(), "{per_second}/s");
        }
        let (rate, taken) = (Rate::new(u64::MAX, 1), Taken::default());
        assert!(taken.take(rate, 1, ms(0)).is_ok() && !taken.is_even(ms(0)));
        let (rate, taken) = (Rate::new(1, 1), Taken::default());
        taken.owe(rate, 1_000_000_000, ms(0));
        assert_eq!(taken.debt(rate, ms(0)), Duration::from_secs(999_999_999));
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
