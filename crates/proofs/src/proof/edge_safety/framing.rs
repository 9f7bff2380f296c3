//! Where a request ends: whatever two readers could read in two ways is refused, and what is let through is one request to all of them.

use super::case::{Case, HOST, SMUGGLED, Step, get, post, send};

/// Fields, body, reason.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("CL.TE with a length of everything", "Content-Length: 43\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "", "AmbiguousLength"),
    ("TE.CL with a chunk's line", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "26\r\n", "AmbiguousLength"),
    ("TE.TE, chunked and identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("TE.TE, identity and chunked", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("TE.TE, twice chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("TE.TE with another word", "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("TE a list", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("TE a list, chunked first", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("TE twice chunked in a list", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("TE xchunked", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("TE with a parameter", "Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("TE quoted", "Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("TE empty", "Transfer-Encoding:\r\n", "", "AmbiguousLength"),
    ("TE identity", "Transfer-Encoding: identity\r\n", "", "AmbiguousLength"),
    ("TE with a vertical tab", "Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE with a form feed behind", "Transfer-Encoding: chunked\x0c\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE with a NUL behind", "Transfer-Encoding: chunked\0\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE with a blank before the colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE with a tab before the colon", "Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE with a blank before its name", " Transfer-Encoding: chunked\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE folded", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE folded with a tab", "Transfer-Encoding:\r\n\tchunked\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE in a folded line", "X: 1\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE behind a bare LF", "X: 1\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE behind a bare CR", "X: 1\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE behind CR CR LF", "X: 1\r\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", "MalformedHead"),
    ("TE without colon", "Transfer-Encoding chunked\r\n", "0\r\n\r\n", "MalformedHead"),
    ("two lengths", "Content-Length: 0\r\nContent-Length: 38\r\n", "", "AmbiguousLength"),
    ("two lengths, the larger first", "Content-Length: 38\r\nContent-Length: 0\r\n", "", "AmbiguousLength"),
    ("two equal lengths", "Content-Length: 0\r\nContent-Length: 0\r\n", "", "AmbiguousLength"),
    ("a list of lengths", "Content-Length: 38, 0\r\n", "", "AmbiguousLength"),
    ("a length with plus", "Content-Length: +0\r\n", "", "AmbiguousLength"),
    ("a length with minus", "Content-Length: -1\r\n", "", "AmbiguousLength"),
    ("a length of minus nothing", "Content-Length: -0\r\n", "", "AmbiguousLength"),
    ("a length in hexadecimal", "Content-Length: 0x26\r\n", "", "AmbiguousLength"),
    ("a length with letters", "Content-Length: 0f\r\n", "", "AmbiguousLength"),
    ("a length with a blank within", "Content-Length: 0 26\r\n", "", "AmbiguousLength"),
    ("a length with a fraction", "Content-Length: 0.9\r\n", "", "AmbiguousLength"),
    ("a length with an exponent", "Content-Length: 0e9\r\n", "", "AmbiguousLength"),
    ("a length with a semicolon", "Content-Length: 0;38\r\n", "", "AmbiguousLength"),
    ("an empty length", "Content-Length:\r\n", "", "AmbiguousLength"),
    ("a length beyond 64 bits", "Content-Length: 18446744073709551616\r\n", "", "AmbiguousLength"),
    ("a length beyond 63 bits", "Content-Length: 9223372036854775808\r\n", "", "AmbiguousLength"),
    ("a length of thousand digits, nearly", "Content-Length: 00000000000000000000000000000000000000000000000000000\r\n", "", "AmbiguousLength"),
    ("a length with a blank before the colon", "Content-Length : 0\r\n", "", "MalformedHead"),
    ("a length with a NUL in its name", "Content-Length\0: 0\r\n", "", "MalformedHead"),
    ("a length with a NUL behind", "Content-Length: 0\0\r\n", "", "MalformedHead"),
    ("a length in a folded line", "Content-Length:\r\n 0\r\n", "", "MalformedHead"),
    ("a length in Arabic digits", "Content-Length: \u{660}\r\n", "", "AmbiguousLength"),
    ("Connection takes the length away", "Connection: Content-Length\r\nContent-Length: 38\r\n", "", "AmbiguousLength"),
    ("Connection takes chunks away", "Connection: close, transfer-encoding\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", "AmbiguousLength"),
    ("a chunk extension", "Transfer-Encoding: chunked\r\n", "0;a=b\r\n\r\n", "MalformedBody"),
    ("a chunk extension with a bare LF", "Transfer-Encoding: chunked\r\n", "0;\n\r\n", "MalformedBody"),
    ("a chunk extension, quoted", "Transfer-Encoding: chunked\r\n", "0;a=\"\r\n\r\n", "MalformedBody"),
    ("a chunk of a blank and nothing", "Transfer-Encoding: chunked\r\n", "0 \r\n\r\n", "MalformedBody"),
    ("a chunk with a blank before", "Transfer-Encoding: chunked\r\n", " 0\r\n\r\n", "MalformedBody"),
    ("a chunk with plus", "Transfer-Encoding: chunked\r\n", "+0\r\n\r\n", "MalformedBody"),
    ("a chunk with minus", "Transfer-Encoding: chunked\r\n", "-0\r\n\r\n", "MalformedBody"),
    ("a chunk with a prefix", "Transfer-Encoding: chunked\r\n", "0x0\r\n\r\n", "MalformedBody"),
    ("a chunk that is no number", "Transfer-Encoding: chunked\r\n", "g\r\n\r\n", "MalformedBody"),
    ("a chunk without number", "Transfer-Encoding: chunked\r\n", "\r\n\r\n", "MalformedBody"),
    ("a chunk beyond 64 bits", "Transfer-Encoding: chunked\r\n", "10000000000000000\r\n\r\n", "MalformedBody"),
    ("a chunk line with a bare LF", "Transfer-Encoding: chunked\r\n", "0\n\r\n", "MalformedBody"),
    ("a chunk line with a bare CR", "Transfer-Encoding: chunked\r\n", "0\r\r\n\r\n", "MalformedBody"),
    ("a chunk that ends with a bare LF", "Transfer-Encoding: chunked\r\n", "1\r\na\n0\r\n\r\n", "MalformedBody"),
    ("a chunk that is longer than it says", "Transfer-Encoding: chunked\r\n", "1\r\nab0\r\n\r\n", "MalformedBody"),
    ("a chunk that is shorter than it says", "Transfer-Encoding: chunked\r\n", "3\r\na\r\n0\r\n\r\n", "MalformedBody"),
    ("a chunk that ends the body with a bare LF", "Transfer-Encoding: chunked\r\n", "0\r\n\n", "MalformedBody"),
    ("a trailer without colon", "Transfer-Encoding: chunked\r\n", "0\r\nX\r\n\r\n", "MalformedBody"),
    ("a trailer with a bare LF", "Transfer-Encoding: chunked\r\n", "0\r\nX: 1\n\r\n", "MalformedBody"),
    ("a trailer with a NUL", "Transfer-Encoding: chunked\r\n", "0\r\nX: \0\r\n\r\n", "MalformedBody"),
    ("a trailer that is folded", "Transfer-Encoding: chunked\r\n", "0\r\nX: 1\r\n folded\r\n\r\n", "MalformedBody"),
];

/// Fields that must not travel on in this form, beside a plain length of 2.
const IMITATIONS: &[(&str, &str)] = &[
    ("Content_Length: 40", "content_length"),
    ("Content.Length: 40", "content.length"),
    ("Transfer_Encoding: chunked", "chunked"),
    ("Transfer.Encoding: chunked", "chunked"),
    ("transfer~encoding: chunked", "chunked"),
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = REFUSED
        .iter()
        .map(|(name, fields, body, reason)| Case::new(*name, post(fields, &format!("{body}{SMUGGLED}"))).refused(400, reason))
        .collect();
    let whole = |name: &str, fields: &str, body: &str, upload: &str| Case::new(name, post(fields, body)).served("POST / HTTP/1.1").upload(upload);
    let long = SMUGGLED.len();
    cases.extend([
        whole("a length", "Content-Length: 2\r\n", "hi", "hi"),
        whole("a length with zeros before", "Content-Length: 0002\r\n", "hi", "hi").has("content-length: 2\r\n"),
        whole("a length of nothing", "Content-Length: 0\r\n", "", "").has("content-length: 0\r\n"),
        whole("chunks", "Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", "hi"),
        whole("chunks in any case", "tRANSFER-eNCODING: Chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", "hi"),
        whole("chunks with zeros before", "Transfer-Encoding: chunked\r\n", "0002\r\nhi\r\n000\r\n\r\n", "hi"),
        whole("chunks in capitals", "Transfer-Encoding: chunked\r\n", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        whole("trailers", "Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\nX-Trailer: 1\r\nContent-Length: 9\r\n\r\n", "hi")
            .lacks("x-trailer")
            .lacks("content-length"),
        Case::new("a request within a length", post(&format!("Content-Length: {long}\r\n"), SMUGGLED)).served("POST / HTTP/1.1"),
        Case::new("a request within a chunk", post("Transfer-Encoding: chunked\r\n", &format!("{long:x}\r\n{SMUGGLED}\r\n0\r\n\r\n")))
            .served("POST / HTTP/1.1"),
        Case::new("a request within the body of a GET", get(&format!("Content-Length: {long}\r\n")) + SMUGGLED).served("GET / HTTP/1.1"),
        Case::new("no length at all", post("", "")).served("POST / HTTP/1.1").has("content-length: 0\r\n"),
        Case::new("two requests at once", get("") + &format!("GET /2 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .served("GET / HTTP/1.1")
            .served("GET /2 HTTP/1.1"),
        Case::new(
            "three requests at once, with bodies",
            post("Content-Length: 2\r\n", "hi") + &post("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n") + &get(""),
        )
        .served("POST / HTTP/1.1")
        .served("POST / HTTP/1.1")
        .served("GET / HTTP/1.1"),
        Case::new("a good request, then a bad one", get("") + &post("Content-Length: +0\r\n", SMUGGLED))
            .served("GET / HTTP/1.1")
            .refused(400, "AmbiguousLength"),
        Case::new("an empty line between", get("") + "\r\n" + &get("")).served("GET / HTTP/1.1").served("GET / HTTP/1.1"),
        Case::new("a bare LF between", get("") + "\n" + &get("")).served("GET / HTTP/1.1").refused(400, "MalformedHead"),
        Case::new("chunks in version 1.0", format!("POST / HTTP/1.0\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"))
            .refused(400, "AmbiguousLength"),
        Case::new("an upgrade with a body", get("Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n") + "hi")
            .served("GET / HTTP/1.1")
            .lacks("upgrade"),
        Case::of("a body that never ends where it said", vec![send(&post("Content-Length: 50\r\n", "only this")), Step::End]),
    ]);
    for (field, lacks) in IMITATIONS {
        cases.push(whole(&format!("an imitation, {field}"), &format!("{field}\r\nContent-Length: 2\r\n"), "hi", "hi").lacks(lacks));
    }
    cases
}
