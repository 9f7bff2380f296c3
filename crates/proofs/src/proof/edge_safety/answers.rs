//! What comes back: answers that can be read in two ways are not passed on, missing octets are seen to be missing, nobody gets another's answer, and what flows goes on at once.

use super::case::{Case, HOST, Step, get, post, send};

/// Answers that are refused, to a request that is not repeated.
const MALFORMED: &[(&str, &str)] = &[
    ("both a length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!"),
    ("a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi"),
    ("a length with plus", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi"),
    ("a length with minus", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi"),
    ("a length in hexadecimal", "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nhi"),
    ("an empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhi"),
    ("a length beyond 64 bits", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nhi"),
    ("another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nhi"),
    ("a list of codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("two codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunks in version 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("bare LFs", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi"),
    ("a bare LF in a field", "HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi"),
    ("a bare CR in a field", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi"),
    ("a bare CR in the reason", "HTTP/1.1 200 OK\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi"),
    ("a NUL in a field", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nhi"),
    ("a folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nhi"),
    ("a blank before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi"),
    ("no colon", "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 2\r\n\r\nhi"),
    ("no name", "HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 2\r\n\r\nhi"),
    ("version 2", "HTTP/2 200\r\nContent-Length: 2\r\n\r\nhi"),
    ("version 1.2", "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("status 99", "HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nhi"),
    ("status 600", "HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\nhi"),
    ("status 1000", "HTTP/1.1 1000 Odd\r\nContent-Length: 2\r\n\r\nhi"),
    ("status of letters", "HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("garbage", "\x01\x02\x03\x04 no answer at all\r\n\r\n"),
    ("another protocol", "220 mail.test ESMTP\r\n\r\n"),
    ("a body without head", "<html>hi</html>\r\n\r\n"),
    ("another protocol that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
];

/// A field of the backend's that does not reach the visitor, and by what it would be known.
const STAYS: &[(&str, &str)] = &[
    ("Atoll-Reason: UnknownHost", "unknownhost"),
    ("Atoll-Refusal: moved 9", "atoll-refusal"),
    ("Atoll-Tenant: forged", "forged"),
    ("Connection: X-Own\r\nX-Own: forged", "forged"),
    ("Keep-Alive: timeout=1", "keep-alive"),
    ("Proxy-Authenticate: Basic", "proxy-authenticate"),
    ("Upgrade: h2c", "h2c"),
    ("Trailer: X-Forged", "forged"),
    ("Connection: close", "connection"),
];

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, answer) in MALFORMED {
        cases.push(Case::new(*name, post("", "")).answered(vec![send(answer)], 502).reason("UpstreamMalformed").untold("set-cookie"));
    }
    for (fields, untold) in STAYS {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 2\r\n\r\nhi");
        cases.push(Case::new(format!("stays behind: {fields:?}"), get("")).answered(vec![send(&answer)], 200).untold(untold).body("hi"));
    }
    cases.extend(whole());
    cases.extend(broken());
    cases.extend(bodiless());
    cases.extend(interim());
    cases.extend(strangers());
    cases.extend(flowing());
    cases
}

/// Answers that come whole.
fn whole() -> Vec<Case> {
    let simple = |name: &str, answer: &str| Case::new(name, get("")).answered(vec![send(answer)], 200).body("hi");
    let to_the_end = |name: &str, answer: &str| Case::new(name, get("")).answered(vec![send(answer), Step::End], 200).body("hi");
    let fields = |count: usize| (0..count).map(|number| format!("X-{number}: {number}\r\n")).collect::<String>();
    vec![
        simple("a length", OK),
        simple("two equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi"),
        simple("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        simple("chunks with extensions", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;extension=1\r\nhi\r\n0;extension\r\n\r\n")
            .untold("extension"),
        simple("trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Check: 1\r\n\r\n").told("\r\nx-check: 1\r\n"),
        simple(
            "trailers that would be fields",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nSet-Cookie: a\r\nContent-Length: 7\r\nAtoll-Reason: a\r\n\r\n",
        )
        .untold("set-cookie")
        .untold("content-length")
        .untold("atoll-reason"),
        simple("no words", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi"),
        simple("two cookies", "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nhi")
            .told("set-cookie: a=1\r\nset-cookie: b=2\r\n"),
        simple("many fields", &format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nhi", fields(90))).told("x-89: 89\r\n"),
        simple("a long field", &format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nhi", "a".repeat(30_000))),
        to_the_end("to the end of the connection", "HTTP/1.1 200 OK\r\n\r\nhi").told("transfer-encoding: chunked"),
        to_the_end("to the end, in version 1.0", "HTTP/1.0 200 OK\r\n\r\nhi").told("http/1.1 200 ok"),
        simple("a length, in version 1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        Case::new("too many fields", post("", ""))
            .answered(vec![send(&format!("HTTP/1.1 200 OK\r\n{}\r\n", fields(101)))], 502)
            .reason("UpstreamMalformed"),
        Case::new("too long a field", post("", ""))
            .answered(vec![send(&format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(40_000)))], 502)
            .reason("UpstreamMalformed"),
        Case::of("a head that does not end", vec![send(&post("", ""))])
            .answered(vec![send("HTTP/1.1 200 OK\r\n"), Step::Flood(b"X: aaaaaaaaaaaaaaaa\r\n".to_vec(), 5000), Step::End], 502)
            .reason("UpstreamMalformed"),
    ]
}

/// Answers from which something is missing.
fn broken() -> Vec<Case> {
    // The second part is sent when the visitor has the first, as an answer of which nothing went out yet is refused and not cut.
    let cut = |name: &str, head: &str, rest: &str| {
        let first = if head == CHUNKED { "2\r\nhi\r\n" } else { "hi" };
        let script = vec![send(&format!("{head}{first}")), Step::Await, send(rest), Step::End];
        Case::of(name, vec![send(&post("", "")), Step::See("hi"), Step::Signal]).answered(script, 200).cut()
    };
    let none = |name: &str, answer: &str| Case::new(name, post("", "")).answered(vec![send(answer), Step::End], 502).reason("UpstreamClosed");
    vec![
        none("no answer", ""),
        none("half a first line", "HTTP/1.1 2"),
        none("half a head", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"),
        none("an interim answer only", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        cut("half a body", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", ""),
        cut("half a chunk", CHUNKED, "4\r\nhi"),
        cut("chunks without an end", CHUNKED, ""),
        cut("half an end", CHUNKED, "0\r\n"),
        cut("a chunk that is no number", CHUNKED, "g\r\n"),
        cut("a chunk with plus", CHUNKED, "+2\r\nhi\r\n0\r\n\r\n"),
        cut("a chunk beyond 64 bits", CHUNKED, "10000000000000002\r\nhi\r\n0\r\n\r\n"),
        cut("a chunk with a bare LF", CHUNKED, "2\nhi\r\n0\r\n\r\n"),
        cut("a chunk longer than it says", CHUNKED, "1\r\nhi\r\n0\r\n\r\n"),
        cut("an extension without end", CHUNKED, &format!("2;{}\r\nhi\r\n0\r\n\r\n", "a".repeat(1000))),
        cut("trailers without end", CHUNKED, &format!("0\r\n{}\r\n", "X: aaaaaaaaaaaa\r\n".repeat(1000))),
        cut("a trailer with a bare LF", CHUNKED, "0\r\nX: a\nSet-Cookie: b\r\n\r\n"),
        Case::new("a bad chunk before anything went out", post("", ""))
            .answered(vec![send(&format!("{CHUNKED}g\r\n")), Step::End], 502)
            .reason("UpstreamClosed"),
    ]
}

/// Answers that have no body, whatever they say.
fn bodiless() -> Vec<Case> {
    let head = || get("").replace("GET", "HEAD");
    let without = |name: &str, answer: &str, status: u16| Case::new(name, get("")).answered(vec![send(answer)], status).body("");
    vec![
        Case::new("HEAD with a length", head())
            .answered(vec![send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")], 200)
            .for_head()
            .told("content-length: 5\r\n"),
        Case::new("HEAD with chunks", head()).answered(vec![send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")], 200).for_head(),
        Case::new("HEAD without either", head()).answered(vec![send("HTTP/1.1 200 OK\r\n\r\n")], 200).for_head(),
        Case::new("HEAD with a body", head())
            .answered(vec![send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nforbidden")], 200)
            .for_head()
            .untold("forbidden"),
        Case::new("HEAD with a body that is an answer", head())
            .answered(vec![send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{OK}", OK.len()))], 200)
            .for_head(),
        without("204", "HTTP/1.1 204 No Content\r\n\r\n", 204).untold("content-length"),
        without("204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204).untold("content-length"),
        without("204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\nforbidden", 204).untold("forbidden"),
        without("204 with chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 204).untold("transfer-encoding"),
        without("304", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", 304).told("etag: \"a\""),
        without("304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304).told("content-length: 5\r\n"),
        without("304 with a body", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\nforbidden", 304).untold("forbidden"),
        without("200 with a length of nothing", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
    ]
}

/// Answers before the answer.
fn interim() -> Vec<Case> {
    let continues = "HTTP/1.1 100 Continue\r\n\r\n";
    let expects = |rest: &str| post("Expect: 100-continue\r\nContent-Length: 2\r\n", rest);
    vec![
        Case::of("100 when it is waited for", vec![send(&expects("")), Step::See("100 Continue\r\n\r\n"), send("hi")])
            .answered(vec![send(continues), Step::Until("hi"), send(OK)], 200)
            .told("100 continue")
            .body("hi"),
        Case::of("an answer instead of 100", vec![send(&expects(""))])
            .answered(vec![send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")], 401)
            .untold("100 continue")
            .closes(),
        Case::new("100 that comes late", expects("hi")).answered(vec![Step::Until("hi"), send(continues), send(OK)], 200).body("hi"),
        Case::new("100 that nobody waits for", get("")).answered(vec![send(continues), send(OK)], 200).body("hi"),
        Case::new("early hints", get(""))
            .answered(vec![send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), send(OK)], 200)
            .told("103 early hints\r\nlink: </a>")
            .body("hi"),
        Case::new("early hints with a length", get(""))
            .answered(vec![send("HTTP/1.1 103 Early Hints\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n"), send(OK)], 200)
            .untold("100")
            .untold("chunked")
            .body("hi"),
        Case::new("early hints for version 1.0", get("").replace("1.1", "1.0"))
            .answered(vec![send("HTTP/1.1 103 Early Hints\r\n\r\n"), send(OK)], 200)
            .untold("103")
            .closes(),
        Case::new("several interim answers", get("")).answered(vec![send(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(5)), send(OK)], 200).body("hi"),
        Case::new("interim answers without end", post("", ""))
            .answered(vec![Step::Flood("HTTP/1.1 102 Processing\r\n\r\n".repeat(40).into_bytes(), 50), Step::End], 502)
            .reason("UpstreamMalformed"),
        Case::new("a malformed interim answer", post("", ""))
            .answered(vec![send("HTTP/1.1 103 Early Hints\nLink: a\n\n"), send(OK)], 502)
            .reason("UpstreamMalformed"),
    ]
}

/// Octets that belong to no request.
fn strangers() -> Vec<Case> {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    vec![
        Case::new("a second answer at once", get("")).answered(vec![send(&format!("{OK}{poison}"))], 200).body("hi").untold("poison"),
        Case::new("more than it says", get("")).answered(vec![send(&format!("{OK} and more"))], 200).body("hi").untold("more"),
        Case::new("more behind the last chunk", get(""))
            .answered(vec![send(&format!("{CHUNKED}2\r\nhi\r\n0\r\n\r\n{poison}"))], 200)
            .body("hi")
            .untold("poison"),
        Case::of("a second answer later", vec![send(&get("")), Step::See("\r\n\r\nhi"), Step::Signal, Step::Await])
            .answered(vec![send(OK), Step::Await, send(poison), Step::Signal], 200)
            .body("hi")
            .untold("poison"),
        Case::of("an answer before its question", vec![send(&get("")), Step::See("\r\n\r\nhi"), Step::Signal, Step::Await])
            .answered(vec![send(OK), Step::Await, send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n"), Step::Signal], 200)
            .body("hi"),
        Case::new("two questions, and the answer to the first brings one more", get("") + &get(""))
            .answered(vec![send(&format!("{OK}{poison}"))], 200)
            .served("GET / HTTP/1.1")
            .untold("poison"),
    ]
}

/// What must not wait for its end.
fn flowing() -> Vec<Case> {
    let upgrade = get("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Version: 13\r\n");
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: b\r\n\r\n";
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let early = |fields: &str| format!("HTTP/1.1 413 Content Too Large\r\n{fields}Content-Length: 3\r\n\r\nbig");
    vec![
        Case::of(
            "events reach the visitor before the next is made",
            vec![send(&get("")), Step::See("data: 1\n\n"), Step::Signal, Step::See("data: 2\n\n"), Step::Signal],
        )
        .answered(vec![send(events), send("9\r\ndata: 1\n\n\r\n"), Step::Await, send("9\r\ndata: 2\n\n\r\n"), Step::Await, send("0\r\n\r\n")], 200)
        .body("data: 1\n\ndata: 2\n\n"),
        Case::of("an answer with a length reaches the visitor part by part", vec![send(&get("")), Step::See("\r\n\r\nh"), Step::Signal])
            .answered(vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh"), Step::Await, send("i")], 200)
            .body("hi"),
        Case::of("a head reaches the visitor before the body is made", vec![send(&get("")), Step::See("x-early: 1\r\n"), Step::Signal])
            .answered(vec![send("HTTP/1.1 200 OK\r\nx-early: 1\r\nContent-Length: 2\r\n\r\n"), Step::Await, send("hi")], 200)
            .body("hi"),
        Case::of(
            "an upload reaches the backend before the rest is sent",
            vec![send(&post("Content-Length: 10\r\n", "first")), Step::Await, send("later")],
        )
        .answered(vec![Step::Until("first"), Step::Signal, Step::Until("later"), send(OK)], 200)
        .body("hi"),
        Case::of(
            "an upload in chunks likewise",
            vec![send(&post("Transfer-Encoding: chunked\r\n", "5\r\nfirst\r\n")), Step::Await, send("5\r\nlater\r\n0\r\n\r\n")],
        )
        .answered(vec![Step::Until("first"), Step::Signal, Step::Until("later"), Step::Until("0\r\n\r\n"), send(OK)], 200)
        .body("hi"),
        Case::of("a refusal in the middle of an upload", vec![send(&post("Content-Length: 1000000\r\n", "first")), Step::See("big"), send("later")])
            .answered(vec![Step::Until("first"), send(&early("Connection: close\r\n")), Step::End], 413)
            .body("big")
            .closes(),
        Case::of(
            "a refusal in the middle of an upload, by one who stays",
            vec![send(&post("Content-Length: 1000000\r\n", "first")), Step::See("big")],
        )
        .answered(vec![Step::Until("first"), send(&early(""))], 413)
        .body("big")
        .closes(),
        Case::of("a refusal of an upload in chunks", vec![send(&post("Transfer-Encoding: chunked\r\n", "5\r\nfirst\r\n")), Step::See("big")])
            .answered(vec![Step::Until("first"), send(&early("Connection: close\r\n")), Step::End], 413)
            .body("big")
            .closes(),
        Case::of(
            "a refusal while octets pour in",
            vec![send(&post("Content-Length: 600000\r\n", "first")), Step::See("big"), Step::Flood(vec![b'a'; 1000], 500)],
        )
        .answered(vec![Step::Until("first"), send(&early("")), Step::End], 413)
        .body("big")
        .closes(),
        Case::of("a WebSocket", vec![send(&upgrade), Step::See("\r\n\r\n"), send("ping"), Step::See("pong"), send("ping again"), Step::End])
            .answered(vec![send(switching), Step::Until("ping"), send("pong"), Step::Until("ping again"), Step::End], 101)
            .told("sec-websocket-accept: b")
            .told("upgrade: websocket")
            .tunnel("pong"),
        Case::of("a WebSocket whose first octets come with the head", vec![send(&(upgrade.clone() + "ping")), Step::See("pong"), Step::End])
            .answered(vec![send(&format!("{switching}early")), Step::Until("ping"), send("pong"), Step::End], 101)
            .tunnel("earlypong"),
        Case::new(
            "a WebSocket that is refused leaves a connection of requests",
            upgrade.clone() + &format!("GET /2 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        )
        .answered(vec![send(OK)], 200)
        .served("GET /2 HTTP/1.1"),
    ]
}
