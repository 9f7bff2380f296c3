//! Atoll's own small CA, mutual TLS, and sealed secrets.
//!
//! Purpose: each process of the platform has a [`Role`], proved by a short-lived certificate of the platform's own CA; whoever talks to it checks that role.
//! Invariants: private files are made with mode 0600 and refused when they are open to others; a certificate, its key and the roots are replaced by
//! renames and picked up at the next handshake, without a restart; nothing but TLS 1.3 with both sides proved is ever spoken; secrets leave this crate
//! only inside [`model::Sensitive`] or sealed.
//! Entry points: [`Ca`], [`tls`], [`HttpsClient`], [`serve`], [`Sealer`].

mod ca;
mod client;
mod error;
mod files;
mod material;
mod random;
mod role;
mod seal;
mod server;
pub mod tls;

pub use ca::{Ca, Issued};
pub use client::{HttpsClient, Kept, RequestError};
pub use error::IdentityError;
pub use files::{create_private, read_private};
pub use hyper::body::Incoming;
pub use material::{CA_FILE, IDENTITY_FILE};
pub use random::{alphanumeric, token};
pub use role::{Role, RoleError};
pub use seal::Sealer;
pub use server::serve;
