//! Who takes too much of a door that all tenants share, when it is nearly full.
//!
//! Every tenant may hold an equal share of the places, and one more share is always kept for whoever comes next. Shares matter only when the door is crowded:
//! before, one tenant may have what nobody else wants. Whoever keeps the tenants' own counts tells them here; the crowd itself knows nobody by name.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Share of the places, of 100, from which on the heaviest are refused.
const CROWDED: usize = 75;

/// Everybody's requests under way at one door.
#[derive(Debug)]
pub struct Crowd {
    most: usize,
    under_way: AtomicUsize,
    tenants: AtomicUsize,
}

impl Crowd {
    /// Nobody yet, at a door that serves `most` requests at once.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { most, under_way: AtomicUsize::new(0), tenants: AtomicUsize::new(0) }
    }

    /// Counts one more of a tenant that had `before` under way.
    pub fn enter(&self, before: usize) {
        self.under_way.fetch_add(1, Relaxed);
        if before == 0 {
            self.tenants.fetch_add(1, Relaxed);
        }
    }

    /// Counts one less of a tenant that has `left` under way.
    pub fn leave(&self, left: usize) {
        self.under_way.fetch_sub(1, Relaxed);
        if left == 0 {
            self.tenants.fetch_sub(1, Relaxed);
        }
    }

    /// Whether a tenant that holds `own` places gets no more of them now, because it is crowded here and others have less.
    #[must_use]
    pub fn is_too_heavy(&self, own: usize) -> bool {
        let crowded = self.under_way().saturating_mul(100) >= self.most.saturating_mul(CROWDED);
        crowded && own > self.most / self.tenants().saturating_add(1)
    }

    /// Requests under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.load(Relaxed)
    }

    /// Tenants that have some.
    #[must_use]
    pub fn tenants(&self) -> usize {
        self.tenants.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `asks` more a tenant gets that holds `own`.
    fn fill(crowd: &Crowd, own: &mut usize, asks: usize) -> usize {
        let before = *own;
        for _ in 0..asks {
            if !crowd.is_too_heavy(*own) {
                crowd.enter(*own);
                *own += 1;
            }
        }
        *own - before
    }

    #[test]
    fn one_alone_leaves_room_and_whoever_comes_gets_it() {
        let (crowd, mut heavy, mut light) = (Crowd::new(100), 0, 0);
        assert_eq!(fill(&crowd, &mut heavy, 1000), 75, "a quarter stays free");
        assert_eq!(fill(&crowd, &mut light, 20), 20);
        assert_eq!(fill(&crowd, &mut heavy, 10), 0);
        while heavy > 0 {
            heavy -= 1;
            crowd.leave(heavy);
        }
        assert_eq!((crowd.under_way(), crowd.tenants()), (20, 1));
        assert_eq!(fill(&crowd, &mut heavy, 10), 10, "no grudge is borne");
    }

    #[test]
    fn a_tenant_with_little_is_let_in_until_the_last_place() {
        let (crowd, mut heavy) = (Crowd::new(100), 0);
        fill(&crowd, &mut heavy, 1000);
        let mut others = [0; 25];
        assert!(others.iter_mut().all(|own| fill(&crowd, own, 1) == 1));
        assert_eq!((crowd.under_way(), crowd.tenants()), (100, 26));
    }
}
