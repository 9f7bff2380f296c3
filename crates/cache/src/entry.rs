//! A kept answer.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_cache_semantics::{CacheOptions, CachePolicy};

use crate::rules::{Asked, FILE, Fields, Manner, Said};

/// What an entry takes beside its octets: its places in the maps, and the library's notes.
const OVERHEAD: usize = 1024;
/// Compressed forms of a body, one for each coding. Each is kept only where it saves two thirds, so all of them are no longer than the body.
const FORMS: usize = 3;
/// Fields of an answer that the library looks at.
const JUDGED: [&str; 8] = ["age", "cache-control", "date", "etag", "expires", "last-modified", "pragma", "set-cookie"];

/// An answer that is kept, with everything that is needed to send it again.
#[derive(Debug)]
pub struct Entry {
    /// The status line and the fields, as a head of HTTP/1.1 with its empty line.
    pub head: Box<[u8]>,
    /// The body.
    pub body: Bytes,
    /// Its `ETag`.
    pub etag: Option<Box<[u8]>>,
    /// Its `Last-Modified`.
    pub modified: Option<Box<[u8]>>,
    pub(crate) tags: Box<[Box<str>]>,
    /// Also who shows a cookie may have it.
    pub(crate) for_all: bool,
    /// It said nothing of its freshness: the number of the tenant's changes that it knows of.
    pub(crate) changes: Option<u64>,
    /// Names in `Vary`, with what the request had of them.
    varied: Box<[(String, Option<Vec<u8>>)]>,
    policy: CachePolicy,
    kept: SystemTime,
    fresh_until: SystemTime,
    while_revalidate: Duration,
    if_error: Duration,
    refreshing: AtomicBool,
    /// The body is a picture or the like, which nobody compresses: others have room for their compressed forms.
    dense: bool,
    forms: [OnceLock<Option<Bytes>>; FORMS],
}

/// How old an entry is to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ripeness {
    Fresh,
    /// It may be served while somebody asks anew.
    Ripe,
    /// The tenant must be asked.
    Stale,
}

/// What an entry is made of.
pub(crate) struct Parts<'a> {
    pub asked: &'a Asked<'a>,
    pub manner: Manner,
    pub status: u16,
    pub said: Said,
    pub fields: &'a dyn Fields,
    pub changes: u64,
    pub now: SystemTime,
}

impl Entry {
    /// An entry without its body; nothing where it may not be kept.
    pub(crate) fn new(parts: Parts<'_>) -> Option<Self> {
        let Parts { asked, manner, status, said, fields, changes, now } = parts;
        if !said.may_keep(manner, asked.mode, status) {
            return None;
        }
        let policy = CachePolicy::new_options(
            &request(asked.fields),
            &response(status, fields)?,
            now,
            CacheOptions { shared: true, ..CacheOptions::default() },
        );
        if !policy.is_storable() {
            return None;
        }
        let (mut fresh, mut unsaid) = (policy.time_to_live(now), None);
        if !said.directives.explicit {
            fresh = fresh.min(FILE);
            if let Some(page) = said.unsaid(manner, asked.mode, status) {
                (fresh, unsaid) = (page, Some(changes));
            }
        }
        let (strict, for_all) = (said.directives.strict, said.is_for_all(manner));
        let while_revalidate = if strict { Duration::ZERO } else { said.directives.while_revalidate };
        let if_error = if strict { Duration::ZERO } else { said.directives.if_error };
        if fresh.max(while_revalidate).max(if_error).is_zero() && said.etag.is_none() && said.modified.is_none() {
            return None;
        }
        Some(Self {
            head: head(status, fields),
            body: Bytes::new(),
            etag: said.etag,
            modified: said.modified,
            tags: said.tags.into(),
            for_all,
            changes: unsaid,
            varied: said.vary.into_iter().map(|name| (asked.fields.joined(&name), name)).map(|(value, name)| (name, value)).collect(),
            policy,
            kept: now,
            fresh_until: now.checked_add(fresh)?,
            while_revalidate,
            if_error,
            refreshing: AtomicBool::new(false),
            dense: said.dense,
            forms: Default::default(),
        })
    }

