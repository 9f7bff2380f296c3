//! `Accept-Encoding` (RFC 9110, 12.5.3): which coding a visitor gets.

use crate::h1::framing::{eq, tokens};

/// How an answer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
}

impl Coding {
    /// In the order in which they are preferred among equal weights: by what they take off for the same work (figures: `encoder`).
    pub(crate) const ALL: [Self; 3] = [Self::Zstd, Self::Gzip, Self::Brotli];

    /// Its name in fields and in the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }
}

/// A weight in thousandths.
type Weight = u16;

/// What the fields of one request say.
#[derive(Debug, Default)]
struct Wishes {
    /// As [`Coding::ALL`].
    named: [Option<Weight>; 3],
    identity: Option<Weight>,
    star: Option<Weight>,
}

/// The coding that a visitor gets; `None` for none. What is malformed is taken as not said.
pub(crate) fn choose<'f>(fields: impl Iterator<Item = &'f [u8]>) -> Option<Coding> {
    let mut wishes = Wishes::default();
    for (coding, weight) in fields.flat_map(tokens).filter_map(member) {
        let slot = match coding {
            name if eq(name, b"zstd") => &mut wishes.named[0],
            name if eq(name, b"gzip") || eq(name, b"x-gzip") => &mut wishes.named[1],
            name if eq(name, b"br") => &mut wishes.named[2],
            name if eq(name, b"identity") => &mut wishes.identity,
            b"*" => &mut wishes.star,
            _ => continue,
        };
        // Who says two things means the lesser one.
        *slot = Some(slot.map_or(weight, |other| other.min(weight)));
    }
    // A star stands for gzip alone: whoever says no more than that has not said that it knows anything younger.
    wishes.named[1] = wishes.named[1].or(wishes.star);
    // Plain octets are always taken, and are preferred only where that is said.
    let least = wishes.identity.unwrap_or(0).max(1);
    let mut best = None;
    for (coding, weight) in Coding::ALL.into_iter().zip(wishes.named) {
        if let Some(weight) = weight.filter(|&weight| weight >= least)
            && best.is_none_or(|(_, most)| weight > most)
        {
            best = Some((coding, weight));
        }
    }
    best.map(|(coding, _)| coding)
}

/// A coding and its weight.
fn member(text: &[u8]) -> Option<(&[u8], Weight)> {
    let mut parts = text.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = match parts.next() {
        None => 1000,
        Some([b'q' | b'Q', b'=', value @ ..]) => weight(value)?,
        Some(_) => return None,
    };
    parts.next().is_none().then_some((name, weight))
}

/// `0`, `0.5`, `1.000`: a digit, and at most three behind the point.
fn weight(text: &[u8]) -> Option<Weight> {
    let (whole, digits) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut part = 0;
    for place in 0..3 {
        let digit = digits.get(place).copied().unwrap_or(b'0');
        part = part * 10 + Weight::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    match (whole, part) {
        (b'0', part) => Some(part),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}
