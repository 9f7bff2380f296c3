//! One request and its answer: decided upon, sent, perhaps sent again, relayed both ways at once.
//!
//! A request is sent a second time only when nothing of it was processed: the connection was refused; a gate said so; or the connection ended before the
//! first octet of an answer, and either the request was not complete or it is idempotent and has no body.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cache::Entry;

use crate::buffer::{Buffer, READ, write_all, write_both};
use crate::connection::{Connection, Visitor};
use crate::decide::{Action, Decide, Forward, Judgement, Lasting, Request};
use crate::events;
use crate::h1::body::BodyOut;
use crate::h1::chunked::{BadChunk, Piece};
use crate::h1::framing::{self, BodyIn, RequestFraming};
use crate::h1::head::{Bounds, ResponseHead, Scan};
use crate::h1::write::{self, Onward};
use crate::kept::{self, Conditions, Copied, Kept, Settled};
use crate::page::{Page, Reason};
use crate::patience::Patience;
use crate::pool::{Hop, Link, connect};
use crate::server::{Faces, Times};
use crate::squeeze::{self, Squeeze};
use crate::stream::Stream;
use crate::together::after_others;
use crate::trace::Trace;
use crate::tunnel;
use crate::upload::{SendError, Upload};
use crate::upstream::{InFlight, Upstream};
use crate::worker::{Desk, Worker};

/// Most decisions for one request, and most times it is sent again to others after a connection ended.
const MOST_DECISIONS: u32 = 20;
const MOST_RESENT: u32 = 2;
/// How long an answer is still waited for after the upstream stopped reading.
const LAST_WORD: Duration = Duration::from_secs(2);
/// Most answers before the answer.
const MOST_INTERIM: u32 = 32;
/// Passes of a body after which other connections have a turn.
pub(crate) const TURN: u32 = 16;
/// Longest part of a body that is copied behind a head, which is then sent with one plain call.
const COPIED: usize = 4096;

/// How a request ended.
pub(crate) enum Outcome {
    /// Answered from upstream. `body_read`: nothing of the request is left on the connection.
    Done { keep: bool, body_read: bool },
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

/// What the head of a request asks of the relay.
#[derive(Debug, Clone, Copy)]
struct Wishes {
    upgrade: bool,
    expects: bool,
    close: bool,
    lists: bool,
}

impl<D: Decide, S: Stream> Connection<'_, D, S> {
    /// Serves one request up to its last octet, or says what to answer instead.
    pub(crate) async fn exchange(&mut self, framing: RequestFraming, trace: &mut Trace, ticket: &mut D::Ticket) -> Outcome {
        let wishes = Wishes { upgrade: framing.upgrade, expects: framing.expects, close: framing.close, lists: framing.lists };
        let Worker { server, counts, .. } = &*self.visitor.worker;
        let mut upload = Upload::new(framing.body, server.options.limits.replay);
        let mut decisions = 0;
        loop {
            decisions += 1;
            let request = Request { head: &self.desk.head, peer: trace.came.peer, secure: trace.came.secure, at: trace.started };
            let forward = match server.decide.decide(request, ticket).await {
                Action::Forward(forward) => forward,
                Action::Answer(page) => return upload.page(page),
            };
            if upload.form == BodyOut::Empty
                && !wishes.upgrade
                && let Some(outcome) = self.ask_cache(wishes.close, trace, ticket).await
            {
                return outcome;
            }
            // Before a connection is chosen, which may end while it waits.
            after_others().await;
            match self.forward(&forward, &mut upload, wishes, trace, ticket).await {
                Attempt::Out(Outcome::Page { page, body_read }) => {
                    let Some(entry) = self.stands_in(&page) else { return Outcome::Page { page, body_read } };
                    return self.serve_kept(&entry, Kept::StoodIn, wishes.close, trace, ticket).await;
                }
                Attempt::Out(outcome) => return outcome,
                Attempt::Again(_) if upload.kept.is_some() && decisions < MOST_DECISIONS => counts.retried(),
                Attempt::Again(reason) => return upload.page(Page::of(reason)),
                Attempt::Unanswered { .. } => return upload.page(Page::of(Reason::UpstreamClosed)),
            }
        }
    }

