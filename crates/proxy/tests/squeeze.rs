//! Compressed answers on real sockets.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::Read as _;
use std::sync::Arc;

use proxy::Faces;
use support::{Backend, Client, Relay, field, status};
use tokio::sync::Notify;

const HTML: &str = "Content-Type: text/html\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\n";

/// A page of some length, which does not repeat itself too soon.
fn page(length: usize) -> String {
    let mut page = String::new();
    for n in 0_u64.. {
        page += &format!("<p class=\"c{}\">{}</p>\n", n % 7, n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
        if page.len() >= length {
            break;
        }
    }
    page.truncate(length);
    page
}

/// What a coding hides, or so much of it as is there.
fn plain(coding: &str, wire: &[u8]) -> String {
    let mut reader: Box<dyn std::io::Read + '_> = match coding {
        "zstd" => Box::new(zstd::stream::read::Decoder::new(wire).unwrap()),
        "br" => Box::new(brotli::Decompressor::new(wire, 4096)),
        "gzip" => Box::new(flate2::read::GzDecoder::new(wire)),
        other => panic!("{other} is no coding of ours"),
    };
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = reader.read(&mut part) {
        all.extend_from_slice(&part[..count]);
    }
    String::from_utf8(all).unwrap()
}

/// An answer's head, and its body in octets as they came out of the chunks or the length.
async fn answer(client: &mut Client) -> (String, Vec<u8>) {
    let head = client.until("\r\n\r\n").await.unwrap();
    let mut body = Vec::new();
    if let Some(length) = field(&head, "content-length") {
        body = client.octets(length.parse().unwrap()).await.unwrap();
    } else if field(&head, "transfer-encoding").is_some() {
        while let Some(part) = chunk(client).await {
            body.extend(part);
        }
    }
    (head, body)
}

/// The next chunk; `None` after the last.
async fn chunk(client: &mut Client) -> Option<Vec<u8>> {
    let size = usize::from_str_radix(client.until("\r\n").await.unwrap().trim(), 16).unwrap();
    if size == 0 {
        assert_eq!(client.until("\r\n").await.unwrap(), "\r\n", "no trailers");
        return None;
    }
    let part = client.octets(size).await.unwrap();
    client.until("\r\n").await.unwrap();
    Some(part)
}

