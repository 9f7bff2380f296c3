//! Requests that no server may take: each costs its stream, and nothing of it reaches a backend.

use testkit::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, block, frame};

use super::super::case::SMUGGLED;
use super::{Case, Fields, GET, Taken, ask, but, head, with};

/// Section, name, and what is wrong with the pseudo fields.
fn pseudo() -> Vec<(&'static str, &'static str, Fields)> {
    let first = |value: &'static str, name: &'static str| [&[(name, value)], &GET[..]].concat();
    vec![
        ("9113, 8.3.1", "two paths", with(&[(":path", "/two")])),
        ("9113, 8.3.1", "two equal paths", first("/", ":path")),
        ("9113, 8.3.1", "two methods", first("POST", ":method")),
        ("9113, 8.3.1", "two schemes", first("http", ":scheme")),
        ("9113, 8.3.1", "two authorities", first("forged.test", ":authority")),
        ("9113, 8.3.1", "two equal authorities", first("{host}", ":authority")),
        ("9113, 8.3.1", "no method", but(":method", None)),
        ("9113, 8.3.1", "no path", but(":path", None)),
        ("9113, 8.3.1", "no scheme", but(":scheme", None)),
        ("9113, 8.3.1", "no authority, no host", but(":authority", None)),
        ("9110, 9.1", "an empty method", but(":method", Some(""))),
        ("9110, 9.1", "a method with a blank", but(":method", Some("GET /x"))),
        ("9110, 9.1", "a method with a line", but(":method", Some("GET /smuggled HTTP/1.1\r\nX: y"))),
        ("9110, 9.1", "a method with a colon", but(":method", Some("GET:"))),
        ("9113, 8.3.1", "an empty path", but(":path", Some(""))),
        ("9113, 8.3.1", "a path without a slash", but(":path", Some("other"))),
        ("9113, 8.3.1", "an absolute path", but(":path", Some("http://forged.test/"))),
        ("9113, 8.3.1", "an absolute path of the own host", but(":path", Some("https://{host}/"))),
        ("9113, 8.3.1", "a query without a path", but(":path", Some("?a=b"))),
        ("9113, 8.3.1", "an asterisk, not for OPTIONS", but(":path", Some("*"))),
        ("3986, 3.3", "a path with a blank", but(":path", Some("/a b"))),
        ("9113, 8.2.1", "a path with a line", but(":path", Some("/smuggled HTTP/1.1\r\nX: y"))),
        ("9113, 8.2.1", "a path with a line feed", but(":path", Some("/a\nX: y"))),
        ("9113, 8.2.1", "a path with a NUL", but(":path", Some("/a\0b"))),
        ("3986, 3.3", "a path with a tab", but(":path", Some("/a\tb"))),
        ("3986, 3.1", "an empty scheme", but(":scheme", Some(""))),
        ("3986, 3.1", "a scheme that is an address", but(":scheme", Some("https://forged.test/"))),
        ("3986, 3.1", "a scheme with a blank", but(":scheme", Some("ht tp"))),
        ("9113, 8.2.1", "a scheme with a line", but(":scheme", Some("https\r\nX: y"))),
        ("9113, 8.3.1", "an empty authority", but(":authority", Some(""))),
        ("9113, 8.3.1", "a user in the authority", but(":authority", Some("user@{host}"))),
        ("9113, 8.3.1", "the host as user", but(":authority", Some("{host}@forged.test"))),
        ("3986, 3.2", "an authority with a path", but(":authority", Some("{host}/x"))),
        ("3986, 3.2", "an authority with a query", but(":authority", Some("{host}?x"))),
        ("3986, 3.2", "an authority with a fragment", but(":authority", Some("{host}#x"))),
        ("3986, 3.2", "an authority with a backslash", but(":authority", Some("{host}\\x"))),
        ("3986, 3.2", "an authority with a blank", but(":authority", Some("{host} forged.test"))),
        ("3986, 3.2", "two authorities in one", but(":authority", Some("{host}, forged.test"))),
        ("9113, 8.2.1", "an authority with a line", but(":authority", Some("{host}\r\nX: y"))),
        ("9113, 8.2.1", "an authority with a NUL", but(":authority", Some("{host}\0.forged.test"))),
        ("3986, 3.2.3", "a port that is none", but(":authority", Some("{host}:x"))),
        ("3986, 3.2.3", "a port with plus", but(":authority", Some("{host}:+80"))),
        ("3986, 3.2.3", "a port beyond 65535", but(":authority", Some("{host}:65536"))),
        ("3986, 3.2.3", "two ports", but(":authority", Some("{host}:80:80"))),
        ("3986, 3.2.2", "half an IPv6 address", but(":authority", Some("[::1"))),
        ("3986, 3.2.2", "an IPv6 address without brackets", but(":authority", Some("::1"))),
        ("3986, 3.2.2", "an IPv6 address of a zone", but(":authority", Some("[::1%25eth0]"))),
        ("9113, 8.3", "a pseudo field that nobody knows", with(&[(":other", "x")])),
        ("9113, 8.3", "a pseudo field without a name", with(&[(":", "x")])),
        ("9113, 8.3", "a status", with(&[(":status", "200")])),
        ("9113, 8.3", "a pseudo field after others", [&GET[..3], &[("x", "y")], &GET[3..]].concat()),
        ("9113, 8.3", "a pseudo field in capitals", but(":path", None).into_iter().chain([(":PATH", "/")]).collect()),
        ("8441, 4", "a protocol without CONNECT", with(&[(":protocol", "websocket")])),
        ("9113, 8.3.1", "another host than the authority", with(&[("host", "forged.test")])),
        ("9113, 8.3.1", "a host with a port that the authority lacks", with(&[("host", "{host}:443")])),
        ("9110, 7.2", "two hosts", with(&[("host", "{host}"), ("host", "forged.test")])),
        ("9110, 7.2", "two hosts and no authority", [&GET[..2], &GET[3..], &[("host", "{host}"), ("host", "forged.test")]].concat()),
        ("9110, 7.2", "an empty host and no authority", [&GET[..2], &GET[3..], &[("host", "")]].concat()),
    ]
}

