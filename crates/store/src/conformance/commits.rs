//! Commits: all or nothing, and exactly one of two that race.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::{Fixture, head, put, put_one, spec, status, tenant};
use crate::{Compare, MAX_COMMIT, StoreError, Write};

/// A write that cannot be done takes the others with it.
pub async fn commit_is_all_or_nothing(fixture: &dyn Fixture) {
    let store = fixture.store();
    let (a, b) = (tenant("a"), tenant("b"));
    let before = head(&store).await;
    let result = store.commit(Vec::new(), vec![spec(&a, json!({})), status(&b, json!(1))]).await;
    assert_eq!(result, Err(StoreError::NotFound(b)));
    assert_eq!((store.get(&a).await.unwrap(), head(&store).await), (None, before));
}

/// Of several compares that do not hold, the first is told, and nothing changes.
pub async fn first_failing_compare_is_named(fixture: &dyn Fixture) {
    let store = fixture.store();
    let (a, b, c) = (tenant("a"), tenant("b"), tenant("c"));
    let stood = put(&store, vec![spec(&a, json!({})), spec(&b, json!({}))]).await;
    let revision = stood.documents[0].clone().unwrap().metadata.revision;
    let compares = vec![Compare::Revision(a.clone(), revision), Compare::Absent(b.clone()), Compare::Revision(c.clone(), revision)];
    let result = store.commit(compares, vec![spec(&c, json!({})), Write::Delete(a.clone())]).await;
    assert_eq!(result, Err(StoreError::Conflict(Compare::Absent(b))));
    assert_eq!(store.get(&c).await.unwrap(), None);
    assert!(store.get(&a).await.unwrap().is_some());
}

/// A commit without writes is a question.
pub async fn empty_commit_checks_its_compares(fixture: &dyn Fixture) {
    let store = fixture.store();
    let a = tenant("a");
    let before = head(&store).await;
    assert_eq!(store.commit(vec![Compare::Absent(a.clone())], Vec::new()).await.unwrap().revision, before);
    put_one(&store, spec(&a, json!({}))).await;
    assert_eq!(store.commit(vec![Compare::Absent(a.clone())], Vec::new()).await, Err(StoreError::Conflict(Compare::Absent(a))));
}

/// The limit is exact, and counts documents: one that is written twice is one.
pub async fn hundred_writes_and_no_more(fixture: &dyn Fixture) {
    let store = fixture.store();
    let writes = |n: usize| (0..n).map(|i| spec(&tenant(&format!("t{i}")), json!({}))).collect::<Vec<_>>();
    assert!(matches!(store.commit(Vec::new(), writes(MAX_COMMIT + 1)).await, Err(StoreError::Refused(_))));
    assert_eq!(store.get(&tenant("t0")).await.unwrap(), None);
    assert_eq!(put(&store, writes(MAX_COMMIT)).await.documents.len(), MAX_COMMIT);
    let twice = (0..MAX_COMMIT).map(|i| status(&tenant(&format!("t{i}")), json!({})));
    assert_eq!(put(&store, writes(MAX_COMMIT).into_iter().chain(twice).collect()).await.documents.len(), 2 * MAX_COMMIT);
}

/// Spec and status of a new document in one commit are one change; both answers are how it stands at the end.
pub async fn one_document_twice_is_one_change(fixture: &dyn Fixture) {
    let store = fixture.store();
    let a = tenant("a");
    let from = head(&store).await;
    let committed = put(&store, vec![spec(&a, json!({ "n": 1 })), status(&a, json!({ "seen": 1 }))]).await;
    let stands = store.get(&a).await.unwrap().unwrap();
    assert_eq!((&stands.spec, &stands.status), (&json!({ "n": 1 }), &json!({ "seen": 1 })));
    assert_eq!(committed.documents, vec![Some(stands.clone()), Some(stands.clone())]);
    let mut watch = store.watch(None, from).await.unwrap();
    assert_eq!(super::stands(super::next_change(&mut watch).await), stands);
    let back = put(&store, vec![spec(&a, json!({ "n": 2 })), spec(&a, json!({ "n": 1 }))]).await;
    assert_eq!(back.documents[1], Some(stands), "there and back is no change");
}