/// A backend that answers every request with these octets, and ends the connection where the text says so.
async fn answering(octets: String) -> Backend {
    let octets = Arc::new(octets);
    Backend::start(move |mut connection, _| {
        let octets = octets.clone();
        async move {
            while connection.request().await.is_some() {
                connection.send(&octets).await;
                if octets.contains("Connection: close") {
                    return connection.close().await;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn every_coding_gives_back_what_the_upstream_sent_in_whatever_framing() {
    for length in [1024, 20_000, 700_000] {
        let page = page(length);
        let chunks: String =
            page.as_bytes().chunks(9000).map(|part| format!("{:x}\r\n{}\r\n", part.len(), std::str::from_utf8(part).unwrap())).collect();
        for octets in [
            format!("HTTP/1.1 200 OK\r\n{HTML}Content-Length: {length}\r\n\r\n{page}"),
            format!("HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\nDigest: x\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\n{HTML}Connection: close\r\n\r\n{page}"),
        ] {
            let backend = answering(octets).await;
            let relay = Relay::squeezing(&[backend.address], |_| {});
            let mut client = relay.connect().await;
            // One connection carries them all: each body ends where its framing says.
            for coding in ["zstd", "br", "gzip"] {
                client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n")).await;
                let (head, body) = answer(&mut client).await;
                assert_eq!((status(&head), field(&head, "content-encoding").as_deref()), (200, Some(coding)), "{head}");
                assert_eq!((field(&head, "content-length"), field(&head, "accept-ranges")), (None, None), "{head}");
                assert_eq!((field(&head, "etag").as_deref(), field(&head, "vary").as_deref()), (Some("W/\"x\""), Some("Accept-Encoding")), "{head}");
                assert!(body.len() < page.len() * 2 / 3, "{} of {length} in {coding}", body.len());
                assert!(plain(coding, &body) == page, "{length} in {coding}");
            }
        }
    }
}

#[tokio::test]
async fn what_was_sent_is_seen_before_the_rest_is_there() {
    for coding in ["zstd", "br", "gzip"] {
        let seen = Arc::new(Notify::new());
        let goes_on = seen.clone();
        let backend = Backend::start(move |mut connection, _| {
            let goes_on = goes_on.clone();
            async move {
                connection.request().await.unwrap();
                connection.send(&format!("HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")).await;
                goes_on.notified().await;
                connection.send("6\r\nsecond\r\n0\r\n\r\n").await;
            }
        })
        .await;
        let relay = Relay::squeezing(&[backend.address], |_| {});
        let mut client = relay.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n")).await;
        client.until("\r\n\r\n").await.unwrap();
        let mut wire = Vec::new();
        while plain(coding, &wire) != "first" {
            wire.extend(chunk(&mut client).await.unwrap());
        }
        seen.notify_one();
        while let Some(part) = chunk(&mut client).await {
            wire.extend(part);
        }
        assert_eq!(plain(coding, &wire), "firstsecond", "{coding}");
    }
}

#[tokio::test]
async fn who_cannot_take_it_or_asks_for_parts_gets_plain_octets() {
    let page = page(5000);
    let backend = answering(format!("HTTP/1.1 200 OK\r\n{HTML}Content-Length: 5000\r\n\r\n{page}")).await;
    let relay = Relay::squeezing(&[backend.address], |_| {});
    for (version, lines) in [("1.0", "Accept-Encoding: gzip\r\n"), ("1.1", ""), ("1.1", "Accept-Encoding: gzip\r\nRange: bytes=0-9\r\n")] {
        let mut client = relay.connect().await;
        client.send(&format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n")).await;
        let (head, body) = answer(&mut client).await;
        assert_eq!((field(&head, "content-encoding"), field(&head, "content-length").as_deref()), (None, Some("5000")), "{head}");
        assert_eq!((field(&head, "etag").as_deref(), field(&head, "vary").as_deref()), (Some("\"x\""), Some("Accept-Encoding")), "{head}");
        assert!(body == page.as_bytes());
    }
}

#[tokio::test]
async fn a_relay_that_is_not_asked_to_changes_nothing() {
    let page = page(5000);
    let backend = answering(format!("HTTP/1.1 200 OK\r\n{HTML}Content-Length: 5000\r\n\r\n{page}")).await;
    for faces in [Faces::Visitors, Faces::Edges] {
        let relay = Relay::with(&[backend.address], faces, |_| {});
        let mut client = relay.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").await;
        let (head, body) = answer(&mut client).await;
        assert_eq!((field(&head, "content-encoding"), field(&head, "vary"), body.len()), (None, None, 5000), "{head}");
    }
}

#[tokio::test]
async fn the_answer_to_head_has_the_head_of_that_to_get() {
    let page = page(5000);
    let backend = Backend::start(move |mut connection, _| {
        let page = page.clone();
        async move {
            while let Some((head, _)) = connection.request().await {
                let body = if head.starts_with("HEAD") { "" } else { &page };
                connection.send(&format!("HTTP/1.1 200 OK\r\n{HTML}Content-Length: 5000\r\n\r\n{body}")).await;
            }
        }
    })
    .await;
    let relay = Relay::squeezing(&[backend.address], |_| {});
    let mut client = relay.connect().await;
    for lines in ["Accept-Encoding: br\r\n", ""] {
        client.send(&format!("HEAD / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).await;
        let told = client.until("\r\n\r\n").await.unwrap();
        client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).await;
        let (head, _) = answer(&mut client).await;
        for name in ["content-encoding", "etag", "vary", "accept-ranges", "content-length"] {
            assert_eq!(field(&told, name), field(&head, name), "{name} of {told}");
        }
        assert_eq!(field(&told, "content-encoding").is_some(), !lines.is_empty());
    }
}

#[tokio::test]
async fn a_304_and_a_206_pass_as_they_are() {
    let backend = Backend::start(|mut connection, _| async move {
        while let Some((head, _)) = connection.request().await {
            let held = field(&head, "if-none-match").unwrap_or_default();
            let answer = if held.is_empty() {
                format!("206 Partial Content\r\n{HTML}Content-Range: bytes 0-9/5000\r\nContent-Length: 10\r\n\r\n0123456789")
            } else {
                format!("304 Not Modified\r\nETag: \"x\"\r\nX-Held: {held}\r\n\r\n")
            };
            connection.send(&format!("HTTP/1.1 {answer}")).await;
        }
    })
    .await;
    let relay = Relay::squeezing(&[backend.address], |_| {});
    let mut client = relay.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nIf-None-Match: W/\"x\"\r\n\r\n").await;
    let head = client.until("\r\n\r\n").await.unwrap();
    assert_eq!(
        (status(&head), field(&head, "x-held").as_deref(), field(&head, "etag").as_deref()),
        (304, Some("W/\"x\""), Some("W/\"x\"")),
        "{head}"
    );
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nRange: bytes=0-9\r\n\r\n").await;
    let (head, body) = answer(&mut client).await;
    assert_eq!((status(&head), field(&head, "content-encoding"), &body[..]), (206, None, &b"0123456789"[..]), "{head}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let page = page(5000);
    for octets in [
        format!("HTTP/1.1 200 OK\r\n{HTML}Content-Length: 6000\r\nConnection: close\r\n\r\n{page}"),
        format!("HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1388\r\n{page}\r\n"),
        format!("HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1388\r\n{page}\r\nzz\r\n"),
    ] {
        let backend = answering(octets).await;
        let relay = Relay::squeezing(&[backend.address], |_| {});
        let mut client = relay.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").await;
        let all = client.rest().await;
        assert!(!all.ends_with("0\r\n\r\n"), "the last chunk must be missing");
    }
}
