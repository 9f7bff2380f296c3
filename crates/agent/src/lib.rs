//! The agent: our hand on a machine that holds data.
//!
//! Purpose: offers a machine's data port to control over mutual TLS, and gives control the same port from afar.
//! Invariants: only control may ask; the wire carries the port's own types and errors, so that near and far behave alike; a call whose answer is lost is
//! [`data::DataError::Unreachable`] and is safe to repeat, as every call of the port is.
//! Entry points: [`serve`], [`Agents`].

mod remote;
mod server;
mod wire;

pub use remote::{Agents, RemoteData};
pub use server::{ServeError, serve};
