//! HTTP/2 by hand: frames and fields that no library would send, and what a server says to them.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What every connection begins with (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, 6).
pub const DATA: u8 = 0;
/// Fields.
pub const HEADERS: u8 = 1;
/// A wish about order that nobody heeds any more.
pub const PRIORITY: u8 = 2;
/// A stream's end.
pub const RESET: u8 = 3;
/// Settings.
pub const SETTINGS: u8 = 4;
/// What servers send before they are asked.
pub const PUSH: u8 = 5;
/// A question whether somebody is there.
pub const PING: u8 = 6;
/// The connection's end.
pub const GOAWAY: u8 = 7;
/// More room.
pub const WINDOW: u8 = 8;
/// More fields.
pub const CONTINUATION: u8 = 9;

/// Flags: the answer to settings or a ping, a stream's last frame, a block's last frame, what is filled up, what has an order.
pub const ACK: u8 = 1;
/// A stream's last frame.
pub const END_STREAM: u8 = 1;
/// A block's last frame.
pub const END_HEADERS: u8 = 4;
/// Filled up.
pub const PADDED: u8 = 8;
/// With an order.
pub const ORDERED: u8 = 32;

/// Error codes (RFC 9113, 7).
pub const NO_ERROR: u32 = 0;
/// What no other code says.
pub const PROTOCOL_ERROR: u32 = 1;
/// More than there is room for.
pub const FLOW_CONTROL_ERROR: u32 = 3;
/// A frame for a stream that has ended.
pub const STREAM_CLOSED: u32 = 5;
/// A frame of a length that it cannot have.
pub const FRAME_SIZE_ERROR: u32 = 6;
/// Nothing was done.
pub const REFUSED_STREAM: u32 = 7;
/// Fields that cannot be read.
pub const COMPRESSION_ERROR: u32 = 9;
/// Too much of something.
pub const CALM: u32 = 11;

/// A frame.
///
/// # Panics
/// When its length cannot be written.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 1 << 24, "longer than a frame can be");
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals without indexing and without Huffman (RFC 7541, 6.2.2): any octet may stand in them.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A number behind a prefix of seven bits (RFC 7541, 5.1).
fn put_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return block.push(length as u8) };
    block.push(127);
    while rest > 127 {
        block.push(128 | (rest % 128) as u8);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it says.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The number that stands in four octets of the payload.
    #[must_use]
    pub fn number(&self, at: usize) -> u32 {
        self.payload.get(at..at + 4).map_or(0, |four| four.iter().fold(0, |number, octet| number << 8 | u32::from(*octet)))
    }

    /// The status that its fields begin with; 0 where they do not begin with one. Only digits are read, plain or by Huffman, and what stands in the static table.
    #[must_use]
    pub fn status(&self) -> u16 {
        const TABLE: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        match *self.payload.as_slice() {
            [indexed @ 0x88..=0x8e, ..] => TABLE[usize::from(indexed - 0x88)],
            [0x08 | 0x18 | 0x48, 3, a, b, c, ..] => [a, b, c].iter().fold(0, |status, digit| status * 10 + u16::from(digit.wrapping_sub(b'0'))),
            [0x08 | 0x18 | 0x48, length @ (0x82 | 0x83), ..] => self.payload.get(2..2 + usize::from(length & 7)).map_or(0, digits),
            _ => 0,
        }
    }
}

/// Three digits in Huffman's code (RFC 7541, B): 0 to 2 take five bits, the others six.
fn digits(octets: &[u8]) -> u16 {
    let bits = octets.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet)) << (32 - 8 * octets.len());
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let five = (bits << at) >> 27;
        let (digit, length) = if five < 3 { (five, 5) } else { (((bits << at) >> 26).wrapping_sub(0x19).wrapping_add(3), 6) };
        at += length;
        status = status * 10 + digit as u16;
    }
    status
}

/// The next whole frame of what came.
pub fn take(came: &mut Vec<u8>) -> Option<Frame> {
    let &[a, b, c, kind, flags, d, e, f, g] = came.get(..9)? else { return None };
    let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
    let payload = came.get(9..end)?.to_vec();
    came.drain(..end);
    Some(Frame { kind, flags, stream: u32::from_be_bytes([d & 0x7f, e, f, g]), payload })
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// A whole answer with this body.
    Answer(u16, Vec<u8>),
    /// Its stream ended with this code.
    Reset(u32),
    /// The connection ended with this code.
    Goaway(u32),
    /// The connection ended without a word.
    Closed,
    /// Nothing came in time.
    Nothing,
}

/// An answer on its way.
#[derive(Debug, Default)]
struct Begun {
    stream: u32,
    status: Option<u16>,
    body: Vec<u8>,
    whole: bool,
}

