//! The API of control: wire types of version 1 and a client.
//!
//! Purpose: what the command line, the console and other programs say to control, over a unix socket or TLS.
//! Invariants: types here are the wire format, versioned by module, changed only by adding; faults travel as [`model::Fault`];
//! no type here carries a secret but [`v1::Revealed`], which is answered once.
//! Entry points: [`v1`] (types and paths), [`Client`].

mod client;
mod connect;
pub mod v1;

pub use client::{Client, ClientError, Copy, Lines};
pub use connect::{Connect, Connection};

#[cfg(test)]
mod tests;
