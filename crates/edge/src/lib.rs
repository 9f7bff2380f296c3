//! The edge: domain to tenant to cell, from memory.
//!
//! Purpose: visitors' requests are looked up by host, signed for their tenant's cell, and sent to the cell's gate with the least under way.
//! Invariants: no request waits for control, whose routes come by a feed and are kept on disk; nothing a visitor says in our own headers travels on; a request is
//! sent again only when a gate processed nothing of it; a table never goes back; a visitor's request waits for no change of the routes; an edge
//! that is stuck ends itself; upgrades pass the listening sockets on, so no connection is refused; certificates come by a feed of their own,
//! are kept sealed on disk, and a handshake waits for nobody but that disk.
//! Entry points: [`run`], [`client::tenants`].

mod admin;
mod audit;
mod certificates;
pub mod client;
mod deliver;
mod disk;
mod facts;
mod fair;
mod feed;
mod follow;
mod handover;
mod https;
mod limits;
mod probes;
mod purges;
mod queue;
mod report;
mod run;
mod streams;
mod table;
mod watchdog;

pub use proxy::Behind;
pub use run::{Error, Options, Secure, run};
