//! The access log of a relay between real sockets, through an edge and a gate.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use proxy::{AccessLog, Faces};
use serde_json::Value;
use support::{Backend, PATIENCE, Relay, status};

/// What was written, by the id of the request.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn lines(&self) -> BTreeMap<String, Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).map(|line| (line["id"].as_str().unwrap().to_owned(), line)).collect()
    }

    async fn until(&self, last: &str) -> BTreeMap<String, Value> {
        let seen = async {
            loop {
                let lines = self.lines();
                if lines.values().any(|line| line["path"] == last) {
                    return lines;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap()
    }
}

#[tokio::test]
async fn a_sampled_log_chooses_the_same_at_edge_and_gate_and_leaves_no_failure_out() {
    let many = |options: &mut proxy::Options| options.log_one_in = NonZeroU32::new(4).unwrap();
    let backend = Backend::echo().await;
    let (at_edge, at_gate) = (Written::default(), Written::default());
    let gate = Relay::logging(&[backend.address], Faces::Edges, AccessLog::to(at_gate.clone()).unwrap(), many);
    let edge = Relay::logging(&[gate.address], Faces::Visitors, AccessLog::to(at_edge.clone()).unwrap(), many);
    let mut client = edge.connect().await;
    for n in 0..200 {
        let (head, _) = client.get(&format!("/{n}")).await.unwrap();
        assert_eq!(status(&head), 200);
    }
    // A page of the edge's own names a reason: never left out.
    for _ in 0..10 {
        let (head, _) = client.get("/page").await.unwrap();
        assert!(status(&head) >= 400);
    }
    let (edges, failed): (BTreeMap<_, _>, BTreeMap<_, _>) = at_edge.until("/page").await.into_iter().partition(|(_, line)| line["reason"].is_null());
    assert!(failed.values().all(|line| line["one_in"].is_null()), "{failed:?}");
    // About a quarter; half and twice that are far out of chance.
    assert!((25..100).contains(&edges.len()), "{} lines", edges.len());
    assert!(edges.values().all(|line| line["one_in"] == 4), "{edges:?}");
    let last = edges.values().max_by_key(|line| line["time"].as_str().unwrap().to_owned()).unwrap();
    let gates = at_gate.until(last["path"].as_str().unwrap()).await;
    assert_eq!(edges.keys().collect::<Vec<_>>(), gates.keys().collect::<Vec<_>>());
    for (id, line) in &edges {
        assert_eq!(line["trace"], gates[id]["trace"]);
        assert_ne!(line["span"], gates[id]["span"]);
    }
    // The log's thread writes a page as one: all ten of the edge's own are there once none is missing.
    let ten = async {
        while at_edge.lines().values().filter(|line| line["path"] == "/page").count() < 10 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ten).await.unwrap();
}

#[tokio::test]
async fn a_tunnels_line_names_its_request_and_counts_its_octets() {
    let backend = Backend::start(|mut connection, _| async move {
        connection.until("\r\n\r\n").await.unwrap();
        connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly").await;
        let word = connection.exactly(4).await.unwrap();
        connection.send(&word.to_uppercase()).await;
    })
    .await;
    let written = Written::default();
    let relay = Relay::logging(&[backend.address], Faces::Visitors, AccessLog::to(written.clone()).unwrap(), |_| {});
    let mut client = relay.connect().await;
    client.send("GET /chat HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(status(&client.until("\r\n\r\n").await.unwrap()), 101);
    assert_eq!(client.exactly(5).await.unwrap(), "early");
    client.send("ping").await;
    assert_eq!(client.rest().await, "PING");
    // Its line is written once both sides have ended.
    drop(client);
    let lines = written.until("/chat").await;
    let line = lines.values().next().unwrap();
    assert_eq!((&line["method"], &line["host"], &line["status"]), (&"GET".into(), &"shop.example".into(), &101.into()), "{line}");
    assert_eq!((&line["request_bytes"], &line["response_bytes"]), (&4.into(), &9.into()), "{line}");
}
