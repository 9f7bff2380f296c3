//! What is known of a request, for log and metrics.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use crate::context::Context;
use crate::decide::Came;
use crate::kept::Kept;
use crate::page::Reason;
use crate::squeeze::Coding;

/// Longest id that is taken from an edge.
const LONGEST: usize = 64;

/// Id of a request, without memory of its own.
#[derive(Debug)]
pub(crate) struct Id {
    text: [u8; LONGEST],
    length: usize,
}

impl Id {
    /// One that an edge told, where it is fit to be passed on.
    pub(crate) fn told(told: &[u8]) -> Option<Self> {
        let fit = !told.is_empty() && told.len() <= LONGEST && told.iter().all(u8::is_ascii_graphic);
        fit.then(|| {
            let mut text = [0; LONGEST];
            text[..told.len()].copy_from_slice(told);
            Self { text, length: told.len() }
        })
    }

    /// A new one: the run in eight digits, and the number of the request.
    pub(crate) fn new((run, number): (u32, u64)) -> Self {
        let mut id = Self { text: [0; LONGEST], length: 0 };
        id.hexadecimal(u64::from(run), 8);
        id.put(b'-');
        id.hexadecimal(number, 16 - (number | 1).leading_zeros() / 4);
        id
    }

    fn hexadecimal(&mut self, value: u64, digits: u32) {
        for place in (0..digits).rev() {
            // Four bits are below sixteen.
            let digit = usize::try_from((value >> (4 * place)) & 15).unwrap_or_default();
            self.put(b"0123456789abcdef"[digit]);
        }
    }

    fn put(&mut self, octet: u8) {
        self.text[self.length] = octet;
        self.length += 1;
    }

    /// Whether this request is one of the one in so many that are looked at. By the id alone, so that edge and gate choose the same.
    pub(crate) fn is_one_in(&self, many: NonZeroU32) -> bool {
        // FNV-1a (Fowler, Noll, Vo; 32 bits), stirred once more because its low bits follow the last octet.
        let hash = self.text[..self.length].iter().fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193));
        many == NonZeroU32::MIN || (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d) % many == 0
    }

    pub(crate) fn as_str(&self) -> &str {
        // Printable ASCII by both ways in.
        std::str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }
}

/// What is known of a request.
#[derive(Debug)]
pub(crate) struct Trace {
    pub id: Id,
    pub context: Context,
    pub came: Came,
    pub started: Instant,
    pub status: u16,
    pub reason: Option<Reason>,
    pub up: u64,
    pub down: u64,
    /// How the answer was compressed, and its octets before.
    pub coding: Option<Coding>,
    pub plain: u64,
    pub tries: u32,
    pub upstream: Option<SocketAddr>,
    pub answered_at: Option<Instant>,
    pub cut: bool,
    pub quiet: bool,
    pub kept: Option<Kept>,
}

impl Trace {
    pub(crate) fn new(id: Id, context: Context, came: Came) -> Self {
        let (started, upstream, answered_at) = (Instant::now(), None, None);
        let (up, down, plain, coding) = (0, 0, 0, None);
        Self {
            id,
            context,
            came,
            started,
            status: 0,
            reason: None,
            up,
            down,
            coding,
            plain,
            tries: 0,
            upstream,
            answered_at,
            cut: false,
            quiet: false,
            kept: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::num::NonZeroU32;

    use super::Id;

    #[test]
    fn one_in_so_many_is_about_that_many_and_the_same_everywhere() {
        for many in [1, 2, 10, 100] {
            let many = NonZeroU32::new(many).unwrap();
            let chosen = (0..100_000).filter(|number| {
                let id = Id::new((0xfeed, *number));
                let there = Id::told(id.as_str().as_bytes()).unwrap();
                assert_eq!(id.is_one_in(many), there.is_one_in(many));
                id.is_one_in(many)
            });
            let (chosen, wanted) = (chosen.count() as f64, 100_000.0 / f64::from(many.get()));
            assert!((chosen / wanted - 1.0).abs() < 0.1, "{chosen} of {wanted}");
        }
    }

    #[test]
    fn ids_are_read_as_they_were_made() {
        for (run, number, text) in [(0xab, 0, "000000ab-0"), (0x8000_0001, 0x10, "80000001-10"), (1, u64::MAX, "00000001-ffffffffffffffff")] {
            assert_eq!(Id::new((run, number)).as_str(), text);
            assert_eq!(Id::told(text.as_bytes()).unwrap().as_str(), text);
        }
        for unfit in ["", "a b", "\u{e9}", &"x".repeat(65)] {
            assert!(Id::told(unfit.as_bytes()).is_none(), "{unfit:?}");
        }
    }
}
