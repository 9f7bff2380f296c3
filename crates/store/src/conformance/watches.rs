//! Watches: every change, in order, without polling.

use std::time::Duration;

use model::{Kind, Revision};
use serde_json::json;
use tokio::task::JoinSet;

use super::{Fixture, PATIENCE, head, key, next, next_change, put, put_one, spec, stands, status, tenant};
use crate::{Event, StoreError, Write};

/// Later changes come in order of revision, each as it stood then.
pub async fn every_change_in_order(fixture: &dyn Fixture) {
    let store = fixture.store();
    let mut watch = store.watch(Some(Kind::Tenant), head(&store).await).await.unwrap();
    let writer = store.clone();
    let written = tokio::spawn(async move {
        let mut written = Vec::new();
        for i in 0..300 {
            written.push(put_one(&writer, spec(&tenant(&format!("t{}", i % 7)), json!({ "n": i }))).await);
        }
        written
    });
    let mut seen = Vec::new();
    while seen.len() < 300 {
        seen.push(stands(next_change(&mut watch).await));
    }
    assert_eq!(seen, written.await.unwrap());
}

/// A watch from an earlier revision begins with what came since.
pub async fn past_changes_are_replayed(fixture: &dyn Fixture) {
    let store = fixture.store();
    let first = put_one(&store, spec(&tenant("a"), json!({ "n": 1 }))).await;
    let second = put_one(&store, spec(&tenant("a"), json!({ "n": 2 }))).await;
    let third = put_one(&store, status(&tenant("a"), json!({ "seen": 2 }))).await;
    let mut watch = store.watch(Some(Kind::Tenant), first.metadata.revision).await.unwrap();
    assert_eq!(stands(next_change(&mut watch).await), second);
    assert_eq!(stands(next_change(&mut watch).await), third);
}

/// A watch of a kind sees that kind; a watch of all sees all.
pub async fn kinds_are_filtered(fixture: &dyn Fixture) {
    let store = fixture.store();
    let from = head(&store).await;
    let mut cells = store.watch(Some(Kind::Cell), from).await.unwrap();
    let mut all = store.watch(None, from).await.unwrap();
    let a = put_one(&store, spec(&tenant("a"), json!({}))).await;
    let b = put_one(&store, spec(&key(Kind::Cell, "b"), json!({}))).await;
    assert_eq!(stands(next_change(&mut cells).await), b);
    assert_eq!(stands(next_change(&mut all).await), a);
    assert_eq!(stands(next_change(&mut all).await), b);
}

/// A removal is told with the document as it last stood, at a revision of its own.
pub async fn removal_is_told(fixture: &dyn Fixture) {
    let store = fixture.store();
    let stood = put_one(&store, spec(&tenant("a"), json!({ "n": 1 }))).await;
    let mut watch = store.watch(Some(Kind::Tenant), stood.metadata.revision).await.unwrap();
    let removal = put(&store, vec![Write::Delete(tenant("a"))]).await.revision;
    let Event::Gone(gone) = next_change(&mut watch).await else { panic!("not told") };
    assert_eq!((gone.spec, gone.metadata.uid, gone.metadata.revision), (stood.spec, stood.metadata.uid, removal));
}

/// Nothing changed, nothing told.
pub async fn unchanged_write_is_not_told(fixture: &dyn Fixture) {
    let store = fixture.store();
    let from = put_one(&store, spec(&tenant("a"), json!({ "n": 1 }))).await.metadata.revision;
    let mut watch = store.watch(None, from).await.unwrap();
    put_one(&store, spec(&tenant("a"), json!({ "n": 1 }))).await;
    let later = put_one(&store, spec(&tenant("b"), json!({}))).await;
    assert_eq!(stands(next_change(&mut watch).await), later);
}

/// A watch of a quiet kind learns how far the store has come, so that it can go on from there.
pub async fn idle_watch_carries_a_bookmark(fixture: &dyn Fixture) {
    let store = fixture.store();
    let from = head(&store).await;
    let mut watch = store.watch(Some(Kind::Cell), from).await.unwrap();
    let changed = put_one(&store, spec(&tenant("a"), json!({}))).await.metadata.revision;
    assert_eq!(next(&mut watch).await, Ok(Event::Bookmark(changed)));
    fixture.compact().await;
    let mut again = store.watch(Some(Kind::Cell), changed).await.unwrap();
    let cell = put_one(&store, spec(&key(Kind::Cell, "b"), json!({}))).await;
    assert_eq!(stands(next_change(&mut again).await), cell);
}

