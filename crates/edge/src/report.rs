//! The edge's word to control: how far it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use identity::{HttpsClient, Role};
use routes::EdgeApplied;
use tokio_util::sync::CancellationToken;

use crate::feed::Feed;
use crate::table::Routes;

/// The same word again, for a control that has just started.
const EVERY: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(5);

/// Reports each new generation, and the last one now and then, until the stop.
pub(crate) async fn report(routes: Arc<Routes>, feed: Arc<Feed>, client: HttpsClient, control: SocketAddr, name: String, stop: CancellationToken) {
    let client = client.within(WITHIN);
    let mut changes = routes.changes();
    loop {
        changes.borrow_and_update();
        let mut word = routes.with(EdgeApplied::of);
        word.halted = feed.standing().halted;
        // A table that was never loaded is nothing to speak of.
        let sent = word.incarnation.is_empty() || send(&client, control, &name, &word).await;
        let pause = if sent { EVERY } else { AGAIN };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed(), if sent => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn send(client: &HttpsClient, control: SocketAddr, name: &str, word: &EdgeApplied) -> bool {
    let Ok(body) = serde_json::to_vec(word) else { return true };
    let request = Request::post(format!("/v1/edges/{name}/applied")).header("content-type", "application/json").body(body.into());
    let Ok(request) = request else { return true };
    match client.request(control, &Role::Control, request).await {
        Ok(answer) if answer.status().is_success() => true,
        Ok(answer) => {
            tracing::debug!(status = answer.status().as_u16(), "control does not take the report");
            false
        }
        // That control is away is told by the feed.
        Err(_) => false,
    }
}
