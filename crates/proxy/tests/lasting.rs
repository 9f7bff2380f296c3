//! What lasts and is told to end, between real sockets.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::{Duration, Instant};

use proxy::Faces;
use support::{Backend, PATIENCE, Relay, field, status};

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A backend that sends one text, and then listens until the end.
async fn saying(text: &'static [u8]) -> Backend {
    Backend::start(move |mut connection, _| async move {
        connection.until("\r\n\r\n").await.unwrap();
        connection.send_bytes(text).await;
        while connection.more().await {}
    })
    .await
}

#[tokio::test]
async fn a_frame_that_stays_unfinished_is_cut_and_none_is_split_by_a_word_of_ours() {
    let backend = saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05he").await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    client.send(UPGRADE).await;
    assert_eq!(status(&client.until("\r\n\r\n").await.unwrap()), 101);
    assert!(client.exactly(4).await.unwrap().ends_with("\u{5}he"));
    let began = Instant::now();
    relay.decide.end.cancel();
    assert_eq!(client.rest().await, "", "no word stands within a frame");
    assert!((Duration::from_secs(1)..PATIENCE / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn another_protocol_just_ends_and_downloads_do_not() {
    let backend = saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhi").await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    client.send(&UPGRADE.replace("websocket", "x")).await;
    assert_eq!(status(&client.until("\r\n\r\n").await.unwrap()), 101);
    assert_eq!(client.exactly(2).await.unwrap(), "hi");
    relay.decide.end.cancel();
    assert_eq!(client.rest().await, "");

    let backend = Backend::start(|mut connection, _| async move {
        connection.until("\r\n\r\n").await.unwrap();
        connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        connection.send("3\r\nend\r\n0\r\n\r\n").await;
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    relay.decide.end.cancel();
    assert_eq!(relay.connect().await.get("/").await.unwrap().1, "hiend");
}

#[tokio::test]
async fn a_silent_event_stream_ends_at_once_in_order_and_the_visitors_connection_stays() {
    let backend = saying(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = client.until("\r\n\r\n").await.unwrap();
    assert_eq!(field(&head, "transfer-encoding").as_deref(), Some("chunked"));
    relay.decide.end.cancel();
    let body = client.until("0\r\n\r\n").await.unwrap();
    assert!(body.contains("retry: ") && body.ends_with("\n\n\r\n0\r\n\r\n"), "{body:?}");
    // The upstream's connection, which is within an answer, is not used again.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&client.until("\r\n\r\n").await.unwrap()), 200);
    assert!(client.until("0\r\n\r\n").await.unwrap().contains("retry: "), "it begins when it is to end already");
}

#[tokio::test]
async fn an_event_that_stays_unfinished_ends_without_a_word() {
    let text = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n";
    let backend = saying(text).await;
    let relay = Relay::with(&[backend.address], Faces::Edges, |_| {});
    let mut client = relay.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.until("data: 1\n\r\n").await.unwrap();
    let began = Instant::now();
    relay.decide.end.cancel();
    assert_eq!(client.until("0\r\n\r\n").await.unwrap(), "0\r\n\r\n");
    assert!((Duration::from_secs(1)..PATIENCE / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}
