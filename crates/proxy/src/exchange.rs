//! One request and its answer: decided upon, sent, perhaps sent again, relayed both ways at once.
//!
//! A request is sent a second time only when nothing of it was processed: the connection was refused; a gate said so; or the connection ended before the
//! first octet of an answer, and either the request was not complete or it is idempotent and has no body.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::buffer::{Buffer, READ, closed, write_all};
use crate::connection::Connection;
use crate::decide::{Action, Decide, Forward, Judgement, Request};
use crate::h1::body::BodyOut;
use crate::h1::chunked::Piece;
use crate::h1::framing::{self, BodyIn, RequestFraming};
use crate::h1::head::{ResponseHead, Scan};
use crate::h1::write::{self, Onward};
use crate::page::{Page, Reason};
use crate::pool::{Link, connect};
use crate::server::{Faces, Times};
use crate::upstream::{InFlight, Upstream};

/// Most decisions for one request, and most times it is sent again to others after a connection ended.
const MOST_DECISIONS: u32 = 20;
const MOST_RESENT: u32 = 2;
/// How long an answer is still waited for after the upstream stopped reading.
const LAST_WORD: Duration = Duration::from_secs(2);
/// Passes of a body after which other connections have a turn.
const TURN: u32 = 16;

/// What is known of a request, for log and metrics.
#[derive(Debug)]
pub(crate) struct Trace {
    pub id: String,
    pub status: u16,
    pub reason: Option<Reason>,
    pub up: u64,
    pub down: u64,
    pub tries: u32,
    pub upstream: Option<SocketAddr>,
    pub answered_at: Option<Instant>,
    pub cut: bool,
    pub quiet: bool,
}

impl Trace {
    pub(crate) const fn new(id: String) -> Self {
        Self { id, status: 0, reason: None, up: 0, down: 0, tries: 0, upstream: None, answered_at: None, cut: false, quiet: false }
    }
}

/// How a request ended.
pub(crate) enum Outcome {
    /// Answered from upstream.
    Done { keep: bool },
    /// To be answered with this. `body_read`: the next request can be found on the connection.
    Page { page: Page, body_read: bool },
    /// The answer broke off after it began.
    Cut,
    /// The visitor left.
    ClientGone,
}

/// How one attempt ended.
enum Attempt {
    Out(Outcome),
    /// The gate processed nothing.
    Again(Reason),
    /// The connection ended before the first octet of an answer. `whole`: all of the request was sent.
    Unanswered {
        whole: bool,
    },
}

impl Attempt {
    fn page(reason: Reason, upload: &Upload) -> Self {
        Self::Out(upload.page(Page::of(reason)))
    }
}

/// The request's body on its way, over however many attempts.
struct Upload {
    body: BodyIn,
    form: BodyOut,
    ended: bool,
    /// What was taken from the visitor, for as long as all of it fits.
    kept: Option<Vec<u8>>,
    most: usize,
}

/// Why a body could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendError {
    Visitor(Reason),
    Upstream,
}

impl Upload {
    fn new(body: BodyIn, most: usize) -> Self {
        let form = match &body {
            BodyIn::Length(length) => BodyOut::Length(*length),
            BodyIn::Chunked(_) => BodyOut::Chunked,
            BodyIn::Empty | BodyIn::UntilClose => BodyOut::Empty,
        };
        Self { ended: form == BodyOut::Empty, body, form, kept: Some(Vec::new()), most }
    }

    fn page(&self, page: Page) -> Outcome {
        Outcome::Page { page, body_read: self.ended }
    }

    /// Begins an attempt: what was already taken goes out again behind the head.
    fn begin(&self, out: &mut Vec<u8>) {
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
        }
        Ok(())
    }

    /// Sends what stands in `out`, then the rest of the body as it comes.
    async fn send(
        &mut self,
        from: &TcpStream,
        buffer: &mut Buffer,
        to: &TcpStream,
        out: &mut Vec<u8>,
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
                match buffer.read_within(from, times.body).await {
                    Ok(0) => return Err(SendError::Visitor(Reason::ClientClosed)),
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Err(SendError::Visitor(Reason::BodyTimeout)),
                    Err(_) => return Err(SendError::Visitor(Reason::ClientClosed)),
                }
            }
            passes += 1;
            if passes % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// What the head of a request asks of the relay.
#[derive(Debug, Clone, Copy)]
struct Wishes {
    upgrade: bool,
    expects: bool,
    close: bool,
    lists: bool,
}

