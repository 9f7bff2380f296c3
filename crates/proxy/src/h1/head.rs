//! Heads of requests and answers, read once into a buffer of their own that is used again for the next.

use std::mem::MaybeUninit;
use std::net::Ipv6Addr;
use std::ops::Range;

use super::write::{COLON, LINE_END};
use super::{framing, write};
use crate::page::Reason;

/// How large a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub octets: usize,
    pub fields: usize,
}

/// Most fields of a head that comes from outside.
pub(crate) const FIELDS: usize = 100;
/// What each of ours may add to a head on its way. Whoever hears one of ours takes so much more than that one took, or it would refuse what was let through.
pub(crate) const ADDED: Bounds = Bounds { octets: 4096, fields: 16 };
/// Most fields that are read at all: an edge and a gate have added theirs.
const MOST_FIELDS: usize = FIELDS + 2 * ADDED.fields;

impl Bounds {
    /// With what one of ours may have added.
    #[must_use]
    pub(crate) const fn and_ours(self) -> Self {
        Self { octets: self.octets + ADDED.octets, fields: self.fields + ADDED.fields }
    }
}

/// Finds the end of a head while it arrives; refuses bare line feeds at once.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    seen: usize,
}

/// A line ends with a bare line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BareLineFeed;

impl Scan {
    /// Length of the head with its empty line, once it is there.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, BareLineFeed> {
        for at in memchr::memchr_iter(b'\n', &bytes[self.seen..]) {
            let at = self.seen + at;
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(BareLineFeed);
            }
            if at >= 3 && bytes[at - 3..=at] == *b"\r\n\r\n" {
                return Ok(Some(at + 1));
            }
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

#[derive(Debug, Clone)]
struct FieldAt {
    name: Range<usize>,
    value: Range<usize>,
}

/// Fields in the octets they came in.
#[derive(Debug, Clone, Default)]
struct Lines {
    raw: Vec<u8>,
    fields: Vec<FieldAt>,
    marks: Marks,
}

/// Which names a head may hold: a mark for each, which a few names share. Most fields that are asked for are not there, and this says so without a look at any.
#[derive(Debug, Clone, Copy, Default)]
struct Marks(u64);

impl Marks {
    #[inline]
    const fn of(name: &[u8]) -> Self {
        let (&[first, ..], &[.., last]) = (name, name) else { return Self(1) };
        // Upper and lower case of a letter differ in one bit, which is left out.
        Self(1 << ((name.len() + 5 * (first & 0x1f) as usize + 11 * (last & 0x1f) as usize) % 64))
    }

    const fn add(&mut self, name: &[u8]) {
        self.0 |= Self::of(name).0;
    }

