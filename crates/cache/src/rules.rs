//! What may be kept, and who may have it. Whatever is not allowed on this page is not done.
//!
//! **Requests** are looked at when
//! 1. the method is GET or HEAD (only answers to GET are kept), the target a path of at most [`TARGET`] octets;
//! 2. they bring no credentials (`Authorization`), want no part (`Range`) and no events (`Accept: text/event-stream`), set no condition that a cache cannot judge
//!    (`If-Match`, `If-Unmodified-Since`), do not forbid it (`no-store`), and do not ask to be read as another method (`X-HTTP-Method-Override` and its like);
//! 3. in mode [`Mode::Static`], the path ends like a file ([`family`]).
//!
//! Who shows a cookie is somebody, and what he is told may be meant for him alone. So with a cookie only files are found and kept, and what says of itself that it is
//! for everybody (`public`, `s-maxage`).
//!
//! **Answers** are kept when
//! 1. the status is one of [`STATUSES`], and the library of RFC 9111 calls them storable by a shared cache (`no-store`, `private`, ...);
//! 2. they set no cookie, are no stream of events, and bring no coding that `Vary` does not tell of;
//! 3. `Vary` names nothing but fields of [`VARIES`]: others are not the visitor's own, or differ for each;
//! 4. they are fresh for a while, may be served stale for a while, or have a validator;
//! 5. in mode [`Mode::Static`], and where the request showed a cookie, they are files: of the types that their path promises. A page under a file's name is a page,
//!    and how personal pages get into caches ("cache deception").
//!
//! **Freshness** is what the answer says. A file that says nothing is trusted for a tenth of its age, [`FILE`] at most; a page that says nothing (and is no file, has
//! no query that could be a search, and status 200) for [`PAGE`], and only until the tenant takes a request that changes something. Both are heuristics that RFC 9111
//! (4.2.2) allows; an answer that says `no-cache` has said something.

use std::time::Duration;

use crate::directives::Directives;

/// Longest path and query.
pub(crate) const TARGET: usize = 2048;
/// Statuses that are kept.
const STATUSES: [u16; 6] = [200, 203, 301, 308, 404, 410];
/// Fields that an answer may depend on. The other side of `X-Forwarded-Proto` and `Host` is part of the key.
const VARIES: [&str; 12] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "access-control-request-headers",
    "access-control-request-method",
    "host",
    "origin",
    "save-data",
    "sec-ch-ua-mobile",
    "user-agent",
    "x-forwarded-proto",
    "x-requested-with",
];
/// Types that nobody compresses once more.
const DENSE: [&str; 9] = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "video/", "audio/", "font/woff", "application/zip"];
/// How long a file that says nothing is trusted at most.
pub(crate) const FILE: Duration = Duration::from_secs(600);
/// How long a page that says nothing is trusted: short enough that nobody waits for a change, long enough that a crowd asks once.
pub(crate) const PAGE: Duration = Duration::from_secs(10);

/// What of a tenant's answers is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Files: by the end of their path, and their type.
    Static,
    /// Everything that may be.
    On,
}

/// The fields of a head.
pub trait Fields {
    /// Shows each name and value, in their order.
    fn each(&self, see: &mut dyn FnMut(&[u8], &[u8]));

    /// The values of all fields of this name, as one.
    fn joined(&self, name: &str) -> Option<Vec<u8>> {
        let mut all: Option<Vec<u8>> = None;
        self.each(&mut |this, value| {
            if this.eq_ignore_ascii_case(name.as_bytes()) {
                match &mut all {
                    Some(all) => {
                        all.extend_from_slice(b", ");
                        all.extend_from_slice(value);
                    }
                    None => all = Some(value.to_vec()),
                }
            }
        });
        all
    }
}

/// A request, as far as a cache looks at it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Whose.
    pub tenant: &'a str,
    /// What of the tenant's is kept.
    pub mode: Mode,
    /// It came over TLS.
    pub secure: bool,
    /// The host, in canonical form.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The method.
    pub method: &'a str,
    /// Its fields, as they came. Those that do not reach the tenant must not be shown.
    pub fields: &'a dyn Fields,
}

/// How a request is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Only the head is wanted.
    pub head: bool,
    /// It shows a cookie.
    pub known: bool,
    /// The path is a file's, of these types.
    pub family: Option<&'static [&'static str]>,
}

/// Whether, and how, a request is looked at.
pub(crate) fn manner(asked: &Asked<'_>) -> Option<Manner> {
    let head = match asked.method {
        "GET" => false,
        "HEAD" => true,
        _ => return None,
    };
    let family = family(asked.target);
    if !asked.target.starts_with('/') || asked.target.len() > TARGET || (asked.mode == Mode::Static && family.is_none()) {
        return None;
    }
    let (mut known, mut refused) = (false, false);
    asked.fields.each(&mut |name, value| {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        match name.len() {
            5 => refused |= is("range"),
            6 => {
                known |= is("cookie");
                refused |= is("accept") && value.starts_with(b"text/event-stream");
            }
            8 => refused |= is("if-range") || is("if-match"),
            13 => {
                let silent = is("cache-control") && value.to_ascii_lowercase().windows(8).any(|part| part == b"no-store");
                refused |= is("authorization") || silent || is("x-http-method");
            }
            17 => refused |= is("x-method-override"),
            19 => refused |= is("if-unmodified-since"),
            22 => refused |= is("x-http-method-override"),
            _ => {}
        }
    });
    (!refused).then_some(Manner { head, known, family })
}