    /// Octets that it takes.
    pub(crate) fn octets(&self) -> u64 {
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 16).sum();
        let bodies = if self.dense { 1 } else { 2 };
        (self.head.len() + bodies * self.body.len() + tags + OVERHEAD) as u64
    }

    /// Whether it answers this request as far as `Vary` and cookies go.
    pub(crate) fn fits(&self, asked: &Asked<'_>, manner: Manner) -> bool {
        (self.for_all || !manner.known) && self.varied.iter().all(|(name, value)| asked.fields.joined(name) == *value)
    }

    /// Whether both answer the same requests.
    pub(crate) fn stands_for(&self, other: &Self) -> bool {
        self.varied == other.varied
    }

    /// With its body.
    pub(crate) fn with_body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// How old it is to this request.
    pub(crate) fn ripeness(&self, asked: &Asked<'_>, changes: u64, now: SystemTime) -> Ripeness {
        // A clock that jumped back says nothing about ages.
        if now < self.kept || self.changes.is_some_and(|known| known != changes) {
            return Ripeness::Stale;
        }
        if now < self.fresh_until {
            let demanding = asked.fields.joined("cache-control").is_some() || asked.fields.joined("pragma").is_some();
            let served = !demanding || self.policy.before_request(&request(asked.fields), now).satisfies_without_revalidation();
            return if served { Ripeness::Fresh } else { Ripeness::Stale };
        }
        let ripe = now < self.fresh_until + self.while_revalidate && asked.fields.joined("cache-control").is_none();
        if ripe { Ripeness::Ripe } else { Ripeness::Stale }
    }

    /// Whether it may be served though the tenant could not answer.
    pub(crate) fn may_stand_in(&self, now: SystemTime) -> bool {
        self.changes.is_none() && now >= self.kept && now < self.fresh_until + self.if_error
    }

    /// Seconds since it was made, for `Age`.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> u64 {
        self.policy.age(now).as_secs()
    }

    /// Whether the visitor has it already (RFC 9110, 13.2.2).
    #[must_use]
    pub fn is_known_to(&self, fields: &dyn Fields) -> bool {
        if let Some(tags) = fields.joined("if-none-match") {
            let own = self.etag.as_deref().map(weak);
            return tags.split(|&b| b == b',').map(<[u8]>::trim_ascii).any(|tag| tag == b"*" || Some(weak(tag)) == own);
        }
        let since = fields.joined("if-modified-since");
        since.is_some() && since.as_deref() == self.modified.as_deref()
    }

    /// A compressed form of the body, made at its first use; nothing where it would not save two thirds.
    pub fn form(&self, number: usize, make: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Option<Bytes> {
        let make = || make(&self.body).filter(|form| form.len() <= self.body.len() / FORMS && !self.dense).map(|form| form.into_boxed_slice().into());
        self.forms.get(number)?.get_or_init(make).clone()
    }

    /// Claims the errand of asking anew; one at a time.
    pub(crate) fn claim(&self) -> bool {
        !self.refreshing.swap(true, Relaxed)
    }

    /// The errand has ended.
    pub(crate) fn release(&self) {
        self.refreshing.store(false, Relaxed);
    }

    /// The fields of its head.
    pub(crate) fn fields(&self) -> Lines<'_> {
        Lines(&self.head)
    }

    /// Its status.
    pub(crate) fn status(&self) -> u16 {
        // Written by `head` below: "HTTP/1.1 " and three digits.
        self.head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok()).unwrap_or_default()
    }
}

/// The fields of a head as [`head`] wrote it.
pub(crate) struct Lines<'h>(&'h [u8]);

impl Fields for Lines<'_> {
    fn each(&self, see: &mut dyn FnMut(&[u8], &[u8])) {
        for line in self.0.split(|&b| b == b'\n').skip(1) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(colon) = line.iter().position(|&b| b == b':') {
                see(&line[..colon], line[colon + 1..].trim_ascii());
            }
        }
    }
}

/// A stored head with the fields of a 304 in place of its own of the same names (RFC 9111, 3.2).
pub(crate) struct Renewed<'a> {
    pub stored: Lines<'a>,
    pub told: &'a dyn Fields,
}

impl Fields for Renewed<'_> {
    fn each(&self, see: &mut dyn FnMut(&[u8], &[u8])) {
        let describes = |name: &[u8]| {
            let name = name.to_ascii_lowercase();
            name.starts_with(b"content-") || name == b"etag" || name == b"vary"
        };
        self.stored.each(&mut |name, value| {
            if describes(name) || self.told.joined(&String::from_utf8_lossy(name)).is_none() {
                see(name, value);
            }
        });
        self.told.each(&mut |name, value| {
            if !describes(name) {
                see(name, value);
            }
        });
    }
}

/// An entity tag without the mark of weakness.
fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// A head of HTTP/1.1. An `Age` that came with it is counted on by the entry.
fn head(status: u16, fields: &dyn Fields) -> Box<[u8]> {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
    fields.each(&mut |name, value| {
        let ours = ["age", "content-length"];
        if !ours.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes())) {
            for part in [name, b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
    });
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// What the library sees of a request: the same place for all, and nothing that varies, since entries are found by their own keys.
fn request(fields: &dyn Fields) -> http::request::Parts {
    let mut headers = HeaderMap::new();
    for name in [CACHE_CONTROL, PRAGMA] {
        if let Some(value) = fields.joined(name.as_str()).and_then(|value| HeaderValue::from_bytes(&value).ok()) {
            headers.insert(name, value);
        }
    }
    let mut request = http::Request::new(()).into_parts().0;
    (request.method, request.uri, request.headers) = (Method::GET, Uri::from_static("/"), headers);
    request
}

/// What the library sees of an answer.
fn response(status: u16, fields: &dyn Fields) -> Option<http::response::Parts> {
    let mut headers = HeaderMap::new();
    fields.each(&mut |name, value| {
        let name = HeaderName::from_bytes(name).ok().filter(|name| JUDGED.contains(&name.as_str()));
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    });
    let mut response = http::Response::new(()).into_parts().0;
    (response.status, response.headers) = (StatusCode::from_u16(status).ok()?, headers);
    Some(response)
}
