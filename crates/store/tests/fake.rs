//! The fake keeps the contract, and its fault plan does what it says.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use model::{DocumentName, Kind, Revision};
use serde_json::json;
use store::conformance::Fixture;
use store::fake::{FakeStore, Faults, tokio_clock};
use store::{Key, SharedStore, Store, StoreError, Write};

struct Fake(FakeStore);

#[async_trait]
impl Fixture for Fake {
    fn store(&self) -> SharedStore {
        self.0.shared()
    }
    async fn compact(&self) {
        self.0.compact();
    }
}

#[expect(clippy::unused_async, reason = "other fixtures open files")]
async fn fake() -> Fake {
    Fake(FakeStore::new(tokio_clock(Timestamp::UNIX_EPOCH)))
}

store::conformance_tests!(fake, #[tokio::test(start_paused = true)]);

fn write(n: usize) -> Write {
    let key = Key::new(Kind::Tenant, DocumentName::new("a").unwrap());
    Write::Spec { key, spec: json!(n), labels: BTreeMap::new(), finalizers: BTreeSet::new() }
}

async fn outcomes(seed: u64) -> (Vec<String>, Revision) {
    let store = FakeStore::new(tokio_clock(Timestamp::UNIX_EPOCH));
    store.set_faults(Faults {
        seed,
        unavailable_ppm: 100_000,
        lost_answer_ppm: 100_000,
        lost_request_ppm: 100_000,
        late_ppm: 200_000,
        late_at_most: Duration::from_secs(2),
        too_old_ppm: 0,
    });
    let mut outcomes = Vec::new();
    for n in 0..200 {
        outcomes.push(format!("{:?}", store.commit(Vec::new(), vec![write(n)]).await.map(|c| c.revision)));
    }
    (outcomes, store.head())
}

#[tokio::test(start_paused = true)]
async fn a_seed_means_one_run() {
    assert_eq!(outcomes(7).await, outcomes(7).await);
    assert_ne!(outcomes(7).await, outcomes(8).await);
}

#[tokio::test(start_paused = true)]
async fn lost_answers_happened_and_lost_requests_did_not() {
    for (lost_answer, happened) in [(true, true), (false, false)] {
        let store = FakeStore::new(tokio_clock(Timestamp::UNIX_EPOCH));
        let all = 1_000_000;
        let faults =
            Faults { lost_answer_ppm: if lost_answer { all } else { 0 }, lost_request_ppm: if lost_answer { 0 } else { all }, ..Faults::default() };
        store.set_faults(faults);
        assert!(matches!(store.commit(Vec::new(), vec![write(1)]).await, Err(StoreError::Unknown(_))));
        assert_eq!(store.head() > Revision(0), happened);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_says_so() {
    let store = FakeStore::new(tokio_clock(Timestamp::UNIX_EPOCH));
    store.set_down(Some("maintenance"));
    assert_eq!(store.incarnation().await, Err(StoreError::Unavailable("maintenance".to_owned())));
    store.set_down(None);
    let first = store.incarnation().await.unwrap();
    store.begin_new_life();
    assert_ne!(store.incarnation().await.unwrap(), first);
}
