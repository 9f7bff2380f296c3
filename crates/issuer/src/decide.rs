//! When to ask, whom, and how long to wait: plain functions over plain data. Dice are thrown by the caller.

use std::collections::VecDeque;

use certs::acme::{Fault, Window};
use jiff::{SignedDuration, Timestamp};

/// Names that no public authority vouches for.
const PRIVATE: [&str; 9] = ["localhost", "local", "internal", "lan", "test", "invalid", "onion", "example", "home.arpa"];
/// Pause after the first failure of a domain; doubled by each further one. Five failures take more than an hour, which is what authorities bear.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);
/// Pause of an authority that does not answer, and of one that says we ask too often.
const AUTHORITY_PAUSE: SignedDuration = SignedDuration::from_mins(1);
const LIMITED_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// Whether a public authority could vouch for a domain.
#[must_use]
pub fn is_public(domain: &str) -> bool {
    domain.contains('.') && !PRIVATE.iter().any(|private| domain == *private || domain.strip_suffix(private).is_some_and(|rest| rest.ends_with('.')))
}

/// How long a domain waits after so many failures in a row. `dice`: 0 to 1.
#[must_use]
pub fn pause(failures: u32, dice: f64) -> SignedDuration {
    let doubled = FIRST_PAUSE.saturating_mul(1_i32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(i32::MAX));
    spread(doubled.min(LONGEST_PAUSE), dice)
}

/// A time a quarter shorter or longer, so that what failed together does not try again together.
fn spread(time: SignedDuration, dice: f64) -> SignedDuration {
    time.checked_mul_f64(0.75 + dice / 2.0)
}

/// When a certificate is renewed: somewhere in the window that its authority gave, otherwise once two thirds of its life are over (a little later for some, so that
/// what was issued together is not renewed together). Never later than at nine tenths.
#[must_use]
pub fn renew_at(not_before: Timestamp, not_after: Timestamp, window: Option<Window>, dice: f64) -> Timestamp {
    let life = not_after.duration_since(not_before);
    let part = |share: f64| not_before.saturating_add(life.checked_mul_f64(share)).unwrap_or(not_after);
    let wanted = window.map_or_else(
        || part(2.0 / 3.0 + dice * 0.05),
        |window| window.start.saturating_add(window.end.duration_since(window.start).checked_mul_f64(dice)).unwrap_or(window.start),
    );
    wanted.min(part(0.9))
}

/// Multiplies by a share between 0 and 2.
trait Share {
    fn checked_mul_f64(self, share: f64) -> Self;
}

impl Share for SignedDuration {
    fn checked_mul_f64(self, share: f64) -> Self {
        Self::try_from_secs_f64(self.as_secs_f64() * share).unwrap_or(self)
    }
}

/// How much one authority is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Orders for new certificates in a window; replacements are not counted by authorities.
    pub orders: usize,
    /// The window.
    pub window: SignedDuration,
}

impl Default for Limits {
    fn default() -> Self {
        // Let's Encrypt: 300 in three hours. Some are left to people who debug.
        Self { orders: 250, window: SignedDuration::from_hours(3) }
    }
}

/// The authorities in the order of preference, and how each behaves.
#[derive(Debug, Clone)]
pub struct Authorities {
    limits: Limits,
    each: Vec<Standing>,
}

#[derive(Debug, Clone, Default)]
struct Standing {
    failures: u32,
    /// Why it is not asked before its time.
    fault: Option<Fault>,
    not_before: Option<Timestamp>,
    orders: VecDeque<Timestamp>,
}

impl Authorities {
    /// So many, all well.
    #[must_use]
    pub fn new(count: usize, limits: Limits) -> Self {
        Self { limits, each: vec![Standing::default(); count] }
    }

    /// The first that may be asked now, and notes the order. `replacement`s are not counted.
    pub fn choose(&mut self, now: Timestamp, replacement: bool) -> Option<usize> {
        let limits = self.limits;
        let may = |standing: &mut Standing| {
            while standing.orders.front().is_some_and(|&at| now.duration_since(at) >= limits.window) {
                standing.orders.pop_front();
            }
            standing.not_before.is_none_or(|at| at <= now) && (replacement || standing.orders.len() < limits.orders)
        };
        let chosen = self.each.iter_mut().position(may)?;
        if !replacement {
            self.each[chosen].orders.push_back(now);
        }
        Some(chosen)
    }

    /// Why none of them may be asked: what is wrong with the preferred one. One that we may not ask for a while because of what we asked already is limited.
    #[must_use]
    pub fn why_none(&self, now: Timestamp) -> Fault {
        let first = self.each.first().filter(|standing| standing.not_before.is_some_and(|at| at > now));
        first.and_then(|standing| standing.fault).unwrap_or(Fault::Limited)
    }

    /// An order came to an end. Faults of a domain are none of the authority's.
    pub fn ended(&mut self, which: usize, fault: Option<Fault>, now: Timestamp, dice: f64) {
        let Some(standing) = self.each.get_mut(which) else { return };
        let pause = match fault {
            None | Some(Fault::Domain | Fault::Forbidden) => {
                (standing.failures, standing.not_before, standing.fault) = (0, None, None);
                return;
            }
            Some(Fault::Ours) => return,
            Some(Fault::Limited) => LIMITED_PAUSE,
            Some(Fault::Authority) => AUTHORITY_PAUSE.saturating_mul(1 << standing.failures.min(6)),
        };
        standing.failures += 1;
        standing.fault = fault;
        standing.not_before = Some(now.saturating_add(spread(pause, dice)).unwrap_or(Timestamp::MAX));
    }
}

#[cfg(test)]
mod tests;
