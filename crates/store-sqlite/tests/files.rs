//! What is refused, what survives, what a backup holds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use model::{DocumentName, Kind, Revision};
use serde_json::{Value, json};
use store::{Event, Key, ListOptions, Store, StoreError, Write};
use store_sqlite::{BackupError, OpenError, SqliteStore, look, restore};

fn tenant(name: &str) -> Key {
    Key::new(Kind::Tenant, DocumentName::new(name).unwrap())
}

fn spec(name: &str, spec: Value) -> Write {
    Write::Spec { key: tenant(name), spec, labels: BTreeMap::new(), finalizers: BTreeSet::new() }
}

async fn put(store: &SqliteStore, name: &str, value: Value) -> Revision {
    store.commit(Vec::new(), vec![spec(name, value)]).await.unwrap().revision
}

async fn value(store: &SqliteStore, name: &str) -> Option<Value> {
    store.get(&tenant(name)).await.unwrap().map(|d| d.spec)
}

/// Opens a file that must be refused, and shows that it was left as it is.
fn refused(path: &Path) -> OpenError {
    let before = fs::read(path).ok();
    let error = SqliteStore::open(path).unwrap_err();
    assert_eq!(fs::read(path).ok(), before, "a refused file must stay as it is");
    error
}

#[tokio::test]
async fn content_identity_and_log_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let incarnation = store.incarnation().await.unwrap();
    let first = put(&store, "a", json!({ "n": 1 })).await;
    put(&store, "a", json!({ "n": 2 })).await;
    let lease = store.lease("control", "x", Duration::from_secs(3_600)).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.incarnation().await.unwrap(), incarnation);
    assert_eq!(value(&store, "a").await, Some(json!({ "n": 2 })));
    let mut watch = store.watch(Some(Kind::Tenant), first).await.unwrap();
    let Event::Put(seen) = watch.next().await.unwrap() else { panic!("the log lost a change") };
    assert_eq!(seen.spec, json!({ "n": 2 }));
    let next = store.lease("control", "y", Duration::from_secs(3_600)).await.unwrap();
    assert!(next.fence > lease.fence, "a lease ends with its process, its fence does not");
}

#[tokio::test]
async fn a_store_has_one_process_and_no_secrets_for_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    put(&store, "a", json!({})).await;
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::InUse { .. })));
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?} can be read by others", entry.path());
    }
    drop(store);
    SqliteStore::open(&path).unwrap();
}

#[tokio::test]
async fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("store.db");
    let store = SqliteStore::open(&good).unwrap();
    for n in 0..200 {
        put(&store, &format!("t{n}"), json!({ "text": "x".repeat(400) })).await;
    }
    drop(store);
    let bytes = fs::read(&good).unwrap();
    let damaged = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = refused(&path);
        assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error:?}");
    };
    damaged("empty.db", &[]);
    damaged("text.db", b"this is not a database at all, but it is long enough to be looked at as one by a careless reader. ".repeat(20).as_slice());
    damaged("cut.db", &bytes[..bytes.len() / 2]);
    let mut torn = bytes.clone();
    for page in (4_096..torn.len()).step_by(4_096) {
        torn[page..page + 64].fill(0xa5);
    }
    damaged("torn.db", &torn);
    let gone = folder.path().join("gone.db");
    fs::write(folder.path().join("gone.db-wal"), b"log").unwrap();
    assert!(matches!(refused(&gone), OpenError::Damaged { .. }));
    assert!(!gone.exists(), "a store that is gone is not replaced by an empty one");
}

#[test]
fn foreign_and_newer_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(refused(&foreign), OpenError::Foreign { .. }));
    let newer = folder.path().join("newer.db");
    drop(SqliteStore::open(&newer).unwrap());
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(refused(&newer), OpenError::Newer { found: 99, known: 1, .. }));
    // The same with what was written last still in its log: not even that is folded into the file.
    let connection = rusqlite::Connection::open(&newer).unwrap();
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    connection.pragma_update(None, "user_version", 100).unwrap();
    drop(connection);
    let files = || (fs::read(&newer).unwrap(), fs::read(folder.path().join("newer.db-wal")).unwrap());
    let before = files();
    assert!(!before.1.is_empty());
    assert!(matches!(refused(&newer), OpenError::Newer { found: 100, .. }));
    assert!(files() == before, "it is as it was found");
}

