//! The route feed's source, also over HTTP.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::{Stream, StreamExt as _};
use http::{Request, StatusCode};
use model::{Epoch, Generation};
use routes::{EdgeApplied, HostPattern, Line, Record, RouteState, TableHash};
use tower::ServiceExt as _;

use super::support::name;
use crate::feed::Text;
use crate::{RouteFeed, router};

fn record(host: &str, epoch: u64) -> Record {
    let host = HostPattern::new(host).unwrap();
    Record {
        host,
        tenant: name("t"),
        cell: name("a"),
        epoch: Epoch(epoch),
        state: RouteState::Open,
        redirect: None,
        class: None,
        edge: model::v1alpha1::EdgeSpec::default(),
    }
}

/// What a reader is told, line by line.
fn lines(feed: &Arc<RouteFeed>, name: &str, from: Option<Generation>, incarnation: &str) -> Pin<Box<impl Stream<Item = Line> + use<>>> {
    let texts = feed.follow(name, from, incarnation.to_owned(), !name.is_empty());
    let lines = texts.flat_map(|Text(text)| {
        let lines: Vec<_> = text.unwrap().lines().map(|line| Line::decode(line.as_bytes()).unwrap()).collect();
        futures::stream::iter(lines)
    });
    Box::pin(lines)
}

fn publish(feed: &RouteFeed, records: Vec<Record>) -> Generation {
    let key = routes::CellKey::new([1; 32]);
    let cell = routes::CellEndpoint { cell: name("a"), gates: Vec::new(), key_id: routes::KeyId::new("k1").unwrap(), key };
    feed.publish("life", Generation(1000), vec![cell], records).0
}

