//! Kills a process that commits, again and again, at any moment: what it acknowledged stands, a commit is whole or absent, the store opens.
//!
//! The program starts itself as the child (`child FILE`), which tells each commit on its standard output after the store acknowledged it.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use model::{DocumentName, Kind, Revision};
use serde_json::json;
use store::{Compare, Event, Key, Store, Write};
use store_sqlite::SqliteStore;

/// Times that the child is killed.
const ROUNDS: u32 = 25;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    match arguments.as_slice() {
        [role, file] if role == "child" => runtime.block_on(commit_until_killed(Path::new(file))),
        // Asked by a runner for other tests by name, or for a list of them.
        [first, ..] if !"killed".contains(first.as_str()) && !first.starts_with("--") => {}
        [first, ..] if first == "--list" => println!("killed: test"),
        _ => {
            runtime.block_on(kill_and_look());
            println!("test killed ... ok");
        }
    }
}

fn tenant(name: &str) -> Key {
    Key::new(Kind::Tenant, DocumentName::new(name).unwrap())
}

fn spec(name: &str, n: u64) -> Write {
    Write::Spec { key: tenant(name), spec: json!({ "n": n, "text": "x".repeat(1_500) }), labels: BTreeMap::new(), finalizers: BTreeSet::new() }
}

async fn counter(store: &SqliteStore, name: &str) -> u64 {
    store.get(&tenant(name)).await.unwrap().map_or(0, |d| d.spec["n"].as_u64().unwrap())
}

/// Two documents in each commit, under a lease, one number each.
async fn commit_until_killed(file: &Path) {
    let store = SqliteStore::open(file).unwrap();
    let lease = store.lease("control", &std::process::id().to_string(), Duration::from_secs(3_600)).await.unwrap();
    let mut n = counter(&store, "left").await;
    let mut out = std::io::stdout();
    writeln!(out, "fence {}", lease.fence).unwrap();
    loop {
        n += 1;
        store.commit(vec![Compare::Fence(lease.clone())], vec![spec("left", n), spec("right", n)]).await.unwrap();
        writeln!(out, "{n}").unwrap();
        out.flush().unwrap();
    }
}

/// Runs a child for a while and kills it; its fence and the last commit that it acknowledged.
fn killed_child(file: &Path, after: Duration) -> (u64, u64) {
    let mut child =
        Command::new(std::env::current_exe().unwrap()).arg("child").arg(file).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let fence = lines.next().unwrap().unwrap().strip_prefix("fence ").unwrap().parse().unwrap();
    let mut last = 0;
    let began = Instant::now();
    let mut alive = true;
    // What was told before the kill is still in the pipe; a line that was cut off was not told.
    while let Some(Ok(line)) = lines.next() {
        last = line.parse().unwrap_or(last).max(last);
        if alive && began.elapsed() >= after {
            child.kill().unwrap();
            alive = false;
        }
    }
    child.wait().unwrap();
    (fence, last)
}

async fn kill_and_look() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let (mut seen, mut fence, mut from) = (0, 0, Revision(0));
    for round in 0..ROUNDS {
        // From before the first commit to a few dozen of them, in steps that hit no rhythm.
        let after = Duration::from_micros(u64::from(round * round) * 311);
        let path = file.clone();
        let (new_fence, told) = tokio::task::spawn_blocking(move || killed_child(&path, after)).await.unwrap();
        assert!(new_fence > fence, "round {round}: fence {new_fence} after {fence}");
        fence = new_fence;
        let store = SqliteStore::open(&file).unwrap();
        let (left, right) = (counter(&store, "left").await, counter(&store, "right").await);
        assert_eq!(left, right, "round {round}: half a commit");
        assert!(left >= told, "round {round}: {told} was acknowledged, {left} stands");
        assert!(left >= seen && left <= told.max(seen) + 1, "round {round}: {left} stands after {told}");
        from = follow(&store, from, seen, left).await;
        seen = left;
    }
    assert!(seen > u64::from(ROUNDS), "only {seen} commits in {ROUNDS} rounds");
    println!("{ROUNDS} kills, {seen} commits, none lost");
}

/// Reads the log from one commit to another: every number of `left`, once, in order.
async fn follow(store: &SqliteStore, from: Revision, seen: u64, until: u64) -> Revision {
    let mut watch = store.watch(Some(Kind::Tenant), from).await.unwrap();
    let mut at = from;
    for n in seen + 1..=until {
        for name in ["left", "right"] {
            let event = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap();
            let Event::Put(document) = event else { panic!("{event:?} in place of {name} {n}") };
            assert_eq!((document.metadata.name.as_str(), document.spec["n"].as_u64()), (name, Some(n)));
            at = document.metadata.revision;
        }
    }
    at
}
