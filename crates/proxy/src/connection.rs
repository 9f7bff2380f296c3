//! A visitor's connection: heads one after the other, each served before the next is read.
//!
//! A [`Visitor`] is all there is of a connection that waits. Once something comes it gets a desk with buffers and becomes a [`Connection`], in memory of its
//! own; both are given back after the answer. So memory goes with the requests under way and not with the connections, and few desks are used over and over.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::access;
use crate::buffer::write_all;
use crate::context::Context;
use crate::decide::{Came, Decide, Ended};
use crate::exchange::Outcome;
use crate::h1::framing::{self, BodyIn};
use crate::h1::head::{RequestHead, Scan};
use crate::kept::Kept;
use crate::metrics::Metrics;
use crate::page::{Page, Reason};
use crate::patience::Patience;
use crate::server::Faces;
use crate::stream::Stream;
use crate::trace::{Id, Trace};
use crate::worker::{Desk, Worker};

/// How long, and how much, is read after a last answer, so that the visitor gets it whole.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 1024 * 1024;
/// How long the next request is expected to follow at once. Longer than a browser's pauses within a page, shorter than a reader's within a site.
const SOON: Duration = Duration::from_millis(500);

/// A connection between two requests.
pub(crate) struct Visitor<D: Decide, S: Stream> {
    pub worker: Arc<Worker<D>>,
    pub stream: S,
    pub peer: SocketAddr,
    /// The address as it is passed on.
    pub client: Arc<str>,
    /// It speaks for others: each request says whose it is.
    trusted: bool,
    /// It is nobody: the cache asks, for a request that came so.
    pub errand: Option<Came>,
}

/// A connection at a request, with everything that this takes.
pub(crate) struct Connection<'v, D: Decide, S: Stream> {
    pub visitor: &'v Visitor<D, S>,
    pub desk: Box<Desk>,
}

/// What came instead of, or as, the next request.
enum Next {
    Head,
    Bad(Reason),
    End,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Next,
    /// Everything was answered; what still comes is read and forgotten.
    Close,
    /// The visitor said that this was its last request, and has the whole answer.
    Goodbye,
    /// Nothing more can be said, or need be.
    End,
}

impl<D: Decide, S: Stream> Visitor<D, S> {
    pub(crate) fn new(worker: Arc<Worker<D>>, stream: S, peer: SocketAddr) -> Self {
        Self::of(worker, stream, peer, address(peer).into())
    }

    /// As [`Visitor::new`], where the [`address`] is known as text.
    pub(crate) fn of(worker: Arc<Worker<D>>, stream: S, peer: SocketAddr, client: Arc<str>) -> Self {
        // On a socket of both families the older addresses come wrapped.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let trusted = worker.server.options.behind.as_ref().is_some_and(|behind| behind.trusts(peer.ip()));
        Self { worker, stream, peer, client, trusted, errand: None }
    }

    /// Serves until the end.
    pub(crate) async fn serve(self) {
        let mut patience = Patience::default();
        while self.wait(&mut patience).await {
            let mut connection = Connection { visitor: &self, desk: self.worker.desk() };
            // On the heap, so that the task of an idle connection is small.
            let goes_on = Box::pin(connection.serve()).await;
            self.worker.clear(connection.desk);
            if !goes_on {
                return;
            }
        }
    }

    /// Waits without any buffer until something comes; `false` when nothing does in time.
    async fn wait(&self, patience: &mut Patience) -> bool {
        let times = &self.worker.server.options.times;
        // Whoever asks again at once costs nothing but this; the stop is noticed a moment later.
        if let Some(ready) = patience.within(SOON.min(times.idle), self.stream.readable()).await {
            return ready.is_ok();
        }
        let ready = tokio::select! {
            biased;
            ready = patience.within(times.idle.saturating_sub(SOON), self.stream.readable()) => ready,
            // A visitor who is about to ask would see the connection end under the question: one more is answered, and told to close.
            () = self.worker.stop.cancelled() => tokio::time::timeout(times.last_request, self.stream.readable()).await.ok(),
        };
        matches!(ready, Some(Ok(())))
    }
}

