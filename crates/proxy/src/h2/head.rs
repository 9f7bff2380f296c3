//! Heads from one protocol into the other. What is written here is read by the relay's own strict rules, so this only has to lose nothing and to add nothing.

use bytes::Bytes;
use h2::ext::Protocol;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::h1::head::ResponseHead;

/// Fields that speak of a connection, which HTTP/2 does not have (RFC 9113, 8.2.2).
const OF_CONNECTIONS: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// A request as the relay reads it.
pub(super) struct Asked {
    pub head: Vec<u8>,
    /// The body must be written in chunks.
    pub chunked: bool,
    /// It asks for a WebSocket (RFC 8441): what follows the head are its octets.
    pub socket: bool,
}

/// Digits of base 64, and those of them that may end sixteen octets.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LAST_DIGITS: &[u8; 4] = b"AQgw";

/// A key for the handshake of a WebSocket, which HTTP/2 does without: sixteen octets that nobody used before.
fn key() -> [u8; 24] {
    let mut key = [b'='; 24];
    for digit in &mut key[..21] {
        *digit = DIGITS[usize::from(rand::random::<u8>() % 64)];
    }
    key[21] = LAST_DIGITS[usize::from(rand::random::<u8>() % 4)];
    key
}

/// Writes a request's head, or refuses it.
pub(super) fn request(parts: &Parts, bodiless: bool) -> Result<Asked, StatusCode> {
    let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
    let socket = match (parts.method == Method::CONNECT, protocol) {
        (true, Some("websocket")) => true,
        (true, _) => return Err(StatusCode::NOT_IMPLEMENTED),
        (false, Some(_)) => return Err(StatusCode::BAD_REQUEST),
        (false, None) => false,
    };
    // Another scheme, or an empty one, is a word for some other kind of server.
    if parts.uri.scheme_str().is_some_and(|scheme| !["https", "http"].iter().any(|known| scheme.eq_ignore_ascii_case(known)))
        || parts.headers.get_all("host").iter().nth(1).is_some()
    {
        return Err(StatusCode::BAD_REQUEST);
    }
    let host = parts.headers.get("host").map(HeaderValue::as_bytes);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => return Err(StatusCode::BAD_REQUEST),
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return Err(StatusCode::BAD_REQUEST),
    };
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut head = Vec::with_capacity(1024);
    let (method, connection) = if socket { ("GET", &b"Upgrade\r\nUpgrade: websocket"[..]) } else { (parts.method.as_str(), &b"close"[..]) };
    for part in [method.as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\nHost: ", host, b"\r\nConnection: ", connection, b"\r\n"] {
        head.extend_from_slice(part);
    }
    let mut put = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    };
    let apart = |name: &str| OF_CONNECTIONS.contains(&name) || matches!(name, "host" | "cookie" | "sec-websocket-key");
    for (name, value) in parts.headers.iter().filter(|(name, _)| !apart(name.as_str())) {
        put(name.as_str().as_bytes(), value.as_bytes());
    }
    if socket {
        put(b"Sec-WebSocket-Key", &key());
    }
    // Crumbs are one field again (RFC 9113, 8.2.3).
    let crumbs: Vec<&[u8]> = parts.headers.get_all("cookie").iter().map(HeaderValue::as_bytes).collect();
    if !crumbs.is_empty() {
        put(b"Cookie", &crumbs.join(&b"; "[..]));
    }
    let chunked = !bodiless && !socket && !parts.headers.contains_key("content-length");
    if chunked {
        put(b"Transfer-Encoding", b"chunked");
    }
    head.extend_from_slice(b"\r\n");
    Ok(Asked { head, chunked, socket })
}

/// An answer's head, which was read from these octets. Fields that HTTP/2 cannot say are left out; a WebSocket begins with 200 (RFC 8441, 5).
pub(super) fn response(head: &ResponseHead, octets: &Bytes) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(if head.status() == 101 { 200 } else { head.status() }).ok()?;
    response.headers_mut().reserve(head.count());
    for (name, value) in head.places() {
        // A value is a part of what was read, not a copy.
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&octets[name]), HeaderValue::from_maybe_shared(octets.slice(value))) else { continue };
        if !OF_CONNECTIONS.contains(&name.as_str()) && name != "sec-websocket-accept" {
            response.headers_mut().append(name, value);
        }
    }
    Some(response)
}