/// Without any change a watch does not even wake.
pub async fn silent_store_tells_nothing(fixture: &dyn Fixture) {
    let store = fixture.store();
    put_one(&store, spec(&tenant("a"), json!({}))).await;
    let mut watch = store.watch(None, head(&store).await).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(1_500), watch.next()).await.is_err());
}

/// A reader too far behind is told so, never handed a silent gap.
pub async fn forgotten_past_is_too_old(fixture: &dyn Fixture) {
    let store = fixture.store();
    let from = put_one(&store, spec(&tenant("a"), json!({ "n": 1 }))).await.metadata.revision;
    put_one(&store, spec(&tenant("a"), json!({ "n": 2 }))).await;
    let mut open = store.watch(Some(Kind::Tenant), from).await.unwrap();
    fixture.compact().await;
    let fresh = match store.watch(Some(Kind::Tenant), from).await {
        Ok(mut watch) => next(&mut watch).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(fresh, StoreError::TooOld(from));
    let open = next(&mut open).await;
    assert!(open == Err(StoreError::TooOld(from)) || matches!(&open, Ok(Event::Put(d)) if d.spec == json!({ "n": 2 })), "{open:?}");
}

/// Nothing of this kind is missing, so its reader need not list anew.
pub async fn quiet_kind_survives_compaction(fixture: &dyn Fixture) {
    let store = fixture.store();
    let from = put_one(&store, spec(&key(Kind::Cell, "b"), json!({}))).await.metadata.revision;
    for i in 0..20 {
        put_one(&store, spec(&tenant("a"), json!({ "n": i }))).await;
    }
    fixture.compact().await;
    let mut watch = store.watch(Some(Kind::Cell), from).await.unwrap();
    let cell = put_one(&store, spec(&key(Kind::Cell, "c"), json!({}))).await;
    assert_eq!(stands(next_change(&mut watch).await), cell);
}

/// A revision that was never given comes from another life of the store.
pub async fn future_revision_is_too_old(fixture: &dyn Fixture) {
    let store = fixture.store();
    let future = Revision(head(&store).await.0 + 1_000);
    let error = match store.watch(None, future).await {
        Ok(mut watch) => next(&mut watch).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error, StoreError::TooOld(future));
}

/// A thousand watchers hear of one change, each, in less than the time that polling would need.
pub async fn thousand_watchers(fixture: &dyn Fixture) {
    let store = fixture.store();
    let from = head(&store).await;
    let mut watchers = JoinSet::new();
    for _ in 0..1_000 {
        let mut watch = store.watch(Some(Kind::Tenant), from).await.unwrap();
        watchers.spawn(async move { next_change(&mut watch).await });
    }
    let written = put_one(&store, spec(&tenant("a"), json!({}))).await;
    let heard = tokio::time::timeout(PATIENCE, watchers.join_all()).await.unwrap();
    assert_eq!(heard.len(), 1_000);
    assert!(heard.into_iter().all(|event| stands(event) == written));
}

/// `next` may be dropped while it waits and called again.
pub async fn cancelled_next_loses_nothing(fixture: &dyn Fixture) {
    let store = fixture.store();
    let mut watch = store.watch(Some(Kind::Tenant), head(&store).await).await.unwrap();
    let mut written = Vec::new();
    let mut seen = Vec::new();
    for i in 0..50 {
        assert!(tokio::time::timeout(Duration::from_micros(50), watch.next()).await.is_err());
        written.push(put_one(&store, spec(&tenant("a"), json!({ "n": i }))).await);
        let timely = tokio::time::timeout(Duration::from_micros(if i % 2 == 0 { 0 } else { 1_000 }), watch.next()).await;
        match timely {
            Ok(event) => seen.push(stands(event.unwrap())),
            Err(_) => seen.push(stands(next_change(&mut watch).await)),
        }
    }
    assert_eq!(seen, written);
}

/// A reader that stopped in the middle of a commit gets its rest.
pub async fn resume_within_a_commit(fixture: &dyn Fixture) {
    let store = fixture.store();
    let from = head(&store).await;
    put(&store, ["a", "b", "c"].map(|n| spec(&tenant(n), json!({}))).to_vec()).await;
    let mut watch = store.watch(Some(Kind::Tenant), from).await.unwrap();
    let first = stands(next_change(&mut watch).await);
    let mut again = store.watch(Some(Kind::Tenant), first.metadata.revision).await.unwrap();
    let rest = [stands(next_change(&mut again).await), stands(next_change(&mut again).await)];
    assert_eq!(rest.map(|d| d.metadata.name.to_string()), ["b", "c"]);
}
