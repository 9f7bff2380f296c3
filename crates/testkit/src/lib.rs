//! Help for tests with real components.
//!
//! Purpose: names that nobody else has, a subnet that is free, waiting with a deadline, and a guard that removes what a test made, also when it fails.
//! Invariants: nothing is touched but what begins with the test's own prefix; a failed test's logs are kept in the folder for temporary files.
//! Entry points: [`Docker`], [`Guard`], [`wait_until`], [`free_subnet`], [`prefix`].

mod docker;
pub mod frames;
mod wait;

pub use docker::{Docker, Guard, free_subnet};
pub use wait::{wait_until, wait_until_async};

/// A prefix that no other test has: `atolltest-` and eight random characters.
#[must_use]
pub fn prefix() -> String {
    format!("atolltest-{:08x}", rand::random::<u32>())
}