impl<D: Decide> Connection<D> {
    /// Serves one request up to its last octet, or says what to answer instead.
    pub(crate) async fn exchange(&mut self, framing: RequestFraming, trace: &mut Trace, ticket: &mut D::Ticket) -> Outcome {
        let wishes = Wishes { upgrade: framing.upgrade, expects: framing.expects, close: framing.close, lists: framing.lists };
        let server = self.server.clone();
        let mut upload = Upload::new(framing.body, server.options.limits.replay);
        let mut decisions = 0;
        loop {
            decisions += 1;
            let request = Request { head: &self.head, peer: self.peer, local: self.local };
            let forward = match server.decide.decide(request, ticket).await {
                Action::Forward(forward) => forward,
                Action::Answer(page) => return upload.page(page),
            };
            match self.forward(&forward, &mut upload, wishes, trace, ticket).await {
                Attempt::Out(outcome) => return outcome,
                Attempt::Again(_) if upload.kept.is_some() && decisions < MOST_DECISIONS => server.metrics.retried(),
                Attempt::Again(reason) => return upload.page(Page::of(reason)),
                Attempt::Unanswered { .. } => return upload.page(Page::of(Reason::UpstreamClosed)),
            }
        }
    }

    /// Finds somebody who takes the request.
    async fn forward(&mut self, forward: &Forward, upload: &mut Upload, wishes: Wishes, trace: &mut Trace, ticket: &mut D::Ticket) -> Attempt {
        let server = self.server.clone();
        let (mut tried, mut resent) = (Vec::new(), 0);
        loop {
            let Some(upstream) = forward.to.pick(&tried) else {
                let reason = if tried.is_empty() { forward.otherwise } else { Reason::UpstreamUnreachable };
                return Attempt::page(reason, upload);
            };
            let address = upstream.address();
            let in_flight = InFlight::begin(&upstream);
            trace.tries += 1;
            trace.upstream = Some(address);
            // After one connection that had ended unnoticed, the others of the pool are not trusted either.
            let link = match self.pool.take(address).filter(|_| resent == 0) {
                Some(link) => link,
                None => match connect(address, server.options.times.connect).await {
                    Ok(link) => link,
                    Err(error) => {
                        tracing::debug!(upstream = upstream.name(), %address, %error, "no connection");
                        upstream.failed();
                        server.metrics.connect_failed();
                        tried.push(address);
                        continue;
                    }
                },
            };
            let used = link.used;
            let attempt = self.attempt(link, &upstream, forward, upload, wishes, trace, ticket).await;
            let Attempt::Unanswered { whole } = attempt else { return attempt };
            drop(in_flight);
            let unprocessed = !whole || (self.head.is_idempotent() && upload.form == BodyOut::Empty);
            if !unprocessed || upload.kept.is_none() || resent >= MOST_RESENT {
                return Attempt::page(Reason::UpstreamClosed, upload);
            }
            resent += 1;
            server.metrics.retried();
            if !used {
                upstream.failed();
                tried.push(address);
            }
        }
    }

