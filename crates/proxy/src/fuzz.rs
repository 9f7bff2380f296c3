//! What holds of the parsers of outside input whatever the input: for the fuzz targets (`fuzz/`, feature `fuzz`) and for the tests that spoil requests at random.
//!
//! Each function panics where it does not hold.

use std::net::SocketAddr;

use crate::behind::Behind;
use crate::context::Context;
use crate::h1::body::BodyOut;
use crate::h1::chunked::Piece;
use crate::h1::framing::{self, BodyIn};
use crate::h1::head::{ADDED, FIELDS, RequestHead, ResponseHead, Scan};
use crate::h1::write::{self, Onward};
use crate::preamble;
use crate::server::Faces;
use crate::trunk::{self, HEAD, Side, State};

/// A request as it was understood.
#[derive(Debug, PartialEq)]
struct Read {
    method: String,
    target: String,
    host: String,
    body: Vec<u8>,
    used: usize,
    onward: Vec<u8>,
}

/// A request that arrives in parts of this size is understood as one that comes at once; what is let through is written so that reading it again finds the same
/// request, to its last octet. Gives whether it was let through.
pub fn request(octets: &[u8], part: usize) -> bool {
    let told = || octets.escape_ascii();
    let at_once = read(octets, octets.len().max(1), FIELDS);
    assert_eq!(at_once, read(octets, part.max(1), FIELDS), "{}", told());
    let Some(first) = at_once else { return false };
    let Some(second) = read(&first.onward, first.onward.len(), FIELDS + ADDED.fields) else {
        panic!("{}: what goes on is refused: {}", told(), first.onward.escape_ascii())
    };
    assert_eq!(second.used, first.onward.len(), "{}: more goes on than one request", told());
    let same = |read: Read| (read.method, read.target, read.host, read.body);
    assert_eq!(same(first), same(second), "{}", told());
    true
}

/// The head of an answer is refused, or has a status and fields that can be written.
pub fn answer(octets: &[u8]) {
    let mut head = ResponseHead::default();
    let Ok(Some(end)) = Scan::default().end(octets) else { return };
    if head.parse(&octets[..end]).is_err() {
        return;
    }
    assert!((100..=999).contains(&head.status()), "{}", octets.escape_ascii());
    let mut out = Vec::new();
    write::response(&mut out, &head, Faces::Visitors, BodyOut::Empty, Some(0), true, &[]);
    let ends = Scan::default().end(&out);
    assert_eq!(ends.ok().flatten(), Some(out.len()), "{}: written as {}", octets.escape_ascii(), out.escape_ascii());
}

/// A preamble is whole, malformed, or to be waited for; what comes behind it changes nothing, and no part of a good one is refused.
pub fn preamble(octets: &[u8]) {
    let whole = preamble::read(octets);
    let Ok(Some((used, said))) = whole else { return };
    assert!(used <= octets.len(), "{}", octets.escape_ascii());
    for end in 0..used {
        assert_eq!(preamble::read(&octets[..end]), Ok(None), "{} at {end}", octets.escape_ascii());
    }
    assert_eq!(preamble::read(&octets[..used]), Ok(Some((used, said))), "{}", octets.escape_ascii());
}

/// The frames of a trunk are taken or refused alike however they arrive; and whoever never reads what it is answered is not answered without bound.
pub fn trunk(octets: &[u8], part: usize) {
    let taken = |part: usize| {
        let (mut end, mut opened, mut heard) = (State::new(Side::Takes), Vec::new(), Vec::new());
        let (mut from, mut to) = (0, 0);
        while to < octets.len() {
            to = (to + part).min(octets.len());
            let Ok(used) = end.receive(&octets[from..to], &mut opened, &mut Vec::new()) else { return None };
            assert!(to - from - used < HEAD, "{}: {} octets are left", octets.escape_ascii(), to - from - used);
            from += used;
            heard.resize(opened.len(), Vec::new());
            for (number, heard) in opened.iter().zip(&mut heard) {
                let mut into = [0; 64];
                while let Ok(count @ 1..) = end.read(*number, &mut into) {
                    heard.extend_from_slice(&into[..count]);
                }
            }
        }
        Some((opened, heard))
    };
    // Read as soon as it comes, more fits in a window than where all comes at once.
    if octets.len() <= trunk::WINDOW {
        assert_eq!(taken(octets.len().max(1)), taken(part.max(1)), "{}", octets.escape_ascii());
    }
}

