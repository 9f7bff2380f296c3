//! Leases: one holder by the store's own time, and a number by which the others are refused.

use std::time::Duration;

use serde_json::json;

use super::{Fixture, PATIENCE, head, put_one, spec, tenant};
use crate::{Compare, Lease, SharedStore, StoreError};

const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(50);

/// Takes a lease as soon as it is free.
async fn take(store: &SharedStore, name: &str, holder: &str, ttl: Duration) -> Lease {
    let taken = async {
        loop {
            match store.lease(name, holder, ttl).await {
                Ok(lease) => return lease,
                Err(StoreError::Held { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.unwrap_or_else(|_| panic!("lease {name} was never free"))
}

async fn commits_under(store: &SharedStore, lease: &Lease) -> Result<(), StoreError> {
    store.commit(vec![Compare::Fence(lease.clone())], vec![spec(&tenant(&format!("by-{}", lease.holder)), json!({}))]).await.map(drop)
}

/// The second is told who holds it.
pub async fn one_holder(fixture: &dyn Fixture) {
    let store = fixture.store();
    let lease = store.lease("control", "a", LONG).await.unwrap();
    assert_eq!((lease.name.as_str(), lease.holder.as_str()), ("control", "a"));
    let held = StoreError::Held { name: "control".to_owned(), holder: "a".to_owned() };
    assert_eq!(store.lease("control", "b", LONG).await, Err(held));
    commits_under(&store, &lease).await.unwrap();
}

/// The holder renews under the same fence.
pub async fn renewal_keeps_the_fence(fixture: &dyn Fixture) {
    let store = fixture.store();
    let first = store.lease("control", "a", LONG).await.unwrap();
    assert_eq!(store.lease("control", "a", LONG).await.unwrap(), first);
}

/// Heartbeats are no change.
pub async fn renewal_writes_nothing(fixture: &dyn Fixture) {
    let store = fixture.store();
    store.lease("control", "a", LONG).await.unwrap();
    let before = head(&store).await;
    for _ in 0..50 {
        store.lease("control", "a", LONG).await.unwrap();
    }
    assert_eq!(head(&store).await, before);
}

/// Nobody need give it back.
pub async fn lease_runs_out(fixture: &dyn Fixture) {
    let store = fixture.store();
    store.lease("control", "a", SHORT).await.unwrap();
    let lease = take(&store, "control", "b", LONG).await;
    commits_under(&store, &lease).await.unwrap();
}

/// Each change of holder raises the fence, also back to one who had it.
pub async fn fence_rises_with_the_holder(fixture: &dyn Fixture) {
    let store = fixture.store();
    let mut last = 0;
    for holder in ["a", "b", "a"] {
        let lease = take(&store, "control", holder, LONG).await;
        assert!(lease.fence > last, "{} after {last}", lease.fence);
        last = lease.fence;
        store.release(&lease).await.unwrap();
    }
}

/// A holder that slept through its lease changes nothing.
pub async fn old_fence_never_commits(fixture: &dyn Fixture) {
    let store = fixture.store();
    let old = store.lease("control", "a", SHORT).await.unwrap();
    take(&store, "control", "b", SHORT).await;
    assert_eq!(commits_under(&store, &old).await, Err(StoreError::Conflict(Compare::Fence(old.clone()))));
    let again = take(&store, "control", "a", LONG).await;
    assert_eq!(commits_under(&store, &old).await, Err(StoreError::Conflict(Compare::Fence(old.clone()))), "not even when it is holder again");
    assert_eq!(store.get(&tenant("by-a")).await.unwrap(), None);
    commits_under(&store, &again).await.unwrap();
}

/// The right number in the wrong hands does not help.
pub async fn foreign_fence_never_commits(fixture: &dyn Fixture) {
    let store = fixture.store();
    let mut lease = store.lease("control", "a", LONG).await.unwrap();
    lease.holder = "b".to_owned();
    assert!(matches!(commits_under(&store, &lease).await, Err(StoreError::Conflict(_))));
    let never = Lease { name: "nothing".to_owned(), holder: "a".to_owned(), fence: 1 };
    assert!(matches!(commits_under(&store, &never).await, Err(StoreError::Conflict(_))));
}

/// A lease that has run out is not held, even while nobody else took it.
pub async fn run_out_lease_never_commits(fixture: &dyn Fixture) {
    let store = fixture.store();
    let lease = store.lease("control", "a", SHORT).await.unwrap();
    let refused = async {
        while store.commit(vec![Compare::Fence(lease.clone())], Vec::new()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    let again = store.lease("control", "a", LONG).await.unwrap();
    assert!(again.fence > lease.fence, "there was a time without holder");
}

/// Given back is free at once, and its fence is old.
pub async fn release_frees(fixture: &dyn Fixture) {
    let store = fixture.store();
    let lease = store.lease("control", "a", LONG).await.unwrap();
    store.release(&lease).await.unwrap();
    assert!(matches!(commits_under(&store, &lease).await, Err(StoreError::Conflict(_))));
    let next = store.lease("control", "b", LONG).await.unwrap();
    assert!(next.fence > lease.fence);
}

/// A late release takes nothing from the next holder.
pub async fn old_release_is_nothing(fixture: &dyn Fixture) {
    let store = fixture.store();
    let old = store.lease("control", "a", SHORT).await.unwrap();
    let new = take(&store, "control", "b", LONG).await;
    store.release(&old).await.unwrap();
    commits_under(&store, &new).await.unwrap();
}

/// Two names are two leases.
pub async fn leases_do_not_meet(fixture: &dyn Fixture) {
    let store = fixture.store();
    let a = store.lease("control", "a", LONG).await.unwrap();
    let b = store.lease("backup", "b", LONG).await.unwrap();
    put_one(&store, spec(&tenant("t"), json!({}))).await;
    commits_under(&store, &a).await.unwrap();
    commits_under(&store, &b).await.unwrap();
}