    /// Sends the request over one connection and relays the answer.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, borrowed apart")]
    async fn attempt(
        &mut self,
        mut link: Link,
        upstream: &Upstream,
        forward: &Forward,
        upload: &mut Upload,
        wishes: Wishes,
        trace: &mut Trace,
        ticket: &mut D::Ticket,
    ) -> Attempt {
        let server = self.server.clone();
        let (faces, times, limits) = (server.options.faces, &server.options.times, &server.options.limits);
        let onward = Onward {
            faces,
            add: &forward.add,
            client: self.peer.ip(),
            id: &trace.id,
            body: upload.form,
            upgrade: wishes.upgrade,
            expects: wishes.expects && upload.kept.as_ref().is_some_and(Vec::is_empty) && !upload.ended,
            lists: wishes.lists,
        };
        self.up_out.clear();
        write::request(&mut self.up_out, &self.head, &onward);
        upload.begin(&mut self.up_out);
        let (head, answer, out) = (&self.head, &mut self.answer, &mut self.out);
        let visitor = &self.stream;
        out.clear();
        let (up, down) = (&mut trace.up, &mut trace.down);
        let (done, framing_close) = {
            let mut sending = pin!(upload.send(visitor, &mut self.buffer, &link.stream, &mut self.up_out, times, up));
            let mut sent = None;
            let mut timer = pin!(tokio::time::sleep(times.answer));
            let mut begun = false;
            // Until the head of the final answer is there.
            loop {
                let got = {
                    let mut reading = pin!(read_head(&link.stream, &mut link.buffer, answer, limits.head));
                    loop {
                        tokio::select! {
                            biased;
                            result = &mut sending, if sent.is_none() => {
                                let patience = if result.is_ok() { times.answer } else { LAST_WORD };
                                timer.as_mut().reset(tokio::time::Instant::now() + patience);
                                match result {
                                    Err(SendError::Visitor(Reason::ClientClosed)) => return Attempt::Out(Outcome::ClientGone),
                                    Err(SendError::Visitor(reason)) => {
                                        return Attempt::Out(Outcome::Page { page: Page::of(reason), body_read: false });
                                    }
                                    result => sent = Some(result.is_ok()),
                                }
                            }
                            got = &mut reading => break got,
                            () = closed(visitor), if sent == Some(true) => return Attempt::Out(Outcome::ClientGone),
                            () = &mut timer, if sent.is_some() => {
                                return Attempt::Out(Outcome::Page { page: Page::of(Reason::UpstreamTimeout), body_read: sent == Some(true) });
                            }
                        }
                    }
                };
                let body_read = sent == Some(true);
                let page = |reason| Attempt::Out(Outcome::Page { page: Page::of(reason), body_read });
                match got {
                    Ok(()) if matches!(answer.status(), 100 | 102..=199) => {
                        begun = true;
                        if head.minor() == 1 {
                            out.clear();
                            write::interim(out, answer, faces);
                            if write_all(visitor, out, times.body).await.is_err() {
                                return Attempt::Out(Outcome::ClientGone);
                            }
                        }
                    }
                    Ok(()) => break,
                    Err(HeadError::Closed) if begun => return page(Reason::UpstreamClosed),
                    Err(HeadError::Closed) => return Attempt::Unanswered { whole: body_read },
                    Err(HeadError::Cut) => return page(Reason::UpstreamClosed),
                    Err(HeadError::Malformed) => return page(Reason::UpstreamMalformed),
                }
            }
            upstream.succeeded();
            trace.answered_at = Some(Instant::now());
            trace.status = answer.status();
            let page = |page| Attempt::Out(Outcome::Page { page, body_read: sent == Some(true) });
            match server.decide.judge(ticket, answer) {
                Judgement::Pass => {}
                Judgement::Again(reason) => return Attempt::Again(reason),
                Judgement::Replace(other) => return page(other),
            }
            let mut framing = match framing::response(answer, head.method() == "HEAD", wishes.upgrade) {
                Ok(framing) => framing,
                Err(reason) => return page(Page::of(reason)),
            };
            if let Some(code) = answer.find(crate::page::REASON_HEADER).filter(|_| faces == Faces::Visitors) {
                trace.reason = Reason::ALL.iter().copied().find(|reason| reason.code().as_bytes() == code);
            }
            if answer.status() == 101 {
                out.clear();
                write::response(out, answer, faces, BodyOut::Empty, None, false);
                (Done::Tunnel, true)
            } else {
                let form = match &framing.body {
                    BodyIn::Empty => BodyOut::Empty,
                    BodyIn::Length(length) => BodyOut::Length(*length),
                    BodyIn::Chunked(_) | BodyIn::UntilClose if head.minor() == 1 => BodyOut::Chunked,
                    BodyIn::Chunked(_) | BodyIn::UntilClose => BodyOut::UntilClose,
                };
                let close = wishes.close || form == BodyOut::UntilClose || sent != Some(true) || self.stop.is_cancelled();
                out.clear();
                write::response(out, answer, faces, form, framing.length, close);
                let mut receiving = pin!(receive(&link.stream, &mut link.buffer, &mut framing.body, form, visitor, out, times, down));
                let done = loop {
                    tokio::select! {
                        biased;
                        result = &mut receiving => break match result {
                            Ok(()) => Done::Whole { keep: !close, clean: sent == Some(true) },
                            Err(ReceiveError::Upstream) => Done::Cut(form),
                            Err(ReceiveError::Visitor) => Done::ClientGone,
                        },
                        result = &mut sending, if sent.is_none() => match result {
                            Err(SendError::Visitor(_)) => break Done::ClientGone,
                            result => sent = Some(result.is_ok()),
                        },
                        () = closed(visitor), if sent == Some(true) => break Done::ClientGone,
                    }
                };
                (done, framing.close)
            }
        };
        self.finish(done, framing_close, link, upstream.address()).await
    }

