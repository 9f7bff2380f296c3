//! The one binary of the platform.

mod platform;

fn main() {}
