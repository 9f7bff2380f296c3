#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;

use super::Behind;
use crate::h1::head::RequestHead;

const PEER: &str = "10.0.0.1:4711";

fn behind() -> Behind {
    Behind { networks: ["10.0.0.0/8", "192.0.2.64/26", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec(), preamble: false }
}

/// Client and whether it came by HTTPS, for fields in lines.
fn came(fields: &str) -> (String, bool) {
    let mut head = RequestHead::default();
    let lines: String = fields.lines().map(|line| format!("{}\r\n", line.trim())).collect();
    head.parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap();
    let came = behind().came(&head, PEER.parse::<SocketAddr>().unwrap(), false);
    (came.peer.ip().to_string(), came.secure)
}

#[test]
fn the_first_from_the_right_who_is_not_trusted_is_the_client() {
    for (fields, client) in [
        ("X-Forwarded-For: 203.0.113.9", "203.0.113.9"),
        ("x-forwarded-for:203.0.113.9", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6,203.0.113.9 , 192.0.2.65,10.3.4.5", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6\nX-Forwarded-For: 203.0.113.9, 10.9.9.9\nX-Forwarded-For: fd00::1", "203.0.113.9"),
        ("X-Forwarded-For: 2001:db8::1", "2001:db8::1"),
        ("X-Forwarded-For: [2001:db8::1]", "2001:db8::1"),
        ("X-Forwarded-For: [2001:db8::1]:80", "2001:db8::1"),
        ("X-Forwarded-For: 203.0.113.9:1234", "203.0.113.9"),
        ("X-Forwarded-For: ::ffff:203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9"),
        // All of them are ours: the one furthest away.
        ("X-Forwarded-For: 10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("X-Real-IP: 6.6.6.6", "10.0.0.1"),
        ("X_Forwarded_For: 6.6.6.6", "10.0.0.1"),
    ] {
        assert_eq!(came(fields).0, client, "{fields}");
    }
}

#[test]
fn what_cannot_be_read_ends_the_belief() {
    for (fields, client) in [
        ("X-Forwarded-For:", "10.0.0.1"),
        ("X-Forwarded-For: unknown", "10.0.0.1"),
        ("X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
        ("X-Forwarded-For: 6.6.6.6,, 10.0.0.2", "10.0.0.2"),
        ("X-Forwarded-For: 6.6.6.6 7.7.7.7", "10.0.0.1"),
        ("X-Forwarded-For: 06.6.6.6", "10.0.0.1"),
        ("X-Forwarded-For: \"6.6.6.6\"", "10.0.0.1"),
        // The one field that is there counts, however little it says.
        ("X-Forwarded-For: unknown\nForwarded: for=6.6.6.6", "10.0.0.1"),
        ("Forwarded: for=unknown", "10.0.0.1"),
        ("Forwarded: for=6.6.6.6, by=10.0.0.1", "10.0.0.1"),
        ("Forwarded: for=\"6.6.6.6", "10.0.0.1"),
        ("Forwarded: for=6.6.6.6, for=\"_a\\\"\"", "10.0.0.1"),
    ] {
        assert_eq!(came(fields).0, client, "{fields}");
    }
    let far = format!("X-Forwarded-For: 6.6.6.6{}", ", 10.0.0.2".repeat(40));
    assert_eq!(came(&far).0, "10.0.0.2");
}

#[test]
fn forwarded_is_read_where_the_other_is_not_there() {
    for (fields, client) in [
        ("Forwarded: for=203.0.113.9", "203.0.113.9"),
        ("Forwarded: for=6.6.6.6, proto=https; FOR=203.0.113.9 ;by=10.0.0.1, for=10.0.0.2", "203.0.113.9"),
        ("Forwarded: for=6.6.6.6\nForwarded: for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
        ("Forwarded: for=\"203.0.113.9:80\"", "203.0.113.9"),
        // A host that a visitor chose divides nothing.
        ("Forwarded: for=203.0.113.9;host=\"a, for=6.6.6.6;x=\"", "203.0.113.9"),
        ("Forwarded: for=\"6.6.6.6, for=203.0.113.9", "203.0.113.9"),
    ] {
        assert_eq!(came(fields).0, client, "{fields}");
    }
}

#[test]
fn one_clear_word_makes_a_request_secure() {
    for (fields, secure) in [
        ("X-Forwarded-Proto: https", true),
        ("x-forwarded-proto: HTTPS", true),
        ("X-Forwarded-Proto: http", false),
        ("X-Forwarded-Proto: https, http", false),
        ("X-Forwarded-Proto: https\nX-Forwarded-Proto: http", false),
        ("X_Forwarded_Proto: https", false),
        ("X-Forwarded-Ssl: on", false),
    ] {
        assert_eq!(came(fields).1, secure, "{fields}");
    }
}
