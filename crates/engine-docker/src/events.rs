//! The engine's own events, handed to the keepers of the cells that they are about.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt as _;
use jiff::Timestamp;

use crate::client::{patient, told};
use crate::keeper::{Happened, Message, What};
use crate::{Shared, names};

/// Pause before events are asked for again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long one stream is read at most.
const STREAM: Duration = Duration::from_secs(24 * 3600);

/// Follows events for ever. After each break everything is looked at anew: an event may have been missed.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut last = None;
    loop {
        if let Err(error) = one_stream(&shared, &mut last).await {
            tracing::debug!(%error, "no events from the engine");
        }
        shared.client.forget();
        shared.tell_all(|| Message::LookAnew);
        tokio::time::sleep(AGAIN).await;
    }
}

async fn one_stream(shared: &Arc<Shared>, last: &mut Option<i64>) -> Result<(), engine::EngineError> {
    let docker = patient(&shared.client.docker().await?, STREAM);
    let kinds = ["create", "start", "die", "oom", "destroy", "pause", "unpause", "rename"];
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("label".to_owned(), vec![format!("{}={}", names::PLATFORM, shared.options.platform)]),
        ("event".to_owned(), kinds.map(str::to_owned).to_vec()),
    ]);
    let mut options = EventsOptionsBuilder::default().filters(&filters);
    if let Some(last) = *last {
        options = options.since(&last.to_string());
    }
    let mut events = docker.events(Some(options.build()));
    shared.tell_all(|| Message::LookAnew);
    while let Some(event) = events.next().await {
        let event = event.map_err(told)?;
        *last = event.time.or(*last);
        if let Some((cell, happened)) = read(&event) {
            shared.tell(&cell, Message::Happened(happened));
        }
    }
    Ok(())
}

/// The cell that an event is about, and what it says.
fn read(event: &EventMessage) -> Option<(String, Happened)> {
    let actor = event.actor.as_ref()?;
    let attributes = actor.attributes.as_ref()?;
    let cell = attributes.get(names::CELL)?.clone();
    let what = match event.action.as_deref()? {
        "die" => What::Died(attributes.get("exitCode").and_then(|code| code.parse().ok())?),
        "oom" => What::OutOfMemory,
        _ => What::Other,
    };
    let nanoseconds = i128::from(event.time_nano?);
    let at = Timestamp::from_nanosecond(nanoseconds).ok()?;
    Some((cell, Happened { container: actor.id.clone()?, what, at }))
}
