//! Bodies on their way: taken from one framing, put into another.

use std::io::Write as _;

use super::chunked::{BadChunk, Piece};
use super::framing::BodyIn;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyOut {
    /// There is none.
    Empty,
    /// As it is: its length was announced.
    Length(u64),
    /// In chunks.
    Chunked,
    /// As it is, to the end of the connection.
    UntilClose,
}

impl BodyIn {
    /// How many octets of `input` are used up, and what they are.
    pub(crate) fn next<'b>(&mut self, input: &'b [u8]) -> Result<(usize, Piece<'b>), BadChunk> {
        match self {
            Self::Empty => Ok((0, Piece::End)),
            Self::Length(0) => Ok((0, Piece::End)),
            Self::Length(_) | Self::UntilClose if input.is_empty() => Ok((0, Piece::More)),
            Self::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= take as u64;
                Ok((take, Piece::Data(&input[..take])))
            }
            Self::Chunked(decoder) => decoder.next(input),
            Self::UntilClose => Ok((input.len(), Piece::Data(input))),
        }
    }

    /// Whether nothing of it is left, as far as that is known without another octet. Whoever waits for octets asks this first: there may be none to come.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self, Self::Empty | Self::Length(0))
    }

    /// Trailers that may travel on, as lines of a head.
    pub(crate) fn trailers(&self) -> &[u8] {
        match self {
            Self::Chunked(decoder) => decoder.trailers(),
            _ => &[],
        }
    }
}

impl BodyOut {
    /// Appends a part of the body.
    pub(crate) fn put(self, out: &mut Vec<u8>, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if self == Self::Chunked {
            // Writing to memory does not fail.
            let _ = write!(out, "{:x}\r\n", data.len());
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(data);
        }
    }

    /// Appends what ends the body.
    pub(crate) fn finish(self, out: &mut Vec<u8>, trailers: &[u8]) {
        if self == Self::Chunked {
            out.extend_from_slice(b"0\r\n");
            out.extend_from_slice(trailers);
            out.extend_from_slice(b"\r\n");
        }
    }
}
