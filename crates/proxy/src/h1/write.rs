//! Heads as the relay writes them: its own framing, only fields that travel on, and what was added.

use super::body::BodyOut;
use super::fields::{Kind, kind};
use super::framing::{eq, tokens};
use super::head::{RequestHead, ResponseHead};
use crate::context::Context;
use crate::decide::Put;
use crate::kept::Conditions;
use crate::page::REASON_HEADER;
use crate::server::Faces;

/// What stands in a request's head besides what the client sent.
pub(crate) struct Onward<'a> {
    /// Which fields are believed.
    pub faces: Faces,
    /// Fields to add.
    pub add: &'a dyn Fn(&mut Put<'_>),
    /// The visitor's address.
    pub client: &'a str,
    /// The visitor came over TLS.
    pub secure: bool,
    /// Id of the request.
    pub id: &'a str,
    /// The request's place in its trace.
    pub context: &'a Context,
    /// How the body is written.
    pub body: BodyOut,
    /// Ask for the other protocol.
    pub upgrade: bool,
    /// The client waits for `100 Continue`.
    pub expects: bool,
    /// Connection names fields that must not travel on.
    pub lists: bool,
    /// The cache asks by conditions of its own.
    pub conditions: Option<Conditions<'a>>,
}

/// Writes the head of a request.
pub(crate) fn request(out: &mut Vec<u8>, head: &RequestHead, onward: &Onward<'_>) {
    for part in [head.method().as_bytes(), b" ", head.target().as_bytes(), b" HTTP/1.1\r\nHost: ", head.host_value(), b"\r\n"] {
        out.extend_from_slice(part);
    }
    head.write_fields(out, |name| match kind(name) {
        Kind::EndToEnd => {
            let stays = onward.conditions.as_ref().is_some_and(|own| own.hides(name));
            !stays && (!onward.lists || !listed(head.fields(), name))
        }
        Kind::Forwarding => onward.faces == Faces::Edges,
        Kind::Expect => onward.expects && eq(name, b"expect"),
        Kind::TraceState => onward.context.continued,
        Kind::Hop | Kind::Host | Kind::TraceParent | Kind::Atoll => false,
    });
    if onward.faces == Faces::Visitors {
        for name in [&b"X-Forwarded-For"[..], b"X-Real-IP"] {
            field(out, name, onward.client.as_bytes());
        }
        field(out, b"X-Forwarded-Proto", if onward.secure { b"https" } else { b"http" });
        field(out, b"X-Forwarded-Host", head.host_value());
        field(out, b"X-Request-Id", onward.id.as_bytes());
    }
    if let Some(conditions) = &onward.conditions {
        conditions.put(&mut |name, value| field(out, name, value));
    }
    field(out, b"traceparent", onward.context.as_bytes());
    (onward.add)(&mut |name, value| field(out, name.as_bytes(), value.as_bytes()));
    if let Some(protocol) = head.find("upgrade").filter(|_| onward.upgrade) {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
        field(out, b"Upgrade", protocol);
    }
    // A request that may have a body says so even where it is empty.
    let empty = onward.body == BodyOut::Empty && matches!(head.method(), "POST" | "PUT" | "PATCH");
    framing(out, onward.body, empty.then_some(0));
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of an answer. `adds` stand instead of fields of those names.
pub(crate) fn response(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    faces: Faces,
    body: BodyOut,
    length: Option<u64>,
    close: bool,
    adds: &[Option<(&str, &str)>],
) {
    status_line(out, head);
    response_fields(out, head, faces, adds);
    for (name, value) in adds.iter().flatten() {
        field(out, name.as_bytes(), value.as_bytes());
    }
    if head.status() == 101 {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
        if let Some(protocol) = head.find("upgrade") {
            field(out, b"Upgrade", protocol);
        }
    } else {
        framing(out, body, length);
        if close {
            out.extend_from_slice(b"Connection: close\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of an interim answer.
pub(crate) fn interim(out: &mut Vec<u8>, head: &ResponseHead, faces: Faces) {
    status_line(out, head);
    response_fields(out, head, faces, &[]);
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut Vec<u8>, head: &ResponseHead) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(head.status()));
    out.push(b' ');
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
}

fn response_fields(out: &mut Vec<u8>, head: &ResponseHead, faces: Faces, replaced: &[Option<(&str, &str)>]) {
    let is_replaced = |name: &[u8]| replaced.iter().flatten().any(|(other, _)| name.eq_ignore_ascii_case(other.as_bytes()));
    let lists = lists(head);
    head.write_fields(out, |name| travels(head, lists, name) && !is_replaced(name));
    // Gates say why they answer themselves; instances have no say in that.
    if let Some(reason) = head.find(REASON_HEADER).filter(|_| faces == Faces::Visitors) {
        field(out, REASON_HEADER.as_bytes(), reason);
    }
}

/// Shows the fields of an answer that travel on.
pub(crate) fn travelling(head: &ResponseHead, see: &mut dyn FnMut(&[u8], &[u8])) {
    let lists = lists(head);
    for (name, value) in head.fields().filter(|(name, _)| travels(head, lists, name)) {
        see(name, value);
    }
}

/// Whether a field of an answer travels on; `lists` where Connection names some that do not.
fn travels(head: &ResponseHead, lists: bool, name: &[u8]) -> bool {
    match kind(name) {
        Kind::Hop | Kind::Atoll => false,
        _ => !lists || !listed(head.fields(), name),
    }
}

fn lists(head: &ResponseHead) -> bool {
    head.find("connection").is_some()
}

fn framing(out: &mut Vec<u8>, body: BodyOut, announced: Option<u64>) {
    match (body, announced) {
        (BodyOut::Length(length), _) | (BodyOut::Empty, Some(length)) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        (BodyOut::Chunked, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        (BodyOut::Empty | BodyOut::UntilClose, _) => {}
    }
}

/// A number without the machinery of formatting. Most have few digits: a push each is less than a copy's call.
pub(crate) fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let (mut digits, mut at) = ([0; 20], 20);
    loop {
        at -= 1;
        // One digit by construction.
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
        if value == 0 {
            break;
        }
    }
    for digit in &digits[at..] {
        out.push(*digit);
    }
}

/// What stands between name and value, and behind both.
pub(super) const COLON: &[u8] = b": ";
pub(super) const LINE_END: &[u8] = b"\r\n";

pub(super) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, COLON, value, LINE_END] {
        out.extend_from_slice(part);
    }
}

/// Whether Connection says that this field is for one connection only.
fn listed<'h>(fields: impl Iterator<Item = (&'h [u8], &'h [u8])>, name: &[u8]) -> bool {
    fields.filter(|(this, _)| eq(this, b"connection")).any(|(_, value)| tokens(value).any(|token| token.eq_ignore_ascii_case(name)))
}