fn applied(generation: Generation, hash: TableHash) -> EdgeApplied {
    EdgeApplied { incarnation: "life".to_owned(), generation, hash, refused: Vec::new(), halted: None }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_the_first_publication_then_snapshot_deltas_and_signs_of_life() {
    let feed = RouteFeed::new();
    let mut told = lines(&feed, "", None, "");
    assert!(tokio::time::timeout(Duration::from_secs(60), told.next()).await.is_err());
    let first = publish(&feed, vec![record("a.example", 1)]);
    let Some(Line::Snapshot(snapshot)) = told.next().await else { panic!("a snapshot comes first") };
    assert_eq!((snapshot.generation, snapshot.records.len()), (first, 1));
    let second = publish(&feed, vec![record("a.example", 2)]);
    let Some(Line::Delta(delta)) = told.next().await else { panic!("then deltas") };
    assert_eq!((delta.from, delta.to), (first, second));
    assert_eq!(publish(&feed, vec![record("a.example", 2)]), second, "the same is not published again");
    let Some(Line::Alive { generation, .. }) = told.next().await else { panic!("then a sign of life") };
    assert_eq!(generation, second);
    let mut late = lines(&feed, "", Some(first), "life");
    assert!(matches!(late.next().await, Some(Line::Delta(_))));
    let mut other = lines(&feed, "", Some(first), "another life");
    assert!(matches!(other.next().await, Some(Line::Snapshot(_))));
}

#[tokio::test(start_paused = true)]
async fn edges_are_waited_for_but_not_for_ever() {
    let feed = RouteFeed::new();
    let first = publish(&feed, vec![record("a.example", 1)]);
    assert!(feed.settled(first), "nobody follows");
    let _reader = lines(&feed, "", None, "");
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
    assert!(matches!(line, Line::Snapshot(snapshot) if snapshot.generation == generation), "one line for those who know no parts");
    let report = serde_json::to_vec(&applied(generation, feed.stands().unwrap().1)).unwrap();
    let request = Request::post("/v1/edges/e1/applied").header("content-type", "application/json").body(Body::from(report)).unwrap();
    assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(feed.edges()["e1"].applied.generation, generation);
}

/// The next line, or none for a while.
async fn soon(lines: &mut (impl Stream<Item = Line> + Unpin)) -> Option<Line> {
    tokio::time::timeout(Duration::from_millis(50), lines.next()).await.ok().flatten()
}

#[tokio::test]
async fn a_change_goes_to_one_edge_and_to_the_others_once_that_one_has_it() {
    let feed = RouteFeed::new();
    let first = publish(&feed, vec![record("a.example", 1)]);
    let mut one = lines(&feed, "e1", None, "");
    let Some(Line::Begin(begin)) = one.next().await else { panic!("a whole table in parts") };
    assert!((begin.generation, begin.records) == (first, 1));
    assert!(matches!(one.next().await, Some(Line::Part(records)) if records.len() == 1));
    assert_eq!(one.next().await, Some(Line::End));
    let mut two = lines(&feed, "e2", None, "");
    assert_eq!(soon(&mut two).await, None, "e1 has not applied it yet");
    feed.applied("e1", applied(first, feed.stands().unwrap().1));
    assert!(matches!(two.next().await, Some(Line::Begin(_))));
    let second = publish(&feed, vec![record("a.example", 2)]);
    assert!(matches!(one.next().await, Some(Line::Delta(delta)) if delta.to == second));
    assert!(matches!(two.next().await, Some(Line::Part(_))) && matches!(two.next().await, Some(Line::End)));
    assert_eq!(soon(&mut two).await, None, "nobody has applied it yet");
    let mut refuses = applied(first, TableHash::default());
    refuses.halted = Some("does not parse".to_owned());
    feed.applied("e1", refuses);
    assert!(feed.stopped().is_some_and(|why| why.contains("does not parse")));
    assert!(soon(&mut two).await.is_none() && !feed.settled(second), "it is stopped");
    let third = publish(&feed, vec![record("a.example", 3)]);
    assert_eq!(feed.stopped(), None);
    assert!(matches!(one.next().await, Some(Line::Delta(delta)) if delta.to == third));
    assert_eq!(soon(&mut two).await, None);
    feed.applied("e1", applied(third, feed.stands().unwrap().1));
    let mut to = Vec::new();
    while let Some(Line::Delta(delta)) = soon(&mut two).await {
        to.push(delta.to);
    }
    assert_eq!(to, [second, third]);
}

#[tokio::test(start_paused = true)]
async fn two_lost_edges_stop_a_change() {
    let feed = RouteFeed::new();
    let first = publish(&feed, vec![record("a.example", 1)]);
    let edges: Vec<_> = ["e1", "e2", "e3"].map(|name| lines(&feed, name, Some(first), "life")).into();
    feed.applied("e1", applied(first, feed.stands().unwrap().1));
    let second = publish(&feed, vec![record("a.example", 2)]);
    let mut edges = edges.into_iter();
    let mut one = edges.next().unwrap();
    assert!(matches!(one.next().await, Some(Line::Delta(delta)) if delta.to == second));
    drop(one);
    let mut two = edges.next().unwrap();
    assert!(matches!(two.next().await, Some(Line::Delta(delta)) if delta.to == second), "another one is tried");
    let mut three = edges.next().unwrap();
    // The second says nothing: time passes while the third waits.
    assert!(tokio::time::timeout(Duration::from_secs(4), three.next()).await.is_err());
    assert!(feed.stopped().is_some());
}

#[tokio::test]
async fn single_changes_cost_no_whole_table() {
    let feed = RouteFeed::new();
    assert!(feed.change(Vec::new()).is_none(), "nothing stands yet");
    publish(&feed, vec![record("a.example", 1)]);
    let bad = routes::Record { cell: name("nowhere"), ..record("b.example", 1) };
    let (generation, refused) =
        feed.change(vec![routes::Change::SetRecord(bad), routes::Change::RemoveRecord(HostPattern::new("a.example").unwrap())]).unwrap();
    assert_eq!((generation, refused.len()), (Generation(1001), 1));
    assert!(feed.snapshot().unwrap().records.is_empty());
}