    #[inline]
    const fn may_hold(self, name: &[u8]) -> bool {
        self.0 & Self::of(name).0 != 0
    }
}

impl Lines {
    #[inline]
    fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|at| (&self.raw[at.name.clone()], &self.raw[at.value.clone()]))
    }

    #[inline]
    fn find(&self, name: &str) -> Option<&[u8]> {
        if !self.marks.may_hold(name.as_bytes()) {
            return None;
        }
        self.iter().find(|(this, _)| this.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Writes the fields whose names travel. Those that stand next to each other just as they would be written go in one piece: of most messages that is
    /// nearly all.
    fn write(&self, out: &mut Vec<u8>, travels: impl Fn(&[u8]) -> bool) {
        let raw = &*self.raw;
        let mut run = 0..0;
        for FieldAt { name, value } in &self.fields {
            if !travels(&raw[name.clone()]) {
                continue;
            }
            if raw[name.end..value.start.max(name.end)] == *COLON && raw[value.end..].starts_with(LINE_END) {
                if run.end != name.start {
                    out.extend_from_slice(&raw[run]);
                    run = name.start..name.start;
                }
                run.end = value.end + LINE_END.len();
            } else {
                out.extend_from_slice(&raw[std::mem::take(&mut run)]);
                write::field(out, &raw[name.clone()], &raw[value.clone()]);
            }
        }
        out.extend_from_slice(&raw[run]);
    }
}

/// Notes where parsed fields stand in `raw`, and gives their marks.
fn note(raw: &[u8], parsed: &[httparse::Header<'_>], fields: &mut Vec<FieldAt>) -> Marks {
    let mut marks = Marks::default();
    fields.clear();
    fields.extend(parsed.iter().map(|field| {
        marks.add(field.name.as_bytes());
        FieldAt { name: place(raw, field.name.as_bytes()), value: place(raw, field.value) }
    }));
    marks
}

/// Where a part of `raw` stands in it.
fn place(raw: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(raw.as_ptr() as usize);
    // An empty part may point anywhere.
    let start = start.min(raw.len());
    start..(start + part.len()).min(raw.len())
}

/// The head of a request.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    lines: Lines,
    /// Method and target, which are text.
    line: String,
    method: usize,
    minor: u8,
    host_value: Range<usize>,
    host: String,
}

impl RequestHead {
    /// Reads a whole head.
    pub(crate) fn parse(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        self.lines.raw.clear();
        self.lines.raw.extend_from_slice(bytes);
        let raw = &self.lines.raw;
        let mut space = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(raw, &mut space) {
            Ok(httparse::Status::Complete(length)) if length == raw.len() => {}
            Ok(_) => return Err(Reason::MalformedHead),
            Err(httparse::Error::TooManyHeaders) => return Err(Reason::HeadTooLarge),
            Err(httparse::Error::Version) => return Err(Reason::VersionRefused),
            Err(_) => return Err(Reason::MalformedHead),
        }
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else { return Err(Reason::MalformedHead) };
        // A fragment is not for servers; those that get one cut it off or do not.
        if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(Reason::MalformedHead);
        }
        self.minor = minor;
        let (authority, path) = split_target(method, target)?;
        let authority = authority.map(|authority| place(raw, authority.as_bytes()));
        self.line.clear();
        self.line.push_str(method);
        self.method = method.len();
        self.line.push_str(path);
        self.lines.marks = note(raw, parsed.headers, &mut self.lines.fields);
        self.read_host(authority)
    }

    /// A target in absolute form names the same host.
    fn read_host(&mut self, authority: Option<Range<usize>>) -> Result<(), Reason> {
        let mut hosts = self.lines.fields.iter().filter(|at| framing::eq(&self.lines.raw[at.name.clone()], b"host"));
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Reason::BadHost) };
        self.host_value = host.value.clone();
        let value = &self.lines.raw[self.host_value.clone()];
        if authority.is_some_and(|authority| !self.lines.raw[authority].eq_ignore_ascii_case(value)) {
            return Err(Reason::BadHost);
        }
        self.host.clear();
        self.host.push_str(canonical(value).ok_or(Reason::BadHost)?);
        self.host.make_ascii_lowercase();
        Ok(())
    }

    /// The method.
    #[must_use]
    #[inline]
    pub fn method(&self) -> &str {
        &self.line[..self.method]
    }

    /// Path and query, or `*`.
    #[must_use]
    #[inline]
    pub fn target(&self) -> &str {
        &self.line[self.method..]
    }

    /// The path without its query, which may hold secrets.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target().split_once('?').map_or(self.target(), |(path, _)| path)
    }

    /// The host in canonical form: lower case, without port and final dot.
    #[must_use]
    #[inline]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that Host names, with its colon, or nothing.
    #[must_use]
    pub fn port(&self) -> &str {
        let value = std::str::from_utf8(self.host_value()).unwrap_or_default();
        let after = value.rfind(']').map_or(0, |close| close + 1);
        value[after..].find(':').map_or("", |colon| &value[after + colon..])
    }

    /// The value of Host as it came.
    pub(crate) fn host_value(&self) -> &[u8] {
        &self.lines.raw[self.host_value.clone()]
    }

    /// 0 or 1, of the version 1.x.
    #[inline]
    pub(crate) const fn minor(&self) -> u8 {
        self.minor
    }

    /// How many fields it has.
    #[inline]
    pub(crate) const fn count(&self) -> usize {
        self.lines.fields.len()
    }

    /// Names and values, in the order in which they came.
    #[inline]
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.lines.iter()
    }

    /// Writes those whose names travel on.
    pub(crate) fn write_fields(&self, out: &mut Vec<u8>, travels: impl Fn(&[u8]) -> bool) {
        self.lines.write(out, travels);
    }

    /// Value of the first field of this name.
    #[must_use]
    #[inline]
    pub fn find(&self, name: &str) -> Option<&[u8]> {
        self.lines.find(name)
    }

    /// The values of all fields of this name are exactly one.
    #[must_use]
    pub fn find_only(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.fields().filter(|(this, _)| this.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether it asks for nothing but to be told (RFC 9110, 9.2.1).
    #[must_use]
    #[inline]
    pub fn is_safe(&self) -> bool {
        matches!(self.method(), "GET" | "HEAD" | "OPTIONS")
    }

    /// Whether doing it twice is doing it once (RFC 9110, 9.2.2).
    #[must_use]
    #[inline]
    pub fn is_idempotent(&self) -> bool {
        self.is_safe() || matches!(self.method(), "PUT" | "DELETE")
    }
}

/// Origin form, `*` for OPTIONS, or absolute form: its authority, if it has one, and its path.
fn split_target<'t>(method: &str, target: &'t str) -> Result<(Option<&'t str>, &'t str), Reason> {
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((None, target));
    }
    const SCHEME: &str = "http://";
    let rest = target
        .get(SCHEME.len()..)
        .filter(|rest| !rest.is_empty() && target[..SCHEME.len()].eq_ignore_ascii_case(SCHEME))
        .ok_or(Reason::MalformedHead)?;
    // Without a path of its own the whole is refused: nobody writes it, and `?` in place of `/` is read in several ways.
    let slash = rest.find('/').ok_or(Reason::MalformedHead)?;
    Ok((Some(&rest[..slash]), &rest[slash..]))
}