impl<D: Decide, S: Stream> Connection<'_, D, S> {
    /// Serves what came; `true` when the visitor may send more.
    async fn serve(&mut self) -> bool {
        loop {
            let after = match self.next_head().await {
                Next::Head => self.serve_one().await,
                Next::Bad(reason) => self.refuse_unread(reason).await,
                Next::End => return false,
            };
            match after {
                After::Next if self.desk.buffer.is_empty() => return true,
                After::Next => {}
                After::Close => {
                    self.linger().await;
                    return false;
                }
                After::Goodbye => {
                    // Under TLS an end without a last word is what a cut looks like. Without TLS the socket's own end says as much.
                    if S::SECURE {
                        let _ = self.visitor.stream.shutdown().await;
                    }
                    return false;
                }
                After::End => return false,
            }
        }
    }

    /// Reads the head of the next request.
    async fn next_head(&mut self) -> Next {
        let Visitor { worker, stream, .. } = self.visitor;
        let Desk { buffer, head, visitor: patience, .. } = &mut *self.desk;
        let most = worker.server.options.request_head();
        let (mut scan, mut deadline) = (Scan::default(), None);
        loop {
            // Some clients send an empty line after a body (RFC 9112, 2.2).
            while buffer.filled().starts_with(b"\r\n") {
                buffer.consume(2);
                scan = Scan::default();
            }
            let filled = buffer.filled();
            if filled.first().is_some_and(|b| !b.is_ascii_alphabetic() && *b != b'\r') {
                return Next::Bad(Reason::MalformedHead);
            }
            match scan.end(filled) {
                Err(_) => return Next::Bad(Reason::MalformedHead),
                Ok(end) if end.unwrap_or(filled.len()) > most.octets => return Next::Bad(Reason::HeadTooLarge),
                Ok(Some(end)) => {
                    let parsed = head.parse(&filled[..end]);
                    buffer.consume(end);
                    return match parsed {
                        Ok(()) if head.count() > most.fields => Next::Bad(Reason::HeadTooLarge),
                        parsed => parsed.map_or_else(Next::Bad, |()| Next::Head),
                    };
                }
                Ok(None) => {}
            }
            let read = match buffer.try_read(stream) {
                Ok(None) => {
                    let by = *deadline.get_or_insert_with(|| tokio::time::Instant::now() + worker.server.options.times.head);
                    match patience.by(by, buffer.read(stream)).await {
                        Some(read) => read,
                        None if buffer.is_empty() => return Next::End,
                        None => return Next::Bad(Reason::HeadTimeout),
                    }
                }
                Ok(Some(count)) => Ok(count),
                Err(error) => Err(error),
            };
            if matches!(read, Ok(0) | Err(_)) {
                return Next::End;
            }
        }
    }

    /// Serves the request whose head was read.
    async fn serve_one(&mut self) -> After {
        let framing = match framing::request(&self.desk.head) {
            Ok(framing) => framing,
            Err(reason) => return self.refuse(reason).await,
        };
        let server = &*self.visitor.worker.server;
        let (mut trace, mut ticket) = (self.trace(), D::Ticket::default());
        let (bodiless, close) = (matches!(framing.body, BodyIn::Empty), framing.close);
        let place = Place::take(&server.metrics, server.options.limits.requests);
        let outcome = match &place {
            Some(_) => self.exchange(framing, &mut trace, &mut ticket).await,
            None => Outcome::Page { page: Page::of(Reason::Overloaded), body_read: bodiless },
        };
        let after = match outcome {
            Outcome::Done { keep: true, .. } => After::Next,
            // All that the visitor sent was read: there is nothing that could destroy the answer.
            Outcome::Done { body_read: true, .. } if close && self.desk.buffer.is_empty() => After::Goodbye,
            Outcome::Done { .. } => After::Close,
            Outcome::Page { page, body_read } => {
                trace.status = page.status;
                trace.reason = page.reason;
                trace.quiet = page.quiet;
                trace.down = page.body.len() as u64;
                self.send_page(&page, close || !body_read).await
            }
            Outcome::Cut => {
                trace.cut = true;
                After::End
            }
            Outcome::ClientGone => {
                trace.cut = true;
                trace.reason = Some(Reason::ClientClosed);
                if trace.status == 0 {
                    trace.status = Reason::ClientClosed.status();
                }
                After::End
            }
        };
        self.desk.fetch = None;
        drop(place);
        self.note(&trace, &ticket);
        after
    }

    /// Answers a request whose framing is not believed; nothing after it on this connection is.
    async fn refuse(&mut self, reason: Reason) -> After {
        let (mut trace, page) = (self.trace(), Page::of(reason));
        let after = self.send_page(&page, true).await;
        (trace.status, trace.reason, trace.down) = (page.status, page.reason, page.body.len() as u64);
        self.note(&trace, &D::Ticket::default());
        after
    }

    /// Answers what never became a request; its head is not shown in the log.
    async fn refuse_unread(&mut self, reason: Reason) -> After {
        self.desk.head = RequestHead::default();
        self.refuse(reason).await
    }

    async fn send_page(&mut self, page: &Page, close: bool) -> After {
        let Visitor { worker, stream, .. } = self.visitor;
        let Desk { head, out, .. } = &mut *self.desk;
        let close = close || worker.is_stopping();
        out.clear();
        page.write(out, head.method() == "HEAD", close);
        match write_all(stream, out, worker.server.options.times.body).await {
            Ok(()) if close => After::Close,
            Ok(()) => After::Next,
            Err(_) => After::End,
        }
    }

    /// Says goodbye and reads on for a while: a socket closed with unread octets resets the connection and may destroy the answer on its way.
    async fn linger(&mut self) {
        let (stream, buffer) = (&self.visitor.stream, &mut self.desk.buffer);
        if stream.shutdown().await.is_err() {
            return;
        }
        let read = async {
            let mut octets = 0;
            while let Ok(count) = buffer.read(stream).await
                && count > 0
                && octets < LINGER_OCTETS
            {
                octets += count;
                buffer.clear();
            }
        };
        // The end of patience is an end like any other.
        let _ = tokio::time::timeout(LINGER, read).await;
    }

    /// What is known of a request before it is served. Its id an edge makes, and a gate hears; a place of its own in the trace everybody has.
    fn trace(&self) -> Trace {
        let (head, number) = (&self.desk.head, self.visitor.worker.number());
        let told = self.told_by_edge("x-request-id");
        Trace::new(told.and_then(Id::told).unwrap_or_else(|| Id::new(number)), Context::of(head, number), self.came())
    }

    /// What an edge says of the request; visitors are not asked.
    fn told_by_edge(&self, name: &str) -> Option<&[u8]> {
        (self.visitor.worker.server.options.faces == Faces::Edges).then(|| self.desk.head.find(name)).flatten()
    }

    /// How the request came, where its connection is nobody's but the visitor's: as the connection did.
    fn came(&self) -> Came {
        if let Some(came) = self.visitor.errand {
            return came;
        }
        let came = Came { peer: self.visitor.peer, secure: S::SECURE };
        let behind = self.visitor.worker.server.options.behind.as_ref().filter(|_| self.visitor.trusted);
        behind.map_or(came, |behind| behind.came(&self.desk.head, came.peer, came.secure))
    }

    /// The visitor's address: an edge sees it, a gate hears it.
    fn client(&self, came: Came) -> IpAddr {
        let told = self.told_by_edge("x-real-ip");
        told.and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse().ok()).unwrap_or_else(|| came.peer.ip())
    }

    fn note(&self, trace: &Trace, ticket: &D::Ticket) {
        if trace.quiet {
            return;
        }
        let Worker { server, counts, pen, .. } = &*self.visitor.worker;
        let took = trace.started.elapsed();
        server.decide.ended(ticket, &Ended { status: trace.status, up: trace.up, down: trace.down, took, cut: trace.cut });
        counts.answered(trace.status, trace.reason, took, trace.up, trace.down);
        if let Some(kept) = trace.kept {
            counts.kept(kept);
        }
        let Some(pen) = pen else { return };
        let one_in = server.options.log_one_in;
        // What failed is always written, and speaks for itself alone.
        let failed = trace.cut || trace.reason.is_some() || trace.status >= 500;
        if !failed && !trace.id.is_one_in(one_in) {
            return;
        }
        let (head, labels) = (&self.desk.head, server.decide.labels(ticket));
        let line = access::Line {
            log: server.options.name,
            id: trace.id.as_str(),
            trace: trace.context.trace(),
            span: trace.context.span(),
            client: self.client(trace.came),
            method: head.method(),
            host: head.host(),
            path: head.path(),
            status: trace.status,
            reason: trace.reason.map(Reason::code),
            request_bytes: trace.up,
            response_bytes: trace.down,
            squeezed: trace.coding.map(|coding| (coding.name(), trace.plain)),
            took,
            answered: trace.answered_at.map(|at| at.saturating_duration_since(trace.started)),
            upstream: trace.upstream,
            tries: trace.tries,
            tenant: labels.tenant,
            cell: labels.cell,
            epoch: labels.epoch,
            cut: trace.cut,
            cache: trace.kept.map(Kept::word),
            one_in: if failed { NonZeroU32::MIN } else { one_in },
        };
        if !pen.write(&line) {
            counts.lost_line();
        }
    }
}

/// A visitor's address as it is passed on.
pub(crate) fn address(peer: SocketAddr) -> String {
    peer.ip().to_canonical().to_string()
}

/// A place among the requests under way.
struct Place<'m>(&'m Metrics);

impl<'m> Place<'m> {
    fn take(metrics: &'m Metrics, most: u64) -> Option<Self> {
        metrics.begin(most).then(|| Self(metrics))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
