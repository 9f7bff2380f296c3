//! Where a request goes is not the relay's business: it asks a [`Decide`].

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::head::{RequestHead, ResponseHead};
use crate::kept::Shelved;
use crate::page::{Page, Reason};
use crate::upstream::Group;

/// A request as it is decided upon.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// Whose it is: the other side of its connection, or whom a balancer named that is believed.
    pub peer: SocketAddr,
    /// It came over TLS.
    pub secure: bool,
    /// When its head was there.
    pub at: Instant,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Came {
    /// From whom.
    pub peer: SocketAddr,
    /// Over TLS, all of the way that is known.
    pub secure: bool,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Action {
    /// It goes to one of these.
    Forward(Forward),
    /// It is answered here.
    Answer(Page),
}

/// How a request goes on.
#[derive(Debug)]
pub struct Forward {
    /// To one of these.
    pub to: Group,
    /// What is answered when none of them can be chosen.
    pub otherwise: Reason,
}

/// What becomes of an answer.
#[derive(Debug)]
pub enum Judgement {
    /// It goes to the visitor.
    Pass,
    /// Nothing was processed: the request is decided upon anew, or this page goes out where its body can no longer be sent again.
    Again(Reason),
    /// This goes to the visitor instead.
    Replace(Page),
}

/// What the access log says of a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Labels<'a> {
    /// Whose.
    pub tenant: Option<&'a str>,
    /// Where.
    pub cell: Option<&'a str>,
    /// Under which number.
    pub epoch: Option<u64>,
}

/// What goes on without an end of its own, for as long as a visitor stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// Another protocol, both ways: a WebSocket, or what the relay does not know. What goes through it may write.
    Tunnel,
    /// Events that go down to the visitor (`text/event-stream`).
    Events,
}

/// Takes name and value of one field.
pub type Put<'p> = dyn FnMut(&'static str, &str) + 'p;

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Status that the visitor saw.
    pub status: u16,
    /// Octets of its body.
    pub up: u64,
    /// Octets of the answer's body as the visitor got it.
    pub down: u64,
    /// From its head to the end of the answer.
    pub took: Duration,
    /// The answer was cut short, or the visitor left.
    pub cut: bool,
}

/// Decides where requests go.
pub trait Decide: Send + Sync + 'static {
    /// What it remembers of one request from its first decision to its end.
    type Ticket: Default + Send;

    /// Where a request goes. It may wait, within bounds of its own. Called again after [`Judgement::Again`], with the same ticket.
    fn decide<'a>(&'a self, request: Request<'a>, ticket: &'a mut Self::Ticket) -> impl Future<Output = Action> + Send + 'a;

    /// Names and values of the fields that a request gets on its way, once it is decided where it goes.
    fn add(&self, ticket: &Self::Ticket, put: &mut Put<'_>) {
        let _ = (ticket, put);
    }

    /// Looks at the head of an answer before anything of it goes out.
    fn judge(&self, ticket: &mut Self::Ticket, answer: &ResponseHead) -> Judgement {
        let _ = (ticket, answer);
        Judgement::Pass
    }

    /// Something lasting begins. What is given here says when it is to end: visitors are then told to come again, as far as their protocol has a word for it.
    /// Without it, it lasts until one of the two sides ends it. `leaving` says when the server wants it to end, because it stops.
    fn lasts(&self, ticket: &mut Self::Ticket, request: Request<'_>, kind: Lasting, leaving: &CancellationToken) -> Option<CancellationToken> {
        let _ = (ticket, request, kind, leaving);
        None
    }

    /// A field that stands in the answer to a visitor, instead of one of that name that came with it.
    fn adds<'t>(&self, ticket: &'t Self::Ticket) -> Option<(&'static str, &'t str)> {
        let _ = ticket;
        None
    }

    /// Whose answers may be kept, and which.
    fn shelf<'t>(&self, ticket: &'t Self::Ticket) -> Option<Shelved<'t>> {
        let _ = ticket;
        None
    }

    /// Whether the answer may be compressed for its visitor.
    fn compresses(&self, ticket: &Self::Ticket) -> bool {
        let _ = ticket;
        false
    }

    /// Notes how a request ended.
    fn ended(&self, ticket: &Self::Ticket, ended: &Ended) {
        let _ = (ticket, ended);
    }

    /// What the access log says.
    fn labels<'t>(&self, ticket: &'t Self::Ticket) -> Labels<'t>;
}
