//! What a document carries, and what changes it.

use model::{Generation, Kind, Revision};
use serde_json::{Value, json};

use super::{Fixture, head, key, labelled, put, put_one, spec, status, tenant};
use crate::{MAX_DOCUMENT, StoreError, Write};

/// A document that was created has everything that the store gives.
pub async fn created_document_is_read_back(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    let committed = put(&store, vec![labelled(&shop, "plan", "big")]).await;
    let read = store.get(&shop).await.unwrap().unwrap();
    assert_eq!(committed.documents, vec![Some(read.clone())], "the commit's answer is what stands");
    assert_eq!(committed.revision, read.metadata.revision);
    assert_eq!((read.kind, read.metadata.name.as_str()), (Kind::Tenant, "shop"));
    assert_eq!(read.metadata.generation, Generation(1));
    assert_ne!(read.metadata.revision, Revision(0));
    assert!(!read.metadata.uid.is_empty() && read.metadata.created_at.is_some());
    assert_eq!(read.metadata.labels.get("plan").map(String::as_str), Some("big"));
    assert_eq!((read.spec, read.status), (json!({ "n": 1 }), Value::Null));
    assert_eq!(read.metadata.deletion_requested_at, None);
}

/// What never stood is no error.
pub async fn absent_document_is_none(fixture: &dyn Fixture) {
    assert_eq!(fixture.store().get(&tenant("nobody")).await.unwrap(), None);
}

/// Writing what already stands changes no revision, of nothing.
pub async fn same_write_changes_nothing(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    put_one(&store, spec(&shop, json!({ "n": 1 }))).await;
    let stood = put_one(&store, status(&shop, json!({ "ok": true }))).await;
    let before = head(&store).await;
    assert_eq!(put_one(&store, spec(&shop, json!({ "n": 1 }))).await, stood);
    assert_eq!(put_one(&store, status(&shop, json!({ "ok": true }))).await, stood);
    assert_eq!(head(&store).await, before);
}

/// The order of keys says nothing.
pub async fn key_order_of_a_spec_is_no_change(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    let first = put_one(&store, spec(&shop, json!({ "a": 1, "b": { "c": 2, "d": 3 } }))).await;
    let second = put_one(&store, spec(&shop, json!({ "b": { "d": 3, "c": 2 }, "a": 1 }))).await;
    assert_eq!(first.metadata, second.metadata);
}

/// Who asked stands beside spec and status: it raises no generation, later writes leave it, and nobody can have asked for what does not stand.
pub async fn who_asked_is_kept_apart(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    let asked = |by: &str| Write::Asked { key: shop.clone(), by: by.to_owned() };
    assert_eq!(store.commit(Vec::new(), vec![asked("ann")]).await, Err(StoreError::NotFound(shop.clone())));
    let made = put(&store, vec![spec(&shop, json!({ "n": 1 })), asked("ann")]).await.documents.remove(1).unwrap();
    assert_eq!((made.metadata.asked_by.as_deref(), made.metadata.generation), (Some("ann"), Generation(1)));
    let later = put_one(&store, status(&shop, json!({ "ok": true }))).await;
    assert_eq!(later.metadata.asked_by.as_deref(), Some("ann"));
    let before = head(&store).await;
    put_one(&store, asked("ann")).await;
    assert_eq!(head(&store).await, before, "what already stands changes no revision");
    let other = put_one(&store, asked("bob")).await;
    assert_eq!((other.metadata.asked_by.as_deref(), other.metadata.generation, other.spec), (Some("bob"), Generation(1), json!({ "n": 1 })));
}

/// Spec writers never touch status and the reverse.
pub async fn spec_and_status_are_written_apart(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    put_one(&store, spec(&shop, json!({ "n": 1 }))).await;
    let with_status = put_one(&store, status(&shop, json!({ "seen": 1 }))).await;
    assert_eq!((with_status.spec, with_status.status), (json!({ "n": 1 }), json!({ "seen": 1 })));
    let with_spec = put_one(&store, spec(&shop, json!({ "n": 2 }))).await;
    assert_eq!((with_spec.spec, with_spec.status), (json!({ "n": 2 }), json!({ "seen": 1 })));
}

