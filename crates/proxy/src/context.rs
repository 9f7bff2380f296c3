//! W3C Trace Context (level 1): the trace that a request belongs to, and the span of this hop in it.
//!
//! A trace that a visitor began is gone on with, a malformed one is begun anew (its section 4.3), so that what travels on is always well-formed. Every hop is a span: an
//! edge's is the parent of its gate's, which is the parent of the product's own. `tracestate` belongs to the trace and travels only with it.

use std::num::NonZeroU64;

use crate::head::RequestHead;

/// Octets of version 00: version, trace, parent, flags.
const LENGTH: usize = 55;
/// Where trace and parent stand.
const TRACE: std::ops::Range<usize> = 3..35;
const SPAN: std::ops::Range<usize> = 36..52;
/// The one flag that version 00 knows: somebody records. The access log does.
const SAMPLED: &[u8; 2] = b"01";
const NOT_SAMPLED: &[u8; 2] = b"00";

/// A place in a trace, as the field `traceparent` writes it.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    text: [u8; LENGTH],
    /// Somebody before this hop began the trace.
    pub continued: bool,
}

impl Context {
    /// This hop's place in a request's trace; `number` is nobody else's.
    pub(crate) fn of(head: &RequestHead, number: (u32, u64)) -> Self {
        let told = head.find("traceparent").and_then(|_| head.find_only("traceparent")).and_then(parse);
        let mut text = [b'-'; LENGTH];
        text[..2].copy_from_slice(b"00");
        if let Some((trace, flags)) = told {
            text[TRACE].copy_from_slice(trace);
            text[SPAN.end + 1..].copy_from_slice(flags);
        } else {
            hexadecimal(&mut text[TRACE.start..][..16], spread(number, 1));
            hexadecimal(&mut text[TRACE.start + 16..][..16], spread(number, 2));
            text[SPAN.end + 1..].copy_from_slice(SAMPLED);
        }
        hexadecimal(&mut text[SPAN], spread(number, 0));
        Self { text, continued: told.is_some() }
    }

    /// The value of `traceparent` for whoever comes next.
    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The trace, in 32 hexadecimal digits.
    pub(crate) fn trace(&self) -> &str {
        self.part(TRACE)
    }

    /// This hop, in 16 hexadecimal digits.
    pub(crate) fn span(&self) -> &str {
        self.part(SPAN)
    }

    fn part(&self, range: std::ops::Range<usize>) -> &str {
        // Digits by both ways in.
        std::str::from_utf8(&self.text[range]).unwrap_or_default()
    }
}

/// Trace and flags of a well-formed value. Of a version after 00 what 00 knows is read, as the standard asks.
fn parse(value: &[u8]) -> Option<(&[u8], &'static [u8; 2])> {
    let digits = |part: &[u8]| part.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    let some = |part: &[u8]| digits(part) && part.iter().any(|b| *b != b'0');
    let (version, trace, parent) = (value.get(..2)?, value.get(TRACE)?, value.get(SPAN)?);
    let (flags, rest) = (value.get(SPAN.end + 1..LENGTH)?, &value[LENGTH..]);
    let dashes = [2, TRACE.end, SPAN.end].iter().all(|at| value[*at] == b'-');
    let whole = if version == b"00" { rest.is_empty() } else { rest.first().is_none_or(|b| *b == b'-') };
    let fit = dashes && whole && digits(version) && version != b"ff" && some(trace) && some(parent) && digits(flags);
    // The lowest bit of a hexadecimal digit: odd ones have it.
    let sampled = matches!(flags[1], b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f');
    fit.then_some((trace, if sampled { SAMPLED } else { NOT_SAMPLED }))
}

/// A number that looks like chance and that no other request of the run gets: the last step of `SplitMix64` (Steele, Lea, Flood 2014), which is one to one.
fn spread((run, number): (u32, u64), part: u64) -> NonZeroU64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = ((u64::from(run) << 32) ^ number).wrapping_add(GOLDEN.wrapping_mul(part + 1));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // Zero means that there is none.
    NonZeroU64::new(z ^ (z >> 31)).unwrap_or(NonZeroU64::MIN)
}

fn hexadecimal(to: &mut [u8], value: NonZeroU64) {
    let mut value = value.get();
    for octet in to.iter_mut().rev() {
        // Four bits are below sixteen.
        *octet = b"0123456789abcdef"[usize::try_from(value & 15).unwrap_or_default()];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::collections::HashSet;

    use super::{Context, parse};
    use crate::head::RequestHead;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn head(fields: &str) -> RequestHead {
        let mut head = RequestHead::default();
        head.parse(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n").as_bytes()).unwrap();
        head
    }

    #[test]
    fn a_trace_that_was_begun_goes_on_in_a_new_span() {
        let context = Context::of(&head(&format!("TraceParent: {GOOD}\r\n")), (7, 8));
        assert!(context.continued);
        assert_eq!(context.trace(), "0af7651916cd43dd8448eb211c80319c");
        assert_ne!(context.span(), "b7ad6b7169203331");
        assert!(parse(context.as_bytes()).is_some());
        assert!(context.as_bytes().ends_with(b"-01"));
        for (flags, onward) in [("00", "-00"), ("fe", "-00"), ("ff", "-01")] {
            let context = Context::of(&head(&format!("traceparent: {}{flags}\r\n", &GOOD[..53])), (7, 8));
            assert!(context.as_bytes().ends_with(onward.as_bytes()), "{flags}");
        }
        // A version to come may say more.
        assert!(Context::of(&head(&format!("traceparent: 01{}-more\r\n", &GOOD[2..])), (7, 8)).continued);
    }

    #[test]
    fn what_is_malformed_begins_a_new_trace() {
        let with = |at: usize, text: &str| format!("{}{text}{}", &GOOD[..at], &GOOD[at + text.len()..]);
        let bad = [
            String::new(),
            "00".to_owned(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-"),
            format!("{GOOD}0"),
            format!("01{}x", &GOOD[2..]),
            with(0, "ff"),
            with(0, "0G"),
            with(3, "0AF7"),
            with(2, "_"),
            with(35, "0"),
            with(52, "0"),
            with(3, &"0".repeat(32)),
            with(36, &"0".repeat(16)),
            with(53, "0g"),
        ];
        for value in bad {
            let context = Context::of(&head(&format!("traceparent: {value}\r\n")), (7, 8));
            assert!(!context.continued, "{value:?}");
            assert!(parse(context.as_bytes()).is_some(), "{value:?}");
        }
        let twice = Context::of(&head(&format!("traceparent: {GOOD}\r\ntraceparent: {GOOD}\r\n")), (7, 8));
        assert!(!twice.continued);
    }

    #[test]
    fn no_two_requests_of_a_run_share_a_trace_or_a_span() {
        let (mut traces, mut spans) = (HashSet::new(), HashSet::new());
        for number in 0..10_000 {
            let context = Context::of(&head(""), (0xfeed, number));
            assert!(traces.insert(context.trace().to_owned()) && spans.insert(context.span().to_owned()), "{number}");
            assert_ne!(&context.trace()[..16], context.span());
        }
    }
}
