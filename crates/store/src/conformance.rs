//! The contract, case by case; every store runs it.
//!
//! Each case is a function over a [`Fixture`] with an empty store and panics where a promise is broken. [`crate::conformance_tests`] makes a test of each.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken promise of the contract is told by a panic; this module is only for tests")]

pub mod commits;
pub mod deletion;
pub mod documents;
pub mod leases;
pub mod lists;
pub mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use model::{Document, DocumentName, Kind, Revision};
use serde_json::{Value, json};

use crate::{Committed, Event, Key, SharedStore, StoreError, Watch, Write};

/// An empty store under test; dropping it cleans up.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The store.
    fn store(&self) -> SharedStore;

    /// Makes the store forget the changes so far, as its compaction would.
    async fn compact(&self);
}

/// Makes one test of each case. Give an async function that makes a [`Fixture`] and the attribute of a test, such as `tokio::test`.
#[macro_export]
macro_rules! conformance_tests {
    ($make:path, $(#[$test:meta])+) => {
        $crate::conformance_tests!(@cases $make, [$(#[$test])+];
            documents: created_document_is_read_back absent_document_is_none same_write_changes_nothing key_order_of_a_spec_is_no_change
                spec_and_status_are_written_apart generation_rises_with_spec_only status_of_an_absent_document_is_not_found who_asked_is_kept_apart
                uid_is_never_reused
                kinds_do_not_share_names dotted_names_are_kept oversized_document_is_refused odd_text_is_kept;
            deletion: delete_without_finalizers_removes delete_with_finalizers_marks last_finalizer_removes marked_document_takes_no_finalizer
                deleting_nothing_is_nothing deleting_twice_keeps_the_first_mark only_creation_takes_finalizers finalizer_removed_before_the_mark_keeps;
            commits: commit_is_all_or_nothing first_failing_compare_is_named empty_commit_checks_its_compares hundred_writes_and_no_more
                one_document_twice_is_one_change delete_and_create_in_one_commit_is_refused revision_compare_guards two_creations_of_one_key
                counters_lose_no_increment disjoint_commits_all_happen incarnation_stays;
            lists: list_is_ordered_and_of_one_kind list_selects_by_labels pages_agree_under_writes pages_fill_under_labels old_page_is_too_old
                future_page_is_refused list_and_get_agree list_then_watch_misses_nothing;
            watches: every_change_in_order past_changes_are_replayed kinds_are_filtered removal_is_told unchanged_write_is_not_told
                idle_watch_carries_a_bookmark silent_store_tells_nothing forgotten_past_is_too_old quiet_kind_survives_compaction
                future_revision_is_too_old thousand_watchers cancelled_next_loses_nothing resume_within_a_commit;
            leases: one_holder renewal_keeps_the_fence renewal_writes_nothing lease_runs_out fence_rises_with_the_holder old_fence_never_commits
                foreign_fence_never_commits run_out_lease_never_commits release_frees old_release_is_nothing leases_do_not_meet;
        );
    };
    (@cases $make:path, $tests:tt; $($module:ident: $($case:ident)+;)+) => {
        $($crate::conformance_tests!(@module $make, $tests, $module, $($case)+);)+
    };
    (@module $make:path, $tests:tt, $module:ident, $($case:ident)+) => {
        $($crate::conformance_tests!(@case $make, $tests, $module, $case);)+
    };
    (@case $make:path, [$($test:tt)+], $module:ident, $case:ident) => {
        $($test)+
        async fn $case() {
            let fixture = $make().await;
            $crate::conformance::$module::$case(&fixture).await;
        }
    };
}

/// How long a case waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

fn tenant(name: &str) -> Key {
    Key::new(Kind::Tenant, DocumentName::new(name).unwrap())
}

fn key(kind: Kind, name: &str) -> Key {
    Key::new(kind, DocumentName::new(name).unwrap())
}

fn spec(key: &Key, spec: Value) -> Write {
    Write::Spec { key: key.clone(), spec, labels: BTreeMap::new(), finalizers: BTreeSet::new() }
}

fn labelled(key: &Key, label: &str, value: &str) -> Write {
    let labels = BTreeMap::from([(label.to_owned(), value.to_owned())]);
    Write::Spec { key: key.clone(), spec: json!({ "n": 1 }), labels, finalizers: BTreeSet::new() }
}

fn guarded(key: &Key, finalizers: &[&str]) -> Write {
    let finalizers = names(finalizers);
    Write::Spec { key: key.clone(), spec: json!({ "n": 1 }), labels: BTreeMap::new(), finalizers }
}

fn finalizers(key: &Key, add: &[&str], remove: &[&str]) -> Write {
    Write::Finalizers { key: key.clone(), add: names(add), remove: names(remove) }
}

fn status(key: &Key, status: Value) -> Write {
    Write::Status { key: key.clone(), status }
}

fn names(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&t| t.to_owned()).collect()
}

/// Commits without compares.
async fn put(store: &SharedStore, writes: Vec<Write>) -> Committed {
    store.commit(Vec::new(), writes).await.unwrap()
}

/// Commits one write and gives the document as it stands then.
async fn put_one(store: &SharedStore, write: Write) -> Document {
    put(store, vec![write]).await.documents.remove(0).unwrap()
}

/// The store's newest revision, as a list tells it.
async fn head(store: &SharedStore) -> Revision {
    store.list(Kind::Platform, crate::ListOptions::default()).await.unwrap().revision
}

/// The next event, which must come.
async fn next(watch: &mut Box<dyn Watch>) -> Result<Event, StoreError> {
    tokio::time::timeout(PATIENCE, watch.next()).await.unwrap_or_else(|_| panic!("no event within {PATIENCE:?}"))
}

/// The next change, bookmarks left out.
async fn next_change(watch: &mut Box<dyn Watch>) -> Event {
    loop {
        match next(watch).await.unwrap() {
            Event::Bookmark(_) => {}
            event => return event,
        }
    }
}

/// The document of a `Put`.
fn stands(event: Event) -> Document {
    match event {
        Event::Put(document) => document,
        other => panic!("expected a document that stands, got {other:?}"),
    }
}
