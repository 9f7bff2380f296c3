//! Edge and gate with many requests under way: they share one connection, and none of them notices.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use proxy::Faces;
use support::{Backend, Client, PATIENCE, Relay, field, status};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Visitors at once.
const VISITORS: usize = 24;

/// A wire to a gate, which counts connections and can be cut.
struct Wire {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    cut: Arc<std::sync::Mutex<CancellationToken>>,
    task: JoinHandle<()>,
}

impl Wire {
    async fn to(gate: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, cut) = (Arc::<AtomicUsize>::default(), Arc::new(std::sync::Mutex::new(CancellationToken::new())));
        let (count, scissors) = (connections.clone(), cut.clone());
        let task = tokio::spawn(async move {
            loop {
                let (mut from, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Relaxed);
                let cut = scissors.lock().unwrap().clone();
                tokio::spawn(async move {
                    let Ok(mut to) = TcpStream::connect(gate).await else { return };
                    cut.run_until_cancelled(tokio::io::copy_bidirectional(&mut from, &mut to)).await;
                });
            }
        });
        Self { address, connections, cut, task }
    }

    fn count(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Ends every connection there is.
    fn cut(&self) {
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Visitors who ask many times each; every answer must be the one to its question.
async fn burst(edge: SocketAddr, each: usize) {
    burst_of(VISITORS, edge, each).await;
}

async fn burst_of(visitors: usize, edge: SocketAddr, each: usize) {
    let mut asking = JoinSet::new();
    for visitor in 0..visitors {
        asking.spawn(async move {
            let mut client = Client::connect(edge).await;
            for turn in 0..each {
                let path = format!("/of/{visitor}/{turn}");
                let (head, body) = client.get(&path).await.expect("an answer");
                assert_eq!(status(&head), 200, "{head}{body}");
                assert!(body.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{path} was answered by {body}");
            }
        });
    }
    while let Some(ended) = asking.join_next().await {
        ended.unwrap();
    }
}

fn trunks(relay: &Relay) -> u64 {
    let text = relay.server.metrics().text("x");
    let line = text.lines().find_map(|line| line.strip_prefix("x_trunks_total ")).unwrap();
    line.parse().unwrap()
}

/// Asks until there is a trunk.
async fn warm(edge: &Relay) {
    let (before, end) = (trunks(edge), Instant::now() + PATIENCE);
    while trunks(edge) == before {
        assert!(Instant::now() < end, "no trunk came");
        burst(edge.address, 5).await;
    }
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let backend = Backend::echo().await;
    let gate = Relay::with(&[backend.address], Faces::Edges, |_| {});
    let wire = Wire::to(gate.address).await;
    let edge = Relay::start(&[wire.address]);
    let mut client = edge.connect().await;
    client.get("/alone").await.unwrap();
    assert_eq!((wire.count(), trunks(&edge)), (1, 0), "a request alone needs none");
    warm(&edge).await;
    let before = wire.count();
    burst(edge.address, 50).await;
    assert_eq!((wire.count(), trunks(&edge), trunks(&gate)), (before, 1, 1), "no connection was made beside the trunk");
    // What must not be sent twice goes by itself; the connections from before the trunk are there for it.
    for _ in 0..3 {
        client.send("POST /post HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc").await;
        let (head, body) = client.answer().await.unwrap();
        assert!(status(&head) == 200 && body.ends_with("\r\n\r\nabc"), "{head}{body}");
    }
}

#[tokio::test]
async fn a_cut_trunk_fails_nothing_that_can_be_asked_again() {
    let asked = Arc::<AtomicUsize>::default();
    let seen = asked.clone();
    let backend = Backend::start(move |mut connection, _| {
        let seen = seen.clone();
        async move {
            while let Some((head, _)) = connection.request().await {
                seen.fetch_add(1, Relaxed);
                if head.contains("/late") {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                connection.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len())).await;
            }
        }
    })
    .await;
    let gate = Relay::with(&[backend.address], Faces::Edges, |_| {});
    let wire = Wire::to(gate.address).await;
    let edge = Relay::start(&[wire.address]);
    warm(&edge).await;
    let before = asked.load(Relaxed);
    let mut visitors = JoinSet::new();
    for visitor in 0..VISITORS {
        let mut client = edge.connect().await;
        visitors.spawn(async move {
            let (head, body) = client.get(&format!("/late/{visitor}")).await.expect("an answer");
            assert!(status(&head) == 200 && body.contains(&format!("/late/{visitor} ")), "{head}{body}");
        });
    }
    let end = Instant::now() + PATIENCE;
    while asked.load(Relaxed) < before + VISITORS {
        assert!(Instant::now() < end, "they do not reach the backend");
        tokio::task::yield_now().await;
    }
    wire.cut();
    while let Some(ended) = visitors.join_next().await {
        ended.unwrap();
    }
    assert!(asked.load(Relaxed) > before + VISITORS, "the cut came too late to matter");
    // And there is a new one.
    warm(&edge).await;
    assert_eq!(trunks(&edge), 2);
}

#[tokio::test]
async fn a_gate_that_stops_hands_over_without_a_failure() {
    let backend = Backend::echo().await;
    let gates = [(); 2].map(|()| Relay::with(&[backend.address], Faces::Edges, |_| {}));
    let edge = Relay::start(&[gates[0].address, gates[1].address]);
    let end = Instant::now() + PATIENCE;
    while trunks(&edge) < 2 {
        assert!(Instant::now() < end, "no trunk to each gate");
        burst(edge.address, 5).await;
    }
    let [mut first, second] = gates;
    let asking = tokio::spawn(burst(edge.address, 300));
    while first.server.metrics().in_flight() == 0 {
        assert!(!asking.is_finished());
        tokio::task::yield_now().await;
    }
    first.stop.cancel();
    asking.await.unwrap();
    // It does not wait for its time to be over: nobody holds on to its trunk.
    tokio::time::timeout(Duration::from_secs(15), &mut first.ended).await.expect("a stop that ends").unwrap().unwrap();
    burst(edge.address, 5).await;
    drop(second);
}

#[tokio::test]
async fn who_does_not_know_of_trunks_is_asked_once() {
    let hellos = Arc::<AtomicUsize>::default();
    let seen = hellos.clone();
    let backend = Backend::start(move |mut connection, _| {
        let seen = seen.clone();
        async move {
            let mut first = [0];
            if connection.stream.peek(&mut first).await.is_ok_and(|count| count == 1) && first[0] == 0 {
                seen.fetch_add(1, Relaxed);
                connection.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
                return;
            }
            while let Some((head, _)) = connection.request().await {
                connection.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len())).await;
            }
        }
    })
    .await;
    let edge = Relay::start(&[backend.address]);
    burst(edge.address, 100).await;
    burst(edge.address, 100).await;
    assert_eq!((hellos.load(Relaxed), trunks(&edge)), (1, 0));
}

