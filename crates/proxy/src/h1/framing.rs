//! Where a message ends. Everything that decides it stands on this page; whatever two readers could read in two ways is refused.
//!
//! **Heads** ([`super::head`]): lines end with CR LF, never with a bare LF or CR; no folded lines; names are tokens with the colon directly after; no control
//! characters; target and Host in printable ASCII.
//!
//! **Requests** are answered 400 (or as said) and their connection is closed, unless
//! 1. the version is 1.0 or 1.1 (else 505); the method is neither CONNECT nor TRACE (else 405);
//! 2. there is exactly one Host, well-formed; a target in absolute form names the same host;
//! 3. Transfer-Encoding stands at most once, in version 1.1 only, is exactly `chunked`, and no Content-Length stands beside it;
//! 4. Content-Length stands at most once and is 1 to 18 digits: no sign, no list, no blank within;
//! 5. Connection does not name Host, Content-Length or Transfer-Encoding;
//! 6. Expect is exactly `100-continue` (else 417);
//! 7. no name imitates a field of this page by other punctuation (`Content_Length`): such fields are dropped, as servers behind us may read them as one.
//!
//! A request without both has no body. An upgrade is passed on only for a request without body, in version 1.1.
//!
//! **Answers** are refused (502) unless
//! 1. the version is 1.0 or 1.1; 101 comes only where an upgrade was asked for;
//! 2. Transfer-Encoding, if any, stands once, in version 1.1, is exactly `chunked`, without Content-Length;
//! 3. every Content-Length says the same, by rule 4.
//!
//! Answers to HEAD, and 1xx, 204 and 304, have no body whatever they say; others without both end with the connection, which is then not used again.
//!
//! **Chunks** ([`super::chunked`]): 1 to 16 hexadecimal digits, CR LF; extensions are refused in requests and dropped from answers; trailers are checked as
//! heads are.
//!
//! **Trailers** of answers are passed on without those that frame, route or authenticate. Those of requests are dropped, which RFC 9110 (6.5.1, 6.5.2) leaves to
//! every intermediary: what stands behind us (FastCGI, WSGI and their like) cannot tell a trailer from a field of the head, and a field that arrives after the
//! decisions that it could change is how requests are smuggled. So nobody is told that they are understood: TE and Trailer do not travel on.
//!
//! **Both ways** bodies are decoded and framed anew, so no byte of foreign framing ever travels on. A connection that brings more than its message is not used again.

use super::chunked::Decoder;
use super::head::{RequestHead, ResponseHead};
use crate::page::Reason;

/// How a body is read.
#[derive(Debug)]
pub(crate) enum BodyIn {
    /// There is none, or it was read to its end.
    Empty,
    /// So many octets are left.
    Length(u64),
    /// In chunks.
    Chunked(Decoder),
    /// To the end of the connection.
    UntilClose,
}

/// What the head of a request means for its connection.
#[derive(Debug)]
pub(crate) struct RequestFraming {
    /// Its body.
    pub body: BodyIn,
    /// The client asks for another protocol.
    pub upgrade: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects: bool,
    /// The client takes no second answer on this connection.
    pub close: bool,
    /// Connection names fields that must not travel on.
    pub lists: bool,
}

/// What the head of an answer means for its connection.
#[derive(Debug)]
pub(crate) struct ResponseFraming {
    /// Its body.
    pub body: BodyIn,
    /// Content-Length as it is passed on, also where no body follows.
    pub length: Option<u64>,
    /// The connection is not used again.
    pub close: bool,
}

