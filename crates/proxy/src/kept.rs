//! Answers from the cache, and answers on their way into it.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use cache::{Answered, Asked, Entry, Fields, Keeping, Look, Task};

use crate::buffer::write_both;
use crate::connection::{Connection, Visitor};
use crate::decide::{Came, Decide};
use crate::exchange::Outcome;
use crate::h1::body::BodyOut;
use crate::h1::fields::{Kind, kind};
use crate::h1::head::{RequestHead, ResponseHead};
use crate::h1::write;
use crate::page::{Page, REASON_HEADER, Reason};
use crate::pipe::pipe;
use crate::server::Server;
use crate::squeeze;
use crate::stream::Stream;
use crate::trace::Trace;

/// How often a request waits for others before it asks for itself.
const WAITS: u32 = 3;
/// Name of the field that says what the cache did (RFC 9211).
const STATUS: &str = "Cache-Status";

/// What the cache did for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nothing: it may not.
    Passed,
    /// It had the answer.
    Hit,
    /// It had an answer that is a little old, and asks for another.
    Refreshing,
    /// It asked whether its answer still holds, and it does.
    Renewed,
    /// It had none.
    Missed,
    /// It had an old answer, which stands in for an error.
    StoodIn,
}

impl Kept {
    pub(crate) const ALL: [Self; 6] = [Self::Passed, Self::Hit, Self::Refreshing, Self::Renewed, Self::Missed, Self::StoodIn];

    /// For log and metrics.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Hit => "hit",
            Self::Refreshing => "refreshing",
            Self::Renewed => "renewed",
            Self::Missed => "miss",
            Self::StoodIn => "stood-in",
        }
    }

    /// For the visitor.
    pub(crate) const fn status(self) -> (&'static str, &'static str) {
        let value = match self {
            Self::Passed => "atoll; fwd=bypass",
            Self::Hit => "atoll; hit",
            Self::Refreshing => "atoll; hit; detail=refreshing",
            Self::Renewed => "atoll; fwd=stale; fwd-status=304",
            Self::Missed => "atoll; fwd=miss",
            Self::StoodIn => "atoll; fwd=stale; detail=stood-in",
        };
        (STATUS, value)
    }
}

/// Whose answer it is, and what of his is kept.
#[derive(Debug, Clone, Copy)]
pub struct Shelved<'a> {
    /// Whose.
    pub tenant: &'a str,
    /// What.
    pub mode: cache::Mode,
}

/// The fields of a request that reach the tenant as the visitor sent them. Where the edge compresses, codings are between it and the visitor.
struct Sent<'h> {
    head: &'h RequestHead,
    plain: bool,
}

impl Fields for Sent<'_> {
    fn each(&self, see: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self.head.fields().filter(|(name, _)| kind(name) == Kind::EndToEnd && !(self.plain && is_coding(name))) {
            see(name, value);
        }
    }
}

fn is_coding(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"accept-encoding")
}

/// The fields of an answer that reach visitors.
struct Told<'h>(&'h ResponseHead);

impl Fields for Told<'_> {
    fn each(&self, see: &mut dyn FnMut(&[u8], &[u8])) {
        write::travelling(self.0, see);
    }
}

/// What a request that fetches for the cache asks instead of the visitor's own conditions.
pub(crate) struct Conditions<'t> {
    pub task: &'t Task,
    /// The answer is to come without a coding.
    pub plain: bool,
}

impl Conditions<'_> {
    /// Whether a field of the visitor's stays behind.
    pub(crate) fn hides(&self, name: &[u8]) -> bool {
        match name.len() {
            13 => self.task.leads() && name.eq_ignore_ascii_case(b"if-none-match"),
            17 => self.task.leads() && name.eq_ignore_ascii_case(b"if-modified-since"),
            15 => self.plain && is_coding(name),
            _ => false,
        }
    }

    /// Shows what stands there instead.
    pub(crate) fn put(&self, put: &mut dyn FnMut(&[u8], &[u8])) {
        let Some(stored) = self.task.stored() else { return };
        if let Some(etag) = &stored.etag {
            put(b"If-None-Match", etag);
        }
        if let Some(modified) = &stored.modified {
            put(b"If-Modified-Since", modified);
        }
    }
}

