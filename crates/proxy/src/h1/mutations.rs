//! Requests that were spoilt at random, always the same ones: none makes the parsers panic, how they arrive changes nothing, and what is let through is written so
//! that reading it again finds the same request, to its last octet.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::body::BodyOut;
use super::chunked::Piece;
use super::framing::{self, BodyIn};
use super::head::{RequestHead, Scan};
use super::write::{self, Onward};
use crate::context::Context;
use crate::server::Faces;

const CORPUS: &[&str] = &[
    "GET /a?b HTTP/1.1\r\nHost: a.example:80\r\nX: 1\r\n\r\n",
    "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nConnection: close, x\r\nX: 1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 3\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
];

/// What is put in place of, or between, octets.
const PIECES: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    ":",
    ";",
    ",",
    "+",
    "-",
    "0",
    "1",
    "f",
    "x",
    "#",
    "@",
    "[",
    "]",
    "\u{e9}",
    "Content-Length: 1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Host: b\r\n",
    "chunked",
    "\r\n\r\n",
    "0\r\n\r\n",
    "HTTP/1.1",
    "Connection: host\r\n",
];

const SEED: u64 = 0x0a70_11ed_9e5a_fe7e;
const ROUNDS: usize = 60_000;

/// The same numbers everywhere and always.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

fn spoil(numbers: &mut Numbers, octets: &mut Vec<u8>) {
    let at = numbers.below(octets.len() + 1);
    let piece = PIECES[numbers.below(PIECES.len())].bytes();
    match numbers.below(5) {
        0 => drop(octets.splice(at..at, piece)),
        1 => drop(octets.splice(at..(at + 1).min(octets.len()), piece)),
        2 => drop(octets.drain(at..(at + 1 + numbers.below(3)).min(octets.len()))),
        3 if at < octets.len() => octets[at] ^= 1 << numbers.below(8),
        _ => {
            // A line once more, somewhere.
            let lines: Vec<Vec<u8>> = octets.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
            if let Some(line) = lines.get(numbers.below(lines.len().max(1))) {
                drop(octets.splice(at..at, line.iter().copied()));
            }
        }
    }
}

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

/// Reads and writes a request whose octets come in parts of this size; nothing where it is refused or not whole.
fn read(octets: &[u8], part: usize) -> Option<Read> {
    let (mut scan, mut there, mut head) = (Scan::default(), 0, RequestHead::default());
    let end = loop {
        match scan.end(&octets[..there]) {
            Ok(Some(end)) => break end,
            Err(_) => return None,
            Ok(None) if there == octets.len() => return None,
            Ok(None) => there = (there + part).min(octets.len()),
        }
    };
    head.parse(&octets[..end]).ok()?;
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

#[test]
fn spoilt_requests_are_refused_or_are_one_request() {
    let (mut numbers, mut taken, mut refused) = (Numbers(SEED), 0, 0);
    for round in 0..ROUNDS {
        let mut octets = CORPUS[round % CORPUS.len()].as_bytes().to_vec();
        for _ in 0..=numbers.below(3) {
            spoil(&mut numbers, &mut octets);
        }
        let told = || format!("seed {SEED:#x}, round {round}: {}", octets.escape_ascii());
        let at_once = read(&octets, octets.len().max(1));
        assert_eq!(at_once, read(&octets, 1 + numbers.below(7)), "{}", told());
        let Some(first) = at_once else {
            refused += 1;
            continue;
        };
        taken += 1;
        let second =
            read(&first.onward, first.onward.len()).unwrap_or_else(|| panic!("{}: what goes on is refused: {}", told(), first.onward.escape_ascii()));
        assert_eq!(second.used, first.onward.len(), "{}: more goes on than one request", told());
        let same = |read: &Read| (read.method.clone(), read.target.clone(), read.host.clone(), read.body.clone());
        assert_eq!(same(&first), same(&second), "{}", told());
    }
    // Both sides of the table must have been tried in earnest.
    assert!(taken > ROUNDS / 10 && refused > ROUNDS / 10, "{taken} taken, {refused} refused");
}
