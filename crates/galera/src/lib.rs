//! Pure Galera rules: who bootstraps, who writes, who may leave.
//!
//! Purpose: the three decisions that can destroy a database are plain functions over plain evidence, so that thousands of seeded histories can test them.
//! Invariants: no I/O, no clock; a [`Position`] with a nil UUID is no evidence; only this crate can build a [`Proof`], and nothing else bootstraps.
//! Entry points: [`decide_bootstrap`], [`decide_seed`], [`choose_writer`], [`may_leave`].

mod bootstrap;
mod position;
mod writer;

pub use bootstrap::{Decision, Evidence, MemberEvidence, Proof, SeedEvidence, decide_bootstrap, decide_seed};
pub use position::{BadPosition, NIL_UUID, Position};
pub use writer::{Candidate, MayNotLeave, choose_writer, may_leave};
