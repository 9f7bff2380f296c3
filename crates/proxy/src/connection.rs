//! A visitor's connection: heads one after the other, each served before the next is read.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::access;
use crate::buffer::{Buffer, write_all};
use crate::decide::{Decide, Ended};
use crate::exchange::{Outcome, Trace};
use crate::h1::framing::{self, BodyIn};
use crate::h1::head::{RequestHead, ResponseHead, Scan};
use crate::metrics::Metrics;
use crate::page::{Page, Reason};
use crate::pool::Pool;
use crate::server::{Faces, Server};

/// How long, and how much, is read after a last answer, so that the visitor gets it whole.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 1024 * 1024;
/// What a connection keeps of its output buffers while it is idle.
const SMALL: usize = 4 * 1024;

/// A connection with everything that is used again from one request to the next.
pub(crate) struct Connection<D: Decide> {
    pub server: Arc<Server<D>>,
    pub pool: Arc<Pool>,
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub stop: CancellationToken,
    pub buffer: Buffer,
    pub head: RequestHead,
    pub answer: ResponseHead,
    /// What goes to the visitor next.
    pub out: Vec<u8>,
    /// What goes to the upstream next.
    pub up_out: Vec<u8>,
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
    /// Nothing more can be said.
    Abort,
}

impl<D: Decide> Connection<D> {
    pub(crate) fn new(server: Arc<Server<D>>, pool: Arc<Pool>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) -> Self {
        // On a socket of both families the older addresses come wrapped.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let local = stream.local_addr().unwrap_or(peer);
        Self {
            server,
            pool,
            stream,
            peer,
            local,
            stop,
            buffer: Buffer::default(),
            head: RequestHead::default(),
            answer: ResponseHead::default(),
            out: Vec::new(),
            up_out: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            let after = match self.next_head().await {
                Next::Head => self.serve().await,
                Next::Bad(reason) => self.refuse_unread(reason).await,
                Next::End => return,
            };
            match after {
                After::Next => {}
                After::Close => return self.linger().await,
                After::Abort => return,
            }
        }
    }

    /// Waits for the next request and reads its head.
    async fn next_head(&mut self) -> Next {
        if self.buffer.is_empty() {
            self.buffer.release();
            for out in [&mut self.out, &mut self.up_out] {
                out.clear();
                out.shrink_to(SMALL);
            }
            if !self.wait().await {
                return Next::End;
            }
        }
        let deadline = tokio::time::Instant::now() + self.server.options.times.head;
        let most = self.server.options.limits.head;
        let mut scan = Scan::default();
        loop {
            // Some clients send an empty line after a body (RFC 9112, 2.2).
            while self.buffer.filled().starts_with(b"\r\n") {
                self.buffer.consume(2);
                scan = Scan::default();
            }
            let filled = self.buffer.filled();
            if filled.first().is_some_and(|b| !b.is_ascii_alphabetic() && *b != b'\r') {
                return Next::Bad(Reason::MalformedHead);
            }
            match scan.end(filled) {
                Err(_) => return Next::Bad(Reason::MalformedHead),
                Ok(end) if end.unwrap_or(filled.len()) > most => return Next::Bad(Reason::HeadTooLarge),
                Ok(Some(end)) => {
                    let parsed = self.head.parse(&filled[..end]);
                    self.buffer.consume(end);
                    return parsed.map_or_else(Next::Bad, |()| Next::Head);
                }
                Ok(None) => {}
            }
            match tokio::time::timeout_at(deadline, self.buffer.read(&self.stream)).await {
                Ok(Ok(0) | Err(_)) => return Next::End,
                Ok(Ok(_)) => {}
                Err(_) if self.buffer.is_empty() => return Next::End,
                Err(_) => return Next::Bad(Reason::HeadTimeout),
            }
        }
    }

    /// Waits without a buffer until something comes; `false` when nothing does in time.
    async fn wait(&self) -> bool {
        let times = &self.server.options.times;
        let ready = tokio::select! {
            biased;
            ready = tokio::time::timeout(times.idle, self.stream.readable()) => ready,
            // A visitor who is about to ask would see the connection end under the question: one more is answered, and told to close.
            () = self.stop.cancelled() => tokio::time::timeout(times.last_request, self.stream.readable()).await,
        };
        matches!(ready, Ok(Ok(())))
    }

