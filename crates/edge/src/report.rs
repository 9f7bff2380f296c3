//! The edge's word to control: how far it is. Control waits for it before it gives a change to other edges, so it is said at once, on a connection that is kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use identity::{HttpsClient, Kept, Role};
use routes::EdgeApplied;
use tokio_util::sync::CancellationToken;

use crate::feed::Feed;
use crate::table::Routes;

/// The same word again, for a control that has just started. Shorter than control keeps an idle connection.
const EVERY: Duration = Duration::from_secs(8);
const AGAIN: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(5);

/// Reports each new generation and each refusal, and the last word now and then, until the stop.
pub(crate) async fn report(routes: Arc<Routes>, feed: Arc<Feed>, client: HttpsClient, control: SocketAddr, name: String, stop: CancellationToken) {
    let mut client = client.within(WITHIN).kept(control, Role::Control);
    let (mut changes, mut refusals) = (routes.changes(), feed.refusals());
    loop {
        changes.borrow_and_update();
        let refusal = *refusals.borrow_and_update();
        let mut word = EdgeApplied::of(&routes.table());
        word.halted = feed.standing().halted;
        // A table that was never loaded is nothing to speak of, unless because it is refused.
        let silent = word.incarnation.is_empty() && word.halted.is_none();
        let sent = silent || send(&mut client, &name, &word).await;
        if sent {
            feed.reported(refusal);
        }
        let pause = if sent { EVERY } else { AGAIN };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed(), if sent => if changed.is_err() { return },
            changed = refusals.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn send(client: &mut Kept, name: &str, word: &EdgeApplied) -> bool {
    let Ok(body) = serde_json::to_vec(word) else { return true };
    let request = Request::post(format!("/v1/edges/{name}/applied")).header("content-type", "application/json").body(body.into());
    let Ok(request) = request else { return true };
    match client.request(request).await {
        Ok(answer) if answer.status().is_success() => true,
        Ok(answer) => {
            tracing::debug!(status = answer.status().as_u16(), "control does not take the report");
            false
        }
        // That control is away is told by the feed.
        Err(_) => false,
    }
}
