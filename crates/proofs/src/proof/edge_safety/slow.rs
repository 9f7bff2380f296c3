//! Who is slow: heads and bodies that do not come are waited for a bounded time, and meanwhile nobody else waits.

use std::time::Duration;

use super::case::{Case, HOST, Step, get, post, send};

/// Cases that take long; they run beside each other.
pub fn cases() -> Vec<Case> {
    let second = Duration::from_millis(950);
    vec![
        Case::of("half a first line", vec![send("GET / HT")]).refused(408, "HeadTimeout").within(9, 14),
        Case::of("half a head", vec![send(&format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n"))]).refused(408, "HeadTimeout").within(9, 14),
        Case::of(
            "a head that comes octet by octet",
            vec![send(&format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: ")), Step::Drip(vec![b'a'; 11], second)],
        )
        .refused(408, "HeadTimeout")
        .within(9, 14),
        Case::of("fields that come one by one", vec![send(&get("").replace("\r\n\r\n", "\r\n")), Step::Drip(b"A:1\r\nB:2\r\nC".to_vec(), second)])
            .refused(408, "HeadTimeout")
            .within(9, 14),
        Case::of("half a body", vec![send(&post("Content-Length: 10\r\n", "half"))]).refused(408, "BodyTimeout").within(29, 36),
        Case::of("no body", vec![send(&post("Content-Length: 10\r\n", ""))]).refused(408, "BodyTimeout").within(29, 36),
        Case::of("half a chunk", vec![send(&post("Transfer-Encoding: chunked\r\n", "8\r\nhalf"))]).refused(408, "BodyTimeout").within(29, 36),
        Case::of("chunks without end", vec![send(&post("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n"))])
            .refused(408, "BodyTimeout")
            .within(29, 36),
        Case::of("a trailer without end", vec![send(&post("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n0\r\nX: "))])
            .refused(408, "BodyTimeout")
            .within(29, 36),
        Case::of("not an octet", vec![]).within(9, 82),
        Case::of("an empty line and nothing else", vec![send("\r\n")]).within(9, 82),
        Case::of("nothing after a request", vec![send(&get(""))]).served("GET / HTTP/1.1").closes().within(73, 82),
        Case::of(
            "a body that comes slowly, but comes",
            vec![send(&post("Content-Length: 12\r\nConnection: close\r\n", "")), Step::Drip(b"octet by oct".to_vec(), second)],
        )
        .served("POST / HTTP/1.1")
        .closes()
        .within(11, 20),
    ]
}
