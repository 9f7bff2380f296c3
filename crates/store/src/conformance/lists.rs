//! Lists: one consistent snapshot, whole or in pages.

use std::collections::BTreeMap;

use model::{Document, Kind, Revision};
use serde_json::json;

use super::{Fixture, key, labelled, next_change, put, put_one, spec, stands, tenant};
use crate::{ListOptions, Page, SharedStore, StoreError, Write};

fn names(documents: &[Document]) -> Vec<&str> {
    documents.iter().map(|d| d.metadata.name.as_str()).collect()
}

async fn list(store: &SharedStore, options: ListOptions) -> Page {
    store.list(Kind::Tenant, options).await.unwrap()
}

/// By name, only of the kind asked for, and empty is an answer.
pub async fn list_is_ordered_and_of_one_kind(fixture: &dyn Fixture) {
    let store = fixture.store();
    assert_eq!(list(&store, ListOptions::default()).await.documents, Vec::new());
    put(&store, ["c", "a", "b"].map(|n| spec(&tenant(n), json!({}))).to_vec()).await;
    put_one(&store, spec(&key(Kind::Cell, "z"), json!({}))).await;
    let page = list(&store, ListOptions::default()).await;
    assert_eq!((names(&page.documents), page.next), (vec!["a", "b", "c"], None));
}

/// All labels asked for must stand.
pub async fn list_selects_by_labels(fixture: &dyn Fixture) {
    let store = fixture.store();
    put(&store, vec![labelled(&tenant("a"), "plan", "big"), labelled(&tenant("b"), "plan", "small"), spec(&tenant("c"), json!({}))]).await;
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect::<BTreeMap<_, _>>();
    let big = list(&store, ListOptions { labels: labels(&[("plan", "big")]), ..ListOptions::default() }).await;
    assert_eq!(names(&big.documents), ["a"]);
    let both = list(&store, ListOptions { labels: labels(&[("plan", "big"), ("region", "eu")]), ..ListOptions::default() }).await;
    assert_eq!(both.documents, Vec::new());
}

/// Pages speak of the revision of the first one, whatever is created, changed and removed meanwhile.
pub async fn pages_agree_under_writes(fixture: &dyn Fixture) {
    let store = fixture.store();
    for i in 0..10 {
        put_one(&store, spec(&tenant(&format!("t{i}")), json!({ "n": i }))).await;
    }
    let whole = list(&store, ListOptions::default()).await;
    let mut page = list(&store, ListOptions { limit: Some(3), ..ListOptions::default() }).await;
    let mut collected = page.documents.clone();
    let mut round = 0;
    while let Some(next) = page.next {
        put_one(&store, spec(&tenant(&format!("t{}a", 5 + round)), json!("new"))).await;
        put_one(&store, spec(&tenant(&format!("t{}", 9 - round)), json!("changed"))).await;
        put_one(&store, spec(&tenant(&format!("t{}", 9 - round)), json!("changed twice"))).await;
        put(&store, vec![Write::Delete(tenant(&format!("t{}", 4 + round)))]).await;
        page = list(&store, ListOptions { limit: Some(3), page: Some(next), ..ListOptions::default() }).await;
        assert_eq!(page.revision, whole.revision);
        assert!(page.documents.len() <= 3);
        collected.extend(page.documents.clone());
        round += 1;
    }
    assert_eq!(collected, whole.documents);
}

/// A page counts what was selected, not what was looked at; the last page has no next.
pub async fn pages_fill_under_labels(fixture: &dyn Fixture) {
    let store = fixture.store();
    for i in 0..9 {
        put_one(&store, labelled(&tenant(&format!("t{i}")), "odd", if i % 2 == 1 { "yes" } else { "no" })).await;
    }
    let options = ListOptions { labels: BTreeMap::from([("odd".to_owned(), "yes".to_owned())]), limit: Some(2), page: None };
    let first = list(&store, options.clone()).await;
    assert_eq!(names(&first.documents), ["t1", "t3"]);
    let second = list(&store, ListOptions { page: first.next, ..options }).await;
    assert_eq!((names(&second.documents), second.next), (vec!["t5", "t7"], None));
}

/// A list whose past is forgotten fails; it never mixes two states.
pub async fn old_page_is_too_old(fixture: &dyn Fixture) {
    let store = fixture.store();
    put(&store, ["a", "b", "c"].map(|n| spec(&tenant(n), json!({}))).to_vec()).await;
    let first = list(&store, ListOptions { limit: Some(1), ..ListOptions::default() }).await;
    put_one(&store, spec(&tenant("b"), json!({ "n": 2 }))).await;
    fixture.compact().await;
    let second = store.list(Kind::Tenant, ListOptions { limit: Some(1), page: first.next, ..ListOptions::default() }).await;
    assert_eq!(second, Err(StoreError::TooOld(first.revision)));
}

/// A page token of another life of the store is not believed.
pub async fn future_page_is_refused(fixture: &dyn Fixture) {
    let store = fixture.store();
    put(&store, ["a", "b"].map(|n| spec(&tenant(n), json!({}))).to_vec()).await;
    let first = list(&store, ListOptions { limit: Some(1), ..ListOptions::default() }).await;
    let mut token = first.next.unwrap();
    token.revision = Revision(token.revision.0 + 1_000);
    let result = store.list(Kind::Tenant, ListOptions { page: Some(token), ..ListOptions::default() }).await;
    assert!(matches!(result, Err(StoreError::TooOld(_))));
}

/// What a list shows is what each get shows.
pub async fn list_and_get_agree(fixture: &dyn Fixture) {
    let store = fixture.store();
    for i in 0..20 {
        put_one(&store, spec(&tenant(&format!("t{i}")), json!({ "n": i }))).await;
    }
    put_one(&store, super::status(&tenant("t3"), json!({ "seen": 1 }))).await;
    for document in list(&store, ListOptions::default()).await.documents {
        let key = tenant(document.metadata.name.as_str());
        assert_eq!(store.get(&key).await.unwrap(), Some(document));
    }
}

/// A watch from the list's revision shows exactly what the list did not.
pub async fn list_then_watch_misses_nothing(fixture: &dyn Fixture) {
    let store = fixture.store();
    put_one(&store, spec(&tenant("a"), json!({}))).await;
    let page = list(&store, ListOptions::default()).await;
    let later = put_one(&store, spec(&tenant("b"), json!({}))).await;
    let mut watch = store.watch(Some(Kind::Tenant), page.revision).await.unwrap();
    assert_eq!(stands(next_change(&mut watch).await), later);
}