/// A log that was cut off anywhere (power lost while it was written) costs the commits behind the cut, whole ones, and nothing else.
#[tokio::test]
async fn a_torn_log_loses_whole_commits_from_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    for n in 0..40 {
        store.commit(Vec::new(), vec![spec("left", json!(n)), spec("right", json!(n))]).await.unwrap();
    }
    let (database, log) = (fs::read(&path).unwrap(), fs::read(folder.path().join("store.db-wal")).unwrap());
    assert!(log.len() > 40 * 4_096, "the log must hold the commits for this test to mean anything");
    let mut last = None;
    for cut in (0..log.len()).step_by(1_777) {
        let copy = folder.path().join(format!("cut-{cut}.db"));
        fs::write(&copy, &database).unwrap();
        fs::write(folder.path().join(format!("cut-{cut}.db-wal")), &log[..cut]).unwrap();
        let torn = SqliteStore::open(&copy).unwrap();
        let found = (value(&torn, "left").await, value(&torn, "right").await);
        assert_eq!(found.0, found.1, "half a commit at {cut}");
        let n = found.0.and_then(|v| v.as_i64());
        assert!(n >= last, "a longer log holds no less: {n:?} after {last:?}");
        last = n;
        put(&torn, "left", json!("goes on")).await;
    }
    assert!(last > Some(30), "{last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_writes_is_one_state() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
    for n in 0..300 {
        put(&store, &format!("t{n}"), json!({ "text": "x".repeat(2_000) })).await;
    }
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 0..400 {
                store.commit(Vec::new(), vec![spec("left", json!(n)), spec("right", json!(n))]).await.unwrap();
            }
        }
    });
    for round in 0..5 {
        let copy = folder.path().join(format!("backup-{round}.db"));
        store.backup(&copy).await.unwrap();
        let opened = SqliteStore::open(&copy).unwrap();
        assert_eq!(value(&opened, "left").await, value(&opened, "right").await);
        assert!(opened.list(Kind::Tenant, ListOptions::default()).await.unwrap().documents.len() >= 300);
    }
    writer.await.unwrap();
    let taken = folder.path().join("backup-0.db");
    assert!(matches!(store.backup(&taken).await, Err(BackupError::Exists { .. })));
}

#[tokio::test]
async fn a_restored_store_is_another_life() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("store.db"), folder.path().join("backup.db"));
    let store = SqliteStore::open(&path).unwrap();
    let early = put(&store, "a", json!({ "n": 1 })).await;
    store.backup(&copy).await.unwrap();
    let late = put(&store, "a", json!({ "n": 2 })).await;
    let before = store.incarnation().await.unwrap();
    assert!(matches!(restore(&copy, &path), Err(OpenError::InUse { .. })));
    drop(store);
    let kept = restore(&copy, &path).unwrap().unwrap();
    let store = SqliteStore::open(&path).unwrap();
    assert_ne!(store.incarnation().await.unwrap(), before);
    assert_eq!(value(&store, "a").await, Some(json!({ "n": 1 })));
    let now = put(&store, "a", json!({ "n": 3 })).await;
    assert!(now > late, "no revision is given twice");
    for from in [early, late] {
        let told = match store.watch(Some(Kind::Tenant), from).await {
            Ok(mut watch) => watch.next().await.map(drop),
            Err(error) => Err(error),
        };
        assert_eq!(told, Err(StoreError::TooOld(from)), "readers of the former life list anew");
    }
    let again = store.incarnation().await.unwrap();
    drop(store);
    assert_eq!(SqliteStore::open(&path).unwrap().incarnation().await.unwrap(), again, "only once");
    assert_eq!(value(&SqliteStore::open(kept).unwrap(), "a").await, Some(json!({ "n": 2 })), "what stood there is kept");
}

