//! The door, spoken to in frames that no library would send: what is malformed is refused by the rule that it breaks, floods end with their connection, and the next
//! visitor is served.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use testkit::frames::*;
use tokio_util::io::InspectReader;

use super::*;

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "shop.example"), (":path", "/")];
const POST: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "https"), (":authority", "shop.example"), (":path", "/")];

/// A request without a body.
fn ask(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))
}

/// A good request with more fields.
fn with(more: &[(&str, &str)]) -> Vec<u8> {
    ask(&[&GET[..], more].concat())
}

/// A good request, but for one pseudo field.
fn but(name: &str, value: Option<&str>) -> Vec<u8> {
    let fields = GET.iter().filter_map(|(this, own)| if *this == name { value.map(|value| (*this, value)) } else { Some((*this, *own)) });
    ask(&fields.collect::<Vec<_>>())
}

/// A request with a body and this length.
fn sent(length: &str, body: &str) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, 1, &block(&[&POST[..], &[("content-length", length)]].concat()));
    [head, frame(DATA, END_STREAM, 1, body.as_bytes())].concat()
}

/// Sends it behind the preface and the settings, and sees what comes of it.
async fn tell(world: &World, octets: &[u8]) -> Got {
    let all = [PREFACE, &frame(SETTINGS, 0, 0, &[])[..], octets].concat();
    tell_plainly(world, &all).await
}

