//! The store keeps the contract.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use async_trait::async_trait;
use store::SharedStore;
use store::conformance::Fixture;
use store_sqlite::SqliteStore;
use tempfile::TempDir;

struct File {
    store: SqliteStore,
    _folder: TempDir,
}

#[async_trait]
impl Fixture for File {
    fn store(&self) -> SharedStore {
        Arc::new(self.store.clone())
    }
    async fn compact(&self) {
        self.store.forget().await.unwrap();
    }
}

#[expect(clippy::unused_async, reason = "other fixtures wait")]
async fn file() -> File {
    let folder = tempfile::tempdir().unwrap();
    File { store: SqliteStore::open(folder.path().join("store.db")).unwrap(), _folder: folder }
}

store::conformance_tests!(file, #[tokio::test(flavor = "multi_thread", worker_threads = 2)]);
