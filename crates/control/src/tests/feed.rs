//! The route feed's source, also over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use http::{Request, StatusCode};
use model::{Epoch, Generation};
use routes::{EdgeApplied, HostPattern, Line, Record, RouteState, TableHash};
use tower::ServiceExt as _;

use super::support::name;
use crate::{RouteFeed, router};

fn record(host: &str, epoch: u64) -> Record {
    let host = HostPattern::new(host).unwrap();
    Record { host, tenant: name("t"), cell: name("a"), epoch: Epoch(epoch), state: RouteState::Open, redirect: None, class: None }
}

fn publish(feed: &RouteFeed, records: Vec<Record>) -> Generation {
    feed.publish("life", Generation(1000), Vec::new(), records).0
}

fn applied(generation: Generation, hash: TableHash) -> EdgeApplied {
    EdgeApplied { incarnation: "life".to_owned(), generation, hash, refused: Vec::new(), halted: None }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_the_first_publication_then_snapshot_deltas_and_signs_of_life() {
    let feed = RouteFeed::new();
    let mut lines = Box::pin(feed.follow(None, String::new()));
    assert!(tokio::time::timeout(Duration::from_secs(60), lines.next()).await.is_err());
    let first = publish(&feed, vec![record("a.example", 1)]);
    let Some(Line::Snapshot(snapshot)) = lines.next().await else { panic!("a snapshot comes first") };
    assert_eq!((snapshot.generation, snapshot.records.len()), (first, 1));
    let second = publish(&feed, vec![record("a.example", 2)]);
    let Some(Line::Delta(delta)) = lines.next().await else { panic!("then deltas") };
    assert_eq!((delta.from, delta.to), (first, second));
    assert_eq!(publish(&feed, vec![record("a.example", 2)]), second, "the same is not published again");
    let Some(Line::Alive { generation, .. }) = lines.next().await else { panic!("then a sign of life") };
    assert_eq!(generation, second);
    let mut late = Box::pin(feed.follow(Some(first), "life".to_owned()));
    assert!(matches!(late.next().await, Some(Line::Delta(_))));
    let mut other = Box::pin(feed.follow(Some(first), "another life".to_owned()));
    assert!(matches!(other.next().await, Some(Line::Snapshot(_))));
}

#[tokio::test(start_paused = true)]
async fn edges_are_waited_for_but_not_for_ever() {
    let feed = RouteFeed::new();
    let first = publish(&feed, vec![record("a.example", 1)]);
    assert!(feed.settled(first), "nobody follows");
    let _reader = feed.follow(None, String::new());
    let hash = feed.stands().unwrap().1;
    feed.applied("e1", applied(first, hash));
    let second = publish(&feed, vec![record("a.example", 2)]);
    assert!(!feed.settled(second));
    feed.applied("e1", applied(second, hash));
    assert!(feed.settled(second));
    let third = publish(&feed, vec![record("a.example", 3)]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(feed.settled(third), "an edge that does not follow is not waited for");
    let fourth = publish(&feed, vec![record("a.example", 4)]);
    assert!(feed.settled(fourth), "nor later, until it reports again");
}

#[tokio::test]
async fn over_http_lines_come_and_reports_go() {
    let feed = RouteFeed::new();
    let generation = publish(&feed, vec![record("a.example", 1)]);
    let router = router(Arc::clone(&feed));
    let request = Request::get("/v1/routes?incarnation=").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body().into_data_stream();
    let line = Line::decode(&body.next().await.unwrap().unwrap()).unwrap();
    assert!(matches!(line, Line::Snapshot(snapshot) if snapshot.generation == generation));
    let report = serde_json::to_vec(&applied(generation, feed.stands().unwrap().1)).unwrap();
    let request = Request::post("/v1/edges/e1/applied").header("content-type", "application/json").body(Body::from(report)).unwrap();
    assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(feed.edges()["e1"].applied.generation, generation);
}
