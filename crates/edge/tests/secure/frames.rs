//! The same door, spoken to in frames.

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::{Method, Request, Response, StatusCode};

use super::*;

/// A visitor who speaks HTTP/2, and what becomes of the connection.
async fn visit(world: &World) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = world.visit_speaking("shop.example", b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://shop.example{path}"))
}

async fn whole(response: Response<h2::RecvStream>) -> (Response<()>, Vec<u8>) {
    let (parts, mut body) = response.into_parts();
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    (Response::from_parts(parts, ()), all)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_answers_pass_whole_and_side_by_side() {
    let world = World::serving().await;
    let (sender, _connection) = visit(&world).await;
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut all = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (mut sender, body) = (sender.clone().ready().await.unwrap(), body.clone());
        all.spawn(async move {
            // The gate below reads bodies by their length only.
            let post = request(Method::POST, "/echo").header("content-length", body.len()).body(()).unwrap();
            let (answer, mut up) = sender.send_request(post, false).unwrap();
            let sent = Bytes::from(body.clone());
            let sending = tokio::spawn(async move {
                let mut left = sent;
                while !left.is_empty() {
                    up.reserve_capacity(left.len());
                    let room = std::future::poll_fn(|cx| up.poll_capacity(cx)).await.unwrap().unwrap();
                    let part = left.split_to(room.min(left.len()));
                    up.send_data(part, left.is_empty()).unwrap();
                }
            });
            let (answer, got) = whole(answer.await.unwrap()).await;
            sending.await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(got == body, "request {n}: every octet in its place");
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    let mut sender = sender.ready().await.unwrap();
    let get = request(Method::GET, "/a?b=c").header("cookie", "a=1").header("cookie", "b=2").header("x-forwarded-proto", "http").body(()).unwrap();
    let (answer, _) = sender.send_request(get, true).unwrap();
    let (answer, told) = whole(answer.await.unwrap()).await;
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\n"), "{told}");
    assert!(told.contains("ookie: a=1; b=2\r\n") && told.contains("X-Forwarded-Proto: https\r\n"), "{told}");
    assert!(!answer.headers().contains_key("connection"), "{answer:?}");
    let (answer, _) =
        sender.ready().await.unwrap().send_request(request(Method::GET, "/").header("host", "other.example").body(()).unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::BAD_REQUEST, "two hosts in one request");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_compressed_in_frames_and_under_tls_alone() {
    let world = World::serving().await;
    let (mut sender, _connection) = visit(&world).await;
    let long = "x".repeat(2000);
    let ask = request(Method::GET, "/").header("accept-encoding", "gzip").header("x-answer-type", "text/plain").header("x-long", &long);
    let (answer, _) = sender.send_request(ask.body(()).unwrap(), true).unwrap();
    let (head, body) = whole(answer.await.unwrap()).await;
    assert!(head.headers()["content-encoding"] == "gzip" && !head.headers().contains_key("content-length"), "{head:?}");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).unwrap();
    assert!(text.contains(&long) && text.contains("accept-encoding: gzip") && body.len() < 1000, "{} octets: {text}", body.len());
    let mut stream = world.visit("shop.example").await.unwrap();
    let lines = format!("accept-encoding: br\r\nx-answer-type: text/plain\r\nx-long: {long}\r\nConnection: close");
    let answer = super::ask(&mut stream, &format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{lines}\r\n\r\n")).await;
    assert!(answer.contains("Content-Encoding: br\r\n") && !answer.contains(&long), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_back_what_it_asks_for_is_sent_away() {
    let world = World::serving().await;
    let (sender, connection) = visit(&world).await;
    let mut sender = sender.ready().await.unwrap();
    // How many of these the edge sees before it hangs up is a matter of who runs when.
    for _ in 0..2000 {
        let Ok(ready) = sender.clone().ready().await else { break };
        sender = ready;
        let Ok((answer, mut up)) = sender.send_request(request(Method::POST, "/").header("content-length", 9).body(()).unwrap(), false) else {
            break;
        };
        up.send_reset(Reason::CANCEL);
        drop(answer);
    }
    let ended = tokio::time::timeout(PATIENCE, connection).await;
    let error = ended.expect("two thousand requests are taken back, and somebody minds").unwrap().expect_err("it ends with an error");
    // One that still writes when the edge hangs up may see that before it reads why.
    assert!(error.reason() == Some(Reason::ENHANCE_YOUR_CALM) || error.is_io(), "{error}");
    world.served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_refused() {
    let world = World::serving().await;
    let (mut sender, _connection) = visit(&world).await;
    let mut long = request(Method::GET, "/");
    for n in 0..200 {
        long = long.header(format!("x-{n}"), "v".repeat(1000));
    }
    let answer = match sender.send_request(long.body(()).unwrap(), true) {
        Ok((answer, _)) => answer.await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        // One that still writes when the edge hangs up may see that before it reads why.
        Err(error) => assert!(error.is_reset() || error.is_go_away() || error.is_io(), "{error}"),
    }
    world.served().await;
}