/// Readers would see one document turn into another.
pub async fn delete_and_create_in_one_commit_is_refused(fixture: &dyn Fixture) {
    let store = fixture.store();
    let a = tenant("a");
    let stood = put_one(&store, spec(&a, json!({}))).await;
    let result = store.commit(Vec::new(), vec![Write::Delete(a.clone()), spec(&a, json!({ "n": 2 }))]).await;
    assert!(matches!(result, Err(StoreError::Refused(_))));
    assert_eq!(store.get(&a).await.unwrap(), Some(stood));
}

/// A document read and changed by others since is not overwritten.
pub async fn revision_compare_guards(fixture: &dyn Fixture) {
    let store = fixture.store();
    let a = tenant("a");
    let read = put_one(&store, spec(&a, json!({ "n": 1 }))).await;
    put_one(&store, status(&a, json!({ "seen": 1 }))).await;
    let guard = Compare::Revision(a.clone(), read.metadata.revision);
    let result = store.commit(vec![guard.clone()], vec![spec(&a, json!({ "n": 2 }))]).await;
    assert_eq!(result, Err(StoreError::Conflict(guard)));
    put(&store, vec![Write::Delete(a.clone())]).await;
    let guard = Compare::Revision(a.clone(), read.metadata.revision);
    assert_eq!(store.commit(vec![guard.clone()], Vec::new()).await, Err(StoreError::Conflict(guard)), "what is gone stands at no revision");
}

/// Of many creations of one absent key exactly one happens.
pub async fn two_creations_of_one_key(fixture: &dyn Fixture) {
    let store = fixture.store();
    for round in 0..20 {
        let domain = super::key(model::Kind::Domain, &format!("d{round}.example"));
        let mut racers = JoinSet::new();
        for racer in 0..4 {
            let (store, domain) = (store.clone(), domain.clone());
            racers.spawn(
                async move { (racer, store.commit(vec![Compare::Absent(domain.clone())], vec![spec(&domain, json!({ "of": racer }))]).await) },
            );
        }
        let results = racers.join_all().await;
        let winners: Vec<_> = results.iter().filter(|(_, r)| r.is_ok()).map(|(racer, _)| *racer).collect();
        assert_eq!(winners.len(), 1, "round {round}: {results:?}");
        let losers = results.iter().filter(|(_, r)| *r == Err(StoreError::Conflict(Compare::Absent(domain.clone()))));
        assert_eq!(losers.count(), 3);
        assert_eq!(store.get(&domain).await.unwrap().unwrap().spec, json!({ "of": winners[0] }));
    }
}

/// Compare-and-swap by revision is enough to count.
pub async fn counters_lose_no_increment(fixture: &dyn Fixture) {
    let store = fixture.store();
    let counter = tenant("counter");
    put_one(&store, spec(&counter, json!(0))).await;
    let mut racers = JoinSet::new();
    for _ in 0..4 {
        let (store, counter) = (store.clone(), counter.clone());
        racers.spawn(async move {
            let mut done = 0;
            while done < 25 {
                let read = store.get(&counter).await.unwrap().unwrap();
                let next = json!(read.spec.as_u64().unwrap() + 1);
                let guard = Compare::Revision(counter.clone(), read.metadata.revision);
                match store.commit(vec![guard], vec![spec(&counter, next)]).await {
                    Ok(_) => done += 1,
                    Err(StoreError::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    racers.join_all().await;
    assert_eq!(store.get(&counter).await.unwrap().unwrap().spec, json!(100));
}

/// Commits that do not meet all happen, each at revisions of its own.
pub async fn disjoint_commits_all_happen(fixture: &dyn Fixture) {
    let store = fixture.store();
    let mut writers = JoinSet::new();
    for i in 0..50 {
        let store = Arc::clone(&store);
        writers.spawn(async move { put_one(&store, spec(&tenant(&format!("t{i}")), json!(i))).await.metadata.revision });
    }
    let mut revisions = writers.join_all().await;
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), 50);
    assert_eq!(store.list(model::Kind::Tenant, crate::ListOptions::default()).await.unwrap().documents.len(), 50);
}

/// A store that was not restored is the same store.
pub async fn incarnation_stays(fixture: &dyn Fixture) {
    let store = fixture.store();
    let first = store.incarnation().await.unwrap();
    put_one(&store, spec(&tenant("a"), json!({}))).await;
    assert!(!first.is_empty());
    assert_eq!(store.incarnation().await.unwrap(), first);
}
