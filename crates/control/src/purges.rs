//! The feed of purges: what edges are to forget of what they keep.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::routing::get;
use cache::orders::{Line, Orders};
use futures::stream;
use serde::Deserialize;
use tokio::sync::watch;

/// How often a silent feed says that it is alive.
const ALIVE: Duration = Duration::from_secs(5);

/// One edge that follows.
struct Reader {
    orders: Arc<Orders>,
    changes: watch::Receiver<u64>,
    place: Option<(String, u64)>,
    pending: VecDeque<Line>,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<String, serde_json::Error>> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                match &line {
                    Line::Begin { incarnation, number } => self.place = Some((incarnation.clone(), *number)),
                    Line::Order(order) => self.place = Some((self.orders.incarnation().to_owned(), order.number)),
                    Line::Alive => {}
                }
                return Some(serde_json::to_string(&line).map(|line| line + "\n"));
            }
            self.changes.borrow_and_update();
            let (incarnation, after) = self.place.as_ref().map_or(("", None), |(incarnation, number)| (incarnation.as_str(), Some(*number)));
            self.pending.extend(self.orders.after(incarnation, after));
            if !self.pending.is_empty() {
                continue;
            }
            match tokio::time::timeout(ALIVE, self.changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => self.pending.push_back(Line::Alive),
            }
        }
    }
}

#[derive(Deserialize)]
struct From {
    after: Option<u64>,
    #[serde(default)]
    incarnation: String,
}

/// `GET /v1/purges?after=&incarnation=` (JSON lines). To be served over mutual TLS to edges only.
pub fn router(orders: Arc<Orders>) -> Router {
    async fn lines(State(orders): State<Arc<Orders>>, Query(query): Query<From>) -> axum::response::Response {
        let (changes, place) = (orders.changes(), query.after.map(|after| (query.incarnation, after)));
        let lines = stream::unfold(Reader { orders, changes, place, pending: VecDeque::new() }, |mut reader| async move {
            let line = reader.next().await?;
            Some((line, reader))
        });
        let mut response = axum::response::Response::new(Body::from_stream(lines));
        response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/jsonl"));
        response
    }
    Router::new().route("/v1/purges", get(lines)).with_state(orders)
}