/// Judges the head of a request.
pub(crate) fn request(head: &RequestHead) -> Result<RequestFraming, Reason> {
    if matches!(head.method(), "CONNECT" | "TRACE") {
        return Err(Reason::MethodRefused);
    }
    let (mut length, mut chunked, mut upgrade_named, mut expects) = (None, false, false, false);
    let mut connection = ConnectionTokens::default();
    for (name, value) in head.fields() {
        if eq(name, b"content-length") {
            if length.is_some() {
                return Err(Reason::AmbiguousLength);
            }
            length = Some(decimal(value).ok_or(Reason::AmbiguousLength)?);
        } else if eq(name, b"transfer-encoding") {
            if chunked || head.minor() == 0 || !eq(value, b"chunked") {
                return Err(Reason::AmbiguousLength);
            }
            chunked = true;
        } else if eq(name, b"connection") {
            connection.read(value);
        } else if eq(name, b"upgrade") {
            upgrade_named = true;
        } else if eq(name, b"expect") {
            if !eq(value, b"100-continue") {
                return Err(Reason::ExpectationRefused);
            }
            expects = head.minor() == 1;
        }
    }
    if (chunked && length.is_some()) || connection.protected {
        return Err(Reason::AmbiguousLength);
    }
    let body = match length {
        _ if chunked => BodyIn::Chunked(Decoder::strict()),
        None | Some(0) => BodyIn::Empty,
        Some(length) => BodyIn::Length(length),
    };
    let bodiless = matches!(body, BodyIn::Empty);
    Ok(RequestFraming {
        upgrade: upgrade_named && connection.upgrade && bodiless && head.minor() == 1,
        expects: expects && !bodiless,
        close: connection.close || head.minor() == 0,
        lists: connection.others,
        body,
    })
}

/// Judges the head of a final answer, or of 101.
pub(crate) fn response(head: &ResponseHead, to_head: bool, upgrade: bool) -> Result<ResponseFraming, Reason> {
    let (mut length, mut chunked) = (None, false);
    let mut connection = ConnectionTokens::default();
    for (name, value) in head.fields() {
        if eq(name, b"content-length") {
            let this = decimal(value).ok_or(Reason::UpstreamMalformed)?;
            if length.is_some_and(|other| other != this) {
                return Err(Reason::UpstreamMalformed);
            }
            length = Some(this);
        } else if eq(name, b"transfer-encoding") {
            if chunked || head.minor() == 0 || !eq(value, b"chunked") {
                return Err(Reason::UpstreamMalformed);
            }
            chunked = true;
        } else if eq(name, b"connection") {
            connection.read(value);
        }
    }
    if (chunked && length.is_some()) || (head.status() == 101 && !upgrade) {
        return Err(Reason::UpstreamMalformed);
    }
    let close = connection.close || head.minor() == 0;
    let bodiless = to_head || matches!(head.status(), 101 | 204 | 304);
    let (body, close) = match length {
        _ if bodiless => (BodyIn::Empty, close),
        _ if chunked => (BodyIn::Chunked(Decoder::lenient()), close),
        Some(0) => (BodyIn::Empty, close),
        Some(length) => (BodyIn::Length(length), close),
        None => (BodyIn::UntilClose, true),
    };
    let length = length.filter(|_| !matches!(head.status(), 101 | 204));
    Ok(ResponseFraming { body, length, close })
}

/// Whether a name or value is this word, in any case. `word` is in lower case.
pub(crate) fn eq(text: &[u8], word: &[u8]) -> bool {
    text.eq_ignore_ascii_case(word)
}

/// 1 to 18 digits and nothing else.
fn decimal(text: &[u8]) -> Option<u64> {
    if !(1..=18).contains(&text.len()) {
        return None;
    }
    text.iter().try_fold(0, |sum: u64, &b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
}

/// What the Connection fields of a head say.
#[derive(Debug, Default)]
struct ConnectionTokens {
    close: bool,
    upgrade: bool,
    protected: bool,
    others: bool,
}

impl ConnectionTokens {
    fn read(&mut self, value: &[u8]) {
        for token in tokens(value) {
            match token {
                t if eq(t, b"close") => self.close = true,
                t if eq(t, b"keep-alive") => {}
                t if eq(t, b"upgrade") => self.upgrade = true,
                t if eq(t, b"host") || eq(t, b"content-length") || eq(t, b"transfer-encoding") => self.protected = true,
                _ => self.others = true,
            }
        }
    }
}

/// The parts of a comma-separated list.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}