/// Fields of a trusted balancer name its own address or one that stands in them.
pub fn forwarded(fields: &[u8]) {
    let mut octets = b"GET / HTTP/1.1\r\nHost: a.example\r\n".to_vec();
    octets.extend_from_slice(fields);
    octets.extend_from_slice(b"\r\n\r\n");
    let mut head = RequestHead::default();
    let Ok(Some(end)) = Scan::default().end(&octets) else { return };
    if head.parse(&octets[..end]).is_err() {
        return;
    }
    let peer = SocketAddr::from(([10, 0, 0, 1], 80));
    let network = ipnet::IpNet::new_assert(peer.ip(), 8).trunc();
    let came = Behind { networks: vec![network], preamble: false }.came(&head, peer, false);
    let told = head.find("x-forwarded-for").or_else(|| head.find("forwarded")).is_some();
    assert!(told || came.peer == peer, "{}", octets.escape_ascii());
}

/// The place in a trace that goes on is well-formed, and its own.
pub fn trace(value: &[u8]) {
    let mut octets = b"GET / HTTP/1.1\r\nHost: a.example\r\ntraceparent: ".to_vec();
    octets.extend_from_slice(value);
    octets.extend_from_slice(b"\r\n\r\n");
    let mut head = RequestHead::default();
    if !matches!(Scan::default().end(&octets), Ok(Some(end)) if end == octets.len()) || head.parse(&octets).is_err() {
        return;
    }
    let (context, number) = (Context::of(&head, (1, 2)), (1, 3));
    let next = format!("GET / HTTP/1.1\r\nHost: a.example\r\ntraceparent: {}\r\n\r\n", context.as_bytes().escape_ascii());
    let mut onward = RequestHead::default();
    assert!(onward.parse(next.as_bytes()).is_ok(), "{next}");
    let after = Context::of(&onward, number);
    assert!(after.continued && after.trace() == context.trace() && after.span() != context.span(), "{}", octets.escape_ascii());
}

/// Reads and writes a request whose octets come in parts of this size; nothing where it is refused, has more fields than these, or is not whole.
fn read(octets: &[u8], part: usize, fields: usize) -> Option<Read> {
    let (mut scan, mut there, mut head) = (Scan::default(), 0, RequestHead::default());
    let end = loop {
        match scan.end(&octets[..there]) {
            Ok(Some(end)) => break end,
            Err(_) => return None,
            Ok(None) if there == octets.len() => return None,
            Ok(None) => there = (there + part).min(octets.len()),
        }
    };
    head.parse(&octets[..end]).ok().filter(|()| head.count() <= fields)?;
    let framing = framing::request(&head).ok()?;
    let form = match &framing.body {
        BodyIn::Length(length) => BodyOut::Length(*length),
        BodyIn::Chunked(_) => BodyOut::Chunked,
        BodyIn::Empty | BodyIn::UntilClose => BodyOut::Empty,
    };
    let onward = Onward {
        faces: Faces::Visitors,
        add: &|_| {},
        client: "192.0.2.1",
        secure: false,
        id: "id",
        context: &Context::of(&head, (1, 2)),
        body: form,
        upgrade: framing.upgrade,
        expects: framing.expects,
        lists: framing.lists,
        conditions: None,
    };
    let mut out = Vec::new();
    write::request(&mut out, &head, &onward);
    let (mut body_in, mut body, mut used) = (framing.body, Vec::new(), end);
    while !body_in.is_over() {
        let (count, piece) = body_in.next(&octets[used..there.max(used)]).ok()?;
        used += count;
        match piece {
            Piece::Data(data) => body.extend_from_slice(data),
            Piece::End => break,
            Piece::More if there >= octets.len() => return None,
            Piece::More => there = (there.max(used) + part).min(octets.len()),
        }
    }
    form.put(&mut out, &body);
    form.finish(&mut out, &[]);
    Some(Read { method: head.method().to_owned(), target: head.target().to_owned(), host: head.host().to_owned(), body, used, onward: out })
}
