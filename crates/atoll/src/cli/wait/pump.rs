//! Watches of several kinds as one stream that outlives control's restarts.

use std::collections::BTreeSet;
use std::time::Duration;

use api::v1::WatchLine;
use api::{Client, ClientError};
use model::{DocumentName, Kind, Revision};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Between two tries to reach control.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What the stream tells.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are lines, which a box would only make slower")]
pub enum Told {
    /// A line of a watch.
    Line(WatchLine),
    /// The names of all documents of a kind, after they were listed anew: others are gone.
    All(Kind, BTreeSet<DocumentName>),
    /// Control cannot be reached; it is tried again.
    Away(String),
}

/// The stream; dropping it ends its watches.
pub struct Pump {
    told: mpsc::Receiver<Told>,
    _watches: JoinSet<()>,
}

impl Pump {
    /// Watches these kinds from a revision on.
    pub fn start(client: &Client, kinds: impl Iterator<Item = Kind>, from: Revision) -> Self {
        let (tell, told) = mpsc::channel(64);
        let mut watches = JoinSet::new();
        for kind in kinds {
            watches.spawn(watch(client.clone(), kind, from, tell.clone()));
        }
        Self { told, _watches: watches }
    }

    /// What comes next. Waits for ever where nothing does.
    pub async fn next(&mut self) -> Told {
        match self.told.recv().await {
            Some(told) => told,
            None => std::future::pending().await,
        }
    }
}

/// Watches one kind until nobody listens.
async fn watch(client: Client, kind: Kind, mut from: Revision, tell: mpsc::Sender<Told>) {
    while !tell.is_closed() {
        if let Err(error) = follow(&client, kind, &mut from, &tell).await {
            let _ = tell.send(Told::Away(error.to_string())).await;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Follows one watch to its end. A reader that is too far behind lists anew, so that nothing is missed.
async fn follow(client: &Client, kind: Kind, from: &mut Revision, tell: &mpsc::Sender<Told>) -> Result<(), ClientError> {
    let mut lines = match client.watch(kind, *from).await {
        Ok(lines) => lines,
        Err(ClientError::Fault(_)) => return list(client, kind, from, tell).await,
        Err(error) => return Err(error),
    };
    while let Some(line) = lines.next().await? {
        match &line {
            WatchLine::Put(document) | WatchLine::Gone(document) => *from = document.metadata.revision,
            WatchLine::Bookmark(revision) => *from = *revision,
            WatchLine::End(_) => return list(client, kind, from, tell).await,
        }
        if tell.send(Told::Line(line)).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn list(client: &Client, kind: Kind, from: &mut Revision, tell: &mpsc::Sender<Told>) -> Result<(), ClientError> {
    let list = client.documents(kind, "").await?;
    *from = list.revision;
    let names = list.documents.iter().map(|d| d.metadata.name.clone()).collect();
    for document in list.documents {
        if tell.send(Told::Line(WatchLine::Put(document))).await.is_err() {
            break;
        }
    }
    let _ = tell.send(Told::All(kind, names)).await;
    Ok(())
}
