//! Frames that break the connection, and floods: they end it alone.

use testkit::frames::{
    ACK, CALM, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADERS, ORDERED,
    PADDED, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, PUSH, RESET, SETTINGS, STREAM_CLOSED, WINDOW, block, frame,
};

use super::{Case, GET, POST, Taken, ask, head};

const ROOT: &str = "GET / HTTP/1.1";
const SENT: &str = "POST / HTTP/1.1";
/// The library says this of much that has a code of its own; what counts is that the connection ends.
const SIZE: &[u32] = &[FRAME_SIZE_ERROR, PROTOCOL_ERROR];
const ODD: &[u32] = &[PROTOCOL_ERROR];
const FLOW: &[u32] = &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR];
const FIELDS: &[u32] = &[COMPRESSION_ERROR, PROTOCOL_ERROR];
const ENDED: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> =
        connections().into_iter().map(|(asks, name, octets, codes)| Case::new(name, asks, octets, Taken::Ended(codes))).collect();
    cases.extend(openings());
    cases.extend(streams());
    cases.extend(floods());
    cases
}

/// Section, name, frames, codes: each ends the connection, and nothing reaches the backend.
fn connections() -> Vec<(&'static str, &'static str, Vec<u8>, &'static [u32])> {
    let start = |flags, payload: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM | flags, 1, payload);
    let fields = block(&GET);
    let open = frame(HEADERS, 0, 1, &fields);
    let setting = |name: u8, value: u32| frame(SETTINGS, 0, 0, &[&[0, name][..], &value.to_be_bytes()].concat());
    vec![
        ("9113, 4.2", "an enormous frame", [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &[0; 100]].concat(), SIZE),
        ("9113, 4.2", "a frame of one octet more than may be", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0; 16_385]), SIZE),
        ("9113, 4.3", "another frame within fields", [open.clone(), frame(PING, 0, 0, &[0; 8])].concat(), ODD),
        ("9113, 4.3", "data within fields", [open.clone(), frame(DATA, END_STREAM, 1, b"x")].concat(), ODD),
        ("9113, 4.3", "an unknown frame within fields", [open.clone(), frame(0x7f, 0, 1, b"x")].concat(), ODD),
        ("9113, 6.10", "more fields of another stream", [open, frame(CONTINUATION, END_HEADERS, 3, &fields)].concat(), ODD),
        ("9113, 6.10", "more fields of none", frame(CONTINUATION, END_HEADERS, 1, &fields), ODD),
        (
            "9113, 6.10",
            "more fields behind the last",
            [frame(HEADERS, END_HEADERS, 1, &block(&POST)), frame(CONTINUATION, END_HEADERS, 1, &[])].concat(),
            ODD,
        ),
        ("9113, 5.1", "data of a stream that was never opened", frame(DATA, 0, 5, b"x"), ODD),
        ("9113, 5.1", "room for a stream that was never opened", frame(WINDOW, 0, 5, &[0, 0, 0, 1]), ODD),
        ("9113, 5.1", "the end of a stream that was never opened", frame(RESET, 0, 5, &[0, 0, 0, 8]), ODD),
        ("9113, 5.1.1", "a stream of the server's", frame(HEADERS, END_HEADERS | END_STREAM, 2, &fields), ODD),
        ("9113, 6.1", "data of no stream", frame(DATA, 0, 0, b"x"), ODD),
        ("9113, 6.1", "filled up beyond its end", [head(&[]), frame(DATA, PADDED | END_STREAM, 1, b"\x09hi")].concat(), ODD),
        ("9113, 6.2", "fields of no stream", frame(HEADERS, END_HEADERS | END_STREAM, 0, &fields), ODD),
        ("9113, 6.2", "fields filled up beyond their end", start(PADDED, &[&[255], &fields[..]].concat()), ODD),
        ("9113, 6.2", "fields with half an order", start(ORDERED, &[0, 0]), SIZE),
        ("9113, 6.3", "an order of no stream", frame(PRIORITY, 0, 0, &[0, 0, 0, 3, 1]), ODD),
        ("9113, 6.4", "an end of no stream", frame(RESET, 0, 0, &[0, 0, 0, 8]), ODD),
        ("9113, 6.4", "an end of another length", [head(&[]), frame(RESET, 0, 1, &[0, 0, 8])].concat(), SIZE),
        ("9113, 6.5", "settings of another length", frame(SETTINGS, 0, 0, &[0; 5]), SIZE),
        ("9113, 6.5", "settings of a stream", frame(SETTINGS, 0, 1, &[]), ODD),
        ("9113, 6.5", "an answer to settings that says something", frame(SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 1]), SIZE),
        ("9113, 6.5.2", "pushes twice allowed", setting(2, 2), ODD),
        ("9113, 6.5.2", "a window beyond its bound, by settings", setting(4, 0x8000_0000), FLOW),
        ("9113, 6.5.2", "frames of less than may be", setting(5, 100), ODD),
        ("9113, 6.5.2", "frames of more than can be", setting(5, 0x0100_0000), ODD),
        ("9113, 8.4", "a push", frame(PUSH, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &fields].concat()), ODD),
        ("9113, 6.7", "a ping of another length", frame(PING, 0, 0, &[0; 7]), SIZE),
        ("9113, 6.7", "a ping of a stream", frame(PING, 0, 1, &[0; 8]), ODD),
        ("9113, 6.8", "a goodbye of a stream", frame(GOAWAY, 0, 1, &[0; 8]), ODD),
        ("9113, 6.9", "room of another length", frame(WINDOW, 0, 0, &[0; 3]), SIZE),
        ("9113, 6.9", "a window that grows by nothing", frame(WINDOW, 0, 0, &[0; 4]), ODD),
        ("9113, 6.9.1", "a window beyond its bound", frame(WINDOW, 0, 0, &0x7fff_ffff_u32.to_be_bytes()).repeat(2), FLOW),
        ("7541, 2.3.3", "a field from beyond the table", start(0, &[0xff, 0xff, 0x7f]), FIELDS),
        ("7541, 6.1", "the field before the first", start(0, &[0x80]), FIELDS),
        ("7541, 6.3", "a table that was not offered", start(0, &[0x3f, 0xff, 0xff, 0x7f]), FIELDS),
        ("7541, 4.2", "a table that changes within fields", start(0, &[0x82, 0x20, 0x84]), FIELDS),
        ("7541, 5.1", "a number without end", start(0, &[0xff; 40]), FIELDS),
        ("7541, 5.2", "a text beyond its end", start(0, &[0, 1, b'x', 0x7f, 0x7f, b'y']), FIELDS),
        ("7541, 5.2", "a text in Huffman's code with its last word", start(0, &[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]), FIELDS),
    ]
}

