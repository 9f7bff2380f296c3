#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod feed;
mod folders;
mod support;
mod verbs;
mod versions;
mod whole;
