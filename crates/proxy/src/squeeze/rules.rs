//! Which answers are compressed, and what that changes in their heads.
//!
//! An answer is compressible when its status is 200 to 203 or an error's, its type is one of those below, nobody encoded it already or forbids to transform it,
//! it is no part of something, and its length, where it is known, is neither small nor large. Every compressible answer varies by `Accept-Encoding`, whether
//! this one is compressed or not. One that is compressed is another representation: its strong entity tag becomes a weak one, what announces parts of it or is a
//! digest of its octets goes, and its length is no longer known.
//!
//! A visitor's `If-None-Match` goes on as it is. RFC 9110 (13.1.2) compares weakly, as nginx does; a product that compares texts (WordPress does for its feeds)
//! does not know its own tag with `W/` before it and answers in full, as it does behind every server that compresses. The 304 to a weak tag says that weak tag.

use super::accept::{self, Coding};
use crate::h1::framing::{eq, tokens};
use crate::h1::head::{RequestHead, ResponseHead};

/// Less than this gains nothing: it fits into one packet.
const LEAST: u64 = 1024;
/// More than this is a download, and passes as it is.
const MOST: u64 = 10 * 1024 * 1024;

/// Types besides `text/…`, `…+json` and `…+xml` that are texts, or compress as texts do.
const TYPES: [&[u8]; 19] = [
    b"application/ecmascript",
    b"application/graphql",
    b"application/javascript",
    b"application/json",
    b"application/jsonlines",
    b"application/rtf",
    b"application/vnd.apple.mpegurl",
    b"application/vnd.ms-fontobject",
    b"application/wasm",
    b"application/x-javascript",
    b"application/x-ndjson",
    b"application/xml",
    b"application/xml-dtd",
    b"application/yaml",
    b"font/otf",
    b"font/ttf",
    b"image/bmp",
    b"image/vnd.microsoft.icon",
    b"image/x-icon",
];

/// Whether an answer may be compressed, whoever asked for it.
pub(super) fn is_compressible(answer: &ResponseHead, length: Option<u64>) -> bool {
    let status = matches!(answer.status(), 200..=203 | 400..=599);
    if !status || length.is_some_and(|length| !(LEAST..=MOST).contains(&length)) {
        return false;
    }
    let (mut types, mut fits) = (0, true);
    for (name, value) in answer.fields() {
        if eq(name, b"content-type") {
            types += 1;
            fits &= is_text(value);
        } else if eq(name, b"content-encoding") || eq(name, b"content-range") {
            return false;
        } else if eq(name, b"cache-control") {
            fits &= !forbids(value);
        }
    }
    types == 1 && fits
}

/// Whether Content-Type names a type that is worth it. Events are not: each is small, and must not wait.
fn is_text(value: &[u8]) -> bool {
    let media = value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    let begins = |with: &[u8]| media.get(..with.len()).is_some_and(|start| eq(start, with));
    let ends = |with: &[u8]| media.len() > with.len() && eq(&media[media.len() - with.len()..], with);
    (begins(b"text/") && !eq(media, b"text/event-stream")) || ends(b"+json") || ends(b"+xml") || TYPES.iter().any(|one| eq(media, one))
}

/// Whether Cache-Control says that nothing may be changed on the way.
fn forbids(value: &[u8]) -> bool {
    tokens(value).any(|directive| eq(directive, b"no-transform"))
}

/// What this visitor gets of a compressible answer. Nothing for versions without chunks, and for those who ask for parts: they count plain octets.
pub(super) fn coding(request: &RequestHead) -> Option<Coding> {
    let plain = request.fields().any(|(name, value)| eq(name, b"range") || (eq(name, b"cache-control") && forbids(value)));
    if plain || request.minor() == 0 {
        return None;
    }
    accept::choose(request.fields().filter(|(name, _)| eq(name, b"accept-encoding")).map(|(_, value)| value))
}

/// Writes that an answer is compressed.
pub(super) fn compressed(answer: &mut ResponseHead, coding: Coding) {
    weaken(answer);
    // Content-Length is the framing's.
    const GONE: [&[u8]; 5] = [b"accept-ranges", b"content-md5", b"digest", b"content-digest", b"repr-digest"];
    answer.remove(|name| GONE.iter().any(|gone| eq(name, gone)));
    answer.add("Content-Encoding", coding.name().as_bytes());
    vary(answer);
}

/// Makes a strong entity tag a weak one; one that is none goes.
fn weaken(answer: &mut ResponseHead) {
    let weak = match answer.find("etag") {
        None => return,
        Some(tag) if tag.starts_with(b"W/") => return,
        Some(tag) if tag.starts_with(b"\"") => Some([b"W/", tag].concat()),
        Some(_) => None,
    };
    answer.remove(|name| eq(name, b"etag"));
    if let Some(weak) = weak {
        answer.add("ETag", &weak);
    }
}

/// Writes that an answer depends on what the visitor takes, in one field with what it depends on besides.
pub(super) fn vary(answer: &mut ResponseHead) {
    let mut all = Vec::new();
    for (_, value) in answer.fields().filter(|(name, _)| eq(name, b"vary")) {
        for token in tokens(value) {
            if token == b"*" || eq(token, b"accept-encoding") {
                return;
            }
            all.extend_from_slice(token);
            all.extend_from_slice(b", ");
        }
    }
    all.extend_from_slice(b"Accept-Encoding");
    answer.remove(|name| eq(name, b"vary"));
    answer.add("Vary", &all);
}

/// A visitor who was given the weak tag hears of that one: what it holds is not what a strong tag names.
pub(super) fn not_modified(request: &RequestHead, answer: &mut ResponseHead) {
    let Some(weak) = answer.find("etag").filter(|tag| tag.starts_with(b"\"")).map(|tag| [b"W/", tag].concat()) else { return };
    let mut named = request.fields().filter(|(name, _)| eq(name, b"if-none-match"));
    // A tag may hold commas, and no quotation mark: it is looked for as a whole.
    if named.any(|(_, value)| value.windows(weak.len()).any(|part| part == weak)) {
        weaken(answer);
        vary(answer);
    }
}