    /// Finds somebody who takes the request.
    async fn forward(&mut self, forward: &Forward, upload: &mut Upload, wishes: Wishes, trace: &mut Trace, ticket: &mut D::Ticket) -> Attempt {
        let Worker { server, counts, pool, trunks, .. } = &*self.visitor.worker;
        // What must not be sent twice is not sent into a connection that may have ended a moment ago.
        let repeatable = self.desk.head.is_idempotent() && upload.form == BodyOut::Empty;
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
            let shared = trunks.as_ref().filter(|_| repeatable && resent == 0 && !wishes.upgrade);
            let shared = shared.and_then(|trunks| trunks.take(address, trace.started, upstream.in_flight()));
            let kept = shared.or_else(|| if resent == 0 { pool.take(address, trace.started, !repeatable) } else { None });
            let link = match kept {
                Some(link) => link,
                None => match connect(address, server.options.times.connect).await {
                    Ok(link) => link,
                    Err(error) => {
                        tracing::debug!(upstream = upstream.name(), %address, %error, "no connection");
                        upstream.failed();
                        counts.connect_failed();
                        tried.push(address);
                        continue;
                    }
                },
            };
            let used = link.used;
            let attempt = self.attempt(link, &upstream, upload, wishes, trace, ticket).await;
            let Attempt::Unanswered { whole } = attempt else { return attempt };
            drop(in_flight);
            if (whole && !repeatable) || upload.kept.is_none() || resent >= MOST_RESENT {
                return Attempt::page(Reason::UpstreamClosed, upload);
            }
            resent += 1;
            counts.retried();
            if !used {
                upstream.failed();
                tried.push(address);
            }
        }
    }

    /// Sends the request over one connection and relays the answer.
    async fn attempt(
        &mut self,
        link: Link,
        upstream: &Upstream,
        upload: &mut Upload,
        wishes: Wishes,
        trace: &mut Trace,
        ticket: &mut D::Ticket,
    ) -> Attempt {
        let Visitor { worker, stream: visitor, .. } = self.visitor;
        let server = &*worker.server;
        let (faces, times) = (server.options.faces, &server.options.times);
        let Desk { buffer, link_buffer, head, answer, out, up_out, visitor: patience, upstream: upstream_patience, fetch } = &mut *self.desk;
        // An attempt before this one may have ended anywhere.
        link_buffer.clear();
        for output in [&mut *out, &mut *up_out] {
            output.clear();
        }
        {
            // Text is made anew only for those who came through others.
            let told = (trace.came.peer != self.visitor.peer).then(|| trace.came.peer.ip().to_string());
            let onward = Onward {
                faces,
                add: &|put| server.decide.add(ticket, put),
                client: told.as_deref().unwrap_or(&self.visitor.client),
                secure: trace.came.secure,
                id: trace.id.as_str(),
                context: &trace.context,
                body: upload.form,
                upgrade: wishes.upgrade,
                expects: wishes.expects && upload.kept.as_ref().is_some_and(Vec::is_empty) && !upload.ended,
                lists: wishes.lists,
                conditions: fetch.as_ref().map(|task| Conditions { task, plain: server.decide.compresses(ticket) }),
            };
            write::request(up_out, head, &onward);
        }
        upload.begin(up_out);
        let upload_waits = !upload.ended;
        let (up, down, plain) = (&mut trace.up, &mut trace.down, &mut trace.plain);
        let (done, framing_close, answered_at) = {
            let mut sending = pin!(upload.send(visitor, buffer, &link.stream, up_out, patience, times, up));
            let mut sent = None;
            let mut deadline = tokio::time::Instant::now() + times.answer;
            let mut interim = 0;
            // Until the head of the final answer is there.
            loop {
                let got = {
                    let mut reading = pin!(read_head(&link.stream, link_buffer, answer, server.options.answer_head()));
                    loop {
                        tokio::select! {
                            biased;
                            result = &mut sending, if sent.is_none() => {
                                // Nothing to send is the rule, and its time was just read.
                                if upload_waits || result.is_err() {
                                    deadline = tokio::time::Instant::now() + if result.is_ok() { times.answer } else { LAST_WORD };
                                }
                                match result {
                                    Err(SendError::Visitor(Reason::ClientClosed)) => return Attempt::Out(Outcome::ClientGone),
                                    Err(SendError::Visitor(reason)) => {
                                        return Attempt::Out(Outcome::Page { page: Page::of(reason), body_read: false });
                                    }
                                    result => sent = Some(result.is_ok()),
                                }
                            }
                            got = &mut reading => break got,
                            () = visitor.closed(), if sent == Some(true) => return Attempt::Out(Outcome::ClientGone),
                            () = upstream_patience.until(deadline), if sent.is_some() => {
                                return Attempt::Out(Outcome::Page { page: Page::of(Reason::UpstreamTimeout), body_read: sent == Some(true) });
                            }
                        }
                    }
                };
                let body_read = sent == Some(true);
                let page = |reason| Attempt::Out(Outcome::Page { page: Page::of(reason), body_read });
                match got {
                    Ok(()) if matches!(answer.status(), 100 | 102..=199) => {
                        // Whoever sends them without end would keep everything else here from being looked at.
                        interim += 1;
                        if interim > MOST_INTERIM {
                            return page(Reason::UpstreamMalformed);
                        }
                        if head.minor() == 1 {
                            out.clear();
                            write::interim(out, answer, faces);
                            if write_all(visitor, out, times.body).await.is_err() {
                                return Attempt::Out(Outcome::ClientGone);
                            }
                        }
                    }
                    Ok(()) => break,
                    Err(HeadError::Closed) if interim > 0 => return page(Reason::UpstreamClosed),
                    Err(HeadError::Closed) => return Attempt::Unanswered { whole: body_read },
                    Err(HeadError::Cut) => return page(Reason::UpstreamClosed),
                    Err(HeadError::Malformed) => return page(Reason::UpstreamMalformed),
                }
            }
            upstream.succeeded();
            let answered_at = Instant::now();
            trace.answered_at = Some(answered_at);
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
            let clean = sent == Some(true);
            let kept = kept::settle(server, fetch, ticket, (head, trace.came), answer);
            if answer.status() == 101 {
                out.clear();
                write::response(out, answer, faces, BodyOut::Empty, None, false, &[]);
                (Ending::Relayed(Done::Tunnel), true, answered_at)
            } else if let Settled::Serve(entry, kept) = kept {
                // The body of an error stays unread.
                (Ending::Kept { entry, kept, clean }, framing.close || kept == Kept::StoodIn, answered_at)
            } else {
                // Of a body that ends with its connection nobody knows whether it is whole.
                let mut copied = Copied::of(kept.keeping().filter(|_| !matches!(framing.body, BodyIn::UntilClose)));
                let compresses = server.decide.compresses(ticket);
                let squeeze = if compresses { squeeze::begin(&worker.squeezing, head, answer, &mut framing) } else { None };
                trace.coding = squeeze.as_ref().map(Squeeze::coding);
                let form = match &framing.body {
                    _ if squeeze.is_some() => BodyOut::Chunked,
                    BodyIn::Empty => BodyOut::Empty,
                    BodyIn::Length(length) => BodyOut::Length(*length),
                    BodyIn::Chunked(_) | BodyIn::UntilClose if head.minor() == 1 => BodyOut::Chunked,
                    BodyIn::Chunked(_) | BodyIn::UntilClose => BodyOut::UntilClose,
                };
                let close = wishes.close || form == BodyOut::UntilClose || sent != Some(true) || worker.is_stopping();
                out.clear();
                let adds = [trace.kept.map(Kept::status), server.decide.adds(ticket)];
                write::response(out, answer, faces, form, framing.length, close, &adds);
                let request = Request { head, peer: trace.came.peer, secure: trace.came.secure, at: trace.started };
                let end = if events::is_stream(answer, form) { server.decide.lasts(ticket, request, Lasting::Events, &worker.leaving) } else { None };
                let (from, body) = (&link.stream, &mut framing.body);
                let mut receiving = pin!(async {
                    match (&end, squeeze) {
                        // On the heap, so that other answers need no room for it. Events are neither compressed nor kept.
                        (Some(end), _) => {
                            Box::pin(events::receive(from, link_buffer, body, form, visitor, out, upstream_patience, times, down, end)).await
                        }
                        (None, None) => {
                            receive(from, link_buffer, body, form, visitor, out, &mut copied, upstream_patience, times, down).await.map(|()| true)
                        }
                        (None, Some(squeeze)) => {
                            let sent = squeeze.receive(from, link_buffer, body, visitor, out, &mut copied, upstream_patience, times, (down, plain));
                            sent.await.map(|()| true)
                        }
                    }
                });
                let mut all_taken = true;
                let done = loop {
                    tokio::select! {
                        biased;
                        result = &mut receiving => break match result {
                            Ok(all) => {
                                all_taken = all;
                                Done::Whole { keep: !close, clean: sent == Some(true) }
                            }
                            Err(ReceiveError::Upstream) => Done::Cut(form),
                            Err(ReceiveError::Visitor) => Done::ClientGone,
                        },
                        result = &mut sending, if sent.is_none() => match result {
                            Err(SendError::Visitor(_)) => break Done::ClientGone,
                            result => sent = Some(result.is_ok()),
                        },
                        () = visitor.closed(), if sent == Some(true) => break Done::ClientGone,
                    }
                };
                (Ending::Relayed(done), framing.close || !all_taken, answered_at)
            }
        };
        match done {
            Ending::Relayed(done) => self.finish(done, framing_close, link, trace, ticket, answered_at).await,
            Ending::Kept { entry, kept, clean } => {
                self.put_back(link, trace.upstream, answered_at, clean && !framing_close);
                Attempt::Out(self.serve_kept(&entry, kept, wishes.close, trace, ticket).await)
            }
        }
    }

    /// Keeps a connection for the next request, where it may be. What it brought besides its message is nobody's.
    fn put_back(&self, link: Link, address: Option<SocketAddr>, answered_at: Instant, may: bool) {
        if let Some(address) = address.filter(|_| may && self.desk.link_buffer.is_empty()) {
            let Worker { pool, trunks, .. } = &*self.visitor.worker;
            match (&link.stream, trunks) {
                (Hop::Shared(_), Some(trunks)) => trunks.put(address, link, answered_at),
                _ => pool.put(address, link, answered_at),
            }
        }
    }

    /// What remains once nothing is borrowed any more.
    async fn finish(&mut self, done: Done, close: bool, link: Link, trace: &mut Trace, ticket: &mut D::Ticket, answered_at: Instant) -> Attempt {
        let outcome = match done {
            Done::Whole { keep, clean } => {
                self.put_back(link, trace.upstream, answered_at, clean && !close);
                Outcome::Done { keep, body_read: clean }
            }
            Done::Cut(form) => {
                if form == BodyOut::UntilClose {
                    // Only a reset tells such a visitor that something is missing.
                    self.visitor.stream.reset_on_drop();
                }
                Outcome::Cut
            }
            Done::ClientGone => Outcome::ClientGone,
            // On the heap, like all that is rare and large: every request's future has room for the largest of its parts.
            Done::Tunnel => Box::pin(self.tunnel(link, trace, ticket)).await,
        };
        Attempt::Out(outcome)
    }

    /// Another protocol was agreed upon: octets both ways until both sides have ended.
    async fn tunnel(&mut self, link: Link, trace: &mut Trace, ticket: &mut D::Ticket) -> Outcome {
        let Visitor { worker, stream, .. } = self.visitor;
        let times = &worker.server.options.times;
        let Desk { buffer, link_buffer, head, answer, out, .. } = &mut *self.desk;
        let request = Request { head, peer: trace.came.peer, secure: trace.came.secure, at: trace.started };
        let told = worker.server.decide.lasts(ticket, request, Lasting::Tunnel, &worker.leaving);
        let frames = answer.find("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
        let end = told.map(|told| tunnel::End { told, frames });
        // What came right behind the answer belongs to the other protocol.
        if write_both(stream, out, link_buffer.filled(), times.body).await.is_err() {
            return Outcome::ClientGone;
        }
        if write_all(&link.stream, buffer.filled(), times.body).await.is_err() {
            return Outcome::Cut;
        }
        trace.up += buffer.filled().len() as u64;
        trace.down += link_buffer.filled().len() as u64;
        let ways = [link_buffer.filled(), buffer.filled()].map(|early| tunnel::frames(end.as_ref(), early));
        // A silent tunnel needs no buffers; it takes a desk whenever something comes. Only the head stays, in no more memory than its text takes: the log asks
        // for it at the end.
        let head = self.desk.head.clone();
        worker.clear(std::mem::take(&mut self.desk));
        self.desk.head = head;
        // However it ends, both connections end with it.
        tunnel::relay(worker, stream, &link.stream, end.as_ref(), ways, trace).await;
        Outcome::Done { keep: false, body_read: true }
    }
}

