#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Read as _;

use proptest::prelude::*;

use super::accept::{self, Coding};
use super::encoder::Encoder;
use super::*;

fn chosen(fields: &[&str]) -> Option<&'static str> {
    accept::choose(fields.iter().map(|field| field.as_bytes())).map(Coding::name)
}

#[test]
fn the_visitor_gets_what_it_likes_best_and_among_equals_what_costs_least() {
    for (fields, wanted) in [
        (&["gzip, deflate, br, zstd"][..], Some("zstd")),
        (&["gzip, deflate, br"], Some("gzip")),
        (&["br"], Some("br")),
        (&["gzip;q=0.9", "br"], Some("br")),
        (&["x-gzip"], Some("gzip")),
        (&["GZIP ; Q=0.3"], Some("gzip")),
        (&["zstd;q=0.8, br;q=0.801"], Some("br")),
        (&["zstd;q=0, br;q=0.0, gzip;q=0.001"], Some("gzip")),
        // A star is the coding that everybody knows.
        (&["*"], Some("gzip")),
        (&["br;q=0.5, *;q=0.7"], Some("gzip")),
        (&["gzip;q=0, *"], None),
        (&["*;q=0"], None),
        (&["*;q=0, br"], Some("br")),
        // Plain octets where they are liked better, and not where they are merely taken.
        (&["identity, gzip;q=0.5"], None),
        (&["identity;q=0.5, gzip;q=0.5"], Some("gzip")),
        (&["identity;q=0, gzip"], Some("gzip")),
        (&["identity;q=0"], None),
        // What contradicts itself is the lesser, what is malformed is not said.
        (&["gzip, gzip;q=0"], None),
        (&["gzip;q=2"], None),
        (&["gzip;q=1.001"], None),
        (&["gzip;q=0.1234"], None),
        (&["gzip;q"], None),
        (&["gzip;q=-1, br;level=4"], None),
        (&["gzip;q=1.000;x=1"], None),
        (&["", " , ,"], None),
        (&[], None),
    ] {
        assert_eq!(chosen(fields), wanted, "{fields:?}");
    }
}

proptest! {
    #[test]
    fn any_octets_are_read(fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4)) {
        accept::choose(fields.iter().map(Vec::as_slice));
    }

    #[test]
    fn only_what_was_named_and_not_refused_is_chosen(
        members in prop::collection::vec(("gzip|br|zstd|x-gzip|identity|deflate|\\*|", "|;q=0|;q=1|;q=0\\.[0-9]{1,3}|;q=0\\.0|; q=0.7|;q=x|;"), 0..6),
        cut in 0_usize..7,
    ) {
        let members: Vec<_> = members.iter().map(|(name, weight)| format!("{name}{weight}")).collect();
        let (first, second) = members.split_at(cut.min(members.len()));
        let (first, second) = (first.join(", "), second.join(","));
        if let Some(coding) = chosen(&[&first, &second]) {
            let named = |name: &str| members.iter().any(|member| member.starts_with(name));
            prop_assert!(named(coding) || (coding == "gzip" && (named("x-gzip") || named("*"))), "{coding} of {members:?}");
            // Whoever refuses it besides does not get it.
            let refused = format!("{coding};q=0");
            prop_assert_ne!(chosen(&[&first, &second, &refused]), Some(coding));
        }
    }

    #[test]
    fn whatever_is_written_and_flushed_comes_back(
        parts in prop::collection::vec((prop::collection::vec(prop::sample::select(&b"abcdefgh <>/"[..]), 0..3000), any::<bool>()), 0..6),
        which in 0_usize..3,
    ) {
        let coding = Coding::ALL[which];
        let mut encoder = Encoder::new(coding).unwrap();
        let (mut wire, mut all) = (Vec::new(), Vec::new());
        for (part, flush) in parts {
            encoder.write(&part).unwrap();
            all.extend_from_slice(&part);
            if flush {
                encoder.flush().unwrap();
                wire.append(encoder.done());
                prop_assert_eq!(&begun(coding, &wire), &all, "all that was flushed can be read");
            }
        }
        wire.append(&mut encoder.finish().unwrap());
        prop_assert_eq!(begun(coding, &wire), all);
    }
}

