#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what they expect by failing")]

use crate::ServiceWanted;

/// A service as an earlier release wrote it down. Fields with defaults may be added to the type, never to this text.
const OLD: &str = r#"{"image":"localhost/atoll/memcached:1.6","command":["-m","64"],"replicas":2,"port":11211,"after":["php"],"environment":{"A":"b"},
 "user":1005,"limits":{"cpu":"500m","memory":"128Mi","pids":128},"ready":{"check":{"tcp":{}}},"writable":[{"path":"/tmp","size":"8Mi"}],
 "capabilities":[],"mounts":[{"host":"/srv/x","path":"/x","writable":false}],"secrets":[{"path":"/atoll/secrets/key","content":"s3cret"}],
 "stopWithin":"30s","stopSignal":"SIGTERM"}"#;

#[test]
fn the_hash_of_what_runs_never_changes() {
    let old: ServiceWanted = serde_json::from_str(OLD).unwrap();
    assert_eq!(old.version(), "v1:ae4c5e5147287906cf50c31c6a38ef85");
}

#[test]
fn only_what_needs_a_new_container_counts() {
    let old: ServiceWanted = serde_json::from_str(OLD).unwrap();
    let mut same = old.clone();
    same.replicas = 9;
    same.after.clear();
    same.ready.failures = 9;
    same.secrets[0].content = model::Sensitive::new("other".to_owned());
    assert_eq!(old.version(), same.version());
    let mut other = old.clone();
    other.environment.insert("A".to_owned(), "c".to_owned());
    assert_ne!(old.version(), other.version());
}
