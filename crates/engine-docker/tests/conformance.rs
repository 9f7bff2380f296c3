//! The engine's contract on a real Docker Engine.

#![expect(clippy::unwrap_used, reason = "tests")]

mod world;

engine::conformance_tests!(crate::world::world, #[tokio::test(flavor = "multi_thread", worker_threads = 2)]);
