//! Answers that an edge keeps: as the route says, until control says otherwise.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use cache::Purge;
use cache::orders::Line;
use model::v1alpha1::{EdgeCache, EdgeSpec};
use routes::{HostPattern, Record, RouteState};
use tokio_stream::StreamExt as _;

use super::{Control, PATIENCE, World, cell, end, gate, record};

/// How far an edge has heard.
#[derive(serde::Deserialize)]
pub struct Heard {
    after: Option<u64>,
    #[serde(default)]
    incarnation: String,
}

/// Control's orders, as an edge hears them.
pub async fn purges(State(control): State<Arc<Control>>, Query(mut heard): Query<Heard>) -> Response {
    let orders = control.orders.lock().unwrap().clone();
    let lines = tokio_stream::wrappers::WatchStream::new(orders.changes()).map(move |_| {
        let mut text = String::new();
        for line in orders.after(&heard.incarnation, heard.after) {
            match &line {
                Line::Begin { incarnation, number } => heard = Heard { after: Some(*number), incarnation: incarnation.clone() },
                Line::Order(order) => heard.after = Some(order.number),
                Line::Alive => {}
            }
            text += &(serde_json::to_string(&line).unwrap() + "\n");
        }
        Ok::<_, std::io::Error>(text)
    });
    Response::new(Body::from_stream(lines))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_kept_as_the_route_says_and_forgotten_by_order() {
    let (address, _gate) = gate(|_, count| {
        let body = format!("answer {count}");
        format!("200 OK\r\nCache-Control: max-age=600\r\nCache-Tag: news\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    })
    .await;
    let world = World::new().await;
    let running = world.start("e1");
    world.ready("e1").await;
    let mut kept = record("kept.example", "a", 1, RouteState::Open);
    kept.edge.cache = EdgeCache::On;
    let other = Record { host: HostPattern::new("other.example").unwrap(), edge: EdgeSpec::default(), ..kept.clone() };
    world.control.publish(&[cell("a", 1, &[address])], vec![kept, other]);
    let first = body(&world.get_until("kept.example", 200).await);
    // What the edge kept before it heard control's orders for the first time is forgotten then.
    let settled = async {
        let mut last = first;
        loop {
            let next = body(&world.get("kept.example").await.1);
            if next == last && world.get("kept.example").await.1.contains("Cache-Status: atoll; hit") {
                return last;
            }
            last = next;
        }
    };
    let first = tokio::time::timeout(PATIENCE, settled).await.unwrap();
    let others = [body(&world.get("other.example").await.1), body(&world.get("other.example").await.1)];
    assert_ne!(others[0], others[1], "this one's blueprint keeps nothing");
    let forgotten = async |last: String| {
        let changed = async {
            loop {
                let now = body(&world.get("kept.example").await.1);
                if now != last {
                    return now;
                }
            }
        };
        tokio::time::timeout(PATIENCE, changed).await.unwrap()
    };
    let give = |tenant: &str, purge: Purge| world.control.orders.lock().unwrap().give(tenant, purge);
    give("others", Purge::All);
    give("acme", Purge::Tag("sports".to_owned()));
    give("acme", Purge::Tag("news".to_owned()));
    let second = forgotten(first).await;
    give("acme", Purge::At { host: "kept.example".to_owned(), target: "/".to_owned() });
    forgotten(second).await;
    end(running).await;
}

fn body(answer: &str) -> String {
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
