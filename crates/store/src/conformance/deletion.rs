//! Deleting: finalizers act before a document goes.

use serde_json::json;

use super::{Fixture, finalizers, guarded, head, names, put, put_one, spec, tenant};
use crate::{StoreError, Write};

/// Without finalizers a document goes at once.
pub async fn delete_without_finalizers_removes(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    put_one(&store, spec(&shop, json!({}))).await;
    assert_eq!(put(&store, vec![Write::Delete(shop.clone())]).await.documents, vec![None]);
    assert_eq!(store.get(&shop).await.unwrap(), None);
}

/// With finalizers left it is only marked, and its spec can still change.
pub async fn delete_with_finalizers_marks(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    put_one(&store, guarded(&shop, &["files", "schema"])).await;
    let marked = put_one(&store, Write::Delete(shop.clone())).await;
    assert!(marked.metadata.deletion_requested_at.is_some());
    assert_eq!(marked.metadata.finalizers, names(&["files", "schema"]));
    let changed = put_one(&store, spec(&shop, json!({ "n": 2 }))).await;
    assert_eq!(changed.metadata.deletion_requested_at, marked.metadata.deletion_requested_at);
}

/// The last finalizer's removal removes the document.
pub async fn last_finalizer_removes(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    put_one(&store, guarded(&shop, &["files", "schema"])).await;
    put_one(&store, Write::Delete(shop.clone())).await;
    let one_left = put_one(&store, finalizers(&shop, &[], &["files"])).await;
    assert_eq!(one_left.metadata.finalizers, names(&["schema"]));
    assert_eq!(put(&store, vec![finalizers(&shop, &[], &["schema"])]).await.documents, vec![None]);
    assert_eq!(store.get(&shop).await.unwrap(), None);
}

/// A marked document takes no new finalizer; one that it has may be named again.
pub async fn marked_document_takes_no_finalizer(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    put_one(&store, guarded(&shop, &["files"])).await;
    let marked = put_one(&store, Write::Delete(shop.clone())).await;
    assert!(matches!(store.commit(Vec::new(), vec![finalizers(&shop, &["late"], &[])]).await, Err(StoreError::Refused(_))));
    let swap = store.commit(Vec::new(), vec![finalizers(&shop, &["late"], &["files"])]).await;
    assert!(matches!(swap, Err(StoreError::Refused(_))), "not even while the last one leaves");
    assert_eq!(put_one(&store, finalizers(&shop, &["files"], &[])).await, marked);
}

/// Nothing happens to a document that does not stand.
pub async fn deleting_nothing_is_nothing(fixture: &dyn Fixture) {
    let store = fixture.store();
    let before = head(&store).await;
    let committed = put(&store, vec![Write::Delete(tenant("nobody"))]).await;
    assert_eq!((committed.revision, committed.documents), (before, vec![None]));
}

/// The mark's time is that of the first delete.
pub async fn deleting_twice_keeps_the_first_mark(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    put_one(&store, guarded(&shop, &["files"])).await;
    let first = put_one(&store, Write::Delete(shop.clone())).await;
    assert_eq!(put_one(&store, Write::Delete(shop.clone())).await, first);
}

/// A later spec write neither adds nor removes finalizers.
pub async fn only_creation_takes_finalizers(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    put_one(&store, guarded(&shop, &["files"])).await;
    let again = put_one(&store, guarded(&shop, &["other"])).await;
    assert_eq!(again.metadata.finalizers, names(&["files"]));
    let added = put_one(&store, finalizers(&shop, &["other"], &[])).await;
    assert_eq!(added.metadata.finalizers, names(&["files", "other"]));
}

/// Without a mark the last finalizer leaves the document standing.
pub async fn finalizer_removed_before_the_mark_keeps(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    put_one(&store, guarded(&shop, &["files"])).await;
    let bare = put_one(&store, finalizers(&shop, &[], &["files"])).await;
    assert!(bare.metadata.finalizers.is_empty());
    assert_eq!(store.get(&shop).await.unwrap(), Some(bare));
}
