//! The body of a request on its way, kept while it is small so that it can be sent again.

use crate::buffer::{Buffer, READ, write_all};
use crate::exchange::{Outcome, TURN};
use crate::h1::body::BodyOut;
use crate::h1::chunked::Piece;
use crate::h1::framing::BodyIn;
use crate::page::{Page, Reason};
use crate::patience::Patience;
use crate::server::Times;
use crate::stream::Stream;

/// The request's body on its way, over however many attempts.
pub(crate) struct Upload {
    body: BodyIn,
    pub form: BodyOut,
    pub ended: bool,
    /// What was taken from the visitor, for as long as all of it fits.
    pub kept: Option<Vec<u8>>,
    most: usize,
}

/// Why a body could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendError {
    Visitor(Reason),
    Upstream,
}

impl Upload {
    pub(crate) fn new(body: BodyIn, most: usize) -> Self {
        let form = match &body {
            BodyIn::Length(length) => BodyOut::Length(*length),
            BodyIn::Chunked(_) => BodyOut::Chunked,
            BodyIn::Empty | BodyIn::UntilClose => BodyOut::Empty,
        };
        Self { ended: form == BodyOut::Empty, body, form, kept: Some(Vec::new()), most }
    }

    pub(crate) fn page(&self, page: Page) -> Outcome {
        Outcome::Page { page, body_read: self.ended }
    }

    /// Begins an attempt: what was already taken goes out again behind the head.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        self.form.put(out, self.kept.as_deref().unwrap_or_default());
        if self.ended {
            self.form.finish(out, &[]);
        }
    }

    fn take(&mut self, buffer: &mut Buffer, out: &mut Vec<u8>, count: &mut u64) -> Result<(), SendError> {
        while !self.ended && out.len() < 2 * READ {
            let used = match self.body.next(buffer.filled()) {
                Err(_) => return Err(SendError::Visitor(Reason::MalformedBody)),
                Ok((used, Piece::Data(data))) => {
                    *count += data.len() as u64;
                    self.form.put(out, data);
                    match &mut self.kept {
                        Some(kept) if kept.len() + data.len() <= self.most => kept.extend_from_slice(data),
                        kept => *kept = None,
                    }
                    used
                }
                Ok((used, Piece::More)) => {
                    buffer.consume(used);
                    break;
                }
                Ok((used, Piece::End)) => {
                    self.ended = true;
                    self.form.finish(out, &[]);
                    used
                }
            };
            buffer.consume(used);
            self.ended |= self.body.is_over();
        }
        Ok(())
    }

    /// Sends what stands in `out`, then the rest of the body as it comes. What was taken is in `kept` or in `out` before anything waits, so that the connection
    /// is in step whenever this is given up.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, borrowed apart")]
    pub(crate) async fn send(
        &mut self,
        from: &impl Stream,
        buffer: &mut Buffer,
        to: &impl Stream,
        out: &mut Vec<u8>,
        patience: &mut Patience,
        times: &Times,
        count: &mut u64,
    ) -> Result<(), SendError> {
        let mut passes = 0;
        loop {
            self.take(buffer, out, count)?;
            write_all(to, out, times.body).await.map_err(|_| SendError::Upstream)?;
            out.clear();
            if self.ended {
                return Ok(());
            }
            if buffer.is_empty() {
                match patience.within(times.body, buffer.read(from)).await {
                    Some(Ok(0) | Err(_)) => return Err(SendError::Visitor(Reason::ClientClosed)),
                    Some(Ok(_)) => {}
                    None => return Err(SendError::Visitor(Reason::BodyTimeout)),
                }
            }
            passes += 1;
            if passes % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}