/// Generation counts changes of spec; revision counts all.
pub async fn generation_rises_with_spec_only(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    let created = put_one(&store, spec(&shop, json!({ "n": 1 }))).await;
    let status = put_one(&store, status(&shop, json!({ "seen": 1 }))).await;
    assert_eq!(status.metadata.generation, Generation(1));
    assert_ne!(status.metadata.revision, created.metadata.revision);
    let label = put_one(&store, labelled(&shop, "plan", "big")).await;
    assert_eq!(label.metadata.generation, Generation(1), "a label is no wish of the spec");
    assert_ne!(label.metadata.revision, status.metadata.revision);
    let spec = put_one(&store, spec(&shop, json!({ "n": 2 }))).await;
    assert_eq!(spec.metadata.generation, Generation(2));
    assert_eq!(spec.metadata.created_at, created.metadata.created_at);
}

/// A status cannot create its document.
pub async fn status_of_an_absent_document_is_not_found(fixture: &dyn Fixture) {
    let store = fixture.store();
    let nobody = tenant("nobody");
    assert_eq!(store.commit(Vec::new(), vec![status(&nobody, json!(1))]).await, Err(StoreError::NotFound(nobody.clone())));
    assert_eq!(store.get(&nobody).await.unwrap(), None);
}

/// A name may come again; a uid and a revision never.
pub async fn uid_is_never_reused(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    let first = put_one(&store, spec(&shop, json!({}))).await;
    put(&store, vec![crate::Write::Delete(shop.clone())]).await;
    let second = put_one(&store, spec(&shop, json!({}))).await;
    assert_ne!(first.metadata.uid, second.metadata.uid);
    assert_ne!(first.metadata.revision, second.metadata.revision);
    assert_eq!(second.metadata.generation, Generation(1));
}

/// A tenant and a cell of one name are two documents.
pub async fn kinds_do_not_share_names(fixture: &dyn Fixture) {
    let store = fixture.store();
    let (a, b) = (key(Kind::Tenant, "same"), key(Kind::Cell, "same"));
    put(&store, vec![spec(&a, json!("tenant")), spec(&b, json!("cell"))]).await;
    assert_eq!(store.get(&a).await.unwrap().unwrap().spec, json!("tenant"));
    assert_eq!(store.get(&b).await.unwrap().unwrap().spec, json!("cell"));
}

/// Domains are names too.
pub async fn dotted_names_are_kept(fixture: &dyn Fixture) {
    let store = fixture.store();
    let domain = key(Kind::Domain, "www.shop.example");
    put_one(&store, spec(&domain, json!({}))).await;
    assert_eq!(store.get(&domain).await.unwrap().unwrap().metadata.name, domain.name);
}

/// The limit is checked at the door, for the whole document, and nothing of the commit happens.
pub async fn oversized_document_is_refused(fixture: &dyn Fixture) {
    let store = fixture.store();
    let (small, big) = (tenant("small"), tenant("big"));
    let writes = vec![spec(&small, json!({})), spec(&big, json!("x".repeat(MAX_DOCUMENT)))];
    assert!(matches!(store.commit(Vec::new(), writes).await, Err(StoreError::Refused(_))));
    assert_eq!(store.get(&small).await.unwrap(), None);
    put_one(&store, spec(&big, json!("x".repeat(MAX_DOCUMENT / 2)))).await;
    let both = store.commit(Vec::new(), vec![status(&big, json!("y".repeat(MAX_DOCUMENT / 2)))]).await;
    assert!(matches!(both, Err(StoreError::Refused(_))), "spec and status count together");
    put_one(&store, status(&big, json!("fits"))).await;
}

/// Text comes back as it was given.
pub async fn odd_text_is_kept(fixture: &dyn Fixture) {
    let store = fixture.store();
    let shop = tenant("shop");
    let odd = json!({ "nul": "a\u{0}b", "quote": "'\"\\%_", "wide": "žluťoučký 🐎", "deep": [[[[{}]]]], "big": u64::MAX, "float": 0.1 });
    put_one(&store, spec(&shop, odd.clone())).await;
    assert_eq!(store.get(&shop).await.unwrap().unwrap().spec, odd);
}
