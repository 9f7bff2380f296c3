//! Signs of life of threads, for a watchdog: a thread that is stuck beats no more.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a thread beats.
const EVERY: Duration = Duration::from_millis(500);

/// All threads that are watched.
#[derive(Debug, Clone, Default)]
pub struct Pulses(Arc<Mutex<Vec<Arc<Pulse>>>>);

#[derive(Debug)]
struct Pulse {
    name: String,
    at: AtomicU64,
}

/// Keeps a pulse listed.
struct Listed<'a>(&'a Pulses, Arc<Pulse>);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.list(|all| all.retain(|pulse| !Arc::ptr_eq(pulse, &self.1)));
    }
}

impl Pulses {
    /// Beats for the thread that runs this, until it is dropped.
    pub async fn beat(self, name: String) {
        let pulse = Arc::new(Pulse { name, at: AtomicU64::new(now()) });
        self.list(|all| all.push(pulse.clone()));
        let listed = Listed(&self, pulse);
        loop {
            tokio::time::sleep(EVERY).await;
            listed.1.at.store(now(), Relaxed);
        }
    }

    /// The thread that has been silent for longest, and for how long.
    #[must_use]
    pub fn longest_silence(&self) -> Option<(String, Duration)> {
        let mut slowest = None;
        self.list(|all| {
            slowest = all.iter().map(|pulse| (pulse.at.load(Relaxed), &pulse.name)).min().map(|(at, name)| (name.clone(), at));
        });
        slowest.map(|(name, at)| (name, Duration::from_millis(now().saturating_sub(at))))
    }

    fn list(&self, act: impl FnOnce(&mut Vec<Arc<Pulse>>)) {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}
