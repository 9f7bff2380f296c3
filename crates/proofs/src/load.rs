//! Steady visitors: each request's outcome and latency is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::site::Site;

/// What the visitors saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Latencies of good answers, sorted.
    pub latencies: Vec<Duration>,
    /// Requests that failed: when (since the start) and how.
    pub failed: Vec<(Duration, String)>,
}

impl Seen {
    /// Requests in all.
    pub fn total(&self) -> usize {
        self.latencies.len() + self.failed.len()
    }

    /// The latency that this share (0 to 1) of good answers did not pass, in milliseconds.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        if self.latencies.is_empty() {
            return f64::NAN;
        }
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a short list")]
        let index = ((self.latencies.len() - 1) as f64 * share).round() as usize;
        self.latencies[index].as_secs_f64() * 1000.0
    }
}

/// Visitors at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    visitors: JoinSet<Seen>,
}

impl Load {
    /// Starts `visitors` per site, each asking for `path` every `pace`.
    pub fn start(sites: &[Site], path: &str, visitors: usize, pace: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut set = JoinSet::new();
        let began = Instant::now();
        for site in sites {
            for _ in 0..visitors {
                set.spawn(visit(site.clone(), path.to_owned(), pace, began, stop.clone()));
            }
        }
        Self { stop, visitors: set }
    }

    /// Lets every visitor finish the present request and collects what they saw.
    pub async fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        while let Some(seen) = self.visitors.join_next().await {
            match seen {
                Ok(seen) => {
                    all.latencies.extend(seen.latencies);
                    all.failed.extend(seen.failed);
                }
                Err(error) => all.failed.push((Duration::ZERO, format!("a visitor broke: {error}"))),
            }
        }
        all.latencies.sort_unstable();
        all
    }
}

async fn visit(site: Site, path: String, pace: Duration, began: Instant, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let mut visitor = site.visitor();
    let mut tick = tokio::time::interval(pace);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let sent = Instant::now();
        match visitor.get(&path).await {
            Ok(answer) if answer.status.is_success() => seen.latencies.push(sent.elapsed()),
            Ok(answer) => seen.failed.push((
                sent.duration_since(began),
                format!("{} {}: {}", site.tenant, answer.status, answer.text().chars().take(120).collect::<String>()),
            )),
            Err(error) => seen.failed.push((sent.duration_since(began), format!("{} {error:#}", site.tenant))),
        }
    }
    seen
}
