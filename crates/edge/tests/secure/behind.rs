//! The same doors, behind a balancer.

use edge::Behind;
use http::Request;

use super::*;

const PREAMBLE: &[u8] = b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n";

/// The balancer connects from the address that the kernel chooses for this machine's own ones.
async fn world(preamble: bool) -> World {
    let world = World::new().await;
    world.book.put(vec![("shop".to_owned(), certificate(&["shop.example"]))]).unwrap();
    world.start_behind("one", Some(Behind { networks: vec!["127.0.0.1/32".parse().unwrap()], preamble })).await;
    world
}

async fn announced(world: &World, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut tcp = TcpStream::connect((world.at, 8443)).await?;
    tcp.write_all(PREAMBLE).await?;
    world.shake("shop.example", protocol, tcp).await
}

/// What the gate is told by a request in frames.
async fn told(sender: &mut h2::client::SendRequest<bytes::Bytes>, forwarded: Option<&str>) -> String {
    let mut request = Request::builder().uri("https://shop.example/");
    if let Some(forwarded) = forwarded {
        request = request.header("x-forwarded-for", forwarded);
    }
    let (answer, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let mut seen = Vec::new();
    while let Some(data) = body.data().await {
        seen.extend_from_slice(&data.unwrap());
    }
    String::from_utf8(seen).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preamble_comes_before_the_handshake() {
    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n";
    let world = world(true).await;
    eventually("served with a preamble", async || match announced(&world, b"http/1.1").await {
        Ok(mut stream) => ask(&mut stream, REQUEST).await.contains("X-Forwarded-For: 203.0.113.9\r\n"),
        Err(_) => false,
    })
    .await;
    let (mut sender, connection) = h2::client::handshake(announced(&world, b"h2").await.unwrap()).await.unwrap();
    let connection = tokio::spawn(connection);
    let seen = told(&mut sender, Some("6.6.6.6")).await;
    assert!(seen.contains("X-Forwarded-For: 203.0.113.9\r\n") && !seen.contains("6.6.6.6"), "{seen}");
    connection.abort();
    assert!(world.visit("shop.example").await.is_err(), "a handshake is no preamble");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_one_connection_are_of_many_visitors() {
    let world = world(false).await;
    world.served().await;
    let (mut sender, connection) = h2::client::handshake(world.visit_speaking("shop.example", b"h2").await.unwrap()).await.unwrap();
    let connection = tokio::spawn(connection);
    for (forwarded, client) in [(Some("203.0.113.9"), "203.0.113.9"), (Some("6.6.6.6, 203.0.113.8, 127.0.0.1"), "203.0.113.8"), (None, "127.0.0.1")] {
        let seen = told(&mut sender, forwarded).await;
        assert!(seen.contains(&format!("X-Forwarded-For: {client}\r\nX-Real-IP: {client}\r\n")) && !seen.contains("6.6.6.6"), "{seen}");
    }
    connection.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_by_https_to_the_balancer_is_not_sent_there_again() {
    let world = world(false).await;
    world.served().await;
    world.book.put(vec![(EVERYBODY.to_owned(), What::Policy(Https { redirect: true, hsts: 0 }))]).unwrap();
    eventually("sent to HTTPS", async || world.plain("/").await.starts_with("HTTP/1.1 307")).await;
    let mut stream = TcpStream::connect((world.at, 8080)).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    let answer = ask(&mut stream, request).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("X-Forwarded-Proto: https\r\n"), "{answer}");
}
