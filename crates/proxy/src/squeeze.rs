//! Answers of text are compressed on their way to visitors who take that.
//!
//! Which coding: [`accept`]. Which answers, and what changes in their heads: [`rules`]. How octets are compressed, and at what cost: [`encoder`]. A body is
//! compressed as it comes, and what the upstream has sent is never held back for more: whenever it pauses, everything goes out.
//!
//! Bounds: so many encoders at once for each thread, each of so much memory ([`encoder`]); beyond that, answers pass as they are, as do those whose length is
//! known to be small (nothing gained) or large (a download, for which one thread would work long). Nothing of one answer's encoder is used for another.

mod accept;
mod encoder;
mod rules;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

use crate::buffer::{Buffer, READ, write_all};
use crate::exchange::ReceiveError;
use crate::h1::body::BodyOut;
use crate::h1::chunked::{BadChunk, Piece};
use crate::h1::framing::{BodyIn, ResponseFraming};
use crate::h1::head::{RequestHead, ResponseHead};
use crate::kept::Copied;
use crate::patience::Patience;
use crate::server::Times;
use crate::stream::Stream;

pub(crate) use accept::Coding;
use encoder::Encoder;

/// Answers that one thread compresses at once.
const MOST: usize = 32;
/// A body that is compressed at once is no longer than this, for it takes the thread ten milliseconds or so.
const WHOLE: u64 = 512 * 1024;
/// Passes after which other connections have a turn; each may take a millisecond.
const TURN: u32 = 4;

/// Places for encoders of one thread.
#[derive(Debug, Default)]
pub(crate) struct Places(AtomicUsize);

/// One place, given back by its drop.
struct Place<'p>(&'p Places);

impl Places {
    fn take(&self) -> Option<Place<'_>> {
        let place = Place(self);
        (self.0.fetch_add(1, Relaxed) < MOST).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// An answer that is compressed.
pub(crate) struct Squeeze<'p> {
    coding: Coding,
    encoder: Encoder,
    _place: Place<'p>,
}

/// Decides whether an answer is compressed, and writes into its head what that means for it. The answer to HEAD gets the head that GET would get.
pub(crate) fn begin<'p>(places: &'p Places, request: &RequestHead, answer: &mut ResponseHead, framing: &mut ResponseFraming) -> Option<Squeeze<'p>> {
    if answer.status() == 304 {
        rules::not_modified(request, answer);
        return None;
    }
    if !rules::is_compressible(answer, framing.length) {
        return None;
    }
    let coding = rules::coding(request);
    let squeeze = match (coding, &framing.body) {
        (None, _) | (Some(_), BodyIn::Empty) => None,
        (Some(coding), _) => places.take().and_then(|place| Some(Squeeze { coding, encoder: Encoder::new(coding)?, _place: place })),
    };
    match coding.filter(|_| squeeze.is_some() || request.method() == "HEAD") {
        Some(coding) => {
            rules::compressed(answer, coding);
            framing.length = None;
        }
        None => rules::vary(answer),
    }
    squeeze
}

/// The head of an answer that is kept whole, for this visitor: its coding, where `pack` has it in one.
pub(crate) fn whole(
    request: &RequestHead,
    answer: &mut ResponseHead,
    length: u64,
    pack: impl FnOnce(Coding) -> Option<Bytes>,
) -> Option<(Coding, Bytes)> {
    if answer.status() == 304 {
        rules::not_modified(request, answer);
        return None;
    }
    if !rules::is_compressible(answer, Some(length)) {
        return None;
    }
    let packed = rules::coding(request).filter(|_| length <= WHOLE).and_then(|coding| Some((coding, pack(coding)?)));
    match &packed {
        Some((coding, _)) => rules::compressed(answer, *coding),
        None => rules::vary(answer),
    }
    packed
}

/// Compresses all of a body at once.
pub(crate) fn pack(coding: Coding, body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = Encoder::new(coding)?;
    // Compressing into memory fails only where there is none left.
    encoder.write(body).ok()?;
    encoder.finish().ok()
}

impl Squeeze<'_> {
    /// How it is compressed.
    pub(crate) const fn coding(&self) -> Coding {
        self.coding
    }

    /// Sends what stands in `out`, then the answer's body, compressed and in chunks. `counts`: octets sent, and what they were before. Trailers end here: they
    /// may speak of the octets as they were.
    #[expect(clippy::too_many_arguments, reason = "the parts of one answer, borrowed apart")]
    pub(crate) async fn receive(
        self,
        from: &impl Stream,
        buffer: &mut Buffer,
        body: &mut BodyIn,
        to: &impl Stream,
        out: &mut Vec<u8>,
        copied: &mut Copied,
        patience: &mut Patience,
        times: &Times,
        counts: (&mut u64, &mut u64),
    ) -> Result<(), ReceiveError> {
        let Self { mut encoder, _place, .. } = self;
        let (sent, plain) = counts;
        let mut passes = 0;
        loop {
            let mut ended = take(&mut encoder, body, buffer, copied, plain).map_err(|_| ReceiveError::Upstream)?;
            let mut pause = false;
            if !ended && buffer.is_empty() {
                match buffer.try_read(from) {
                    Ok(None) => pause = true,
                    Ok(Some(0)) if matches!(body, BodyIn::UntilClose) => ended = true,
                    Ok(Some(0)) | Err(_) => return Err(ReceiveError::Upstream),
                    Ok(Some(_)) => {}
                }
            }
            if ended {
                copied.finish(body.trailers());
                break;
            }
            if pause {
                encoder.flush().map_err(|_| ReceiveError::Upstream)?;
            }
            if pause || encoder.done().len() >= READ {
                put(encoder.done(), out, sent);
                write_all(to, out, times.stream).await.map_err(|_| ReceiveError::Visitor)?;
                out.clear();
            }
            if pause {
                match patience.within(times.stream, buffer.read(from)).await {
                    Some(Ok(0)) if matches!(body, BodyIn::UntilClose) => break,
                    Some(Ok(0) | Err(_)) | None => return Err(ReceiveError::Upstream),
                    Some(Ok(_)) => {}
                }
            }
            passes += 1;
            if passes % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        put(&mut encoder.finish().map_err(|_| ReceiveError::Upstream)?, out, sent);
        BodyOut::Chunked.finish(out, &[]);
        write_all(to, out, times.stream).await.map_err(|_| ReceiveError::Visitor)
    }
}

/// Moves compressed octets into `out`, as one chunk.
fn put(done: &mut Vec<u8>, out: &mut Vec<u8>, sent: &mut u64) {
    *sent += done.len() as u64;
    BodyOut::Chunked.put(out, done);
    done.clear();
}

/// Compresses what is there, until enough is done for one write; says whether that was the end.
fn take(encoder: &mut Encoder, body: &mut BodyIn, buffer: &mut Buffer, copied: &mut Copied, plain: &mut u64) -> Result<bool, BadChunk> {
    while encoder.done().len() < READ {
        let (used, piece) = body.next(buffer.filled())?;
        match piece {
            Piece::Data(data) => {
                *plain += data.len() as u64;
                copied.push(data);
                // Compressing into memory fails only where there is none left.
                encoder.write(data).map_err(|_| BadChunk)?;
                buffer.consume(used);
                if body.is_over() {
                    return Ok(true);
                }
            }
            Piece::More => {
                buffer.consume(used);
                break;
            }
            Piece::End => {
                buffer.consume(used);
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
#[path = "squeeze/tests.rs"]
mod tests;