/// A backend of answers that are long, that never end, or that end too early.
async fn odd() -> (Backend, Arc<AtomicUsize>) {
    let left = Arc::<AtomicUsize>::default();
    let seen = left.clone();
    let backend = Backend::start(move |mut connection, _| {
        let seen = seen.clone();
        async move {
            while let Some((head, _)) = connection.request().await {
                if head.contains("/long") {
                    connection.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n")).await;
                    for at in 0..LONG / PART {
                        connection.send_bytes(&vec![at as u8; PART]).await;
                    }
                } else if head.contains("/waits") {
                    connection.rest().await;
                    seen.fetch_add(1, Relaxed);
                    return;
                } else if head.contains("/cut") {
                    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
                    return;
                } else {
                    connection.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len())).await;
                }
            }
        }
    })
    .await;
    (backend, left)
}

const LONG: usize = 32 * 1024 * 1024;
const PART: usize = 64 * 1024;

#[tokio::test]
async fn a_visitor_who_takes_nothing_holds_up_nobody_and_gets_all_in_the_end() {
    let (backend, _) = odd().await;
    let gate = Relay::with(&[backend.address], Faces::Edges, |_| {});
    let edge = Relay::start(&[gate.address]);
    warm(&edge).await;
    let mut slow = edge.connect().await;
    slow.send("GET /long HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    let head = slow.until("\r\n\r\n").await.unwrap();
    assert_eq!(field(&head, "content-length").as_deref(), Some(LONG.to_string().as_str()));
    burst(edge.address, 50).await;
    for at in 0..LONG / PART {
        assert!(slow.octets(PART).await.unwrap().iter().all(|octet| *octet == at as u8), "part {at}");
    }
    assert_eq!(slow.get("/after").await.map(|(head, _)| status(&head)), Some(200));
}

#[tokio::test]
async fn a_visitor_who_leaves_ends_its_request_and_a_cut_answer_stays_cut() {
    let (backend, left) = odd().await;
    let gate = Relay::with(&[backend.address], Faces::Edges, |_| {});
    let edge = Relay::start(&[gate.address]);
    warm(&edge).await;
    let mut leaver = edge.connect().await;
    leaver.send("GET /waits HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    let end = Instant::now() + PATIENCE;
    while gate.server.metrics().in_flight() == 0 {
        assert!(Instant::now() < end, "it does not reach the gate");
        tokio::task::yield_now().await;
    }
    drop(leaver);
    while left.load(Relaxed) == 0 {
        assert!(Instant::now() < end, "the instance does not hear that the visitor left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut cut = edge.connect().await;
    cut.send("GET /cut HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    let got = cut.rest().await;
    assert!(got.ends_with("\r\n\r\nhalf"), "{got}");
    burst(edge.address, 5).await;
}

#[tokio::test]
async fn a_gate_takes_only_so_many_channels() {
    let backend = Backend::start(|mut connection, _| async move {
        while let Some((head, _)) = connection.request().await {
            if head.contains("/late") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            connection.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len())).await;
        }
    })
    .await;
    let gate = Relay::with(&[backend.address], Faces::Edges, |options| options.limits.connections = 30);
    let edge = Relay::start(&[gate.address]);
    let end = Instant::now() + PATIENCE;
    // Enough at once for a trunk, then more than there is room for.
    while trunks(&edge) == 0 {
        assert!(Instant::now() < end, "no trunk came");
        burst_of(6, edge.address, 5).await;
    }
    let mut visitors = JoinSet::new();
    for _ in 0..60 {
        let mut client = edge.connect().await;
        visitors.spawn(async move { client.get("/late").await.map(|(head, _)| status(&head)) });
    }
    let statuses: Vec<u16> = visitors.join_all().await.into_iter().flatten().collect();
    assert_eq!(statuses.len(), 60, "somebody got no answer");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
}
