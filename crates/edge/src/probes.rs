//! The edge's own look at gates.

use std::sync::Arc;
use std::time::Duration;

use proxy::{Health, Probe};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::table::Routes;

const EVERY: Duration = Duration::from_millis(500);
const WITHIN: Duration = Duration::from_millis(1500);
/// Probes under way at once, and the pace that goes with many gates.
const AT_ONCE: usize = 64;
/// A gate says by itself when it stops: one bad answer counts.
const MISSES: u32 = 1;

/// Asks every gate whether it serves, until the stop.
pub(crate) async fn probe(routes: Arc<Routes>, stop: CancellationToken) {
    let question = Probe::Http("/.atoll/ready".to_owned());
    let mut changes = routes.gate_changes();
    loop {
        let mut asking = JoinSet::new();
        for (cell, gates) in routes.gates() {
            for gate in gates.members() {
                let (cell, gate, question) = (cell.clone(), gate.clone(), question.clone());
                asking.spawn(async move {
                    let before = gate.health();
                    gate.probed(question.ask(gate.address(), WITHIN).await, MISSES);
                    let now = gate.health();
                    if before != now && (before, now) != (Health::Unknown, Health::Up) {
                        tracing::info!(%cell, gate = gate.name(), health = ?now, "a gate's health changed");
                    }
                });
                if asking.len() >= AT_ONCE {
                    asking.join_next().await;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = async { while asking.join_next().await.is_some() {} } => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}
