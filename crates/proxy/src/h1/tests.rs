#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::body::BodyOut;
use super::chunked::{Decoder, Piece};
use super::fields::{Kind, kind};
use super::framing::{self, BodyIn};
use super::head::{ADDED, FIELDS, RequestHead, ResponseHead, Scan};
use crate::page::Reason;

/// Reads a body in parts of the given sizes; content, octets used and whether it ended.
fn decode(mut decoder: Decoder, bytes: &[u8], parts: &[usize]) -> Result<(Vec<u8>, usize, bool), super::chunked::BadChunk> {
    let (mut data, mut at, mut waiting, mut sizes) = (Vec::new(), 0, 0, parts.iter().cycle());
    loop {
        let (used, piece) = decoder.next(&bytes[at..at + waiting])?;
        let end = match piece {
            Piece::Data(part) => {
                data.extend_from_slice(part);
                false
            }
            Piece::More => {
                if at + waiting == bytes.len() {
                    return Ok((data, at + used, false));
                }
                waiting = (waiting + (*sizes.next().unwrap()).max(1)).min(bytes.len() - at);
                at += used;
                waiting -= used;
                continue;
            }
            Piece::End => true,
        };
        at += used;
        waiting -= used;
        if end {
            return Ok((data, at, true));
        }
    }
}

#[test]
fn chunks_and_their_trailers() {
    let mut decoder = Decoder::lenient();
    let bytes = b"5;ext=\"1\"\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nAtoll-Refusal: x\r\nSet-Cookie: a\r\n\r\nnext";
    assert_eq!(decoder.next(bytes), Ok((16, Piece::Data(b"hello"))));
    let (used, piece) = decoder.next(&bytes[16..]).unwrap();
    assert_eq!((piece, &bytes[16 + used..]), (Piece::End, &b"next"[..]));
    assert_eq!(decoder.trailers(), b"X-Sum: 1\r\n");
}

#[test]
fn fields_are_known_in_every_disguise() {
    for (name, wanted) in [
        ("Atoll-Tenant", Kind::Atoll),
        ("atoll_tenant", Kind::Atoll),
        ("X.Atoll.Tenant", Kind::Atoll),
        ("X_ATOLL-a-name-that-is-longer-than-all-that-are-looked-at", Kind::Atoll),
        ("Content_Length", Kind::Hop),
        ("TE", Kind::Hop),
        ("Keep-Alive", Kind::Hop),
        ("Proxy", Kind::Hop),
        ("HOST", Kind::Host),
        ("Traceparent", Kind::TraceParent),
        ("tracestate", Kind::TraceState),
        ("x_forwarded_for", Kind::Forwarding),
        ("X-Forwarded-Foreign", Kind::EndToEnd),
        ("Cookie", Kind::EndToEnd),
        ("Atollx", Kind::EndToEnd),
    ] {
        assert_eq!(kind(name.as_bytes()), wanted, "{name}");
    }
}

#[test]
fn hosts_are_read_in_one_form() {
    for (value, host, port) in [
        ("A.Example", "a.example", ""),
        ("a.example.:8080", "a.example", ":8080"),
        ("[::1]:80", "[::1]", ":80"),
        ("127.0.0.1", "127.0.0.1", ""),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", ""),
    ] {
        let mut head = RequestHead::default();
        head.parse(format!("GET /a?b HTTP/1.1\r\nHost: {value}\r\n\r\n").as_bytes()).unwrap();
        assert_eq!((head.host(), head.port(), head.path(), head.target()), (host, port, "/a", "/a?b"));
    }
}