#[tokio::test]
async fn a_backup_that_cannot_be_used_is_refused_and_nothing_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (path, good) = (folder.path().join("store.db"), folder.path().join("good %?#.db"));
    let store = SqliteStore::open(&path).unwrap();
    put(&store, "a", json!({ "n": 1 })).await;
    store.backup(&good).await.unwrap();
    drop(store);
    let summary = look(&good).unwrap();
    assert!(summary.taken_at.is_some() && summary.documents == 1 && summary.platforms.is_empty() && summary.revision == 1, "{summary:?}");
    let bad = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(&good).unwrap();
        change(&mut bytes);
        let bad = folder.path().join(name);
        fs::write(&bad, bytes).unwrap();
        bad
    };
    // Offsets of SQLite's file header: the user version and the application's id.
    let newer = bad("newer", &|bytes| bytes[60..64].copy_from_slice(&99_i32.to_be_bytes()));
    let foreign = bad("foreign", &|bytes| bytes[68..72].copy_from_slice(&7_i32.to_be_bytes()));
    let half = bad("half", &|bytes| bytes.truncate(bytes.len() / 2));
    let text = bad("text", &|bytes| *bytes = b"no database at all".repeat(100));
    let empty = bad("empty", &Vec::clear);
    let in_use = bad("in-use", &|_| {});
    fs::write(folder.path().join("in-use-wal"), "changes").unwrap();
    let before = listing(folder.path());
    for (file, wanted) in [(newer, "Newer"), (foreign, "Foreign"), (half, "Damaged"), (text, "Damaged"), (empty, "Damaged"), (in_use, "Damaged")] {
        let error = format!("{:?}", restore(&file, &path).unwrap_err());
        assert!(error.starts_with(wanted), "{}: {error}", file.display());
    }
    assert!(matches!(restore(&folder.path().join("none"), &path), Err(OpenError::Io { .. })));
    assert_eq!(listing(folder.path()), before, "nothing half-made is left, and no file was touched");
    assert_eq!(value(&SqliteStore::open(&path).unwrap(), "a").await, Some(json!({ "n": 1 })));
}

/// Every file of a folder with its content.
fn listing(folder: &std::path::Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn a_long_log_is_cut_and_readers_behind_the_cut_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
    let first = put(&store, "a", json!(-1)).await;
    let text = "x".repeat(100_000);
    for n in 0..16 {
        let writes = (0..50).map(|i| spec(&format!("t{i}"), json!({ "n": n, "text": text }))).collect();
        store.commit(Vec::new(), writes).await.unwrap();
    }
    let head = store.list(Kind::Cell, ListOptions::default()).await.unwrap().revision;
    let bytes = fs::metadata(folder.path().join("store.db")).unwrap().len();
    assert!(bytes < 220 << 20, "the log grows without end: {bytes}");
    let from = |revision| store.watch(Some(Kind::Tenant), revision);
    // Memory still has them; the log no longer does, which a page of a list shows.
    let mut page = store.list(Kind::Tenant, ListOptions { limit: Some(1), ..ListOptions::default() }).await.unwrap().next.unwrap();
    page.revision = first;
    let old = store.list(Kind::Tenant, ListOptions { page: Some(page), ..ListOptions::default() }).await;
    assert_eq!(old, Err(StoreError::TooOld(first)));
    assert!(from(head).await.is_ok());
}

#[tokio::test]
async fn numbers_come_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
    let spec = json!({ "a": 0.1 + 0.2, "b": 1.797_693_134_862_315_7e308, "c": 7.038_531e-26, "d": u64::MAX, "e": 5e-324 });
    let first = put(&store, "a", spec.clone()).await;
    assert_eq!(value(&store, "a").await, Some(spec.clone()));
    assert_eq!(put(&store, "a", spec).await, first, "the same again is no change");
}
