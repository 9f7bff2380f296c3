//! What a `Cache-Control` of an answer says beyond what the policy library reads.

use std::time::Duration;

/// No promise of an answer's is believed for longer.
const LONGEST: u64 = 30 * 24 * 3600;

/// The directives of an answer that this cache looks at itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    /// Says how long it is fresh, or that it is not.
    pub explicit: bool,
    /// Everybody may have it, also who shows a cookie: `public` or `s-maxage`.
    pub open: bool,
    /// Must not be served once it is stale.
    pub strict: bool,
    /// May be served so long after it became stale, while it is asked for anew (RFC 5861).
    pub while_revalidate: Duration,
    /// May be served so long after it became stale, where asking anew fails (RFC 5861).
    pub if_error: Duration,
}

impl Directives {
    /// Reads one field value more.
    pub(crate) fn read(&mut self, value: &[u8]) {
        for part in parts(value) {
            let (name, argument) = match part.iter().position(|&b| b == b'=') {
                Some(at) => (part[..at].trim_ascii(), Some(part[at + 1..].trim_ascii())),
                None => (part, None),
            };
            let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
            if is("max-age") || is("no-cache") || is("no-store") || is("private") {
                self.explicit = true;
            } else if is("s-maxage") {
                (self.explicit, self.open) = (true, true);
            } else if is("public") {
                self.open = true;
            } else if is("must-revalidate") || is("proxy-revalidate") {
                self.strict = true;
            } else if is("stale-while-revalidate") {
                self.while_revalidate = seconds(argument);
            } else if is("stale-if-error") {
                self.if_error = seconds(argument);
            }
        }
    }
}

/// The parts between commas that do not stand within quotes.
fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    value
        .split(move |&b| {
            quoted ^= b == b'"';
            b == b',' && !quoted
        })
        .map(<[u8]>::trim_ascii)
}

/// A number of seconds; what is none says nothing.
fn seconds(argument: Option<&[u8]>) -> Duration {
    let text = argument.map(|text| text.trim_ascii()).unwrap_or_default();
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    let number = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit())).and_then(|text| text.parse::<u64>().ok());
    Duration::from_secs(number.unwrap_or_default().min(LONGEST))
}
