//! Seeded worlds.
//!
//! Purpose: control on fakes of every port and a clock that does not wait, under faults, until it must have converged ([`world`]); planning a platform of
//! any size, timed and weighed ([`scale`]).
//! Invariants: wishes, faults and times are drawn from a seed, which every failure prints; see [`world`] for what else a replay to the letter needs.
//! Entry points: [`world::run`], [`many::run`], [`scale::measure`]; the binary `sim`.

#![expect(unexpected_cfgs, reason = "tokio_unstable is set by whoever wants a replay to the letter")]

pub mod many;
pub mod random;
pub mod scale;
pub mod world;