#[test]
fn hosts_that_are_none() {
    let parse = |value: &str| RequestHead::default().parse(format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n").as_bytes());
    for value in [
        "a:65536",
        "a:99999",
        "a:000080",
        "a:+80",
        "[]",
        "[]:80",
        "[a]",
        "[:::]",
        "[v1.a]",
        "[127.0.0.1]",
        "[::1%25eth0]",
        "[::1]]",
        "[[::1]]",
        "[::1].",
        ".",
    ] {
        assert_eq!(parse(value), Err(Reason::BadHost), "{value}");
    }
    for value in ["a:", "a:0", "a:65535", "a.:80", "[::]", "[::ffff:127.0.0.1]:80"] {
        assert_eq!(parse(value), Ok(()), "{value}");
    }
}

#[test]
fn targets_have_no_fragment() {
    for target in ["/a#b", "/#", "http://a/#b"] {
        assert_eq!(
            RequestHead::default().parse(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()),
            Err(Reason::MalformedHead),
            "{target}"
        );
    }
}

#[test]
fn no_upgrade_hides_requests() {
    for (protocol, passes) in
        [("websocket", true), ("WebSocket", true), ("h2c", false), ("H2C", false), ("websocket, h2c", false), ("HTTP/2.0", false), ("TLS/1.2", false)]
    {
        let mut head = RequestHead::default();
        head.parse(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(framing::request(&head).unwrap().upgrade, passes, "{protocol}");
    }
}

#[test]
fn heads_have_bounds() {
    let read = |fields: usize| {
        let many: String = (1..fields).map(|n| format!("X-{n}: 1\r\n")).collect();
        let mut head = RequestHead::default();
        head.parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()).map(|()| head.count())
    };
    // What comes from outside, and what edge and gate add to it.
    for fields in [1, FIELDS, FIELDS + 2 * ADDED.fields] {
        assert_eq!(read(fields), Ok(fields));
    }
    assert_eq!(read(FIELDS + 2 * ADDED.fields + 1), Err(Reason::HeadTooLarge));
}

#[test]
fn answers_without_a_body_by_their_nature() {
    for (status, to_head, body) in [(200, false, true), (200, true, false), (204, false, false), (304, false, false), (404, false, true)] {
        let mut head = ResponseHead::default();
        head.parse(format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n").as_bytes()).unwrap();
        let framing = framing::response(&head, to_head, false).unwrap();
        assert_eq!(matches!(framing.body, BodyIn::Length(5)), body, "{status}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_body_is_the_same_however_it_arrives(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..8), sizes in prop::collection::vec(1..20usize, 1..5)) {
        let mut wire = Vec::new();
        for part in &parts {
            BodyOut::Chunked.put(&mut wire, part);
        }
        BodyOut::Chunked.finish(&mut wire, b"");
        let whole = wire.len();
        wire.extend_from_slice(b"GET / HTTP/1.1\r\n");
        let (data, used, ended) = decode(Decoder::strict(), &wire, &sizes).unwrap();
        prop_assert_eq!((data, used, ended), (parts.concat(), whole, true));
    }

    #[test]
    fn no_octets_make_chunks_panic_or_depend_on_their_arrival(bytes in prop::collection::vec(prop::sample::select(b"0123aAfF;: \t\r\nxX\0\xff".to_vec()), 0..60), sizes in prop::collection::vec(1..7usize, 1..4)) {
        for decoder in [Decoder::strict, Decoder::lenient] {
            let (at_once, in_parts) = (decode(decoder(), &bytes, &[1000]), decode(decoder(), &bytes, &sizes));
            match (at_once, in_parts) {
                (Ok(a), Ok(b)) => prop_assert_eq!(a, b),
                (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
            }
        }
    }

    #[test]
    fn no_head_panics_and_what_is_taken_has_one_host_and_one_end(text in "(GET|POST|PUT) (/|http://a/|\\*)[ -~]{0,8} HTTP/1\\.[01]\r\n((Host|Content-Length|Transfer-Encoding|Connection|X|content_length)[ :]{1,3}[ -~]{0,9}\r?\n){0,6}\r\n") {
        let mut scan = Scan::default();
        if let Ok(Some(end)) = scan.end(text.as_bytes()) {
            let mut head = RequestHead::default();
            if head.parse(&text.as_bytes()[..end]).is_ok() && framing::request(&head).is_ok() {
                let count = |name: &[u8]| head.fields().filter(|(this, _)| this.eq_ignore_ascii_case(name)).count();
                prop_assert_eq!(count(b"host"), 1);
                prop_assert!(count(b"content-length") + count(b"transfer-encoding") <= 1);
            }
        }
    }

    #[test]
    fn fields_are_written_in_one_form_however_they_came(fields in prop::collection::vec(("[A-C]{1,2}", "(: ?|:  |:\t)", "([a-z][a-z ]{0,5}[a-z])?", " ?"), 0..8), gone in "[A-C]{1,2}") {
        let mut text = String::from("GET / HTTP/1.1\r\nHost: a.example\r\n");
        let mut wanted = String::from("Host: a.example\r\n");
        for (name, colon, value, end) in &fields {
            text += &format!("{name}{colon}{value}{end}\r\n");
            if *name != gone {
                wanted += &format!("{name}: {value}\r\n");
            }
        }
        let (mut head, mut out) = (RequestHead::default(), Vec::new());
        head.parse(format!("{text}\r\n").as_bytes()).unwrap();
        head.write_fields(&mut out, |name| name != gone.as_bytes());
        prop_assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn a_field_is_found_by_its_name_in_any_case_and_no_other(names in prop::collection::vec("[-A-Za-z0-9_!~]{1,12}", 0..20), wanted in "[-a-z0-9]{1,12}", upper in any::<bool>()) {
        let text: String = names.iter().enumerate().map(|(at, name)| format!("{name}: {at}\r\n")).collect();
        let mut head = ResponseHead::default();
        head.parse(format!("HTTP/1.1 200 OK\r\n{text}\r\n").as_bytes()).unwrap();
        head.add("X-Added", b"added");
        for name in names.iter().chain([&wanted, &"x-added".to_owned()]) {
            let asked = if upper { name.to_ascii_uppercase() } else { name.to_ascii_lowercase() };
            let first = head.fields().find(|(this, _)| this.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value);
            prop_assert_eq!(head.find(&asked), first);
        }
    }

    #[test]
    fn no_octets_make_a_head_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut scan = Scan::default();
        let _ = scan.end(&bytes);
        let _ = RequestHead::default().parse(&bytes);
        let _ = ResponseHead::default().parse(&bytes);
    }
}
