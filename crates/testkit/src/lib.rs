//! Help for tests with real components.
