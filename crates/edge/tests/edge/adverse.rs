//! What goes wrong around an edge: a full disk, control that went back in time, an identity that has ended, visitors who ask for what is not there.

use super::*;

const UNKNOWN: usize = 10_000;

/// One tenant at one gate, and an edge that has it on disk.
async fn standing(world: &World, address: SocketAddr) {
    let running = world.start("e1");
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    world.get_until("shop.example", 200).await;
    eventually("written", || world.written().is_some_and(|table| table.len() == 1)).await;
    end(running).await;
}

impl World {
    async fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    async fn admin(&self, path: &str) -> String {
        let mut visitor = Visitor { stream: TcpStream::connect((self.at, 9090)).await.unwrap(), read: Vec::new() };
        visitor.get("admin", path).await.unwrap().1
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_stops_nobody_and_is_over_when_there_is_room() {
    let (address, _gate) = gate(|_, _| ok("hi")).await;
    let world = World::new().await;
    std::fs::create_dir_all(world.state()).unwrap();
    // The kernel refuses each octet that goes there as a full disk does.
    let beside = world.state().join("routes.new.e1");
    std::os::unix::fs::symlink("/dev/full", &beside).unwrap();
    let running = world.start("e1");
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    world.get_until("shop.example", 200).await;
    let deadline = Instant::now() + PATIENCE;
    while world.metric("atoll_edge_routes_unwritten").await < 1.0 {
        assert!(Instant::now() < deadline, "a full disk is not told");
    }
    // Changes are followed as before.
    world.control.records(vec![record("shop.example", "a", 1, RouteState::Open), record("late.example", "a", 1, RouteState::Open)]);
    world.get_until("late.example", 200).await;
    assert!(world.written().is_none(), "nothing half written is taken for routes");
    std::fs::remove_file(&beside).unwrap();
    eventually("written at last", || world.written().is_some_and(|table| table.len() == 2)).await;
    while world.metric("atoll_edge_routes_unwritten").await > 0.0 {
        assert!(Instant::now() < deadline, "it is over and not told");
    }
    world.control_stop.cancel();
    end(running).await;
    let running = world.start("e1");
    world.get_until("late.example", 200).await;
    end(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_table_is_told_and_changes_nothing_and_a_restored_store_goes_beyond() {
    let (address, _gate) = gate(|_, _| ok("hi")).await;
    let world = World::new().await;
    let running = world.start("e1");
    let cells = [cell("a", 1, &[address])];
    for host in ["one.example", "two.example", "three.example"] {
        world.control.publish(&cells, vec![record("shop.example", "a", 1, RouteState::Open), record(host, "a", 1, RouteState::Open)]);
        world.get_until(host, 200).await;
    }
    let newest = world.control.generation();
    // As from a process of control that is behind: a whole table, and an older one.
    let (older, _) = Table::compile("i", Generation(1), cells.clone(), [record("old.example", "a", 1, RouteState::Open)]);
    *world.control.next_line.lock().unwrap() = routes::Line::Snapshot(Box::new(older.snapshot())).encode().unwrap();
    world.control.applied.lock().unwrap().clear();
    world.control.changed.send_replace(());
    let control = world.control.clone();
    eventually("told", || control.applied.lock().unwrap().iter().any(|(_, word)| word.halted.is_some() && word.generation == newest)).await;
    assert_eq!(world.get("three.example").await.0, 200);
    assert_eq!(world.get("old.example").await.0, 404);
    // A copy of the store that was restored is no such process: control hears how far its edges are, goes beyond, and its word counts.
    let restored = vec![record("shop.example", "a", 1, RouteState::Open), record("old.example", "a", 1, RouteState::Open)];
    *world.control.feed.lock().unwrap() = Feed::new("i", Generation(2), cells, restored, 100).0;
    world.control.changed.send_replace(());
    world.get_until("old.example", 200).await;
    assert!(world.control.generation() > newest);
    assert_eq!(world.get("three.example").await.0, 404);
    end(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_that_has_ended_parts_an_edge_from_control_and_from_nobody_else() {
    let (address, _gate) = gate(|_, _| ok("hi")).await;
    let world = World::new().await;
    standing(&world, address).await;
    // An authority and a certificate of three years ago: neither side believes the other any more.
    let past = Timestamp::now() - Duration::from_secs(3 * 366 * 86_400);
    let ca = Ca::create_or_open(&world.folder.path().join("past"), &PlatformName::new("atoll").unwrap(), past).unwrap();
    std::fs::remove_dir_all(world.folder.path().join("identity")).unwrap();
    ca.ensure(&world.folder.path().join("identity"), &Role::Edge("edge".parse().unwrap()), None, past).unwrap();
    let running = world.start("e1");
    assert!(world.get_until("shop.example", 200).await.ends_with("hi"), "from disk");
    world.control.records(vec![record("shop.example", "a", 1, RouteState::Open), record("late.example", "a", 1, RouteState::Open)]);
    let summary = || async { world.admin("/routes").await };
    let deadline = Instant::now() + PATIENCE;
    while !summary().await.contains("\"problem\":\"") {
        assert!(Instant::now() < deadline, "not told: {}", summary().await);
    }
    assert_eq!(world.get("late.example").await.0, 404);
    assert_eq!(world.get("shop.example").await.0, 200);
    end(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_unknown_hosts_leave_nothing_behind_and_harm_nobody() {
    let (address, gate) = gate(|_, _| ok("hi")).await;
    let world = World::new().await;
    let running = world.start("e1");
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    world.get_until("shop.example", 200).await;
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    world.get("first-of-them.example").await;
    let before = series(&world.admin("/metrics").await);
    let began = Instant::now();
    let mut crowd = tokio::task::JoinSet::new();
    for n in 0..20 {
        let mut visitor = world.visitor().await;
        crowd.spawn(async move {
            for m in 0..UNKNOWN / 20 {
                let (status, text) = visitor.get(&format!("host-{n}-{m}.example"), "/").await.unwrap();
                assert!(status == 404 && text.contains("Atoll-Reason: UnknownHost"), "{text}");
            }
        });
    }
    // A visitor who is at home is served while it lasts.
    let mut served = 0;
    while !crowd.is_empty() {
        assert_eq!(world.get("shop.example").await.0, 200);
        served += 1;
        while let Some(ended) = crowd.try_join_next() {
            ended.unwrap();
        }
    }
    println!("{UNKNOWN} unknown hosts in {:?}, {served} visitors served meanwhile", began.elapsed());
    let metrics = world.admin("/metrics").await;
    assert_eq!(series(&metrics), before, "no series for what is not there");
    assert!(!metrics.contains("host-1-1") && world.admin("/routes").await.contains("\"hosts\":1"));
    let took = edge::client::tenants((world.at, 9090).into()).await.unwrap();
    assert!(took.iter().all(|took| took.tenant == "acme"), "nothing is counted for who is not there: {took:?}");
    end(running).await;
    gate.abort();
}
