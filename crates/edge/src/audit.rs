//! The table looks at itself: its hash is kept by adding and taking away, so it is computed anew from the hosts now and then, and a table that does not fit is
//! fetched again. What was read from disk is looked at soon after the start, which therefore need not wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::feed::Feed;
use crate::table::Routes;

const FIRST: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(600);
/// Pause after each few hundred hosts: this is never urgent.
const BREATHER: Duration = Duration::from_micros(500);

/// Audits until the stop.
pub(crate) async fn audit(routes: Arc<Routes>, feed: Arc<Feed>, stop: CancellationToken) {
    let mut pause = FIRST;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        pause = EVERY;
        let (table, ending) = (routes.table(), stop.clone());
        let look = move || {
            let computed = table.rehash(|| {
                if !ending.is_cancelled() {
                    std::thread::park_timeout(BREATHER);
                }
            });
            (computed == table.hash(), table.generation())
        };
        if let Ok((false, generation)) = tokio::task::spawn_blocking(look).await {
            tracing::error!(%generation, "the routes in memory are not what their hash says; they are fetched anew");
            feed.resync();
        }
    }
}
