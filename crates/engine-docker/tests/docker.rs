//! The engine on a real Docker Engine: the contract, and what is said of this driver alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod alone;
mod world;

engine::conformance_tests!(crate::world::world, #[tokio::test(flavor = "multi_thread", worker_threads = 2)]);
