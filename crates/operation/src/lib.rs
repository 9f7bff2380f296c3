//! Operations: durable, typed, resumable steps with undo.
//!
//! Purpose: whatever must not be left half-done (a tenant's creation, a cell's closing) is a [`Procedure`]: parameters with every random choice
//! already made, a list of [`Step`]s with typed outputs, and a conclusion. [`Runner`] takes an `Operation` document through it.
//! Invariants: a step is recorded as begun before its effect and as done after it; a step runs again after any crash and ends in the same state; `undo`
//! also runs for a step that began and never reported; every commit compares the lease's fence; the subject is taken and given back in the commits
//! that start and end the operation; before the point of no return every failure ends where it began, after it nothing is undone.
//! Entry points: [`Procedure`], [`Runner::drive`]; tests of every verb come from [`harness`].

mod decide;
mod error;
pub mod harness;
mod procedure;
mod run;

pub use decide::{Event, Illegal, Next, Shape, decide, next_state};
pub use error::{RunError, StepError};
pub use procedure::{Conclusion, Context, Ending, Outputs, Procedure, Procedures, Step, Steps};
pub use run::{Clock, Drove, Go, Injection, Point, Probe, Runner, create};

#[cfg(test)]
mod tests;
