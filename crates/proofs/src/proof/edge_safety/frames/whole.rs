//! Requests that are served, and what of them reaches the backend: as they were meant, once, in the words of HTTP/1.1.

use testkit::frames::{
    CALM, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, ORDERED, PADDED, PING, PRIORITY, PROTOCOL_ERROR, SETTINGS, WINDOW, block, frame,
};

use super::super::case::SMUGGLED;
use super::{Case, Fields, GET, POST, Taken, ask, but, head, with};

const ROOT: &str = "GET / HTTP/1.1";
const SENT: &str = "POST / HTTP/1.1";

fn served(asks: &'static str, name: &str, octets: Vec<u8>, line: &'static str) -> Case {
    Case::new(name, asks, octets, Taken::Answered(200)).seen(line)
}

pub fn cases() -> Vec<Case> {
    let mut cases = targets();
    cases.extend(hosts());
    cases.extend(fields());
    cases.extend(bodies());
    cases.extend(frames());
    cases.extend(tunnels());
    cases
}

fn targets() -> Vec<Case> {
    let path = |asks, name: &str, path: &'static str, line: &'static str| served(asks, name, ask(&but(":path", Some(path))), line);
    vec![
        path("9113, 8.3.1", "plain", "/", ROOT),
        path("9113, 8.3.1", "a query", "/a?b=c", "GET /a?b=c HTTP/1.1"),
        path("9113, 8.3.1", "an address in a query", "/?a=http://forged.test/", "GET /?a=http://forged.test/ HTTP/1.1"),
        path("3986, 3.3", "two slashes", "//forged.test/", "GET //forged.test/ HTTP/1.1"),
        path("3986, 3.3", "dots are the application's matter", "/a/../b", "GET /a/../b HTTP/1.1"),
        path("3986, 2.1", "what is escaped stays escaped", "/a%0d%0ab%00", "GET /a%0d%0ab%00 HTTP/1.1"),
        // It is cut off, so nobody behind can read it in another way.
        path("9113, 8.3.1", "a fragment", "/#x", ROOT),
        served("9113, 8.3.1", "HEAD", ask(&but(":method", Some("HEAD"))), "HEAD / HTTP/1.1"),
        served("9110, 9.1", "a method of the application's", ask(&but(":method", Some("PURGE"))), "PURGE / HTTP/1.1"),
        served("9110, 9.1", "methods tell capitals from others", ask(&but(":method", Some("get"))), "get / HTTP/1.1"),
        // Who came under TLS came by HTTPS, whatever the request says.
        served("9113, 8.3.1", "another scheme", ask(&but(":scheme", Some("http"))), ROOT).has("x-forwarded-proto: https\r\n"),
        served("9113, 8.3.1", "a scheme in capitals", ask(&but(":scheme", Some("HTTPS"))), ROOT).has("x-forwarded-proto: https\r\n"),
    ]
}

fn hosts() -> Vec<Case> {
    let to = |asks, name: &str, authority: &'static str| served(asks, name, ask(&but(":authority", Some(authority))), ROOT);
    let nobody = |name: &str, authority: &'static str| Case::new(name, "9110, 7.4", ask(&but(":authority", Some(authority))), Taken::Answered(404));
    let apart = |more: &[(&'static str, &'static str)]| -> Fields { [&GET[..2], &GET[3..], more].concat() };
    vec![
        to("3986, 3.2.2", "an authority in capitals", "{HOST}"),
        to("3986, 3.2.2", "an authority with a dot", "{host}."),
        to("3986, 3.2.3", "an authority with a port", "{host}:443"),
        to("3986, 3.2.3", "an authority with an empty port", "{host}:"),
        served("9113, 8.3.1", "a host alone", ask(&apart(&[("host", "{host}")])), ROOT),
        served("9113, 8.3.1", "the same host and authority", ask(&with(&[("host", "{host}")])), ROOT),
        served("9113, 8.3.1", "the same in capitals", ask(&with(&[("host", "{HOST}")])), ROOT),
        nobody("an authority that nobody knows", "forged.test"),
        nobody("an authority below the own", "a.{host}"),
        nobody("an IPv6 address", "[::1]"),
        nobody("an IPv6 address with a port", "[::1]:443"),
        nobody("an IPv4 address", "127.0.0.1"),
    ]
}

