//! A rate with a burst, in one number: the generic cell rate algorithm (ITU-T I.371), without a lock.
//!
//! The number is the moment at which everything taken so far will have been earned, in nanoseconds (which last for 584 years). It may lie ahead of now by no
//! more than the burst.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// How fast something may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// 0 means without limit.
    per_second: u64,
    /// How far may be run ahead, in nanoseconds.
    burst: u64,
}

impl Rate {
    /// `per_second` units each second and up to `burst` at once; 0 a second means without limit.
    pub(crate) fn new(per_second: u64, burst: u64) -> Self {
        Self { per_second, burst: Self { per_second, burst: 0 }.cost(burst.max(1)) }
    }

    /// Time in which so many units are earned. Rounded up: nothing is free.
    fn cost(self, units: u64) -> u64 {
        if self.per_second == 0 {
            return 0;
        }
        match units.checked_mul(SECOND) {
            Some(all) => all.div_ceil(self.per_second),
            None => u64::try_from((u128::from(units) * u128::from(SECOND)).div_ceil(u128::from(self.per_second))).unwrap_or(u64::MAX),
        }
    }
}

/// What was taken of a rate so far.
#[derive(Debug, Default)]
pub(crate) struct Taken(AtomicU64);

impl Taken {
    /// Takes `units` at `now` (since any fixed moment), or says how long to wait until they can be taken.
    pub(crate) fn take(&self, rate: Rate, units: u64, now: Duration) -> Result<(), Duration> {
        if rate.per_second == 0 {
            return Ok(());
        }
        let (now, cost) = (nanos(now), rate.cost(units));
        let fits = |earned: u64| {
            let next = earned.max(now).saturating_add(cost);
            (next <= now.saturating_add(rate.burst)).then_some(next)
        };
        match self.0.fetch_update(Relaxed, Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(earned) => Err(Duration::from_nanos(earned.max(now).saturating_add(cost) - now.saturating_add(rate.burst))),
        }
    }

    /// Takes what was used already, since `from`, also beyond the burst; whoever comes next waits for what was not earned in that time.
    pub(crate) fn owe(&self, rate: Rate, units: u64, from: Duration) {
        if rate.per_second == 0 {
            return;
        }
        let (from, cost) = (nanos(from), rate.cost(units));
        let add = |earned: u64| Some(earned.max(from).saturating_add(cost));
        // The closure never refuses.
        let _ = self.0.fetch_update(Relaxed, Relaxed, add);
    }

    /// How long until what was taken is within the burst again.
    pub(crate) fn debt(&self, rate: Rate, now: Duration) -> Duration {
        if rate.per_second == 0 {
            Duration::ZERO
        } else {
            Duration::from_nanos(self.0.load(Relaxed).saturating_sub(nanos(now).saturating_add(rate.burst)))
        }
    }

    /// Whether everything taken was earned: nothing is lost when it is forgotten.
    pub(crate) fn is_even(&self, now: Duration) -> bool {
        self.0.load(Relaxed) <= nanos(now)
    }
}

fn nanos(time: Duration) -> u64 {
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
    fn a_rate_holds_however_long_the_process_runs() {
        for days in [1, 207, 209, 3650, 100 * 365] {
            let (rate, taken) = (Rate::new(10, 3), Taken::default());
            let now = Duration::from_secs(days * 24 * 3600);
            assert_eq!((0..10).filter(|_| taken.take(rate, 1, now).is_ok()).count(), 3, "{days} days");
            assert!(!taken.is_even(now) && taken.is_even(now + ms(300)), "{days} days");
            assert!(taken.take(rate, 1, now + ms(100)).is_ok() && taken.take(rate, 1, now + ms(100)).is_err(), "{days} days");
        }
    }

    #[test]
    fn a_rate_of_octets_is_exact_also_where_one_takes_less_than_a_nanosecond() {
        let (rate, taken) = (Rate::new(10_000_000_000, 1), Taken::default());
        taken.owe(rate, 25_000_000_000, ms(0));
        assert_eq!(taken.debt(rate, ms(1000)), ms(1500) - Duration::from_nanos(1), "beyond a burst of one");
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