/// A request as the cache looks at it.
fn asked<'a>(shelved: Shelved<'a>, secure: bool, head: &'a RequestHead, fields: &'a Sent<'a>) -> Asked<'a> {
    let Shelved { tenant, mode } = shelved;
    Asked { tenant, mode, secure, host: head.host(), target: head.target(), method: head.method(), fields }
}

/// What becomes of an answer.
pub(crate) enum Settled {
    /// It goes to the visitor, perhaps into the cache too.
    Relay(Option<Keeping>),
    /// This goes there instead.
    Serve(Arc<Entry>, Kept),
}

impl Settled {
    pub(crate) fn keeping(self) -> Option<Keeping> {
        match self {
            Self::Relay(keeping) => keeping,
            Self::Serve(..) => None,
        }
    }
}

/// Settles what an answer means for the cache: one that was asked for it, or one to a request that may have changed something.
pub(crate) fn settle<D: Decide>(
    server: &Server<D>,
    fetch: &mut Option<Task>,
    ticket: &D::Ticket,
    (head, came): (&RequestHead, Came),
    answer: &ResponseHead,
) -> Settled {
    let Some(store) = &server.options.cache else { return Settled::Relay(None) };
    let Some(shelved) = server.decide.shelf(ticket) else { return Settled::Relay(None) };
    let Some(task) = fetch.take() else {
        if !head.is_safe() && answer.status() < 400 {
            store.changed(shelved.tenant, head.host(), head.target());
        }
        return Settled::Relay(None);
    };
    // A page of a gate's own is no answer of the tenant's.
    if answer.find(REASON_HEADER).is_some() {
        return Settled::Relay(None);
    }
    let now = SystemTime::now();
    if answer.status() >= 500
        && let Some(entry) = task.stand_in(now)
    {
        return Settled::Serve(entry, Kept::StoodIn);
    }
    let fields = Sent { head, plain: server.decide.compresses(ticket) };
    match task.answered(&asked(shelved, came.secure, head, &fields), answer.status(), &Told(answer), now) {
        Answered::Passes => Settled::Relay(None),
        Answered::Keep(keeping) => Settled::Relay(Some(keeping)),
        Answered::Renewed(entry) => Settled::Serve(entry, Kept::Renewed),
    }
}