async fn tell_plainly(world: &World, octets: &[u8]) -> Got {
    let mut frames = Frames::over(world.visit_speaking("shop.example", b"h2").await.unwrap());
    frames.send(octets.to_vec());
    frames.end_of(1, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_and_others_pass_as_they_were_meant() {
    let world = World::serving().await;
    let malformed: Vec<(&str, Vec<u8>)> = vec![
        ("two paths", with(&[(":path", "/two")])),
        ("no method", but(":method", None)),
        ("no path", but(":path", None)),
        ("no scheme", but(":scheme", None)),
        ("an empty path", but(":path", Some(""))),
        ("a path with a blank", but(":path", Some("/a b"))),
        ("a path with a line", but(":path", Some("/a HTTP/1.1\r\nX: y"))),
        ("a path that is none", but(":path", Some("other"))),
        ("an absolute path", but(":path", Some("http://other.example/"))),
        ("a pseudo field that nobody knows", with(&[(":other", "x")])),
        ("a status", with(&[(":status", "200")])),
        ("a pseudo field after others", ask(&[&GET[..3], &[("x", "y")], &GET[3..]].concat())),
        ("a name in upper case", with(&[("X-Upper", "x")])),
        ("a name with a blank", with(&[("a b", "x")])),
        ("a name with a colon", with(&[("a:b", "x")])),
        ("no name", with(&[("", "x")])),
        ("a value with lines", with(&[("x", "y\r\nhost: other.example")])),
        ("a value with a line feed", with(&[("x", "y\nz")])),
        ("a value with a NUL", with(&[("x", "y\0z")])),
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "1")])),
        ("proxy-connection", with(&[("proxy-connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te other than trailers", with(&[("te", "gzip")])),
        ("another host", with(&[("host", "other.example")])),
        ("two hosts", with(&[("host", "shop.example"), ("host", "other.example")])),
        ("an empty scheme", but(":scheme", Some(""))),
        ("a user in the authority", but(":authority", Some("user@shop.example"))),
        ("an authority with a path", but(":authority", Some("shop.example/x"))),
        ("no authority", but(":authority", None)),
        ("a method with a blank", but(":method", Some("GET /x"))),
        ("a length beyond the body", sent("5", "abc")),
        ("a length below the body", sent("2", "abc")),
        ("no length, but a body", sent("0", "abc")),
        ("a signed length", sent("+3", "abc")),
        (
            "two lengths",
            [
                frame(HEADERS, END_HEADERS, 1, &block(&[&POST[..], &[("content-length", "3"), ("content-length", "4")]].concat())),
                frame(DATA, END_STREAM, 1, b"abc"),
            ]
            .concat(),
        ),
    ];
    for (name, octets) in malformed {
        let got = tell(&world, &octets).await;
        assert!(matches!(got, Got::Answer(400, _) | Got::Reset(PROTOCOL_ERROR) | Got::Goaway(PROTOCOL_ERROR)), "{name}: {got:?}");
    }
    assert_eq!(tell(&world, &but(":method", Some("CONNECT"))).await, Got::Reset(PROTOCOL_ERROR), "CONNECT has neither scheme nor path");
    let good: [(&str, Vec<u8>, &str); 6] = [
        // The library cuts it off, so nobody behind can read it in another way.
        ("a fragment", but(":path", Some("/#x")), "GET / HTTP/1.1\r\n"),
        ("plain", with(&[]), "GET / HTTP/1.1\r\nHost: shop.example\r\n"),
        ("a host alone", ask(&[GET[0], GET[1], GET[3], ("host", "shop.example")]), "Host: shop.example\r\n"),
        ("two crumbs", with(&[("cookie", "a=1"), ("cookie", "b=2")]), "ookie: a=1; b=2\r\n"),
        ("te: trailers", with(&[("te", "trailers")]), "GET / HTTP/1.1\r\n"),
        (
            "what visitors may not say",
            with(&[("x-forwarded-for", "1.2.3.4"), ("atoll-tenant", "other"), ("x-atoll-tenant", "other")]),
            "X-Forwarded-For: 127.",
        ),
    ];
    for (name, octets, seen) in good {
        match tell(&world, &octets).await {
            Got::Answer(200, body) => {
                let text = String::from_utf8_lossy(&body);
                assert!(text.contains(seen) && !text.contains("other") && !text.contains("trailers"), "{name}: {text}");
            }
            got => panic!("{name}: {got:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_and_floods_end_their_connection_alone() {
    let world = World::serving().await;
    let one = with(&[]);
    let many = |one: Vec<u8>, count: usize| one.repeat(count);
    let endless =
        [frame(HEADERS, 0, 1, &block(&GET)), many(frame(CONTINUATION, 0, 1, &block(&[("x", "v".repeat(100).as_str()); 100])), 2000)].concat();
    let cases: Vec<(&str, Vec<u8>, Vec<Got>)> = vec![
        (
            "a header block without end",
            endless,
            vec![Got::Goaway(CALM), Got::Goaway(COMPRESSION_ERROR), Got::Answer(431, vec![]), Got::Reset(PROTOCOL_ERROR)],
        ),
        ("empty continuations", [frame(HEADERS, 0, 1, &block(&GET)), many(frame(CONTINUATION, 0, 1, &[]), 20_000)].concat(), vec![Got::Goaway(CALM)]),
        (
            "another frame within a header block",
            [frame(HEADERS, 0, 1, &block(&GET)), frame(PING, 0, 0, &[0; 8])].concat(),
            vec![Got::Goaway(PROTOCOL_ERROR)],
        ),
        ("a window beyond its bound", many(frame(WINDOW, 0, 0, &0x7fff_ffff_u32.to_be_bytes()), 2), vec![Got::Goaway(FLOW_CONTROL_ERROR)]),
        ("a window that grows by nothing", frame(WINDOW, 0, 0, &[0; 4]), vec![Got::Goaway(PROTOCOL_ERROR)]),
        ("an enormous frame", [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &[0; 100]].concat(), vec![Got::Goaway(FRAME_SIZE_ERROR)]),
        ("data of no stream", frame(DATA, 0, 0, b"x"), vec![Got::Goaway(PROTOCOL_ERROR)]),
        ("data of a stream that was never opened", frame(DATA, 0, 5, b"x"), vec![Got::Goaway(PROTOCOL_ERROR)]),
        ("a stream of the server's", frame(HEADERS, END_HEADERS | END_STREAM, 2, &block(&GET)), vec![Got::Goaway(PROTOCOL_ERROR)]),
        ("a push", frame(PUSH, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &block(&GET)].concat()), vec![Got::Goaway(PROTOCOL_ERROR)]),
        ("a ping of another length", frame(PING, 0, 0, &[0; 7]), vec![Got::Goaway(FRAME_SIZE_ERROR)]),
        ("settings of another length", frame(SETTINGS, 0, 0, &[0; 5]), vec![Got::Goaway(FRAME_SIZE_ERROR)]),
        ("a field from beyond the table", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0x7f]), vec![Got::Goaway(COMPRESSION_ERROR)]),
        (
            "a table that was not offered",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x3f, 0xff, 0xff, 0x7f]),
            vec![Got::Goaway(COMPRESSION_ERROR)],
        ),
        ("a number without end", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 40]), vec![Got::Goaway(COMPRESSION_ERROR)]),
        (
            "data behind the end",
            [frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&POST)), frame(DATA, END_STREAM, 1, b"x")].concat(),
            vec![Got::Reset(STREAM_CLOSED), Got::Goaway(STREAM_CLOSED)],
        ),
    ];
    for (name, octets, may) in cases {
        let got = tell(&world, &octets).await;
        // The library says this of much that has a code of its own, and one that still writes may see the end before its reason. What counts is that the connection ends.
        assert!(may.contains(&got) || matches!(got, Got::Goaway(PROTOCOL_ERROR) | Got::Closed), "{name}: {got:?}");
    }
    assert!(
        matches!(tell_plainly(&world, b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").await, Got::Goaway(PROTOCOL_ERROR) | Got::Closed),
        "no preface"
    );
    // Floods of what must be answered: the visitor reads, so nothing piles up, and is served behind them.
    for (name, flood) in
        [("settings", frame(SETTINGS, 0, 0, &[])), ("pings", frame(PING, 0, 0, &[0; 8])), ("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]))]
    {
        let got = tell(&world, &[many(flood, 5000), one.clone()].concat()).await;
        assert!(matches!(got, Got::Answer(200, _) | Got::Goaway(CALM) | Got::Closed), "{name}: {got:?}");
    }
    world.served().await;
}

/// Counts the records of TLS in what comes (RFC 8446, 5.1), whatever parts it comes in.
fn counting(records: Arc<AtomicUsize>) -> impl FnMut(&[u8]) {
    let mut came = Vec::new();
    move |octets| {
        came.extend_from_slice(octets);
        while let [_, _, _, high, low, ..] = *came
            && let length = 5 + usize::from(u16::from_be_bytes([high, low]))
            && came.len() >= length
        {
            came.drain(..length);
            records.fetch_add(1, Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_ready_together_share_a_record() {
    let world = World::serving().await;
    let records = Arc::new(AtomicUsize::new(0));
    let tcp = TcpStream::connect((world.at, 8443)).await.unwrap();
    let mut frames = Frames::over(world.shake("shop.example", b"h2", InspectReader::new(tcp, counting(records.clone()))).await.unwrap());
    // Unknown hosts: the edge answers by itself and at once, by a page of some hundred octets.
    let unknown = block(&[GET[0], GET[1], (":authority", "nobody.example"), GET[3]]);
    let ask = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &unknown);
    let answered = |got| matches!(got, Got::Answer(404 | 421, body) if body.len() > 256);
    frames.send([PREFACE, &frame(SETTINGS, 0, 0, &[])[..], &ask(1)[..]].concat());
    assert!(answered(frames.end_of(1, PATIENCE).await));
    let before = records.load(Relaxed);
    let streams = (3..).step_by(2).take(8);
    frames.send(streams.clone().flat_map(ask).collect());
    for stream in streams {
        assert!(answered(frames.end_of(stream, PATIENCE).await), "stream {stream}");
    }
    let count = records.load(Relaxed) - before;
    assert!((1..=3).contains(&count), "{count} records for eight answers");
}
