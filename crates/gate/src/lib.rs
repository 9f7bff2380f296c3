//! The gate: a cell's own balancer and only door.
//!
//! Purpose: visitors' requests come from edges with a signed header and go to the least-loaded ready instance of the entry service; instances reach the cell's
//! inner services through the gate by plain TCP. Two gates a cell, so that neither matters.
//! Invariants: nothing is forwarded whose tenant and epoch are not proved; a gate dials nobody but its cell's instances and the destinations beyond the cell that its state names; it starts and serves from the last
//! state on its disk, without control; an older state is refused by number; an instance's word never reaches an edge as the gate's.
//! Entry points: [`run`], [`client::GateClient`].

mod admin;
mod busy;
pub mod client;
mod disk;
mod door;
mod egress;
mod known;
mod lasting;
mod probes;
mod run;
mod services;

pub use run::{Error, Options, REQUESTS, run};
