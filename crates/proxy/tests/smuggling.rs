//! Request smuggling: whatever the relay lets through is one and the same request to every reader, however strict or lax.
//!
//! Each case ends in octets that a confused reader would take for a request of their own (`GET /smuggled`). Behind the relay stand readers of four kinds. A case passes
//! when the relay refuses it, or when every reader finds exactly the requests that the relay counted, and none of them is the smuggled one.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::{Arc, Mutex};

use support::{Backend, Relay, field, status};

/// How a reader finds the end of a request.
#[derive(Debug, Clone, Copy)]
enum Reader {
    /// By the specification.
    Strict,
    /// Content-Length wins; chunks are not known.
    LengthFirst,
    /// Any Transfer-Encoding that mentions chunked wins, in lines that may end with a bare line feed, in names with blanks before the colon.
    Lax,
    /// The last of several lengths wins; names are compared with `_` read as `-`.
    LastLength,
}

/// The request lines that a reader finds; `None` for what it cannot read.
fn requests(reader: Reader, mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = split_head(reader, bytes)?;
        let text = String::from_utf8_lossy(head).into_owned();
        found.push(text.lines().next().unwrap_or_default().trim().to_owned());
        let (mut length, mut chunked) = (0, false);
        for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(':')) {
            let name = match reader {
                Reader::Strict | Reader::LengthFirst => name.to_lowercase(),
                Reader::Lax => name.trim().to_lowercase(),
                Reader::LastLength => name.to_lowercase().replace('_', "-"),
            };
            match name.as_str() {
                "content-length" => length = value.trim().split(',').next_back()?.trim().trim_start_matches('+').parse().ok()?,
                "transfer-encoding" => chunked |= value.to_lowercase().contains("chunked"),
                _ => {}
            }
        }
        bytes = match reader {
            Reader::LengthFirst if length > 0 => rest.get(length..)?,
            _ if chunked => after_chunks(rest)?,
            _ => rest.get(length..)?,
        };
    }
    Some(found)
}

fn split_head(reader: Reader, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let ends: &[&[u8]] = if matches!(reader, Reader::Lax) { &[b"\r\n\r\n", b"\n\n", b"\n\r\n"] } else { &[b"\r\n\r\n"] };
    let find = |end: &&[u8]| bytes.windows(end.len()).position(|window| window == *end).map(|at| at + end.len());
    let at = ends.iter().filter_map(find).min()?;
    Some(bytes.split_at(at))
}