/// How the relaying ended, before anything is done about it.
enum Done {
    Whole { keep: bool, clean: bool },
    Cut(BodyOut),
    ClientGone,
    Tunnel,
}

/// What an answer came to.
enum Ending {
    Relayed(Done),
    /// The cache has what goes to the visitor.
    Kept {
        entry: Arc<Entry>,
        kept: Kept,
        clean: bool,
    },
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

async fn read_head(stream: &impl Stream, buffer: &mut Buffer, head: &mut ResponseHead, most: Bounds) -> Result<(), HeadError> {
    let mut scan = Scan::default();
    loop {
        match scan.end(buffer.filled()) {
            Err(_) => return Err(HeadError::Malformed),
            Ok(end) if end.unwrap_or(buffer.filled().len()) > most.octets => return Err(HeadError::Malformed),
            Ok(Some(end)) => {
                let parsed = head.parse(&buffer.filled()[..end]);
                buffer.consume(end);
                return parsed.ok().filter(|()| head.count() <= most.fields).ok_or(HeadError::Malformed);
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
pub(crate) enum ReceiveError {
    Upstream,
    Visitor,
}

/// Sends what stands in `out`, then the answer's body as it comes: what is read is written before more is read.
#[expect(clippy::too_many_arguments, reason = "the parts of one answer, borrowed apart")]
async fn receive(
    from: &impl Stream,
    buffer: &mut Buffer,
    body: &mut BodyIn,
    form: BodyOut,
    to: &impl Stream,
    out: &mut Vec<u8>,
    copied: &mut Copied,
    patience: &mut Patience,
    times: &Times,
    count: &mut u64,
) -> Result<(), ReceiveError> {
    let mut passes = 0;
    loop {
        let (direct, ended) = gather(body, form, buffer, out, copied, count).map_err(|_| ReceiveError::Upstream)?;
        if ended {
            copied.finish(body.trailers());
            form.finish(out, body.trailers());
        }
        write_both(to, out, &buffer.filled()[..direct], times.stream).await.map_err(|_| ReceiveError::Visitor)?;
        out.clear();
        buffer.consume(direct);
        if ended {
            return Ok(());
        }
        if buffer.is_empty() {
            match patience.within(times.stream, buffer.read(from)).await {
                Some(Ok(0)) if matches!(body, BodyIn::UntilClose) => {
                    form.finish(out, &[]);
                    return write_all(to, out, times.stream).await.map_err(|_| ReceiveError::Visitor);
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

/// Moves what is there of a body into `out`, and says whether that was its end. A long part that goes on as it is stays where it is: so many octets from the
/// front of the buffer are to be sent behind `out`.
fn gather(
    body: &mut BodyIn,
    form: BodyOut,
    buffer: &mut Buffer,
    out: &mut Vec<u8>,
    copied: &mut Copied,
    count: &mut u64,
) -> Result<(usize, bool), BadChunk> {
    while out.len() < 2 * READ {
        let (used, piece) = body.next(buffer.filled())?;
        match piece {
            Piece::Data(data) => {
                *count += data.len() as u64;
                copied.push(data);
                if form != BodyOut::Chunked && data.len() == used && used > COPIED {
                    return Ok((used, body.is_over()));
                }
                form.put(out, data);
                buffer.consume(used);
                if body.is_over() {
                    return Ok((0, true));
                }
            }
            Piece::More => {
                buffer.consume(used);
                break;
            }
            Piece::End => {
                buffer.consume(used);
                return Ok((0, true));
            }
        }
    }
    Ok((0, false))
}