/// What begins in another way.
fn openings() -> Vec<Case> {
    let opened = |asks, name: &str, opening: &[u8]| {
        let mut case = Case::new(name, asks, Vec::new(), Taken::Ended(ODD));
        case.opening = opening.to_vec();
        case
    };
    vec![
        opened("9113, 3.4", "no preface", b"GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        opened("9113, 3.4", "half a preface and a request", b"PRI * HTTP/2.0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        opened("9113, 3.4", "a preface of another version", b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n"),
        // Settings that never come are taken for the usual ones.
        Case { taken: Taken::Borne(ODD), ..opened("9113, 3.4", "no settings", &[PREFACE, &ask(&GET)].concat()) }.perhaps(ROOT),
        Case {
            // Its letters are read as the length of a frame.
            taken: Taken::Ended(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
            ..opened(
                "9113, 3.4",
                "a request of the other protocol behind the settings",
                &[PREFACE, &frame(SETTINGS, 0, 0, &[]), b"GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"].concat(),
            )
        },
    ]
}

/// What costs a stream, or a connection whose requests may have been served before.
fn streams() -> Vec<Case> {
    let two = |stream: u32| frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&GET));
    let itself = [&[0, 0, 0, 1, 16], &block(&GET)[..]].concat();
    vec![
        Case::new("data behind the end", "9113, 5.1", [ask(&POST), frame(DATA, END_STREAM, 1, b"x")].concat(), Taken::Reset(ENDED)).perhaps(SENT),
        Case::new("a second head behind the end", "9113, 5.1", [ask(&GET), ask(&GET)].concat(), Taken::Reset(ENDED)).perhaps(ROOT),
        Case::new("an older stream", "9113, 5.1.1", [two(5), two(3), two(1)].concat(), Taken::Ended(ODD)).perhaps(ROOT),
        Case::new("a stream that waits for itself", "9113, 5.3.2", frame(HEADERS, END_HEADERS | END_STREAM | ORDERED, 1, &itself), Taken::Reset(ODD)),
        Case::new("a window of a stream that grows by nothing", "9113, 6.9", [head(&[]), frame(WINDOW, 0, 1, &[0; 4])].concat(), Taken::Reset(ODD)),
        Case::new(
            "a window of a stream beyond its bound",
            "9113, 6.9.1",
            [head(&[]), frame(WINDOW, 0, 1, &0x7fff_ffff_u32.to_be_bytes())].concat(),
            Taken::Reset(FLOW),
        ),
        Case::new(
            "more data than there is room for",
            "9113, 6.9.1",
            [head(&[]), frame(DATA, 0, 1, &[b'x'; 16_384]).repeat(80)].concat(),
            Taken::Over(FLOW),
        )
        .perhaps(SENT),
    ]
}

/// Much of something, each time followed by visitors who are served.
fn floods() -> Vec<Case> {
    let once = ask(&GET);
    let many = |octets: Vec<u8>, count: usize| octets.repeat(count);
    let open = frame(HEADERS, 0, 1, &block(&GET));
    let value = "v".repeat(1000);
    let long = block(&[("x", &value[..100]); 100]);
    let large = block(&[&GET[..], &[("x", value.as_str()); 70]].concat());
    let list = [frame(HEADERS, END_STREAM, 1, &large[..16_000]), parts(&large[16_000..])].concat();
    let reset = |count: u32, code: u8| -> Vec<u8> {
        let one = |n: u32| [frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 3, &block(&GET)), frame(RESET, 0, 2 * n + 3, &[0, 0, 0, code])].concat();
        (0..count).flat_map(one).collect()
    };
    let bear = |name: &str, asks, octets: Vec<u8>| Case::new(name, asks, [octets, once.clone()].concat(), Taken::Borne(&[CALM])).perhaps(ROOT);
    vec![
        Case::new(
            "fields without end",
            "9113, 10.5.1",
            [open.clone(), many(frame(CONTINUATION, 0, 1, &long), 2000)].concat(),
            Taken::Ended(&[CALM, COMPRESSION_ERROR, PROTOCOL_ERROR]),
        ),
        Case::new("empty fields without end", "9113, 10.5", [open, many(frame(CONTINUATION, 0, 1, &[]), 20_000)].concat(), Taken::Ended(&[CALM])),
        Case::new("more fields than there is room for", "6585, 5", list, Taken::Answered(431)),
        Case::new("requests that are taken back at once", "9113, 10.5", reset(2000, 8), Taken::Ended(&[CALM])).perhaps(ROOT),
        Case::new("requests that are broken at once", "9113, 10.5", broken(2000), Taken::Ended(&[CALM, PROTOCOL_ERROR])).perhaps(ROOT),
        bear("settings", "9113, 10.5", many(frame(SETTINGS, 0, 0, &[]), 5000)),
        bear("pings", "9113, 10.5", many(frame(PING, 0, 0, &[0; 8]), 5000)),
        bear("orders", "9113, 10.5", many(frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]), 5000)),
        bear("room by single octets", "9113, 10.5", many(frame(WINDOW, 0, 0, &[0, 0, 0, 1]), 5000)),
        bear("frames that nobody knows", "9113, 10.5", many(frame(0x7f, 0, 0, &[0; 100]), 5000)),
        Case::new(
            "empty data without end",
            "9113, 10.5",
            [head(&[]), many(frame(DATA, 0, 1, &[]), 20_000), frame(DATA, END_STREAM, 1, b"hi")].concat(),
            Taken::Borne(&[CALM]),
        )
        .perhaps(SENT),
    ]
}

/// Fields in further frames.
fn parts(block: &[u8]) -> Vec<u8> {
    let count = block.chunks(16_000).count();
    block.chunks(16_000).enumerate().flat_map(|(n, part)| frame(CONTINUATION, if n + 1 == count { END_HEADERS } else { 0 }, 1, part)).collect()
}

/// Requests each of which makes the server take it back (CVE-2025-8671).
fn broken(count: u32) -> Vec<u8> {
    let one = |n: u32| [frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 3, &block(&GET)), frame(WINDOW, 0, 2 * n + 3, &[0; 4])].concat();
    (0..count).flat_map(one).collect()
}