fn after_chunks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let line = bytes.iter().position(|&b| b == b'\n')?;
        let size = std::str::from_utf8(&bytes[..line]).ok()?.trim().split(';').next()?.trim().to_owned();
        let size = usize::from_str_radix(&size, 16).ok()?;
        bytes = &bytes[line + 1..];
        if size == 0 {
            let at = bytes.windows(2).position(|window| window == b"\r\n")?;
            return (at == 0).then_some(&bytes[2..]);
        }
        bytes = bytes.get(size + 2..)?;
    }
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Name, request, and whether the relay may let it through.
fn corpus() -> Vec<(&'static str, String, bool)> {
    let mut cases = Vec::new();
    let mut post = |name: &'static str, fields: &str, body: &str, may: bool| {
        cases.push((name, format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"), may));
    };
    let chunk = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let early = format!("0\r\n\r\n{SMUGGLED}");
    post("plain length", "Content-Length: 2\r\n", "hi", true);
    post("plain chunks", "Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", true);
    post("smuggled within a length", &format!("Content-Length: {}\r\n", SMUGGLED.len()), SMUGGLED, true);
    post("smuggled within a chunk", "Transfer-Encoding: chunked\r\n", &chunk, true);
    post("CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", &early, false);
    post("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &chunk, false);
    post("TE and CL 0", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", &early, false);
    post("two lengths", "Content-Length: 2\r\nContent-Length: 40\r\n", &format!("hi{SMUGGLED}"), false);
    post("two equal lengths", "Content-Length: 2\r\nContent-Length: 2\r\n", "hi", false);
    for value in ["+2", "-2", "2,2", "2, 40", "0x2", "2 2", "", "02a", "2\t3", "18446744073709551618", "9999999999999999999", "2;"] {
        post("odd length", &format!("Content-Length: {value}\r\n"), &format!("hi{SMUGGLED}"), false);
    }
    for value in [
        "xchunked",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, chunked",
        "identity",
        "gzip",
        "\"chunked\"",
        "chunked;q=1",
        "chunked x",
        "",
        "\x0bchunked",
        "chunked\x0b",
        "chun ked",
    ] {
        post("odd coding", &format!("Transfer-Encoding: {value}\r\n"), &early, false);
        post("odd coding beside a length", &format!("Transfer-Encoding: {value}\r\nContent-Length: 5\r\n"), &early, false);
    }
    post("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", &early, false);
    post("two codings the other way", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", &early, false);
    post("coding in two lines", "Transfer-Encoding:\r\n chunked\r\n", &early, false);
    post("folded field", "X: 1\r\n Transfer-Encoding: chunked\r\n", &early, false);
    post("blank before the colon", "Transfer-Encoding : chunked\r\n", &early, false);
    post("tab before the colon", "Content-Length\t: 40\r\n", SMUGGLED, false);
    post("blank before the name", " Transfer-Encoding: chunked\r\n", &early, false);
    post("bare LF in a field", "X: 1\nTransfer-Encoding: chunked\r\n", &early, false);
    post("bare CR in a field", "X: 1\rTransfer-Encoding: chunked\r\n", &early, false);
    post("NUL in a value", "X: a\0b\r\nContent-Length: 2\r\n", "hi", false);
    post("NUL in a name", "Content-Length\0: 40\r\n", SMUGGLED, false);
    post("no colon", "Transfer-Encoding chunked\r\n", "", false);
    post("empty name", ": x\r\nContent-Length: 2\r\n", "hi", false);
    post("non-ASCII name", "Content-L\u{e9}ngth: 40\r\n", SMUGGLED, false);
    for name in ["Content_Length", "Content.Length", "Transfer_Encoding"] {
        let value = if name.starts_with('C') { "40" } else { "chunked" };
        post("imitated name", &format!("{name}: {value}\r\nContent-Length: 2\r\n"), "hi", true);
    }
    for token in ["Content-Length", "Transfer-Encoding", "Host"] {
        post("Connection names what frames", &format!("Connection: close, {token}\r\nContent-Length: 2\r\n"), "hi", false);
    }
    for bad in [
        "2;x=1\r\nhi\r\n0\r\n\r\n",
        "2 \r\nhi\r\n0\r\n\r\n",
        " 2\r\nhi\r\n0\r\n\r\n",
        "+2\r\nhi\r\n0\r\n\r\n",
        "0x2\r\nhi\r\n0\r\n\r\n",
        "2\nhi\r\n0\r\n\r\n",
        "2\r\nhi\n0\r\n\r\n",
        "2\r\nhixx0\r\n\r\n",
        "\r\n2\r\nhi\r\n0\r\n\r\n",
        "g\r\nhi\r\n0\r\n\r\n",
        "10000000000000002\r\nhi\r\n0\r\n\r\n",
        "2\r\rhi\r\n0\r\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nX: a\0\r\n\r\n",
        "0\r\nX: a\n\r\n",
    ] {
        post("odd chunk", "Transfer-Encoding: chunked\r\n", &format!("{bad}{SMUGGLED}"), false);
    }
    let mut raw = |name: &'static str, text: &str, may: bool| cases.push((name, text.to_owned(), may));
    raw("old version with chunks", &format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{early}"), false);
    raw("no host", "GET / HTTP/1.1\r\n\r\n", false);
    raw("no host in 1.0", "GET / HTTP/1.0\r\n\r\n", false);
    raw("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", false);
    raw("two equal hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", false);
    raw("empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", false);
    for host in ["a b", "a/b", "a@b", "a?b", "a:80:80", "a:x", "[::1", "a\u{e9}", "a,b", "..\\a"] {
        raw("odd host", &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), false);
    }
    raw("absolute form, same host", "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", true);
    raw("absolute form, other host", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", false);
    raw("absolute form, user", "GET http://a@b/x HTTP/1.1\r\nHost: b\r\n\r\n", false);
    raw("absolute form, no path", "GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", false);
    raw("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", false);
    raw("TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", false);
    raw("version 0.9", "GET /\r\n\r\n", false);
    raw("version 2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", false);
    raw("version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", false);
    raw("version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", false);
    raw("blanks in the target", "GET /x /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", false);
    raw("tab for blank", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", false);
    raw("control in the target", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", false);
    raw("non-ASCII target", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", false);
    raw("bare LF after the line", "GET / HTTP/1.1\nHost: a\r\n\r\n", false);
    raw("all bare LF", "GET / HTTP/1.1\nHost: a\n\n", false);
    raw("odd expectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\nhi", false);
    raw("empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", true);
    raw("GET with a length", &format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()), true);
    raw("upgrade with a body", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi", true);
    raw("upgrade without a body", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n", true);
    cases
}

#[tokio::test]
async fn every_reader_behind_the_relay_finds_the_same_requests() {
    let heard = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
    let hear = heard.clone();
    // Keeps every octet, and answers by the specification.
    let backend = Backend::start(move |mut connection, _| {
        let hear = hear.clone();
        async move {
            while let Some((head, body)) = connection.request().await {
                // The body was taken out of its chunks; what was on the wire is made again, as the relay is the only one who writes there.
                let body = match field(&head, "transfer-encoding") {
                    Some(_) if body.is_empty() => "0\r\n\r\n".to_owned(),
                    Some(_) => format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
                    None => body,
                };
                hear.lock().unwrap().push((head + &body).into_bytes());
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    let cases = corpus();
    assert!(cases.len() > 100, "{}", cases.len());
    for (name, request, may) in cases {
        heard.lock().unwrap().clear();
        let relay = Relay::start(&[backend.address]);
        let mut client = relay.connect().await;
        client.send(&request).await;
        let (head, _) = client.answer().await.unwrap_or_else(|| panic!("{name}: no answer to {request:?}"));
        if !may {
            assert!((400..=505).contains(&status(&head)) && field(&head, "atoll-reason").is_some(), "{name}: {request:?} got {head}");
            assert_eq!(field(&head, "connection").as_deref(), Some("close"), "{name}: {request:?}");
            assert_eq!(client.rest().await, "", "{name}: nothing after it is answered");
        } else {
            assert_eq!(status(&head), 200, "{name}: {request:?} got {head}");
        }
        let wire = heard.lock().unwrap().clone();
        assert_eq!(wire.len(), usize::from(may), "{name}: {request:?} reached the backend as {wire:?}");
        let wire: Vec<u8> = wire.concat();
        for reader in [Reader::Strict, Reader::LengthFirst, Reader::Lax, Reader::LastLength] {
            // A reader without chunks cannot read them, but must not find anything else in them by length either.
            if matches!(reader, Reader::LengthFirst) && String::from_utf8_lossy(&wire).contains("chunked") {
                continue;
            }
            let found = requests(reader, &wire).unwrap_or_else(|| panic!("{name}: {reader:?} cannot read {wire:?}"));
            assert!(found.len() == usize::from(may) && !found.iter().any(|line| line.contains("smuggled")), "{name}: {reader:?} finds {found:?}");
        }
    }
}

#[test]
fn the_readers_are_fooled_without_the_relay() {
    let raw = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}");
    assert_eq!(requests(Reader::Strict, raw.as_bytes()).unwrap().len(), 2);
    assert_ne!(requests(Reader::LengthFirst, raw.as_bytes()), requests(Reader::Strict, raw.as_bytes()));
    let raw = format!("GET / HTTP/1.1\nHost: a\n\n{SMUGGLED}");
    assert_eq!(requests(Reader::Lax, raw.as_bytes()).unwrap().len(), 2);
    let raw = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent_Length: {}\r\n\r\nhi{SMUGGLED}", 2 + SMUGGLED.len());
    assert_ne!(requests(Reader::Strict, raw.as_bytes()), requests(Reader::LastLength, raw.as_bytes()));
}
