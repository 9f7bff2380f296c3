//! Requests that were spoilt at random, always the same ones: none makes the parsers panic, how they arrive changes nothing, and what is let through is written so
//! that reading it again finds the same request, to its last octet.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::fuzz;

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

#[test]
fn spoilt_requests_are_refused_or_are_one_request() {
    let (mut numbers, mut taken, mut refused) = (Numbers(SEED), 0, 0);
    for round in 0..ROUNDS {
        let mut octets = CORPUS[round % CORPUS.len()].as_bytes().to_vec();
        for _ in 0..=numbers.below(3) {
            spoil(&mut numbers, &mut octets);
        }
        // What does not hold is said with its octets.
        if fuzz::request(&octets, 1 + numbers.below(7)) {
            taken += 1;
        } else {
            refused += 1;
        }
    }
    // Both sides of the table must have been tried in earnest.
    assert!(taken > ROUNDS / 10 && refused > ROUNDS / 10, "{taken} taken, {refused} refused");
}
