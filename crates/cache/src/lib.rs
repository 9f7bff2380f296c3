//! Answers that an edge keeps for the next visitor (RFC 9111, as a shared cache).
//!
//! Purpose: a [`Cache`] says of each request whether a kept answer serves it, who fetches what is missing, and who waits for that one ([`Look`]); it takes what was
//! fetched ([`Task`], [`Keeping`]) and forgets what was changed or purged. What may be kept, and for whom, stands on one page: `rules.rs`.
//! Invariants: what a rule does not allow is not kept; an answer of one tenant is never found for another, whatever the host; an answer asked for before a purge is not
//! kept after it; the whole has a bound, and a tenant over its equal share loses its own answers first.
//! Entry points: [`Cache::look`], [`Task::answered`], [`Cache::changed`], [`Cache::purge`].

mod directives;
mod entry;
pub mod orders;
mod room;
mod rules;
mod shelf;
mod store;
mod task;
#[cfg(test)]
mod tests;

pub use entry::Entry;
pub use rules::{Asked, Fields, Mode};
pub use store::{Cache, Look, Options, Purge, Waiter};
pub use task::{Answered, Keeping, Task};