/// The host of a Host field, without port and final dot.
fn canonical(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let close = rest.find(']')? + 2;
            (&text[..close], &text[close..])
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    // Five digits at most, so that zeros before a port do not make it another one to anybody.
    let number = port.strip_prefix(':').unwrap_or_default();
    let is_number = number.len() <= 5 && number.bytes().all(|b| b.is_ascii_digit()) && (number.is_empty() || number.parse::<u16>().is_ok());
    let port_fits = port.is_empty() || (port.starts_with(':') && is_number);
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return (port_fits && address.parse::<Ipv6Addr>().is_ok()).then_some(host);
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let host = host.strip_suffix('.').unwrap_or(host);
    (port_fits && !host.is_empty() && host.len() <= 253 && host.bytes().all(allowed)).then_some(host)
}

/// The head of an answer.
#[derive(Debug, Default)]
pub struct ResponseHead {
    lines: Lines,
    status: u16,
    reason: Range<usize>,
    minor: u8,
}

impl ResponseHead {
    /// Reads a whole head.
    pub(crate) fn parse(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        self.lines.raw.clear();
        self.lines.raw.extend_from_slice(bytes);
        let raw = &self.lines.raw;
        let mut space = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, raw, &mut space) {
            Ok(httparse::Status::Complete(length)) if length == raw.len() => {}
            _ => return Err(Reason::UpstreamMalformed),
        }
        let (Some(status), Some(minor)) = (parsed.code, parsed.version) else { return Err(Reason::UpstreamMalformed) };
        if !(100..=599).contains(&status) {
            return Err(Reason::UpstreamMalformed);
        }
        (self.status, self.minor) = (status, minor);
        self.reason = place(raw, parsed.reason.unwrap_or_default().as_bytes());
        self.lines.marks = note(raw, parsed.headers, &mut self.lines.fields);
        Ok(())
    }

    /// The status.
    #[must_use]
    #[inline]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Turns it into one that says that nothing changed.
    pub(crate) fn become_not_modified(&mut self) {
        (self.status, self.reason) = (304, 0..0);
    }

    /// The words after the status.
    pub(crate) fn reason(&self) -> &[u8] {
        &self.lines.raw[self.reason.clone()]
    }

    /// 0 or 1, of the version 1.x.
    #[inline]
    pub(crate) const fn minor(&self) -> u8 {
        self.minor
    }

    /// How many fields it has.
    #[inline]
    pub(crate) const fn count(&self) -> usize {
        self.lines.fields.len()
    }

    /// Names and values, in the order in which they came.
    #[inline]
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter()
    }

    /// Writes those whose names travel on.
    pub(crate) fn write_fields(&self, out: &mut Vec<u8>, travels: impl Fn(&[u8]) -> bool) {
        self.lines.write(out, travels);
    }

    /// Where names and values stand in the octets that were read.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        self.lines.fields.iter().map(|at| (at.name.clone(), at.value.clone()))
    }

    /// Takes out the fields of these names.
    pub(crate) fn remove(&mut self, is: impl Fn(&[u8]) -> bool) {
        let Lines { raw, fields, .. } = &mut self.lines;
        fields.retain(|field| !is(&raw[field.name.clone()]));
    }

    /// Puts a field behind the others.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        let Lines { raw, fields, marks } = &mut self.lines;
        marks.add(name.as_bytes());
        let mut put = |part: &[u8]| {
            let start = raw.len();
            raw.extend_from_slice(part);
            start..raw.len()
        };
        let field = FieldAt { name: put(name.as_bytes()), value: put(value) };
        fields.push(field);
    }

    /// Value of the first field of this name.
    #[must_use]
    #[inline]
    pub fn find(&self, name: &str) -> Option<&[u8]> {
        self.lines.find(name)
    }
}
