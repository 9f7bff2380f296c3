//! Tests of the order of versions.

use super::newer;
use crate::tests::document_name;

#[test]
fn numbers_count_by_value() {
    let newer = |a: &str, b: &str| newer(&document_name(a), &document_name(b));
    assert!(newer("w.2026.11.10", "w.2026.11.9"));
    assert!(newer("w.2027.1", "w.2026.11.9"));
    assert!(newer("w.1.0.1", "w.1.0"));
    assert!(!newer("w.1.0", "w.1.0"));
}
