//! Heads from one protocol into the other. What is written here is read by the relay's own strict rules, so this only has to lose nothing and to add nothing.

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
}

/// Writes a request's head, or refuses it.
pub(super) fn request(parts: &Parts, bodiless: bool) -> Result<Asked, StatusCode> {
    if parts.method == Method::CONNECT {
        return Err(StatusCode::NOT_IMPLEMENTED);
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
    for part in [parts.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\nHost: ", host, b"\r\nConnection: close\r\n"] {
        head.extend_from_slice(part);
    }
    let mut put = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    };
    for (name, value) in parts.headers.iter().filter(|(name, _)| !OF_CONNECTIONS.contains(&name.as_str()) && name != &"host" && name != &"cookie") {
        put(name.as_str().as_bytes(), value.as_bytes());
    }
    // Crumbs are one field again (RFC 9113, 8.2.3).
    let crumbs: Vec<&[u8]> = parts.headers.get_all("cookie").iter().map(HeaderValue::as_bytes).collect();
    if !crumbs.is_empty() {
        put(b"Cookie", &crumbs.join(&b"; "[..]));
    }
    let chunked = !bodiless && !parts.headers.contains_key("content-length");
    if chunked {
        put(b"Transfer-Encoding", b"chunked");
    }
    head.extend_from_slice(b"\r\n");
    Ok(Asked { head, chunked })
}

/// An answer's head. Fields that HTTP/2 cannot say are left out.
pub(super) fn response(head: &ResponseHead) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status()).ok()?;
    for (name, value) in head.fields() {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else { continue };
        if !OF_CONNECTIONS.contains(&name.as_str()) {
            response.headers_mut().append(name, value);
        }
    }
    Some(response)
}