/// What can be read of the beginning of a compressed text.
fn begun(coding: Coding, wire: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn std::io::Read + '_> = match coding {
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(wire).unwrap()),
        Coding::Brotli => Box::new(brotli::Decompressor::new(wire, 4096)),
        Coding::Gzip => Box::new(flate2::read::GzDecoder::new(wire)),
    };
    let (mut all, mut part) = (Vec::new(), [0; 512]);
    while let Ok(count @ 1..) = reader.read(&mut part) {
        all.extend_from_slice(&part[..count]);
    }
    all
}

#[test]
fn no_frame_asks_for_more_than_browsers_keep() {
    let mut encoder = Encoder::new(Coding::Zstd).unwrap();
    encoder.write(&vec![b'x'; 300_000]).unwrap();
    let frame = encoder.finish().unwrap();
    // RFC 8878, 3.1.1.1: no single segment, so a window descriptor follows; its exponent is counted from 1 KiB.
    assert_eq!(frame[..4], [0x28, 0xb5, 0x2f, 0xfd]);
    assert_eq!((frame[4] & 0x20, 10 + (frame[5] >> 3), frame[5] & 7), (0, 18, 0));
}

fn request(lines: &str) -> RequestHead {
    let mut head = RequestHead::default();
    head.parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap();
    head
}

fn answer(status: u16, lines: &str) -> ResponseHead {
    let mut head = ResponseHead::default();
    head.parse(format!("HTTP/1.1 {status} X\r\n{lines}\r\n").as_bytes()).unwrap();
    head
}

/// All values of a field.
fn values(head: &ResponseHead, name: &str) -> Vec<String> {
    let fields = head.fields().filter(|(this, _)| this.eq_ignore_ascii_case(name.as_bytes()));
    fields.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).collect()
}

fn treated(asked: &str, status: u16, lines: &str, length: Option<u64>) -> (ResponseHead, bool) {
    let (places, mut head) = (Places::default(), answer(status, lines));
    let mut framing = ResponseFraming { body: length.map_or(BodyIn::UntilClose, BodyIn::Length), length, close: false };
    let squeezed = begin(&places, &request(asked), &mut head, &mut framing).is_some();
    assert_eq!(framing.length.is_none(), squeezed || length.is_none());
    (head, squeezed)
}

const TAKES: &str = "Accept-Encoding: gzip\r\n";

#[test]
fn texts_are_compressed_and_nothing_else() {
    for (media, wanted) in [
        ("text/html", true),
        ("Text/CSS; charset=utf-8", true),
        ("application/json", true),
        ("application/problem+json", true),
        ("image/svg+xml", true),
        ("application/wasm;x=y", true),
        ("text/event-stream", false),
        ("TEXT/Event-Stream; charset=utf-8", false),
        ("image/png", false),
        ("font/woff2", false),
        ("application/octet-stream", false),
        ("application/zip", false),
        ("+json", false),
        ("", false),
    ] {
        let (head, squeezed) = treated(TAKES, 200, &format!("Content-Type: {media}\r\n"), Some(5000));
        assert_eq!((squeezed, !values(&head, "vary").is_empty()), (wanted, wanted), "{media}");
    }
}

#[test]
fn what_must_not_be_compressed_is_not() {
    let html = "Content-Type: text/html\r\n";
    assert!(treated(TAKES, 200, html, None).1);
    for status in [201, 203, 404, 500] {
        assert!(treated(TAKES, status, html, Some(5000)).1, "{status}");
    }
    for status in [204, 205, 206, 304, 301] {
        assert!(!treated(TAKES, status, html, Some(5000)).1, "{status}");
    }
    for length in [0, 1023, 10 * 1024 * 1024 + 1] {
        assert!(!treated(TAKES, 200, html, Some(length)).1, "{length}");
    }
    for length in [1024, 10 * 1024 * 1024] {
        assert!(treated(TAKES, 200, html, Some(length)).1, "{length}");
    }
    for more in
        ["Content-Encoding: gzip", "Content-Encoding: identity", "Cache-Control: public, No-Transform", "Content-Range: bytes 0-9/10", html.trim()]
    {
        assert!(!treated(TAKES, 200, &format!("{html}{more}\r\n"), Some(5000)).1, "{more}");
    }
    for more in ["Range: bytes=0-99", "Cache-Control: no-transform"] {
        let (head, squeezed) = treated(&format!("{TAKES}{more}\r\n"), 200, html, Some(5000));
        assert_eq!((squeezed, values(&head, "vary")), (false, vec!["Accept-Encoding".to_owned()]), "{more}");
    }
}

