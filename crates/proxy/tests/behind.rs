//! The relay behind a balancer: whose a request is, by preamble and by fields.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::net::{IpAddr, SocketAddr};

use proxy::{Behind, Faces};
use support::{Backend, Client, Relay, field, status};
use tokio::net::TcpSocket;

/// Whoever comes from here is trusted; the other addresses of this machine's own network are not.
const TRUSTED: &str = "127.0.0.1/32";
const STRANGER: &str = "127.0.0.2";

fn relay(backend: &Backend, preamble: bool) -> Relay {
    Relay::with(&[backend.address], Faces::Visitors, |options| {
        options.behind = Some(Behind { networks: vec![TRUSTED.parse().unwrap()], preamble });
    })
}

/// A connection from another address than the usual one.
async fn connect_from(from: &str, to: SocketAddr) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from.parse::<IpAddr>().unwrap(), 0).into()).unwrap();
    Client::over(socket.connect(to).await.unwrap())
}

/// What the backend is told: address and scheme.
async fn told(client: &mut Client, fields: &str) -> (String, String) {
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")).await;
    let (head, seen) = client.answer().await.unwrap();
    assert_eq!(status(&head), 200, "{head}");
    let lower = seen.to_lowercase();
    assert_eq!(lower.matches("forwarded").count(), 3, "only our own fields travel on: {seen}");
    let value = |name| field(&seen, name).unwrap();
    assert_eq!(value("x-forwarded-for"), value("x-real-ip"));
    (value("x-forwarded-for"), value("x-forwarded-proto"))
}

fn says(address: &str, scheme: &str) -> (String, String) {
    (address.to_owned(), scheme.to_owned())
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

fn without_preamble(relay: &Relay) -> bool {
    relay.server.metrics().text("t").contains("t_connections_without_preamble_total 1\n")
}

#[tokio::test]
async fn a_preamble_says_whose_all_requests_of_a_connection_are() {
    let backend = Backend::echo().await;
    let relay = relay(&backend, true);
    let (from_four, from_six) = ([192, 0, 2, 7, 10, 0, 0, 1, 1, 1, 1, 1], [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 32]].concat());
    let beside = [&from_four[..], &[0x04, 0, 2, 9, 9]].concat();
    for (preamble, address) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 56324 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(0x21, 0x11, &beside), "192.0.2.7"),
        (version_2(0x21, 0x21, &from_six), "2001:db8::"),
        (version_2(0x20, 0x00, &[]), "127.0.0.1"),
    ] {
        let mut client = relay.connect().await;
        // In one piece with the request.
        client.send_bytes(&[&preamble[..], b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
        assert_eq!(status(&client.answer().await.unwrap().0), 404);
        // The visitor's own word is not the balancer's.
        assert_eq!(told(&mut client, "").await, says(address, "http"));
        if address != "127.0.0.1" {
            assert_eq!(told(&mut client, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n").await, says(address, "http"));
        }
        // In as many pieces as there are octets.
        let mut client = relay.connect().await;
        for octet in preamble {
            client.send_bytes(&[octet]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(told(&mut client, "").await, says(address, "http"));
    }
}

#[tokio::test]
async fn whoever_owes_a_preamble_is_not_served_without() {
    let backend = Backend::echo().await;
    for instead in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"PROXY TCP4 192.0.2.7 10.0.0.1 1 99999\r\n", &version_2(0x2f, 0x11, &[0; 12])] {
        let relay = relay(&backend, true);
        let mut client = relay.connect().await;
        client.send_bytes(instead).await;
        assert_eq!(client.rest().await, "");
        assert!(without_preamble(&relay));
        // The door is open for others.
        let mut client = relay.connect().await;
        client.send("PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n").await;
        assert_eq!(told(&mut client, "").await, says("192.0.2.7", "http"));
    }
}

#[tokio::test]
async fn half_a_preamble_is_not_waited_for_without_end() {
    let backend = Backend::echo().await;
    let relay = Relay::with(&[backend.address], Faces::Visitors, |options| {
        options.behind = Some(Behind { networks: vec![TRUSTED.parse().unwrap()], preamble: true });
        options.times.head = std::time::Duration::from_millis(50);
    });
    let mut client = relay.connect().await;
    client.send("PROXY TCP4 192").await;
    assert_eq!(client.rest().await, "");
    assert!(without_preamble(&relay));
}

#[tokio::test]
async fn a_look_whether_the_port_is_open_is_no_fault() {
    let backend = Backend::echo().await;
    let relay = relay(&backend, true);
    let mut client = relay.connect().await;
    client.close().await;
    assert_eq!(client.rest().await, "");
    assert!(!without_preamble(&relay));
}

#[tokio::test]
async fn a_stranger_needs_no_preamble_and_may_not_send_one() {
    let backend = Backend::echo().await;
    let relay = relay(&backend, true);
    let mut client = connect_from(STRANGER, relay.address).await;
    assert_eq!(told(&mut client, "").await, says(STRANGER, "http"));
    let mut client = connect_from(STRANGER, relay.address).await;
    client.send("PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // Read as what it is not: a request in a version that nobody speaks.
    assert_eq!(status(&client.answer().await.unwrap().0), 505);
}

#[tokio::test]
async fn a_stranger_is_not_believed() {
    let backend = Backend::echo().await;
    let relay = relay(&backend, false);
    let mut client = connect_from(STRANGER, relay.address).await;
    for fields in ["X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n", "Forwarded: for=6.6.6.6;proto=https\r\n"] {
        assert_eq!(told(&mut client, fields).await, says(STRANGER, "http"));
    }
}

#[tokio::test]
async fn one_trusted_connection_carries_many_visitors() {
    let backend = Backend::echo().await;
    let relay = relay(&backend, false);
    let mut client = relay.connect().await;
    for (fields, address, scheme) in [
        ("X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n", "203.0.113.9", "https"),
        ("X-Forwarded-For: 6.6.6.6, 203.0.113.8, 127.0.0.1\r\n", "203.0.113.8", "http"),
        ("", "127.0.0.1", "http"),
        ("Forwarded: for=\"[2001:db8::7]:80\"\r\n", "2001:db8::7", "http"),
        ("X-Forwarded-For: nobody\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 6.6.6.6\r\n", "127.0.0.1", "http"),
    ] {
        assert_eq!(told(&mut client, fields).await, says(address, scheme), "{fields}");
    }
}

#[tokio::test]
async fn nobody_is_believed_where_nothing_was_said() {
    let backend = Backend::echo().await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    assert_eq!(told(&mut client, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n").await, says("127.0.0.1", "http"));
}