impl<D: Decide, S: Stream> Connection<'_, D, S> {
    /// Answers from the cache where it can; else notes what the cache wants of the answer.
    pub(crate) async fn ask_cache(&mut self, close: bool, trace: &mut Trace, ticket: &mut D::Ticket) -> Option<Outcome> {
        let server = &*self.visitor.worker.server;
        let store = server.options.cache.as_ref().filter(|_| self.desk.fetch.is_none())?;
        let mut waits = 0;
        loop {
            let look = {
                let (shelved, fields) = (server.decide.shelf(ticket)?, Sent { head: &self.desk.head, plain: server.decide.compresses(ticket) });
                let asked = asked(shelved, trace.came.secure, &self.desk.head, &fields);
                store.look(&asked, self.visitor.errand.is_some(), waits == WAITS, SystemTime::now())
            };
            match look {
                // Somebody else asks anew already.
                Look::Pass if self.visitor.errand.is_some() => return Some(Outcome::ClientGone),
                Look::Pass => {
                    trace.kept = Some(Kept::Passed);
                    return None;
                }
                Look::Serve(entry) => return Some(self.serve_kept(&entry, Kept::Hit, close, trace, ticket).await),
                Look::Refresh(entry) => {
                    self.send_errand(trace.came);
                    return Some(self.serve_kept(&entry, Kept::Refreshing, close, trace, ticket).await);
                }
                Look::Fetch(task) => {
                    trace.kept = Some(Kept::Missed);
                    self.desk.fetch = Some(task);
                    return None;
                }
                Look::Wait(waiter) => {
                    let ended = tokio::select! {
                        ended = waiter.wait() => ended,
                        () = self.visitor.stream.closed() => return Some(Outcome::ClientGone),
                    };
                    waits = if ended { waits + 1 } else { WAITS };
                }
            }
        }
    }

    /// Sends an answer that is kept.
    pub(crate) async fn serve_kept(&mut self, entry: &Entry, kept: Kept, close: bool, trace: &mut Trace, ticket: &mut D::Ticket) -> Outcome {
        let Visitor { worker, stream, .. } = self.visitor;
        let server = &*worker.server;
        let (head, answer, out) = (&self.desk.head, &mut self.desk.answer, &mut self.desk.out);
        if answer.parse(&entry.head).is_err() {
            return Outcome::Page { page: Page::of(Reason::UpstreamMalformed), body_read: true };
        }
        let known = answer.status() == 200 && entry.is_known_to(&Sent { head, plain: false });
        if known {
            answer.become_not_modified();
        }
        let length = entry.body.len() as u64;
        let packed = if server.decide.compresses(ticket) {
            squeeze::whole(head, answer, length, |coding| entry.form(coding as usize, |body| squeeze::pack(coding, body)))
        } else {
            None
        };
        (trace.coding, trace.plain) = (packed.as_ref().map(|(coding, _)| *coding), length);
        let body = packed.as_ref().map_or(&entry.body, |(_, body)| body);
        let length = body.len() as u64;
        let (form, body) = if known || head.method() == "HEAD" { (BodyOut::Empty, &[][..]) } else { (BodyOut::Length(length), &body[..]) };
        let close = close || worker.is_stopping();
        let age = entry.age(SystemTime::now()).to_string();
        let adds = [Some(("Age", &*age)), Some(kept.status()), server.decide.adds(ticket)];
        out.clear();
        write::response(out, answer, server.options.faces, form, (!known).then_some(length), close, &adds);
        (trace.status, trace.kept) = (answer.status(), Some(kept));
        trace.answered_at.get_or_insert_with(Instant::now);
        match write_both(stream, out, body, server.options.times.stream).await {
            Ok(()) => {
                trace.down = body.len() as u64;
                Outcome::Done { keep: !close, body_read: true }
            }
            Err(_) => Outcome::ClientGone,
        }
    }

    /// Sends somebody who asks anew, while the visitor gets what is there: a visitor in memory, whose answer nobody reads.
    fn send_errand(&self, came: Came) {
        let head = &self.desk.head;
        let mut ask = [b"GET ", head.target().as_bytes(), b" HTTP/1.1\r\nHost: ", head.host_value(), b"\r\n"].concat();
        for (name, value) in head.fields().filter(|(name, _)| kind(name) == Kind::EndToEnd && goes_on_errands(name)) {
            ask.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
        }
        ask.extend_from_slice(b"Connection: close\r\n\r\n");
        let (near, far) = pipe();
        let mut visitor = Visitor::new(self.visitor.worker.clone(), near, self.visitor.peer);
        visitor.errand = Some(came);
        tokio::spawn(visitor.serve());
        tokio::spawn(async move {
            let mut answer = Vec::new();
            if far.put(&ask).await {
                while far.take(&mut answer).await {
                    answer.clear();
                }
            }
        });
    }

    /// What is stored, where it stands in for this page.
    pub(crate) fn stands_in(&self, page: &Page) -> Option<Arc<Entry>> {
        let failed = page.reason.is_some_and(|reason| {
            matches!(
                reason,
                Reason::UpstreamUnreachable | Reason::UpstreamTimeout | Reason::UpstreamClosed | Reason::UpstreamMalformed | Reason::NoReadyInstance
            )
        });
        self.desk.fetch.as_ref().filter(|_| failed)?.stand_in(SystemTime::now())
    }
}

/// What of a visitor's fields goes with an errand: nothing that is his own.
fn goes_on_errands(name: &[u8]) -> bool {
    ![&b"cookie"[..], b"cache-control", b"pragma", b"if-none-match", b"if-modified-since"].iter().any(|word| name.eq_ignore_ascii_case(word))
}

/// A body on its way into the cache.
#[derive(Default)]
pub(crate) struct Copied(Option<Keeping>);

impl Copied {
    pub(crate) const fn of(keeping: Option<Keeping>) -> Self {
        Self(keeping)
    }

    /// Takes a part.
    pub(crate) fn push(&mut self, data: &[u8]) {
        if let Some(keeping) = &mut self.0
            && !keeping.push(data)
        {
            self.0 = None;
        }
    }

    /// All of it was there. What has trailers is not kept: they belong to it.
    pub(crate) fn finish(&mut self, trailers: &[u8]) {
        if let Some(keeping) = self.0.take().filter(|_| trailers.is_empty()) {
            keeping.finish();
        }
    }
}
