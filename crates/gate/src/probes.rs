//! The gate's own look at its instances: what counts when nobody tells it anything.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::known::Memory;

const EVERY: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_millis(1500);
/// Bad answers in a row before an instance counts as down.
const MISSES: u32 = 2;

/// Probes every instance once a second until the stop.
pub(crate) async fn probe(memory: Arc<Memory>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut changes = memory.changes();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
        let mut asking = JoinSet::new();
        for member in memory.known().members() {
            let (upstream, probe) = (member.upstream.clone(), member.probe.clone());
            asking.spawn(async move {
                let good = probe.ask(upstream.address(), WITHIN).await;
                upstream.probed(good, MISSES);
            });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = async { while asking.join_next().await.is_some() {} } => {}
        }
    }
}