fn fields() -> Vec<Case> {
    let one = |asks, name: &str, more: &[(&'static str, &'static str)]| served(asks, name, ask(&with(more)), ROOT);
    let spoofed = |name: &'static str, value: &'static str| one("9110, 7.6", &format!("a visitor's own {name}"), &[(name, value)]).lacks("forged");
    vec![
        one("9113, 8.2.3", "two crumbs", &[("cookie", "a=1"), ("cookie", "b=2")]).has("cookie: a=1; b=2\r\n"),
        one("9113, 8.2.2", "te: trailers", &[("te", "trailers")]).lacks("trailers"),
        one("9113, 8.2.1", "two fields of a name", &[("x-a", "1"), ("x-a", "2")]).has("1"),
        one("9113, 8.2.1", "an empty value", &[("x-a", "")]).has("x-a:"),
        one("9113, 8.2.1", "a long value", &[("x-a", LONG)]).has("llllllllllllllllllllllllllllllllllll"),
        spoofed("x-forwarded-for", "forged"),
        spoofed("x-forwarded-proto", "forged"),
        spoofed("x-real-ip", "forged"),
        spoofed("forwarded", "for=forged"),
        spoofed("atoll-tenant", "forged"),
        spoofed("atoll-reason", "forged"),
        spoofed("http2-settings", "forged"),
    ]
}

const LONG: &str =
    "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll";

fn bodies() -> Vec<Case> {
    let data = |parts: &[&str]| -> Vec<u8> {
        let last = parts.len() - 1;
        parts.iter().enumerate().flat_map(|(n, part)| frame(DATA, if n == last { END_STREAM } else { 0 }, 1, part.as_bytes())).collect()
    };
    let sent = |asks, name: &str, fields: &[(&str, &str)], parts: &[&str]| {
        served(asks, name, [head(fields), data(parts)].concat(), SENT).upload(parts.concat())
    };
    let trailers =
        |fields: &[(&str, &str)]| [head(&[]), frame(DATA, 0, 1, b"hi"), frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))].concat();
    let length = SMUGGLED.len().to_string();
    vec![
        sent("9113, 8.1.1", "a length and its body", &[("content-length", "2")], &["hi"]),
        sent("9113, 8.1.1", "a length and its body in parts", &[("content-length", "4")], &["h", "", "i", "h", "i", ""]),
        sent("9113, 8.1.1", "a body without a length", &[], &["hi"]),
        sent("9113, 8.1.1", "a request as a body without a length", &[], &[SMUGGLED]),
        sent("9113, 8.1.1", "a request as a body", &[("content-length", &length)], &[SMUGGLED]),
        sent("9113, 8.1.1", "the last chunk as a body", &[], &["0\r\n\r\n", SMUGGLED]),
        sent("9113, 8.1.1", "chunks in parts as a body", &[], &["2\r\nhi\r\n", "0\r\n\r\n", SMUGGLED]),
        sent("9113, 8.1", "an empty body", &[], &[""]),
        served("9113, 8.1", "no body", frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&POST)), SENT).upload(""),
        served(
            "9113, 8.1",
            "a length of nothing",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[&POST[..], &[("content-length", "0")]].concat())),
            SENT,
        )
        .upload(""),
        served("9110, 9.3.1", "a body that nobody expects", [frame(HEADERS, END_HEADERS, 1, &block(&GET)), data(&[SMUGGLED])].concat(), ROOT)
            .upload(SMUGGLED),
        served("9113, 6.1", "a body that is filled up", [head(&[]), frame(DATA, PADDED | END_STREAM, 1, b"\x04hi0\r\n\r")].concat(), SENT)
            .upload("hi"),
        sent("9110, 10.1.1", "100-continue", &[("expect", "100-continue"), ("content-length", "2")], &["hi"]),
        Case::new("an odd expectation", "9110, 10.1.1", ask(&with(&[("expect", "tea")])), Taken::Answered(417)),
        served("9113, 8.1", "trailers", trailers(&[("x-trailer", "forged")]), SENT).upload("hi").lacks("forged"),
        served("9110, 6.5.1", "trailers that would be fields", trailers(&[("host", "forged.test"), ("atoll-tenant", "forged")]), SENT)
            .lacks("forged"),
        served("9110, 6.5.1", "a length in trailers", trailers(&[("content-length", "9")]), SENT).upload("hi").lacks("content-length: 9"),
    ]
}