    /// Serves the request whose head was read.
    async fn serve(&mut self) -> After {
        let framing = match framing::request(&self.head) {
            Ok(framing) => framing,
            Err(reason) => return self.refuse(reason).await,
        };
        let server = self.server.clone();
        let started = Instant::now();
        let (mut trace, mut ticket) = (Trace::new(self.id()), D::Ticket::default());
        let (bodiless, close) = (matches!(framing.body, BodyIn::Empty), framing.close);
        let place = Place::take(&server.metrics, server.options.limits.requests);
        let outcome = match &place {
            Some(_) => self.exchange(framing, &mut trace, &mut ticket).await,
            None => Outcome::Page { page: Page::of(Reason::Overloaded), body_read: bodiless },
        };
        let after = match outcome {
            Outcome::Done { keep } => [After::Close, After::Next][usize::from(keep)],
            Outcome::Page { page, body_read } => {
                trace.status = page.status;
                trace.reason = page.reason;
                trace.quiet = page.quiet;
                trace.down = page.body.len() as u64;
                self.send_page(&page, close || !body_read).await
            }
            Outcome::Cut => {
                trace.cut = true;
                After::Abort
            }
            Outcome::ClientGone => {
                trace.cut = true;
                trace.reason = Some(Reason::ClientClosed);
                if trace.status == 0 {
                    trace.status = Reason::ClientClosed.status();
                }
                After::Abort
            }
        };
        drop(place);
        self.note(&trace, &ticket, started);
        after
    }

    /// Answers a request whose framing is not believed; nothing after it on this connection is.
    async fn refuse(&mut self, reason: Reason) -> After {
        let (started, page) = (Instant::now(), Page::of(reason));
        let after = self.send_page(&page, true).await;
        let mut trace = Trace::new(self.id());
        (trace.status, trace.reason, trace.down) = (page.status, page.reason, page.body.len() as u64);
        self.note(&trace, &D::Ticket::default(), started);
        after
    }

    /// Answers what never became a request; its head is not shown in the log.
    async fn refuse_unread(&mut self, reason: Reason) -> After {
        self.head = RequestHead::default();
        self.refuse(reason).await
    }

    async fn send_page(&mut self, page: &Page, close: bool) -> After {
        let close = close || self.stop.is_cancelled();
        self.out.clear();
        page.write(&mut self.out, self.head.method() == "HEAD", close);
        match write_all(&self.stream, &self.out, self.server.options.times.body).await {
            Ok(()) if close => After::Close,
            Ok(()) => After::Next,
            Err(_) => After::Abort,
        }
    }

    /// Says goodbye and reads on for a while: a socket closed with unread octets resets the connection and may destroy the answer on its way.
    async fn linger(&mut self) {
        if socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let Self { stream, buffer, .. } = self;
        let read = async {
            let mut octets = 0;
            while let Ok(count) = buffer.read(stream).await
                && count > 0
                && octets < LINGER_OCTETS
            {
                octets += count;
                buffer.consume(usize::MAX / 2);
            }
        };
        // The end of patience is an end like any other.
        let _ = tokio::time::timeout(LINGER, read).await;
    }

    /// Id of a request: an edge makes it, a gate hears it.
    fn id(&self) -> String {
        static RUN: LazyLock<u32> = LazyLock::new(rand::random);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if self.server.options.faces == Faces::Edges
            && let Some(id) = self.head.find("x-request-id").filter(|id| id.len() <= 64)
            && let Ok(id) = std::str::from_utf8(id)
        {
            return id.to_owned();
        }
        format!("{:08x}-{:x}", *RUN, COUNT.fetch_add(1, Relaxed))
    }

    /// The visitor's address: an edge sees it, a gate hears it.
    fn client(&self) -> IpAddr {
        let told = self.head.find("x-real-ip").filter(|_| self.server.options.faces == Faces::Edges);
        told.and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse().ok()).unwrap_or_else(|| self.peer.ip())
    }

    fn note(&self, trace: &Trace, ticket: &D::Ticket, started: Instant) {
        if trace.quiet {
            return;
        }
        let (server, took) = (&self.server, started.elapsed());
        server.decide.ended(ticket, &Ended { status: trace.status, up: trace.up, down: trace.down, took, cut: trace.cut });
        server.metrics.answered(trace.status, trace.reason, took, trace.up, trace.down);
        if !server.log.is_on() {
            return;
        }
        let labels = server.decide.labels(ticket);
        let ms = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        let line = access::Line {
            time: jiff::Timestamp::now(),
            log: server.options.name,
            id: &trace.id,
            client: self.client(),
            method: self.head.method(),
            host: self.head.host(),
            path: self.head.path(),
            status: trace.status,
            reason: trace.reason.map(Reason::code),
            request_bytes: trace.up,
            response_bytes: trace.down,
            ms: ms(took),
            upstream_ms: trace.answered_at.map(|at| ms(at.duration_since(started))),
            upstream: trace.upstream,
            tries: trace.tries,
            tenant: labels.tenant,
            cell: labels.cell,
            epoch: labels.epoch,
            cut: trace.cut,
        };
        if !server.log.send(&line) {
            server.metrics.lost_line();
        }
    }
}

/// A place among the requests under way.
struct Place(Arc<Metrics>);

impl Place {
    fn take(metrics: &Arc<Metrics>, most: u64) -> Option<Self> {
        metrics.begin(most).then(|| Self(metrics.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.end();
    }
}
