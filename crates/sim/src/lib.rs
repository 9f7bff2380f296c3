//! Seeded worlds.
//!
//! Purpose: planning a platform of any size, timed and weighed ([`scale`]).
//! Invariants: everything is drawn from a seed, which every failure prints; the same seed gives the same run.
//! Entry points: [`scale::measure`]; the binary `sim`.

pub mod random;
pub mod scale;
