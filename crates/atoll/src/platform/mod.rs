//! The installation on one machine: its folder, its own containers, up and down.
//!
//! Purpose: control, agent and edge are containers on the host's network with a restart policy; this module makes, replaces and removes them.
//! Invariants: nothing of another platform on the same engine is touched (label `dev.atoll.platform`); `down` keeps data.
//! Entry points: [`up::up`], [`down::down`].

pub mod containers;
pub mod down;
pub mod identities;
pub mod layout;
pub mod operators;
pub mod up;

pub use layout::Layout;