/// A connection of frames.
#[derive(Debug)]
pub struct Frames<R> {
    read: R,
    came: Vec<u8>,
    /// Answers that have begun, of whatever streams, until somebody asks for their end.
    begun: Vec<Begun>,
    writing: tokio::sync::mpsc::UnboundedSender<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Frames<tokio::io::ReadHalf<S>> {
    /// Over a connection on which nothing was said yet.
    pub fn over(stream: S) -> Self {
        let (read, mut write) = tokio::io::split(stream);
        let (writing, mut octets) = tokio::sync::mpsc::unbounded_channel::<Vec<u8>>();
        // Beside the reading: who floods a server that answers must not be the one that both wait for.
        tokio::spawn(async move {
            while let Some(octets) = octets.recv().await {
                // The server may hang up in the middle: that is seen by its word.
                if write.write_all(&octets).await.is_err() || write.flush().await.is_err() {
                    return;
                }
            }
        });
        Self { read, came: Vec::new(), begun: Vec::new(), writing }
    }
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Sends, at some time.
    pub fn send(&self, octets: Vec<u8>) {
        // Nobody writes any more when the server has hung up.
        let _ = self.writing.send(octets);
    }

    /// Waits for the end of a stream, or of the connection.
    pub async fn end_of(&mut self, stream: u32, within: Duration) -> Got {
        tokio::time::timeout(within, self.read_to_end_of(stream)).await.unwrap_or(Got::Nothing)
    }

    async fn read_to_end_of(&mut self, stream: u32) -> Got {
        loop {
            if let Some(at) = self.begun.iter().position(|answer| answer.stream == stream && answer.whole) {
                let answer = self.begun.swap_remove(at);
                return Got::Answer(answer.status.unwrap_or_default(), answer.body);
            }
            match take(&mut self.came) {
                Some(frame) if frame.kind == GOAWAY && frame.number(4) != NO_ERROR => return Got::Goaway(frame.number(4)),
                Some(frame) if frame.kind == RESET && frame.stream == stream => return Got::Reset(frame.number(0)),
                Some(frame) => self.note(&frame),
                None if self.read.read_buf(&mut self.came).await.unwrap_or(0) == 0 => return Got::Closed,
                None => {}
            }
        }
    }

    /// Keeps what a frame adds to an answer.
    fn note(&mut self, frame: &Frame) {
        if !matches!(frame.kind, HEADERS | DATA) {
            return;
        }
        let known = self.begun.iter().position(|answer| answer.stream == frame.stream);
        let at = known.unwrap_or_else(|| {
            self.begun.push(Begun { stream: frame.stream, ..Begun::default() });
            self.begun.len() - 1
        });
        let answer = &mut self.begun[at];
        match frame.kind {
            // Interim answers and trailers have no place of their own here.
            HEADERS => answer.status = answer.status.or_else(|| Some(frame.status())),
            _ => answer.body.extend_from_slice(&frame.payload),
        }
        answer.whole |= frame.flags & END_STREAM != 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(payload: &[u8]) -> u16 {
        Frame { kind: HEADERS, flags: 0, stream: 1, payload: payload.to_vec() }.status()
    }

    #[test]
    fn statuses_are_read_however_they_are_written() {
        assert_eq!(status(&[0x88, 1, 2]), 200);
        assert_eq!(status(&[0x8d]), 404);
        assert_eq!(status(&[0x48, 3, b'5', b'0', b'2', 0]), 502);
        // RFC 7541, C.6.1: 302.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), 302);
        // RFC 7541, C.6.2: 307.
        assert_eq!(status(&[0x48, 0x83, 0x64, 0x0e, 0xff]), 307);
        assert_eq!(status(&[0x40, 1]), 0);
    }

    #[test]
    fn frames_and_lengths_are_written_as_they_are_read() {
        let mut octets = frame(PING, ACK, 7, b"12345678");
        octets.extend(frame(DATA, 0, 1, b""));
        let first = take(&mut octets);
        assert_eq!(first, Some(Frame { kind: PING, flags: ACK, stream: 7, payload: b"12345678".to_vec() }));
        assert!(take(&mut octets).is_some_and(|frame| frame.kind == DATA) && octets.is_empty());
        // RFC 7541, C.1.2, with a prefix of seven bits: 1337 is 127, 1210 = 0x4ba.
        let long = "v".repeat(1337);
        assert_eq!(block(&[("x", &long)])[..5], [0, 1, b'x', 127, 0x80 | 0x3a]);
        assert_eq!(block(&[("x", &long)])[5], 9);
    }
}
