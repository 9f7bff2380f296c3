#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use model::{DocumentName, Kind};
use serde_json::json;
use store::{Key, ListOptions, Store as _, StoreError, Write};

use crate::{SqliteStore, open};

fn write(n: usize) -> Write {
    let key = Key::new(Kind::Tenant, DocumentName::new(format!("t{n}")).unwrap());
    Write::Spec { key, spec: json!({ "text": "x".repeat(20_000) }), labels: BTreeMap::new(), finalizers: BTreeSet::new() }
}

/// A full disk, as SQLite sees it: its file may not grow any further.
#[tokio::test]
async fn a_full_disk_refuses_writes_loses_nothing_and_is_over_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let opened = open::open(&path).unwrap();
    // Of 4 KiB each: room for some ten documents, each of which stands in the log of changes as well.
    opened.connection.pragma_update(None, "max_page_count", 150).unwrap();
    let store = SqliteStore::over(&path, opened).unwrap();
    let mut kept = 0;
    let error = loop {
        match store.commit(Vec::new(), vec![write(kept)]).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 100, "it never fills up");
    };
    assert!(kept > 3, "{kept}");
    // Either is right: that nothing happened, or that it is not known. It must not be taken for done.
    assert!(matches!(&error, StoreError::Unavailable(why) | StoreError::Unknown(why) if why.contains("full")), "{error}");
    let count = async || store.list(Kind::Tenant, ListOptions::default()).await.unwrap().documents.len();
    assert_eq!(count().await, kept, "reading goes on, and what was refused is not there");
    // Whether they share a flush or not: what was refused beside others, and what comes behind it, is not there either, however small.
    let small = |n: usize| Write::Status { key: write(n).key().clone(), status: json!({ "n": n }) };
    for _ in 0..20 {
        let commit = |writes| store.commit(Vec::new(), writes);
        let (big, small) = tokio::join!(commit(vec![write(kept), write(kept + 1)]), commit(vec![small(0)]));
        assert!(big.is_err(), "it stays full");
        let stands = store.get(write(0).key()).await.unwrap().unwrap();
        assert!(small.is_ok() || stands.status.is_null(), "refused, and there: {stands:?}");
        assert_eq!(count().await, kept);
    }
    // Room is made without anybody starting anything anew.
    store.forget().await.unwrap();
    store.commit(Vec::new(), vec![write(kept)]).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.list(Kind::Tenant, ListOptions::default()).await.unwrap().documents.len(), kept + 1);
}