/// Section, name, value: of fields, each in a good request.
const FIELDS: &[(&str, &str, &str)] = &[
    ("9113, 8.2.1", "X-Upper", "x"),
    ("9113, 8.2.1", "Transfer-Encoding", "chunked"),
    ("9113, 8.2.1", "a b", "x"),
    ("9113, 8.2.1", " host", "forged.test"),
    ("9113, 8.2.1", "host ", "forged.test"),
    ("9113, 8.2.1", "transfer-encoding ", "chunked"),
    ("9113, 8.2.1", "\ttransfer-encoding", "chunked"),
    ("9113, 8.2.1", "a:b", "x"),
    ("9113, 8.2.1", "transfer-encoding: chunked\r\nx", "y"),
    ("9113, 8.2.1", "x\r\n\r\nGET /smuggled HTTP/1.1\r\nhost", "{host}"),
    ("9113, 8.2.1", "x\ny", "z"),
    ("9113, 8.2.1", "x\ry", "z"),
    ("9113, 8.2.1", "x\0y", "z"),
    ("9113, 8.2.1", "x\u{7f}", "z"),
    ("9113, 8.2.1", "x\u{e9}", "z"),
    ("9113, 8.2.1", "", "x"),
    ("9113, 8.2.1", "x", "y\r\nhost: forged.test"),
    ("9113, 8.2.1", "x", "y\r\ntransfer-encoding: chunked"),
    ("9113, 8.2.1", "x", "y\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("9113, 8.2.1", "x", "y\nz: a"),
    ("9113, 8.2.1", "x", "y\rz: a"),
    ("9113, 8.2.1", "x", "y\0z"),
    ("9113, 8.2.1", "cookie", "a=1\r\nx: y"),
    ("9113, 8.2.2", "connection", "close"),
    ("9113, 8.2.2", "connection", "x-forwarded-for"),
    ("9113, 8.2.2", "keep-alive", "timeout=1"),
    ("9113, 8.2.2", "proxy-connection", "keep-alive"),
    ("9113, 8.2.2", "transfer-encoding", "chunked"),
    ("9113, 8.2.2", "transfer-encoding", "identity"),
    ("9113, 8.2.2", "transfer-encoding", ""),
    ("9113, 8.2.2", "upgrade", "websocket"),
    ("9113, 8.2.2", "upgrade", "h2c"),
    ("9113, 8.2.2", "te", "gzip"),
    ("9113, 8.2.2", "te", "trailers, chunked"),
    ("9113, 8.1.1", "content-length", "3"),
];

/// Section, name, lengths, parts of the body: the length is not the body's.
const LENGTHS: &[(&str, &str, &[&str], &[&str])] = &[
    ("9113, 8.1.1", "a length beyond the body", &["5"], &["abc"]),
    ("9113, 8.1.1", "a length below the body", &["2"], &["abc"]),
    ("9113, 8.1.1", "a length below the body in two parts", &["3"], &["abc", SMUGGLED]),
    ("9113, 8.1.1", "no length, but a request as body", &["0"], &[SMUGGLED]),
    ("9113, 8.1.1", "the length of the last chunk alone", &["5"], &["0\r\n\r\n", SMUGGLED]),
    ("9110, 8.6", "a signed length", &["+3"], &["abc"]),
    ("9110, 8.6", "a length below nothing", &["-1"], &["abc"]),
    ("9110, 8.6", "a length in hexadecimal", &["0x3"], &["abc"]),
    ("9110, 8.6", "a length with a fraction", &["3.0"], &["abc"]),
    ("9110, 8.6", "a list of two lengths", &["3, 4"], &["abc"]),
    ("9110, 8.6", "two lengths", &["3", "4"], &["abc"]),
    ("9110, 8.6", "two lengths, the other way", &["4", "3"], &["abc"]),
    ("9110, 8.6", "an empty length", &[""], &["abc"]),
    ("9110, 8.6", "a length of letters", &["abc"], &["abc"]),
    ("9110, 8.6", "a length beyond 64 bits", &["18446744073709551619"], &["abc"]),
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = pseudo().into_iter().map(|(asks, name, fields)| Case::new(name, asks, ask(&fields), Taken::Malformed)).collect();
    for (asks, name, value) in FIELDS {
        cases.push(Case::new(format!("the field {name:?}: {value:?}"), asks, ask(&with(&[(name, value)])), Taken::Malformed));
    }
    for (asks, name, lengths, body) in LENGTHS {
        let lengths: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
        let mut octets = head(&lengths);
        for (number, part) in body.iter().enumerate() {
            octets.extend(frame(DATA, if number + 1 == body.len() { END_STREAM } else { 0 }, 1, part.as_bytes()));
        }
        // What is of the announced length may be there before the rest shows that the announcement is wrong.
        cases.push(Case::new(*name, asks, octets, Taken::Malformed).perhaps("POST / HTTP/1.1"));
    }
    let body = |fields: &[(&str, &str)], text: &str| [head(fields), frame(DATA, END_STREAM, 1, text.as_bytes())].concat();
    let chunked = format!("0\r\n\r\n{SMUGGLED}");
    cases.push(Case::new("chunks within frames", "9113, 8.2.2", body(&[("transfer-encoding", "chunked")], &chunked), Taken::Malformed));
    cases.push(Case::new(
        "chunks and a length",
        "9113, 8.2.2",
        body(&[("transfer-encoding", "chunked"), ("content-length", "5")], &chunked),
        Taken::Malformed,
    ));
    cases.push(Case::new("chunks by another name", "9113, 8.2.1", body(&[("Transfer-Encoding", "chunked")], &chunked), Taken::Malformed));
    cases.push(Case::new("chunks in a value", "9113, 8.2.1", body(&[("x", "y\r\ntransfer-encoding: chunked")], &chunked), Taken::Malformed));
    for (name, fields, flags) in [
        ("trailers with chunks", &[("transfer-encoding", "chunked")][..], END_HEADERS | END_STREAM),
        ("trailers with a line", &[("x", "y\r\n\r\nGET /smuggled HTTP/1.1")], END_HEADERS | END_STREAM),
        ("trailers in capitals", &[("X-Trailer", "y")], END_HEADERS | END_STREAM),
        ("trailers that are not the end", &[("x", "y")], END_HEADERS),
    ] {
        let octets = [head(&[]), frame(DATA, 0, 1, b"hi"), frame(HEADERS, flags, 1, &block(fields))].concat();
        cases.push(Case::new(name, "9113, 8.1", octets, Taken::Malformed));
    }
    // The library forgets what is no field, and nothing of trailers goes on.
    for (name, field) in [("trailers with a path", (":path", "/smuggled")), ("trailers with a status", (":status", "200"))] {
        let octets = [head(&[]), frame(DATA, 0, 1, b"hi"), frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[field]))].concat();
        cases.push(Case::new(name, "9113, 8.1", octets, Taken::Borne(&[PROTOCOL_ERROR])).perhaps("POST / HTTP/1.1").lacks("smuggled"));
    }
    cases
}
