//! Event streams (`text/event-stream`) on their way to a visitor: as any answer, but that they may be told to end. Then the visitor hears after which time to
//! ask again, between two events, and the answer ends in order.

use std::future::pending;
use std::io::Write as _;
use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::buffer::{Buffer, READ, write_all};
use crate::exchange::{ReceiveError, TURN};
use crate::h1::body::BodyOut;
use crate::h1::chunked::Piece;
use crate::h1::framing::BodyIn;
use crate::h1::head::ResponseHead;
use crate::patience::Patience;
use crate::server::Times;
use crate::stream::Stream;

/// After so many milliseconds a visitor asks again; each after others, so that not all of a tenant's come back in the same moment.
const RETRY_MS: std::ops::Range<u32> = 500..3000;
/// How long the rest of an event is waited for, and a visitor who takes nothing, once a stream is to end.
pub(crate) const UNFINISHED: Duration = Duration::from_secs(2);

/// Whether an answer's body is a stream of events into which a word of ours fits.
pub(crate) fn is_stream(answer: &ResponseHead, form: BodyOut) -> bool {
    let kind = answer.find("content-type").unwrap_or_default().split(|octet| *octet == b';').next().unwrap_or_default();
    matches!(form, BodyOut::Chunked | BodyOut::UntilClose)
        && answer.status() == 200
        && answer.find("content-encoding").is_none()
        && kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Follows the lines of a stream. A line ends with CR, LF or both; an empty one ends an event; one that begins with a colon is of no event.
#[derive(Debug, Clone, Copy, Default)]
struct Events {
    /// Something of a line came.
    within: bool,
    comment: bool,
    /// Lines of an event that has not ended.
    pending: bool,
    after_cr: bool,
}

impl Events {
    /// Whether no event is under way.
    const fn at_boundary(self) -> bool {
        !self.within && !self.pending
    }

    fn take(&mut self, octet: u8) {
        match octet {
            b'\n' if self.after_cr => self.after_cr = false,
            b'\n' | b'\r' => {
                self.pending = if self.within { self.pending || !self.comment } else { false };
                (self.within, self.after_cr) = (false, octet == b'\r');
            }
            _ => {
                if !self.within {
                    self.comment = octet == b':';
                }
                (self.within, self.after_cr) = (true, false);
            }
        }
    }

    /// Follows `octets`, up to the first boundary where `stop` is said; how many that are.
    fn pass(&mut self, octets: &[u8], stop: bool) -> usize {
        for (at, octet) in octets.iter().enumerate() {
            if stop && self.at_boundary() {
                return at;
            }
            self.take(*octet);
        }
        octets.len()
    }
}

/// Sends what stands in `out`, then the events as they come. `true`: all of the body was taken; `false`: it ended here because it was told to.
#[expect(clippy::too_many_arguments, reason = "the parts of one answer, borrowed apart")]
pub(crate) async fn receive(
    from: &impl Stream,
    buffer: &mut Buffer,
    body: &mut BodyIn,
    form: BodyOut,
    to: &impl Stream,
    out: &mut Vec<u8>,
    patience: &mut Patience,
    times: &Times,
    count: &mut u64,
    end: &CancellationToken,
) -> Result<bool, ReceiveError> {
    let (mut events, mut deadline, mut passes) = (Events::default(), None, 0_u32);
    loop {
        let told = end.is_cancelled();
        let until = told.then(|| *deadline.get_or_insert_with(|| Instant::now() + UNFINISHED));
        let ended = gather(body, form, buffer, out, count, &mut events, told).map_err(|()| ReceiveError::Upstream)?;
        let over = until.is_some_and(|until| Instant::now() >= until);
        if told && !ended && (events.at_boundary() || over) {
            if events.at_boundary() {
                form.put(out, &hint());
            }
            form.finish(out, &[]);
            return write(to, out, UNFINISHED, end).await.map(|()| false);
        }
        if ended {
            form.finish(out, body.trailers());
        }
        write(to, out, times.stream, end).await?;
        out.clear();
        if ended {
            return Ok(true);
        }
        if buffer.is_empty() && end.is_cancelled() == told {
            let read = tokio::select! {
                biased;
                read = patience.within(times.stream, buffer.read(from)) => read,
                () = end.cancelled(), if !told => continue,
                () = until_then(until) => continue,
            };
            match read {
                Some(Ok(0)) if matches!(body, BodyIn::UntilClose) => {
                    form.finish(out, &[]);
                    return write(to, out, times.stream, end).await.map(|()| true);
                }
                Some(Ok(0) | Err(_)) | None => return Err(ReceiveError::Upstream),
                Some(Ok(_)) => {}
            }
        }
        passes += 1;
        if passes % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Moves what is there of a body into `out`, where it is told to end up to the first boundary; whether the body ended.
fn gather(
    body: &mut BodyIn,
    form: BodyOut,
    buffer: &mut Buffer,
    out: &mut Vec<u8>,
    count: &mut u64,
    events: &mut Events,
    told: bool,
) -> Result<bool, ()> {
    while out.len() < 2 * READ {
        let (used, piece) = body.next(buffer.filled()).map_err(drop)?;
        match piece {
            Piece::Data(data) => {
                let part = events.pass(data, told);
                *count += part as u64;
                form.put(out, &data[..part]);
                buffer.consume(used);
                if told && events.at_boundary() {
                    return Ok(false);
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

/// Writes all. Once the stream is to end, a visitor who takes nothing is not waited for any longer.
async fn write(to: &impl Stream, out: &[u8], within: Duration, end: &CancellationToken) -> Result<(), ReceiveError> {
    let overdue = async {
        end.cancelled().await;
        tokio::time::sleep(UNFINISHED).await;
    };
    tokio::select! {
        biased;
        written = write_all(to, out, within) => written.map_err(|_| ReceiveError::Visitor),
        () = overdue => Err(ReceiveError::Visitor),
    }
}

async fn until_then(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}

/// The word that says when to ask again; an event without data, of which applications hear nothing.
fn hint() -> Vec<u8> {
    let mut hint = Vec::new();
    // Writing to memory does not fail.
    let _ = write!(hint, "retry: {}\n\n", rand::rng().random_range(RETRY_MS));
    hint
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_event_ends_with_an_empty_line() {
        for (text, boundary) in [
            ("", true),
            ("data: x", false),
            ("data: x\n", false),
            ("data: x\n\n", true),
            ("data: x\r\n\r\n", true),
            ("data: x\r\n\r", true),
            ("data: x\r\r", true),
            ("data: x\r\n", false),
            (": alive\n", true),
            (": ali", false),
            ("data: x\n: alive\n", false),
            ("\n\n", true),
            ("id: 1\ndata: x\n\nda", false),
        ] {
            let mut events = Events::default();
            assert_eq!(events.pass(text.as_bytes(), false), text.len());
            assert_eq!(events.at_boundary(), boundary, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn it_stops_at_the_first_boundary_however_it_comes(octets in prop::collection::vec(prop::sample::select(b"a:\r\n".to_vec()), 0..40), at in 0..40usize) {
            let mut whole = Events::default();
            let mut slow = Events::default();
            let (one, two) = octets.split_at(at.min(octets.len()));
            whole.pass(one, false);
            for octet in one {
                slow.take(*octet);
            }
            let used = whole.pass(two, true);
            let mut wanted = 0;
            while wanted < two.len() && !slow.at_boundary() {
                slow.take(two[wanted]);
                wanted += 1;
            }
            prop_assert_eq!(used, wanted);
        }
    }
}
