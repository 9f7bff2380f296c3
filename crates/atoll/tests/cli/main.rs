//! The command line as people and scripts meet it: the real program, in front of real doors over a store in memory.
//!
//! Texts are compared with files in `snapshots/`; after a wanted change `INSTA_UPDATE=always cargo test -p atoll --test cli` writes them anew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod answers;
mod backups;
mod bad_input;
mod daemon;
mod elsewhere;
mod help;
mod house;
mod real;
mod waiting;
