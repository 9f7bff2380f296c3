//! The purges' way in: what is to be forgotten of what this edge keeps.

use std::convert::Infallible;
use std::sync::Arc;

use cache::Cache;
use cache::orders::Line;
use tokio_util::sync::CancellationToken;

use crate::follow::{Attempts, Broken, Source, escape};

/// Longest line: a target and a name, and room.
const LONGEST_LINE: usize = 64 * 1024;

/// Why a feed ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("a line of the feed of purges does not parse")]
    Line,
}

/// Follows control's purges until the stop.
pub(crate) async fn follow(kept: Arc<Cache>, source: Source, stop: CancellationToken) {
    let (mut attempts, mut place) = (Attempts::new(), None);
    loop {
        let Some(Err(ended)) = stop.run_until_cancelled(lines(&kept, &source, &mut place)).await else { return };
        let problem = ended.to_string();
        if attempts.ended(&problem) {
            tracing::warn!(problem, "the feed of purges ended; what was purged meanwhile is forgotten once control is heard again");
        }
        if attempts.next(&stop).await.is_none() {
            return;
        }
    }
}

/// One feed to its end. `place`: the last order that was heard, and of which control.
async fn lines(kept: &Cache, source: &Source, place: &mut Option<(String, u64)>) -> Result<Infallible, Ended> {
    let target = place
        .as_ref()
        .map_or_else(|| "/v1/purges".to_owned(), |(incarnation, number)| format!("/v1/purges?after={number}&incarnation={}", escape(incarnation)));
    let mut lines = source.lines(&target, LONGEST_LINE).await?;
    loop {
        while let Some(line) = lines.at_hand() {
            match serde_json::from_slice(&line).map_err(|_| Ended::Line)? {
                Line::Begin { incarnation, number } => {
                    kept.clear();
                    *place = Some((incarnation, number));
                }
                Line::Order(order) => {
                    kept.purge(&order.tenant, &order.purge);
                    if let Some((_, number)) = place {
                        *number = order.number;
                    }
                }
                Line::Alive => {}
            }
        }
        lines.more().await?;
    }
}
