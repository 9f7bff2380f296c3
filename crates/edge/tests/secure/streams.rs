//! What lasts, over TLS and in frames, when its tenant is held or its edge stops.

use http::{Request, StatusCode};

use super::*;

/// What still comes of a body, to its orderly end.
async fn rest(body: &mut h2::RecvStream) -> String {
    let rest = async {
        let mut rest = Vec::new();
        while let Some(data) = body.data().await {
            rest.extend_from_slice(&data.expect("no reset"));
        }
        String::from_utf8(rest).unwrap()
    };
    tokio::time::timeout(PATIENCE, rest).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_event_streams_in_frames_in_order_and_the_connection_goes_on() {
    let world = World::serving().await;
    let stream = world.visit_speaking("shop.example", b"h2").await.unwrap();
    let (sender, connection): (h2::client::SendRequest<bytes::Bytes>, _) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let (answer, _) = sender.send_request(Request::get("https://shop.example/events").body(()).unwrap(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    let first = body.data().await.unwrap().unwrap();
    assert_eq!(first, "data: 1\n\n");
    world.hold();
    let rest = rest(&mut body).await;
    assert!(rest.starts_with("retry: ") && rest.ends_with("\n\n"), "{rest:?}");
    let mut sender = sender.ready().await.unwrap();
    let (answer, _) = sender.send_request(Request::get("https://nobody.example/").body(()).unwrap(), true).unwrap();
    assert!(answer.await.is_ok(), "only the stream has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_a_stream_among_others_and_ends_with_a_word() {
    let world = World::serving().await;
    let stream = world.visit_speaking("shop.example", b"h2").await.unwrap();
    let (sender, connection): (h2::client::SendRequest<bytes::Bytes>, _) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    // An answer to anything says that the edge's settings have come.
    let (answer, _) = sender.send_request(Request::get("https://shop.example/").body(()).unwrap(), true).unwrap();
    assert!(answer.await.is_ok() && sender.is_extended_connect_protocol_enabled());
    let ask = |protocol: &'static str, path: &str| {
        let ask = Request::builder().method("CONNECT").uri(format!("https://shop.example{path}")).header("sec-websocket-version", "13");
        ask.extension(h2::ext::Protocol::from_static(protocol)).body(()).unwrap()
    };
    let mut sender = sender.ready().await.unwrap();
    let (refused, _) = sender.send_request(ask("other", "/up"), false).unwrap();
    assert_eq!(refused.await.unwrap().status(), StatusCode::NOT_IMPLEMENTED);
    let mut sender = sender.ready().await.unwrap();
    // The tenant answers as to any request: passed on, its 200 would say that the tunnel is there.
    let (shut, _) = sender.send_request(ask("websocket", "/shut"), false).unwrap();
    assert_eq!(shut.await.unwrap().status(), StatusCode::BAD_GATEWAY);
    let mut sender = sender.ready().await.unwrap();
    let (answer, mut up) = sender.send_request(ask("websocket", "/up"), false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!((answer.status(), answer.headers().contains_key("upgrade")), (StatusCode::OK, false));
    let mut down = answer.into_body();
    for word in ["hello", "again"] {
        let frame = [&[0x81, 5], word.as_bytes()].concat();
        up.send_data(frame.clone().into(), false).unwrap();
        let mut back = Vec::new();
        while back.len() < frame.len() {
            back.extend_from_slice(&tokio::time::timeout(PATIENCE, down.data()).await.unwrap().unwrap().unwrap());
        }
        assert_eq!(back, frame);
    }
    world.hold();
    let rest = async {
        let mut rest = Vec::new();
        while let Some(data) = down.data().await {
            rest.extend_from_slice(&data.expect("no reset"));
        }
        rest
    };
    let word = tokio::time::timeout(PATIENCE, rest).await.unwrap();
    assert_eq!((word[0], &word[2..4], word.len()), (0x88, &[0x03, 0xf4][..], 2 + usize::from(word[1])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_sockets_over_tls_with_a_word() {
    let world = World::serving().await;
    let mut stream = world.visit("shop.example").await.unwrap();
    stream.write_all(b"GET /up HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    world.hold();
    let mut word = Vec::new();
    // Nothing but the word, and then the end, though this visitor never answers.
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut word)).await.unwrap().unwrap();
    assert_eq!((word[0], &word[2..4], word.len()), (0x88, &[0x03, 0xf4][..], 2 + usize::from(word[1])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_stops_ends_streams_in_frames_in_order() {
    let world = World::new().await;
    world.book.put(vec![("shop".to_owned(), certificate(&["shop.example"]))]).unwrap();
    let stop = world.start("one").await;
    world.served().await;
    let stream = world.visit_speaking("shop.example", b"h2").await.unwrap();
    let (sender, connection): (h2::client::SendRequest<bytes::Bytes>, _) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let (answer, _) = sender.send_request(Request::get("https://shop.example/events").body(()).unwrap(), true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "data: 1\n\n");
    stop.cancel();
    let rest = rest(&mut body).await;
    assert!(rest.starts_with("retry: ") && rest.ends_with("\n\n"), "{rest:?}");
    tokio::time::timeout(PATIENCE, connection).await.unwrap().unwrap().expect("the connection ends in order");
}
