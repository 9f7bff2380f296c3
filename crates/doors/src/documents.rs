//! Documents as they stand, and as they change.

use std::collections::BTreeMap;

use api::v1::{DocumentList, WatchLine};
use axum::extract::State;
use axum::response::Response;
use model::{Document, DocumentName, Kind, Revision};
use serde::Deserialize;
use store::{Event, Key, ListOptions, PageToken, Watch};
use tokio::sync::mpsc;

use crate::refusal::Refusal;
use crate::wire::{Json, KindAndName, Line, Name, Query, SIGN_OF_LIFE, fault, lines, shown};
use crate::{Doors, codes};

/// Documents of a page where the caller names no number, and the most of one page.
const PAGE: usize = 500;

/// Query of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    #[serde(default)]
    labels: String,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    page: String,
}

/// `GET /v1/documents/{plural}`
pub(crate) async fn list(State(doors): State<Doors>, Name(kind): Name<Kind>, Query(query): Query<ListQuery>) -> Result<Json<DocumentList>, Refusal> {
    let options = ListOptions {
        labels: labels(&query.labels)?,
        limit: Some(query.limit.unwrap_or(PAGE).clamp(1, PAGE)),
        page: if query.page.is_empty() { None } else { Some(token(&query.page)?) },
    };
    let page = doors.0.store.list(shown(kind)?, options).await?;
    let next = page.next.map(|next| format!("{}:{}", next.revision, next.after));
    Ok(Json(DocumentList { documents: page.documents, revision: page.revision, next }))
}

/// `a=b,c=d`
fn labels(text: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(codes::NOT_UNDERSTOOD.refuse(format!("labels={text}: {pair:?} is not of the form key=value"))),
    };
    text.split(',').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// `revision:name`
fn token(text: &str) -> Result<PageToken, Refusal> {
    let read = text
        .split_once(':')
        .and_then(|(revision, after)| Some(PageToken { revision: Revision(revision.parse().ok()?), after: DocumentName::new(after).ok()? }));
    read.ok_or_else(|| codes::NOT_UNDERSTOOD.refuse(format!("page={text}: not what an earlier page gave as `next`")))
}

/// `GET /v1/documents/{plural}/{name}`
pub(crate) async fn show(State(doors): State<Doors>, KindAndName(kind, name): KindAndName<DocumentName>) -> Result<Json<Document>, Refusal> {
    get(&doors, kind, &name).await.map(Json)
}

/// A document that must stand.
pub(crate) async fn get(doors: &Doors, kind: Kind, name: &DocumentName) -> Result<Document, Refusal> {
    let document = doors.0.store.get(&Key::new(kind, name.clone())).await?;
    document.ok_or_else(|| {
        let word = kind.as_str().to_lowercase();
        let refusal = codes::NOT_FOUND.refuse(format!("there is no {word} {name}"));
        match kind {
            Kind::Tenant | Kind::Cell | Kind::Operation => refusal.next(format!("atoll {word} list")),
            _ => refusal.next("atoll status"),
        }
    })
}

/// Query of a watch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchQuery {
    from: u64,
}

/// `GET /v1/watch/{plural}`
pub(crate) async fn watch(State(doors): State<Doors>, Name(kind): Name<Kind>, Query(query): Query<WatchQuery>) -> Result<Response, Refusal> {
    let watch = doors.0.store.watch(Some(shown(kind)?), Revision(query.from)).await?;
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(tell(doors, watch, sender));
    Ok(lines(receiver))
}

/// Passes events on until the reader is gone, the watch ends or the door closes.
async fn tell(doors: Doors, mut watch: Box<dyn Watch>, sender: mpsc::Sender<Line<WatchLine>>) {
    let mut alive = tokio::time::interval(SIGN_OF_LIFE);
    loop {
        let line = tokio::select! {
            () = doors.0.stop.cancelled() => return,
            () = sender.closed() => return,
            _ = alive.tick() => Line::SignOfLife,
            event = watch.next() => match event {
                Ok(Event::Put(document)) => Line::Value(WatchLine::Put(document)),
                Ok(Event::Gone(document)) => Line::Value(WatchLine::Gone(document)),
                Ok(Event::Bookmark(revision)) => Line::Value(WatchLine::Bookmark(revision)),
                Err(error) => {
                    // The last line; a reader that is gone needs none.
                    let _ = sender.send(Line::Value(WatchLine::End(fault(error.into())))).await;
                    return;
                }
            },
        };
        if sender.send(line).await.is_err() {
            return;
        }
    }
}