    /// What remains once nothing is borrowed any more.
    async fn finish(&mut self, done: Done, close: bool, link: Link, address: SocketAddr) -> Attempt {
        let outcome = match done {
            Done::Whole { keep, clean } => {
                if clean && !close {
                    self.pool.put(address, link);
                }
                Outcome::Done { keep }
            }
            Done::Cut(form) => {
                if form == BodyOut::UntilClose {
                    // Only a reset tells such a visitor that something is missing.
                    let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                }
                Outcome::Cut
            }
            Done::ClientGone => Outcome::ClientGone,
            Done::Tunnel => self.tunnel(link).await,
        };
        Attempt::Out(outcome)
    }

    /// Another protocol was agreed upon: octets both ways until both sides have ended.
    async fn tunnel(&mut self, mut link: Link) -> Outcome {
        let times = &self.server.options.times;
        // What came right behind the answer belongs to the other protocol.
        self.out.extend_from_slice(link.buffer.filled());
        if write_all(&self.stream, &self.out, times.body).await.is_err() {
            return Outcome::ClientGone;
        }
        if write_all(&link.stream, self.buffer.filled(), times.body).await.is_err() {
            return Outcome::Cut;
        }
        self.buffer.consume(usize::MAX / 2);
        // However a tunnel ends, both connections end with it.
        let _ = tokio::io::copy_bidirectional(&mut self.stream, &mut link.stream).await;
        Outcome::Done { keep: false }
    }
}

/// How the relaying ended, before anything is done about it.
enum Done {
    Whole { keep: bool, clean: bool },
    Cut(BodyOut),
    ClientGone,
    Tunnel,
}

/// Why there is no head.
enum HeadError {
    /// The connection ended before its first octet.
    Closed,
    /// The connection ended within it.
    Cut,
    /// It breaks a rule.
    Malformed,
}

async fn read_head(stream: &TcpStream, buffer: &mut Buffer, head: &mut ResponseHead, most: usize) -> Result<(), HeadError> {
    let mut scan = Scan::default();
    loop {
        match scan.end(buffer.filled()) {
            Err(_) => return Err(HeadError::Malformed),
            Ok(end) if end.unwrap_or(buffer.filled().len()) > most => return Err(HeadError::Malformed),
            Ok(Some(end)) => {
                let parsed = head.parse(&buffer.filled()[..end]);
                buffer.consume(end);
                return parsed.map_err(|_| HeadError::Malformed);
            }
            Ok(None) => {}
        }
        match buffer.read(stream).await {
            Ok(0) | Err(_) if buffer.is_empty() => return Err(HeadError::Closed),
            Ok(0) | Err(_) => return Err(HeadError::Cut),
            Ok(_) => {}
        }
    }
}

/// Why an answer broke off.
enum ReceiveError {
    Upstream,
    Visitor,
}

/// Sends what stands in `out`, then the answer's body as it comes: what is read is written before more is read.
#[expect(clippy::too_many_arguments, reason = "the parts of one answer, borrowed apart")]
async fn receive(
    from: &TcpStream,
    buffer: &mut Buffer,
    body: &mut BodyIn,
    form: BodyOut,
    to: &TcpStream,
    out: &mut Vec<u8>,
    times: &Times,
    count: &mut u64,
) -> Result<(), ReceiveError> {
    let (mut passes, mut ended) = (0, false);
    loop {
        while !ended && out.len() < 2 * READ {
            let used = match body.next(buffer.filled()) {
                Err(_) => return Err(ReceiveError::Upstream),
                Ok((used, Piece::Data(data))) => {
                    *count += data.len() as u64;
                    form.put(out, data);
                    used
                }
                Ok((used, Piece::More)) => {
                    buffer.consume(used);
                    break;
                }
                Ok((used, Piece::End)) => {
                    ended = true;
                    used
                }
            };
            buffer.consume(used);
        }
        if ended {
            form.finish(out, body.trailers());
        }
        write_all(to, out, times.stream).await.map_err(|_| ReceiveError::Visitor)?;
        out.clear();
        if ended {
            return Ok(());
        }
        if buffer.is_empty() {
            match buffer.read_within(from, times.stream).await {
                Ok(0) if matches!(body, BodyIn::UntilClose) => {
                    form.finish(out, &[]);
                    return write_all(to, out, times.stream).await.map_err(|_| ReceiveError::Visitor);
                }
                Ok(0) | Err(_) => return Err(ReceiveError::Upstream),
                Ok(_) => {}
            }
        }
        passes += 1;
        if passes % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}
