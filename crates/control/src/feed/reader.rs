//! One reader of the feed.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use model::Generation;
use routes::{Canary, Catchup, Line, Table};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::RouteFeed;

/// A sign of life is sent when nothing else was for so long.
const ALIVE: Duration = Duration::from_secs(5);
/// How often time is looked at while an edge tries something; also how soon a silent one is found.
const LOOK: Duration = Duration::from_millis(500);
/// Lines of a whole table that are made before the reader takes them.
const AHEAD: usize = 8;

/// Some lines, or why there are none.
#[derive(Debug)]
pub struct Text(pub Result<String, serde_json::Error>);

struct Reader {
    feed: Arc<RouteFeed>,
    told: watch::Receiver<u64>,
    name: String,
    from: Option<Generation>,
    incarnation: String,
    parts: bool,
    /// Lines of a whole table that is on its way.
    whole: Option<mpsc::Receiver<Result<String, serde_json::Error>>>,
    alive_at: Instant,
}

impl Drop for Reader {
    fn drop(&mut self) {
        {
            let mut inner = self.feed.lock();
            inner.readers = inner.readers.saturating_sub(1);
        }
        self.feed.decide(|canary, now| canary.leave(&self.name, now));
    }
}

pub fn follow(
    feed: &Arc<RouteFeed>,
    name: String,
    from: Option<Generation>,
    incarnation: String,
    parts: bool,
) -> impl Stream<Item = Text> + Send + use<> {
    let stands = {
        let mut inner = feed.lock();
        inner.readers += 1;
        inner.feed.as_ref().is_some_and(|feed| feed.table().incarnation() == incarnation)
    };
    let told = feed.told.subscribe();
    feed.decide(|canary, now| canary.join(&name, from.filter(|_| stands), now));
    let reader = Reader { feed: feed.clone(), told, name, from, incarnation, parts, whole: None, alive_at: Instant::now() + ALIVE };
    stream::unfold(reader, |mut reader| async move {
        let text = reader.next().await?;
        reader.alive_at = Instant::now() + ALIVE;
        Some((Text(text), reader))
    })
}

impl Reader {
    async fn next(&mut self) -> Option<Result<String, serde_json::Error>> {
        loop {
            if let Some(lines) = &mut self.whole {
                if let Some(line) = lines.recv().await {
                    return Some(line);
                }
                self.whole = None;
            }
            self.told.borrow_and_update();
            let stands = match self.feed.catch_up(&self.name, self.from, &self.incarnation) {
                Some((Catchup::Deltas(deltas), table)) if deltas.is_empty() => Some(table),
                Some((Catchup::Deltas(deltas), _)) => {
                    self.from = deltas.last().map(|sent| sent.delta.to);
                    return Some(Ok(deltas.iter().map(|sent| sent.line.as_str()).collect()));
                }
                Some((Catchup::Whole(table), _)) => {
                    self.from = Some(table.generation());
                    table.incarnation().clone_into(&mut self.incarnation);
                    if !self.parts {
                        return Some(Line::Snapshot(Box::new(table.snapshot())).encode());
                    }
                    self.whole = Some(lines_of(table));
                    continue;
                }
                Some((Catchup::Current, table)) => Some(table),
                None => None,
            };
            match tokio::time::timeout_at(self.alive_at.min(Instant::now() + LOOK), self.told.changed()).await {
                Ok(Ok(())) => continue,
                Ok(Err(_)) => return None,
                Err(_) => self.feed.decide(Canary::tick),
            }
            if Instant::now() >= self.alive_at {
                self.alive_at += ALIVE;
                // Only where the reader stands at that very table: one that tried something may be ahead.
                if let Some(table) = stands.filter(|table| self.from == Some(table.generation())) {
                    return Some(table.alive().encode());
                }
            }
        }
    }
}

/// Lines of a whole table, made on a thread that may take long, from a version that does not change.
fn lines_of(table: Table) -> mpsc::Receiver<Result<String, serde_json::Error>> {
    let (send, lines) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        for line in table.parts() {
            if send.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