fn frames() -> Vec<Case> {
    let then = |asks, name: &str, before: Vec<u8>| served(asks, name, [before, ask(&GET)].concat(), ROOT);
    let fields = block(&GET);
    let mut crumbs = frame(HEADERS, END_STREAM, 1, &fields[..1]);
    for (number, octet) in fields.iter().enumerate().skip(1) {
        crumbs.extend(frame(CONTINUATION, if number + 1 == fields.len() { END_HEADERS } else { 0 }, 1, &[*octet]));
    }
    let start = |flags, payload: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM | flags, 1, payload);
    vec![
        then("9113, 4.1", "a frame of a type that nobody knows", frame(0x7f, 0xff, 0, b"anything")),
        then("9113, 4.1", "the same for a stream that is not there", frame(0x7f, 0xff, 77, b"anything")),
        then("9113, 4.1", "flags that nobody knows", frame(PING, 0xf0, 0, &[0; 8])),
        then("9113, 6.5.2", "a setting that nobody knows", frame(SETTINGS, 0, 0, &[0x7f, 0xff, 0, 0, 0, 1])),
        then("9113, 6.9", "more room", frame(WINDOW, 0, 0, &[0, 0, 1, 0])),
        then("9113, 6.3", "an order for a stream to come", frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 1])),
        // Whoever sends so is more likely to flood with them.
        Case::new("fields octet by octet", "9113, 6.10", crumbs, Taken::Borne(&[CALM])).perhaps(ROOT),
        served("9113, 6.2", "fields that are filled up", start(PADDED, &[&[3], &fields[..], &[0; 3]].concat()), ROOT),
        served("9113, 6.2", "fields with an order", start(ORDERED, &[&[0, 0, 0, 0, 16], &fields[..]].concat()), ROOT),
        served("7541, 6.1", "fields of the table", start(0, &[&[0x82, 0x84, 0x87, 0x01, 6], &b"{host}"[..]].concat()), ROOT),
    ]
}

fn tunnels() -> Vec<Case> {
    let connect = |more: &[(&'static str, &'static str)]| ask(&[&[(":method", "CONNECT"), (":authority", "{host}")], more].concat());
    let extended = |protocol| [(":scheme", "https"), (":path", "/"), (":protocol", protocol)];
    vec![
        Case::new("CONNECT with scheme and path", "9113, 8.5", ask(&but(":method", Some("CONNECT"))), Taken::Reset(&[PROTOCOL_ERROR])),
        Case::new("CONNECT: nobody's proxy", "9113, 8.5", connect(&[]), Taken::Answered(501)),
        Case::new("a tunnel of another protocol", "8441, 4", connect(&extended("forged")), Taken::Answered(501)),
        Case::new("a tunnel of a protocol with a line", "8441, 4", connect(&extended("websocket\r\nX: y")), Taken::Answered(501)),
        Case::new(
            "a tunnel without a path",
            "8441, 4",
            connect(&[(":scheme", "https"), (":protocol", "websocket")]),
            Taken::Reset(&[PROTOCOL_ERROR]),
        ),
        Case::new("a tunnel without a scheme", "8441, 4", connect(&[(":path", "/"), (":protocol", "websocket")]), Taken::Reset(&[PROTOCOL_ERROR])),
        // The backend answers 200, as to any request: passed on, it would tell the visitor that the tunnel is there.
        Case::new("a tunnel that the backend does not open", "8441, 5", connect(&extended("websocket")), Taken::Answered(502)).seen(ROOT),
    ]
}
