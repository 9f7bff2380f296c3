//! JSON of one level, written straight into the page.

use std::fmt::Display;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::h1::write::decimal;

/// One line.
pub(super) struct Text<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Text<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A text of ours, which holds nothing to escape.
    pub(super) fn word(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quoted(value.as_bytes());
    }

    fn quoted(&mut self, value: &[u8]) {
        self.out.push(b'"');
        self.out.extend_from_slice(value);
        self.out.push(b'"');
    }

    /// A text that somebody else chose.
    pub(super) fn foreign(&mut self, name: &str, value: &str) {
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

    pub(super) fn shown(&mut self, name: &str, value: &IpAddr) {
        self.name(name);
        self.out.push(b'"');
        ip(self.out, value);
        self.out.push(b'"');
    }

    pub(super) fn address(&mut self, name: &str, value: SocketAddr) {
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

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        decimal(self.out, value);
    }

    /// With microseconds behind the point.
    pub(super) fn milliseconds(&mut self, name: &str, value: Duration) {
        self.name(name);
        let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        decimal(self.out, us / 1000);
        self.out.push(b'.');
        padded(self.out, us % 1000, 100);
    }

    pub(super) fn yes(&mut self, name: &str) {
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

/// With zeros in front: as many digits as `unit` has.
fn padded(out: &mut Vec<u8>, value: u64, mut unit: u64) {
    while unit > 0 {
        // One digit by construction.
        out.push(b'0' + u8::try_from(value / unit % 10).unwrap_or_default());
        unit /= 10;
    }
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
        let mut digits = Vec::with_capacity(8);
        padded(&mut digits, u64::from(since.subsec_micros()), 100_000);
        self.text.extend(digits.iter().map(|&digit| char::from(digit)));
        self.text.push('Z');
        &self.text
    }
}
