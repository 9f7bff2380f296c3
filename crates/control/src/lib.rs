//! Control: decides, acts over the ports, observes, and tells the truth about it.
//!
//! Purpose: turns documents in the store into running cells and served tenants. Reconcilers (crate `reconcile`) look at what is wanted and what is;
//! whatever must not be left half-done is an operation (crate `operation`) whose steps work over [`Ports`].
//! Invariants: control is on no request's path; every commit compares the fence of control's lease, and whoever lost it stops; a choice is stored
//! before it is acted on; a tenant's routes are published only after the gates of its cell know it; orders and pushes carry numbers that only rise;
//! a cell without an answer of its engine or agent is `Unknown`, never empty.
//! Entry points: [`Control::new`], [`Control::run`]; [`RouteFeed`] for edges; [`fake`] for simulations.

mod cells;
mod control;
pub mod facts;
pub mod fake;
mod feed;
mod folders;
mod gates;
mod names;
mod operations;
mod options;
mod ports;
pub mod purges;
mod routing;
mod secrets;
mod tasks;
mod tenants;
mod verbs;
mod view;
mod wanted;
mod world;

pub use control::{Control, ControlError};
pub use feed::{EdgeStand, RouteFeed, router};
pub use folders::Folders;
pub use options::{LocalMachine, Options};
pub use ports::{
    CertificateFacts, CertificateFault, Certificates, Files, GateError, GateTarget, Gates, HostRoutes, Keys, Machines, PortError, Ports,
};

#[cfg(test)]
mod tests;
