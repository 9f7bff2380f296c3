//! Heads: what does not parse is refused, what a visitor says of itself is not believed, what belongs to one connection does not travel on.

use super::case::{Case, HOST, Step, get, post, send};

/// Whole heads that are refused, with what follows them.
const REFUSED: &[(&str, &str, u16, &str)] = &[
    ("a NUL in a value", "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\n\r\n", 400, "MalformedHead"),
    ("a NUL in a name", "GET / HTTP/1.1\r\nHost: {host}\r\nX\0: a\r\n\r\n", 400, "MalformedHead"),
    ("a NUL in the target", "GET /\0 HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("a bell in a value", "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\x07\r\n\r\n", 400, "MalformedHead"),
    ("DEL in a value", "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\x7f\r\n\r\n", 400, "MalformedHead"),
    ("a bare CR in a value", "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\rAtoll-Tenant: b\r\n\r\n", 400, "MalformedHead"),
    ("a bare LF in a value", "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\nAtoll-Tenant: b\r\n\r\n", 400, "MalformedHead"),
    ("a bare CR in the target", "GET /\rX HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("a bare LF in the target", "GET /\nX: HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("a bare LF ends the first line", "GET / HTTP/1.1\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("a bare LF ends the head", "GET / HTTP/1.1\r\nHost: {host}\r\n\nGET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("bare LFs everywhere", "GET / HTTP/1.1\nHost: {host}\n\nGET /smuggled HTTP/1.1\nHost: {host}\n\n", 400, "MalformedHead"),
    ("CR CR LF ends the head", "GET / HTTP/1.1\r\nHost: {host}\r\n\r\r\n\r\n", 400, "MalformedHead"),
    ("a folded line", "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\r\n b\r\n\r\n", 400, "MalformedHead"),
    ("a folded line of blanks", "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\r\n \r\n\r\n", 400, "MalformedHead"),
    ("a folded first field", "GET / HTTP/1.1\r\n Host: {host}\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("no colon", "GET / HTTP/1.1\r\nHost: {host}\r\nX\r\n\r\n", 400, "MalformedHead"),
    ("no name", "GET / HTTP/1.1\r\nHost: {host}\r\n: a\r\n\r\n", 400, "MalformedHead"),
    ("a blank in a name", "GET / HTTP/1.1\r\nHost: {host}\r\nX Y: a\r\n\r\n", 400, "MalformedHead"),
    ("a blank before the colon", "GET / HTTP/1.1\r\nHost: {host}\r\nX : a\r\n\r\n", 400, "MalformedHead"),
    ("a slash in a name", "GET / HTTP/1.1\r\nHost: {host}\r\nX/Y: a\r\n\r\n", 400, "MalformedHead"),
    ("a bracket in a name", "GET / HTTP/1.1\r\nHost: {host}\r\nX[]: a\r\n\r\n", 400, "MalformedHead"),
    ("a name beyond ASCII", "GET / HTTP/1.1\r\nHost: {host}\r\nX\u{e9}: a\r\n\r\n", 400, "MalformedHead"),
    ("a target beyond ASCII", "GET /\u{e9} HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("a target with a fragment", "GET /a#b HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("a target with a blank", "GET /a /b HTTP/1.1\r\nHost: {host}\r\n\r\n", 505, "VersionRefused"),
    ("a target that is no path", "GET a HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("a star for GET", "GET * HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("no target", "GET HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("two blanks", "GET  / HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("two blanks before the version", "GET /  HTTP/1.1\r\nHost: {host}\r\n\r\n", 505, "VersionRefused"),
    ("a tab", "GET\t/ HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("a blank before the method", " GET / HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("a blank behind the version", "GET / HTTP/1.1 \r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("more behind the version", "GET / HTTP/1.1 HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("an odd method", "GE<T / HTTP/1.1\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("version 0.9", "GET /\r\n\r\n", 400, "MalformedHead"),
    ("version 1.2", "GET / HTTP/1.2\r\nHost: {host}\r\n\r\n", 505, "VersionRefused"),
    ("version 2.0", "GET / HTTP/2.0\r\nHost: {host}\r\n\r\n", 505, "VersionRefused"),
    ("version 1.10", "GET / HTTP/1.10\r\nHost: {host}\r\n\r\n", 400, "MalformedHead"),
    ("the version in small letters", "GET / http/1.1\r\nHost: {host}\r\n\r\n", 505, "VersionRefused"),
    ("another protocol", "SSH-2.0-OpenSSH_9.6\r\n\r\n", 400, "MalformedHead"),
    ("a handshake of TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03", 400, "MalformedHead"),
    ("HTTP/2 without being asked", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "VersionRefused"),
    ("CONNECT", "CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n", 400, "MalformedHead"),
    ("CONNECT of a path", "CONNECT / HTTP/1.1\r\nHost: {host}\r\n\r\n", 405, "MethodRefused"),
    ("TRACE", "TRACE / HTTP/1.1\r\nHost: {host}\r\n\r\n", 405, "MethodRefused"),
    ("an odd expectation", "POST / HTTP/1.1\r\nHost: {host}\r\nExpect: tea\r\nContent-Length: 2\r\n\r\nhi", 417, "ExpectationRefused"),
    ("Connection takes Host away", "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: host\r\n\r\n", 400, "AmbiguousLength"),
];

/// A field that does not travel on, and by what it would be known.
const STAYS: &[(&str, &str)] = &[
    ("X-Forwarded-For: 6.6.6.6", "6.6.6.6"),
    ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7", "7.7.7.7"),
    ("X_Forwarded_For: 6.6.6.6", "6.6.6.6"),
    ("X-Real-IP: 6.6.6.6", "6.6.6.6"),
    ("Forwarded: for=6.6.6.6", "6.6.6.6"),
    ("True-Client-IP: 6.6.6.6", "6.6.6.6"),
    ("X-Client-IP: 6.6.6.6", "6.6.6.6"),
    ("X-Forwarded-Proto: forged", "forged"),
    ("X-Forwarded-Host: forged.test", "forged"),
    ("X-Forwarded-Port: 6666", "x-forwarded-port"),
    ("X-Forwarded-Prefix: /forged", "forged"),
    ("X-Forwarded-Server: forged", "forged"),
    ("X-Original-URL: /forged", "forged"),
    ("X-Rewrite-URL: /forged", "forged"),
    ("X-Host: forged.test", "forged"),
    ("X-Request-Id: forged", "forged"),
    ("Atoll-Tenant: forged", "forged"),
    ("Atoll_Tenant: forged", "forged"),
    ("atoll.tenant: forged", "forged"),
    ("X-Atoll-Tenant: forged", "forged"),
    ("X_Atoll_Tenant: forged", "forged"),
    ("Atoll-Refusal: forged", "forged"),
    ("Atoll-Reason: forged", "forged"),
    ("Proxy: http://forged.test", "forged"),
    ("Proxy-Connection: forged", "forged"),
    ("Proxy-Authorization: forged", "forged"),
    ("Keep-Alive: forged", "forged"),
    ("TE: trailers", "trailers"),
    ("Trailer: X-Forged", "forged"),
    ("Upgrade: forged", "forged"),
    ("HTTP2-Settings: forged", "forged"),
    ("Connection: X-Own\r\nX-Own: forged", "forged"),
    ("Connection: keep-alive, x-own , , X-OTHER\r\nX-Own: forged\r\nX-Other: 1", "x-o"),
    ("Connection: keep-alive\r\nConnection: x-own\r\nX-Own: forged", "forged"),
    ("Connection: upgrade\r\nUpgrade: h2c", "h2c"),
    ("Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA", "h2c"),
    ("Connection: upgrade\r\nUpgrade: websocket, H2C", "h2c"),
    ("Expect: 100-continue", "expect"),
];

/// A field that travels on, or that is there whatever a visitor says of it.
const TRAVELS: &[(&str, &str)] = &[
    ("X: a b\tc", "\r\nx: a b\tc\r\n"),
    ("X:   a  ", "\r\nx: a\r\n"),
    ("X:", "\r\nx: \r\n"),
    ("X: \u{e9}", "\r\nx: \u{e9}\r\n"),
    ("!#$%&'*+-.^_`|~09aZ: a", "\r\n!#$%&'*+-.^_`|~09az: a\r\n"),
    ("X: a\r\nX: b", "\r\nx: a\r\nx: b\r\n"),
    ("Cookie: a=1; b=2", "\r\ncookie: a=1; b=2\r\n"),
    ("Authorization: Basic YTpi", "\r\nauthorization: basic ytpi\r\n"),
    ("Range: bytes=0-1", "\r\nrange: bytes=0-1\r\n"),
    ("Connection: X-Forwarded-For", "\r\nx-forwarded-for: 127.0.0.1\r\n"),
    ("Connection: X-Real-IP, X-Request-Id", "\r\nx-request-id: "),
    ("Connection: X-Forwarded-Proto", "\r\nx-forwarded-proto: http\r\n"),
    ("Connection: Atoll-Tenant", "\r\nx-atoll-tenant: "),
    ("Connection: X-Atoll-Tenant", "\r\nx-atoll-tenant: "),
    ("Connection: \x22, ;, X-Own", "\r\nx-atoll-tenant: "),
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = REFUSED.iter().map(|(name, head, status, reason)| Case::new(*name, *head).refused(*status, reason)).collect();
    for (fields, lacks) in STAYS {
        cases.push(Case::new(format!("stays here: {fields:?}"), get(&format!("{fields}\r\n"))).served("GET / HTTP/1.1").lacks(lacks));
    }
    for (fields, has) in TRAVELS {
        cases.push(Case::new(format!("is there: {fields:?}"), get(&format!("{fields}\r\n"))).served("GET / HTTP/1.1").has(has));
    }
    let long = |count: usize| "a".repeat(count);
    let many = |count: usize| (0..count).map(|number| format!("X-{number}: {number}\r\n")).collect::<String>();
    let line = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    cases.extend([
        Case::new("a long value", get(&format!("X: {}\r\n", long(30_000)))).served("GET / HTTP/1.1"),
        Case::new("too long a value", get(&format!("X: {}\r\n", long(33_000)))).refused(431, "HeadTooLarge"),
        Case::new("too long a name", get(&format!("{}: a\r\n", long(33_000)))).refused(431, "HeadTooLarge"),
        Case::new("too long a target", line(&format!("/{}", long(33_000)))).refused(431, "HeadTooLarge"),
        Case::new("too long a method", format!("{} / HTTP/1.1\r\n\r\n", long(33_000))).refused(431, "HeadTooLarge"),
        Case::new("many fields", get(&many(90))).served("GET / HTTP/1.1").has("\r\nx-89: 89\r\n"),
        Case::new("too many fields", get(&many(101))).refused(431, "HeadTooLarge"),
        Case::new("far too many fields", get(&many(2500))).refused(431, "HeadTooLarge"),
        Case::of("a line that does not end", vec![send("GET /"), Step::Flood(vec![b'a'; 1000], 40)]).refused(431, "HeadTooLarge"),
        Case::of(
            "a head that does not end",
            vec![send(&format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n")), Step::Flood(b"X: aaaaaaaaaaaaaaaa\r\n".to_vec(), 2000)],
        )
        .refused(431, "HeadTooLarge"),
        Case::new("another method", post("", "").replace("POST", "BREW")).served("BREW / HTTP/1.1"),
        Case::new("a method in small letters", get("").replace("GET", "get")).served("get / HTTP/1.1"),
        Case::new("OPTIONS of everything", get("").replace("GET /", "OPTIONS *")).served("OPTIONS * HTTP/1.1"),
        Case::new("version 1.0", get("").replace("1.1", "1.0")).served("GET / HTTP/1.1").closes().told("connection: close"),
        Case::new("version 1.0 that would stay", get("Connection: keep-alive\r\n").replace("1.1", "1.0")).served("GET / HTTP/1.1").closes(),
        Case::new("a last request", get("Connection: close\r\n")).served("GET / HTTP/1.1").closes(),
        Case::new("encoded line ends", line("/%0d%0aX:%201")).served("GET /%0d%0aX:%201 HTTP/1.1"),
        Case::new("an encoded NUL", line("/%00")).served("GET /%00 HTTP/1.1"),
        Case::new("dots", line("/a/../../b/./c")).served("GET /a/../../b/./c HTTP/1.1"),
        Case::new("two slashes", line("//forged.test/")).served("GET //forged.test/ HTTP/1.1"),
        Case::new("a backslash", line("/\\forged.test/")).served("GET /\\forged.test/ HTTP/1.1"),
        Case::new("the gate's own path", line("/.atoll/ready")).served("GET /.atoll/ready HTTP/1.1"),
        Case::of("octet by octet", vec![Step::Drip(get("X: a\r\n").into_bytes(), std::time::Duration::from_millis(1))]).served("GET / HTTP/1.1"),
    ]);
    cases
}
