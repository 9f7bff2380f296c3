//! Certificates of visitors' side: the book on disk, the choice by server name, session tickets, and the client of certificate authorities (ACME).
//!
//! Purpose: a [`Book`] holds every certificate, open challenge and ticket key in one file, numbered, so that control's book is followed by the edges' books entry by
//! entry. [`Presenter`] chooses what a handshake is answered with; [`acme`] obtains certificates.
//! Invariants: a private key never lies on disk unsealed; a certificate whose key does not fit is refused before it is written; one entry that is damaged or has
//! ended disturbs no other, and is told by [`Book::problems`]; opening costs by the number of names, not by their certificates; parsed certificates in memory are
//! bounded.
//! Entry points: [`Book::open`], [`Presenter`], [`Pair::read`], [`acme::Account`].

pub mod acme;
mod book;
mod challenge;
mod entry;
mod pair;
mod presenter;
mod tickets;

pub use book::{Book, BookError, Choice, Problem, Told};
pub use challenge::{ALPN as CHALLENGE_ALPN, digest, proof_of};
pub use entry::{Certificate, Challenge, Entry, Https, Kind, Line, TicketKey, TicketKeys, What};
pub use pair::{Pair, PairError, self_signed};
pub use presenter::Presenter;
pub use tickets::Tickets;

/// Name of the certificate that is shown to visitors who name no host, or one that no other covers.
pub const DEFAULT: &str = "default";
/// The host of the policy for everybody who has none of their own.
pub const EVERYBODY: &str = "*";
