//! Pure decisions of the platform.
//!
//! Purpose: who owns a domain ([`domains`]), which cell a tenant goes to ([`place`]), what applying files would do ([`changes`]), when the next
//! cell is due and which networks it gets ([`cells`]), what a tenant's settings files say ([`settings`]). Each decision comes with a [`Report`]
//! that says why nothing happens where nothing does, and [`lint`] checks both what people write and what was decided.
//! Invariants: no I/O, no clock, no randomness, no async; the same input gives the same output, down to the order; inputs are never changed.
//! Entry points: [`Snapshot`], [`place::place`], [`domains::decide`], [`changes::plan_changes`], [`settings::Templates`].

pub mod cells;
pub mod changes;
pub mod codes;
pub mod domains;
pub mod lint;
pub mod place;
mod report;
pub mod settings;
mod snapshot;
mod version;

pub use changes::{Action, Base, Change, ChangePlan, FieldChange, plan_changes};
pub use report::{Line, Report};
pub use snapshot::{Snapshot, product_of};
pub use version::{newer, version_of};

#[cfg(test)]
mod tests;
