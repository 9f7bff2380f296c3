//! The decisions at a small scale; the figures at full scale come from `cargo run -p sim --release -- scale`.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::{Size, measure};

#[test]
fn a_small_platform_is_planned_right() {
    let measured = measure(Size { cells: 24, tenants: 1_200 }, 1).unwrap();
    assert_eq!(measured.seconds.len(), 7);
}
