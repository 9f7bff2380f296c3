//! The issuer without any authority: what lies in the folder, policies, tickets, and domains that may not be asked for.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use certs::acme::{Authority, Proof};
use certs::{Book, DEFAULT, Https, Kind, What, self_signed};
use identity::Sealer;
use issuer::{CertificateFeed, Issuer, Limits, Options, Probe, Wish, Wishes};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Wished(Mutex<(Vec<Wish>, Https)>);

#[async_trait]
impl Wishes for Wished {
    async fn wishes(&self) -> Result<(Vec<Wish>, Https), String> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn active(&self) -> bool {
        true
    }
}

struct World {
    folder: tempfile::TempDir,
    book: Arc<Book>,
    wished: Arc<Wished>,
    issuer: Arc<Issuer>,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    fn new(authorities: Vec<Authority>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::create_or_open(&folder.path().join("master.key")).unwrap();
        let book = Arc::new(Book::open(&folder.path().join("book.db"), sealer, 16).unwrap());
        let options = Options {
            authorities,
            limits: Limits::default(),
            proofs: vec![Proof::Http],
            probe: Probe::default(),
            private_names: false,
            folder: folder.path().join("certificates"),
            self_signed: vec!["localhost".to_owned()],
        };
        std::fs::create_dir(&options.folder).unwrap();
        let wished = Arc::new(Wished::default());
        let (issuer, stop) = (Issuer::new(options, book.clone(), CertificateFeed::new(book.clone()), wished.clone()), CancellationToken::new());
        tokio::spawn(issuer.clone().run(stop.clone()));
        Self { folder, book, wished, issuer, stop }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("certificates").join(name)
    }

    fn problem(&self, about: &str) -> String {
        self.issuer.problems().get(about).cloned().unwrap_or_default()
    }
}

fn lay(path: &Path, text: &str, mode: u32) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::rename(beside, path).unwrap();
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folders_certificates_are_taken_and_go_and_bad_ones_change_nothing() {
    let world = World::new(Vec::new());
    eventually("a default that nobody signed", || world.book.read(Kind::Certificate, DEFAULT).unwrap().is_some()).await;
    eventually("keys of tickets", || world.book.read(Kind::Tickets, "tickets").unwrap().is_some()).await;
    let (chain, key) = self_signed(&["*.shop.example"], Timestamp::now()).unwrap();
    let good = format!("{}{chain}", key.reveal());
    lay(&world.file("wild.pem"), &good, 0o644);
    eventually("a file open to others is named", || world.problem("wild.pem").contains("chmod 600")).await;
    assert!(world.book.covering("a.shop.example").is_none());
    lay(&world.file("wild.pem"), &good, 0o600);
    eventually("it is taken", || world.book.covering("a.shop.example").is_some()).await;
    let (_, other) = self_signed(&["*.shop.example"], Timestamp::now()).unwrap();
    lay(&world.file("wild.pem"), &format!("{}{chain}", other.reveal()), 0o600);
    eventually("a foreign key is named", || world.problem("wild.pem").contains("does not belong")).await;
    let Some(What::Certificate(kept)) = world.book.read(Kind::Certificate, "wild.pem").unwrap().map(|entry| entry.what) else { panic!("it is gone") };
    assert_eq!(kept.key.reveal(), key.reveal(), "the one before stays");
    std::fs::remove_file(world.file("wild.pem")).unwrap();
    eventually("it goes with its file", || world.book.covering("a.shop.example").is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_follow_wishes_and_nobody_asks_for_what_must_not_be_asked() {
    // An authority that nobody may reach: were it asked, the domain would have a problem.
    let nowhere =
        Authority { name: "nowhere".to_owned(), directory: "https://localhost:1/dir".to_owned(), root: None, contact: None, external: None };
    let world = World::new(vec![nowhere]);
    let all = Https { redirect: true, hsts: 60 };
    let wish = |domain: &str, active, https| Wish { domain: domain.to_owned(), active, https };
    *world.wished.0.lock().unwrap() =
        (vec![wish("a.localhost", true, Some(Https::default())), wish("suspended.invalid.org", false, None), wish("b.internal", true, None)], all);
    eventually("policies", || world.book.policy("b.internal") == all && world.book.own_policy("a.localhost").is_some()).await;
    assert_eq!(world.book.policy("a.localhost"), Https::default());
    assert_eq!(world.book.https("b.internal"), Https::default(), "no certificate covers it");
    world.wished.0.lock().unwrap().0.clear();
    eventually("they go with their domains", || world.book.own_policy("a.localhost").is_none()).await;
    assert!(world.issuer.problems().is_empty(), "{:?}", world.issuer.problems());
}