/// The content types of a file, by the end of its path; nothing for what is no file.
pub(crate) fn family(target: &str) -> Option<&'static [&'static str]> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let (stem, end) = name.rsplit_once('.')?;
    // Servers differ in what they make of these; where they differ, a page may hide under a file's name.
    if stem.is_empty() || path.bytes().any(|b| matches!(b, b';' | b'\\')) || name.contains('%') {
        return None;
    }
    let end = end.to_ascii_lowercase();
    Some(match end.as_str() {
        "css" => &["text/css"],
        "js" | "mjs" => &["application/javascript", "text/javascript", "application/x-javascript"],
        "png" | "jpg" | "jpeg" | "gif" | "webp" | "avif" | "svg" | "ico" | "bmp" => &["image/"],
        "woff" | "woff2" | "ttf" | "otf" | "eot" => {
            &["font/", "application/font-", "application/x-font-", "application/vnd.ms-fontobject", "application/octet-stream"]
        }
        "mp4" | "webm" | "ogv" | "mp3" | "ogg" | "oga" | "wav" => &["video/", "audio/", "application/ogg"],
        "pdf" => &["application/pdf"],
        "wasm" => &["application/wasm"],
        _ => return None,
    })
}

/// What the head of an answer says that these rules look at.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub directives: Directives,
    /// Names in `Vary`, in lower case.
    pub vary: Vec<String>,
    pub etag: Option<Box<[u8]>>,
    pub modified: Option<Box<[u8]>>,
    pub tags: Vec<Box<str>>,
    /// It is a picture, a film or a sound, compressed by itself.
    pub dense: bool,
    content_type: Option<Vec<u8>>,
    coded: bool,
    sets_cookie: bool,
    unclear: bool,
}

impl Said {
    /// Reads a head.
    pub(crate) fn of(fields: &dyn Fields) -> Self {
        let mut said = Self::default();
        fields.each(&mut |name, value| {
            let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
            if is("cache-control") {
                said.directives.read(value);
            } else if is("expires") || is("pragma") {
                said.directives.explicit = true;
            } else if is("set-cookie") {
                said.sets_cookie = true;
            } else if is("vary") {
                let names = value.split(|&b| b == b',').map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase());
                said.vary.extend(names.filter(|name| !name.is_empty()));
            } else if is("etag") {
                said.unclear |= said.etag.replace(value.into()).is_some();
            } else if is("last-modified") {
                said.unclear |= said.modified.replace(value.into()).is_some();
            } else if is("content-type") {
                said.unclear |= said.content_type.replace(value.to_ascii_lowercase()).is_some();
            } else if is("content-encoding") {
                said.coded = !value.trim_ascii().eq_ignore_ascii_case(b"identity");
            } else if is("cache-tag") || is("surrogate-key") {
                let text = String::from_utf8_lossy(value);
                let between = |c: char| c == ',' || c == ' ';
                said.tags.extend(text.split(between).map(str::trim).filter(|tag| !tag.is_empty()).map(Box::from));
            }
        });
        said.dense = said.is_of(&DENSE);
        said
    }

    /// Rules 1 (the status) to 3, and 5; the rest is the library's and the clock's.
    pub(crate) fn may_keep(&self, manner: Manner, mode: Mode, status: u16) -> bool {
        let told = !self.coded || self.vary.iter().any(|name| name == "accept-encoding");
        let varies = self.vary.iter().all(|name| VARIES.contains(&name.as_str()));
        let meant = (mode == Mode::On || self.is_file(manner)) && (!manner.known || self.is_for_all(manner));
        let ends = !self.is_of(&["text/event-stream"]);
        STATUSES.contains(&status) && !self.sets_cookie && !self.unclear && ends && told && varies && meant
    }

    /// Whether also who shows a cookie may have it.
    pub(crate) fn is_for_all(&self, manner: Manner) -> bool {
        self.directives.open || self.is_file(manner)
    }

    /// Whether it is what its path promises.
    fn is_file(&self, manner: Manner) -> bool {
        manner.family.is_some_and(|family| self.is_of(family))
    }

    /// Whether the content type is of these.
    fn is_of(&self, family: &[&str]) -> bool {
        self.content_type.as_ref().is_some_and(|text| family.iter().any(|prefix| text.starts_with(prefix.as_bytes())))
    }

    /// How long an answer that says nothing is trusted, if it is.
    pub(crate) fn unsaid(&self, manner: Manner, mode: Mode, status: u16) -> Option<Duration> {
        if self.directives.explicit || manner.known || mode != Mode::On || manner.family.is_some() {
            return None;
        }
        (status == 200).then_some(PAGE)
    }
}
