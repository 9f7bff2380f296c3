//! JSON of one level, written straight into the page.

use std::fmt::Display;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::h1::write::decimal;

/// Room that a line usually needs.
const USUAL: usize = 1024;

/// A name as it stands before its value: one constant, so that writing it is a few moves of the processor.
macro_rules! name {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use name;

/// One line.
pub(super) struct Text<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Text<'o> {
    /// Begins with the time.
    pub(super) fn begin(out: &'o mut Vec<u8>, time: &str) -> Self {
        out.reserve(USUAL);
        out.extend_from_slice(b"{\"time\":");
        let mut text = Self { out };
        text.quoted(time.as_bytes());
        text
    }

    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }

    #[inline]
    fn name(&mut self, name: &'static str) {
        self.out.extend_from_slice(name.as_bytes());
    }

    /// A text of ours, which holds nothing to escape.
    #[inline]
    pub(super) fn word(&mut self, name: &'static str, value: &str) {
        self.name(name);
        self.quoted(value.as_bytes());
    }

    fn quoted(&mut self, value: &[u8]) {
        self.out.push(b'"');
        self.out.extend_from_slice(value);
        self.out.push(b'"');
    }

    /// A text that somebody else chose.
    #[inline]
    pub(super) fn foreign(&mut self, name: &'static str, value: &str) {
        self.name(name);
        if value.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
            return self.quoted(value.as_bytes());
        }
        self.out.push(b'"');
        for octet in value.bytes() {
            match octet {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', octet]),
                // Writing to memory does not fail.
                0..=0x1f => drop(write!(self.out, "\\u{octet:04x}")),
                _ => self.out.push(octet),
            }
        }
        self.out.push(b'"');
    }

    #[inline]
    pub(super) fn shown(&mut self, name: &'static str, value: &IpAddr) {
        self.name(name);
        self.out.push(b'"');
        ip(self.out, value);
        self.out.push(b'"');
    }

    #[inline]
    pub(super) fn address(&mut self, name: &'static str, value: SocketAddr) {
        self.name(name);
        self.out.push(b'"');
        match value {
            SocketAddr::V4(four) => ip(self.out, &IpAddr::V4(*four.ip())),
            SocketAddr::V6(six) => show(self.out, format_args!("[{}]", six.ip())),
        }
        self.out.push(b':');
        decimal(self.out, u64::from(value.port()));
        self.out.push(b'"');
    }

    #[inline]
    pub(super) fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        decimal(self.out, value);
    }

    /// With microseconds behind the point.
    #[inline]
    pub(super) fn milliseconds(&mut self, name: &'static str, value: Duration) {
        self.name(name);
        let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        decimal(self.out, us / 1000);
        self.out.push(b'.');
        // Below a thousand.
        self.out.extend_from_slice(&micros(u32::try_from(us % 1000).unwrap_or_default())[3..]);
    }

    #[inline]
    pub(super) fn yes(&mut self, name: &'static str) {
        self.name(name);
        self.out.extend_from_slice(b"true");
    }
}

fn show(out: &mut Vec<u8>, value: impl Display) {
    // Writing to memory does not fail.
    let _ = write!(out, "{value}");
}

/// An address; the common family without the machinery of formatting.
pub(crate) fn ip(out: &mut Vec<u8>, value: &IpAddr) {
    match value {
        IpAddr::V4(four) => {
            for (n, part) in four.octets().into_iter().enumerate() {
                if n > 0 {
                    out.push(b'.');
                }
                decimal(out, u64::from(part));
            }
        }
        IpAddr::V6(six) => show(out, six),
    }
}

/// Six digits.
fn micros(value: u32) -> [u8; 6] {
    let (mut digits, mut rest) = ([0; 6], value);
    for digit in digits.iter_mut().rev() {
        // One digit by construction.
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    digits
}

/// The time of day as text. Most lines share their second with the one before.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    text: String,
}

/// `2026-11-24T10:00:00` and then the microseconds.
const SECONDS: usize = 19;

impl Clock {
    pub(super) fn read(&mut self, now: SystemTime) -> &str {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.text.is_empty() || since.as_secs() != self.second {
            self.second = since.as_secs();
            let stamp = i64::try_from(self.second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok()).unwrap_or_default();
            self.text = stamp.to_string();
        }
        self.text.truncate(SECONDS);
        self.text.push('.');
        self.text.push_str(std::str::from_utf8(&micros(since.subsec_micros())).unwrap_or_default());
        self.text.push('Z');
        &self.text
    }
}
