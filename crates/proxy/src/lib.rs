//! The HTTP/1.1 data path that edge and gate share, and the TCP relay of gates.
//!
//! Purpose: a [`Server`] reads requests by strict rules (one page: `h1/framing.rs`), asks a [`Decide`] where each goes, relays both ways without waiting for
//! whole bodies, and ends in order. Between edge and gate many requests share one connection (`trunk`). [`tcp`] relays plain connections. [`Group`] chooses among [`Upstream`]s by health and load.
//! Invariants: every body is framed anew, so no foreign framing travels on; a request is sent again only when nothing of it was processed; a connection that
//! brought more than its message is never used again; everything is bounded in number, size and time; a tenant's name is in no metric.
//! Entry points: [`Server::serve`], [`tcp::relay`], [`Group::pick`], [`Page::of`].

mod access;
mod behind;
mod buffer;
mod connection;
mod context;
mod crowd;
mod decide;
mod events;
mod exchange;
mod frames;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod h1;
mod h2;
mod kept;
mod lasting;
mod metrics;
mod page;
mod patience;
mod pipe;
mod pool;
mod preamble;
mod pulse;
mod server;
mod squeeze;
mod stream;
pub mod tcp;
mod tls;
mod together;
mod trace;
mod trunk;
mod tunnel;
mod upload;
mod upstream;
mod worker;

pub use access::AccessLog;
pub use behind::Behind;
pub use crowd::Crowd;
pub use decide::{Action, Decide, Ended, Forward, Judgement, Labels, Lasting, Put, Request};
pub use h1::head::{RequestHead, ResponseHead};
pub use kept::Shelved;
pub use lasting::{Place, Streams};
pub use metrics::{Metrics, Text};
pub use page::{Page, REASON_HEADER, Reason};
pub use pulse::Pulses;
pub use server::{Faces, Limits, Options, Server, Times};
pub use tls::{Errand, Handshakes, Shaken};
pub use upstream::{Group, Health, InFlight, Probe, Upstream};

pub(crate) use h1::head;