#[test]
fn the_head_says_what_was_done() {
    let lines = "Content-Type: text/html\r\nETag: \"a,b\"\r\nAccept-Ranges: bytes\r\nContent-MD5: x\r\nDigest: x\r\nContent-Digest: x\r\nRepr-Digest: x\r\n\
                 Vary: Cookie\r\nvary: Origin\r\nX-Other: 1\r\n";
    let (head, squeezed) = treated(TAKES, 200, lines, Some(5000));
    assert!(squeezed);
    let names: Vec<_> = head.fields().map(|(name, _)| std::str::from_utf8(name).unwrap().to_owned()).collect();
    assert_eq!(names, ["Content-Type", "X-Other", "ETag", "Content-Encoding", "Vary"]);
    assert_eq!((values(&head, "etag"), values(&head, "vary")), (vec!["W/\"a,b\"".to_owned()], vec!["Cookie, Origin, Accept-Encoding".to_owned()]));
    assert_eq!(values(&head, "content-encoding"), ["gzip"]);
    // To others it says only that it might have been.
    let (head, squeezed) = treated("", 200, lines, Some(5000));
    assert!(!squeezed && values(&head, "content-encoding").is_empty() && values(&head, "accept-ranges") == ["bytes"]);
    assert_eq!((values(&head, "etag"), values(&head, "vary")), (vec!["\"a,b\"".to_owned()], vec!["Cookie, Origin, Accept-Encoding".to_owned()]));
    for vary in ["*", "accept-encoding", "Cookie, ACCEPT-Encoding"] {
        let (head, _) = treated(TAKES, 200, &format!("Content-Type: text/html\r\nVary: {vary}\r\n"), Some(5000));
        assert_eq!(values(&head, "vary"), [vary]);
    }
    for (tag, wanted) in [("W/\"x\"", &["W/\"x\""][..]), ("bare", &[])] {
        let (head, _) = treated(TAKES, 200, &format!("Content-Type: text/html\r\nETag: {tag}\r\n"), Some(5000));
        assert_eq!(values(&head, "etag"), wanted);
    }
}

#[test]
fn a_304_names_the_tag_that_the_visitor_holds() {
    for (held, wanted) in [("W/\"a,b\", \"c\"", "W/\"a,b\""), ("\"c\", \"a,b\"", "\"a,b\""), ("W/\"a\"", "\"a,b\""), ("*", "\"a,b\"")] {
        let (head, squeezed) = treated(&format!("{TAKES}If-None-Match: {held}\r\n"), 304, "ETag: \"a,b\"\r\n", None);
        assert_eq!((squeezed, values(&head, "etag")), (false, vec![wanted.to_owned()]), "{held}");
        assert_eq!(values(&head, "vary").len(), usize::from(wanted.starts_with('W')));
    }
}

#[test]
fn beyond_so_many_answers_pass_as_they_are() {
    let places = Places::default();
    let mut begun = Vec::new();
    for n in 0..=MOST {
        let mut head = answer(200, "Content-Type: text/html\r\nETag: \"x\"\r\n");
        let mut framing = ResponseFraming { body: BodyIn::Length(5000), length: Some(5000), close: false };
        let squeeze = begin(&places, &request(TAKES), &mut head, &mut framing);
        assert_eq!(squeeze.is_some(), n < MOST);
        assert_eq!(values(&head, "etag") == ["W/\"x\""], n < MOST);
        assert_eq!(values(&head, "vary"), ["Accept-Encoding"]);
        begun.extend(squeeze);
    }
    begun.clear();
    assert!(places.take().is_some());
}
