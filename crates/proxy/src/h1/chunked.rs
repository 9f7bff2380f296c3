//! Chunks, read octet by octet with no state but a few numbers; the rules stand in [`super::framing`].

use super::fields::{self, Kind};

/// Most octets of one chunk's extensions, and of all trailers.
const MOST_EXTENSION: u32 = 256;
const MOST_TRAILERS: usize = 8 * 1024;

/// A body in chunks is not what the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadChunk;

/// What the next octets of a body are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'b> {
    /// Content.
    Data(&'b [u8]),
    /// More octets are needed.
    More,
    /// The body has ended.
    End,
}

/// Reads one body in chunks.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    extensions: bool,
    left: u64,
    count: u32,
    line: Vec<u8>,
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
    End,
}

impl Decoder {
    /// For requests: no extensions.
    pub(crate) const fn strict() -> Self {
        Self { state: State::Size, extensions: false, left: 0, count: 0, line: Vec::new(), trailers: Vec::new() }
    }

    /// For answers: extensions are read over.
    pub(crate) fn lenient() -> Self {
        Self { extensions: true, ..Self::strict() }
    }

    /// The trailers that may travel on, as lines of a head; complete at the end.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// How many octets of `input` are used up, and what they are.
    pub(crate) fn next<'b>(&mut self, input: &'b [u8]) -> Result<(usize, Piece<'b>), BadChunk> {
        let mut at = 0;
        while self.state != State::End {
            if self.state == State::Data && self.left > 0 {
                let rest = &input[at..];
                let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                if take == 0 {
                    return Ok((at, Piece::More));
                }
                self.left -= take as u64;
                return Ok((at + take, Piece::Data(&rest[..take])));
            }
            if self.state == State::Data {
                self.state = State::DataCr;
            }
            let Some(&octet) = input.get(at) else { return Ok((at, Piece::More)) };
            at += 1;
            self.step(octet)?;
        }
        Ok((at, Piece::End))
    }

    fn step(&mut self, octet: u8) -> Result<(), BadChunk> {
        self.state = match (self.state, octet) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.count < 16 => {
                self.count += 1;
                self.left = (self.left << 4) | u64::from(hex(octet));
                State::Size
            }
            (State::Size, b'\r') if self.count > 0 => State::SizeLf,
            (State::Size, b';' | b' ' | b'\t') if self.count > 0 && self.extensions => {
                self.count = 0;
                State::Extension
            }
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) if self.count < MOST_EXTENSION => {
                self.count += 1;
                State::Extension
            }
            (State::SizeLf, b'\n') => {
                self.count = 0;
                if self.left == 0 { State::Trailer } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::Trailer, b'\t' | b' '..=b'~' | 0x80..) if self.line.len() + self.trailers.len() < MOST_TRAILERS => {
                self.line.push(octet);
                State::Trailer
            }
            (State::TrailerLf, b'\n') if self.line.is_empty() => State::End,
            (State::TrailerLf, b'\n') => {
                self.keep_trailer()?;
                State::Trailer
            }
            _ => return Err(BadChunk),
        };
        Ok(())
    }

    fn keep_trailer(&mut self) -> Result<(), BadChunk> {
        let colon = self.line.iter().position(|&b| b == b':').ok_or(BadChunk)?;
        let name = &self.line[..colon];
        if !fields::is_token(name) {
            return Err(BadChunk);
        }
        if fields::kind(name) == Kind::EndToEnd && !fields::is_unfit_for_trailers(name) {
            self.trailers.extend_from_slice(&self.line);
            self.trailers.extend_from_slice(b"\r\n");
        }
        self.line.clear();
        Ok(())
    }
}

const fn hex(octet: u8) -> u8 {
    match octet {
        b'0'..=b'9' => octet - b'0',
        b'a'..=b'f' => octet - b'a' + 10,
        _ => octet - b'A' + 10,
    }
}
