//! What HTTPS asks of the visitors' door beside handshakes: answers to certificate authorities, the way from HTTP to HTTPS, and the word to browsers to stay there.

use std::sync::Arc;

use certs::Book;
use proxy::{Page, Request};

/// Where authorities ask (RFC 8555, 8.3).
const CHALLENGE: &str = "/.well-known/acme-challenge/";
/// The port that browsers leave out.
const USUAL: u16 = 443;
/// The word to browsers (RFC 6797).
pub(crate) const HSTS: &str = "Strict-Transport-Security";

/// The book and the port under which visitors reach our door.
#[derive(Debug, Clone)]
pub(crate) struct Https {
    pub book: Arc<Book>,
    pub port: u16,
}

impl Https {
    /// What is answered before anything else is decided.
    pub(crate) fn first(&self, request: Request<'_>) -> Option<Page> {
        let target = request.head.target();
        // Never sent to HTTPS: there may be no certificate yet. A token that is not ours may be the tenant's.
        if let Some(token) = target.strip_prefix(CHALLENGE)
            && let Some(answer) = self.book.answer(token)
        {
            return Some(Page::text(200, answer));
        }
        if request.secure || target.starts_with(CHALLENGE) {
            return None;
        }
        let host = request.head.host();
        let told = self.book.https(host);
        if !told.redirect {
            return None;
        }
        let port = if self.port == USUAL { String::new() } else { format!(":{}", self.port) };
        let location = format!("https://{host}{port}{}", if target == "*" { "/" } else { target });
        // For good only where browsers are also told to stay: what they remember cannot be taken back.
        let status = if told.hsts > 0 { 308 } else { 307 };
        Some(Page::text(status, format!("{location}\n")).with("Location", location))
    }

    /// The word to a browser that came by HTTPS.
    pub(crate) fn stay(&self, request: Request<'_>) -> Option<String> {
        // By HTTP it must not be said: anybody could have.
        let told = request.secure.then(|| self.book.https(request.head.host()))?;
        (told.hsts > 0).then(|| format!("max-age={}", told.hsts))
    }
}
