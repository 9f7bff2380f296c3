//! A real cluster under writes: its writer killed, paused, cut off; the agent away; everything dead at once; a node wiped. Nothing acknowledged is lost.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use data::{ClusterState, Data as _, NodeState, TenantAccess};
use mariadb::Mariadb;
use mysql_async::prelude::Queryable as _;
use support::{Ledger, World, docker, rows, tenant};

const SCHEMA: &str = "t_ledger";

/// Bounds of the product; the figures are printed.
const KILL: Duration = Duration::from_secs(5);
const LINK: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(15);
const OUTAGE: Duration = Duration::from_secs(30);
const RESYNC: Duration = Duration::from_secs(90);

async fn writer(world: &World, data: &Mariadb) -> String {
    data.observe(&world.order.cell).await.unwrap().writer.unwrap().to_string()
}

/// Does something to the writer's container under load, and measures the gap and the way back.
async fn fault(world: &World, data: &Mariadb, ledger: &Ledger, name: &str, bound: Duration, act: impl Fn(&str)) {
    let node = writer(world, data).await;
    ledger.next(Duration::from_secs(10)).await;
    ledger.gap();
    act(&world.container(&node));
    let left = |report: &data::ClusterReport| report.writer.as_ref().is_some_and(|writer| writer.as_str() != node);
    let (_, moved) = world.until(data, "another writer", bound, left).await;
    ledger.next(bound).await;
    let stall = ledger.gap();
    let (_, resync) = world.until(data, "in sync again", RESYNC, |report| report.state == ClusterState::Synced).await;
    println!(
        "FIGURE {name}: writer {node} moved {moved:.1?}, stall {stall:.1?}, in sync again after {resync:.1?}, stall meanwhile {:.1?}",
        ledger.gap()
    );
    assert!(stall <= bound, "{name}: commits stalled for {stall:?}, allowed are {bound:?}");
}

/// Kills every node at once, and waits until writes go on.
async fn outage(world: &World, data: &Mariadb, ledger: &Ledger, name: &str, between: impl FnOnce()) {
    let nodes = ["n1", "n2", "n3"].map(|node| world.container(node));
    ledger.next(Duration::from_secs(10)).await;
    ledger.gap();
    let mut arguments = vec!["kill", "-s", "KILL"];
    arguments.extend(nodes.iter().map(String::as_str));
    docker(&arguments).unwrap();
    between();
    let began = Instant::now();
    ledger.next(OUTAGE).await;
    ledger.next(OUTAGE).await;
    let writable = began.elapsed();
    let (_, resync) = world.synced(data).await;
    println!("FIGURE {name}: writable after {writable:.1?}, in sync after {:.1?}, gap {:.1?}", writable + resync, ledger.gap());
    assert!(writable <= OUTAGE);
}

async fn same_everywhere(world: &World, acknowledged: &BTreeSet<u64>) {
    for index in 0..3 {
        let rows = rows(world.order.node_address(index), SCHEMA).await;
        let lost: Vec<_> = acknowledged.difference(&rows).collect();
        assert!(lost.is_empty(), "node {index} lacks {} of {} acknowledged rows: {lost:?}", lost.len(), acknowledged.len());
    }
}

async fn ready(world: &World, data: &Mariadb) -> SocketAddr {
    let began = Instant::now();
    data.ensure(&world.order).await.unwrap();
    let (report, _) = world.synced(data).await;
    println!("FIGURE seed: three nodes in sync after {:.1?}", began.elapsed());
    data.tenant(&world.order.cell, &tenant(SCHEMA, TenantAccess::Open)).await.unwrap();
    let endpoint = report.endpoint.unwrap();
    let mut conn = support::connect(endpoint, SCHEMA).await.unwrap();
    conn.query_drop("CREATE TABLE ledger (id BIGINT UNSIGNED NOT NULL PRIMARY KEY) ENGINE=InnoDB").await.unwrap();
    endpoint
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    let world = World::new(3);
    let data = world.open().await;
    let endpoint = ready(&world, &data).await;
    let ledger = Ledger::start(endpoint, SCHEMA, 4);

    fault(&world, &data, &ledger, "kill", KILL, |container| drop(docker(&["kill", "-s", "KILL", container]).unwrap())).await;
    fault(&world, &data, &ledger, "pause", PAUSE, |container| drop(docker(&["kill", "-s", "STOP", container]).unwrap())).await;
    let network = format!("{}-{}-data", world.platform, world.order.cell);
    fault(&world, &data, &ledger, "link", LINK, |container| drop(docker(&["network", "disconnect", "-f", &network, container]).unwrap())).await;

    // The agent is away: writes go on, and the endpoint restarted meanwhile finds the writer by itself. On return nothing is restarted.
    let started = |world: &World| ["n1", "n2", "n3"].map(|node| docker(&["inspect", "-f", "{{.State.StartedAt}}", &world.container(node)]).unwrap());
    let before = started(&world);
    drop(data);
    ledger.gap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("FIGURE agent away: gap {:.1?}", ledger.gap());
    docker(&["kill", "-s", "KILL", &world.container("db")]).unwrap();
    docker(&["start", &world.container("db")]).unwrap();
    ledger.next(Duration::from_secs(10)).await;
    let data = world.open().await;
    world.synced(&data).await;
    assert_eq!(started(&world), before, "adoption restarts nothing");

    outage(&world, &data, &ledger, "outage", || ()).await;
    let last = writer(&world, &data).await;
    let wiped = ["n3", "n2"].into_iter().find(|node| *node != last).unwrap();
    outage(&world, &data, &ledger, "outage with a wiped node", || {
        std::fs::remove_dir_all(world.data(wiped)).unwrap();
    })
    .await;

    let acknowledged = ledger.end().await;
    println!("FIGURE ledger: {} acknowledged", acknowledged.len());
    assert!(acknowledged.len() > 100);
    same_everywhere(&world, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_last_writer_nothing_is_formed() {
    let world = World::new(3);
    let data = world.open().await;
    ready(&world, &data).await;
    let last = writer(&world, &data).await;
    data.stop(&world.order.cell).await.unwrap();
    world.until(&data, "stopped", Duration::from_secs(60), |report| report.state == ClusterState::Stopped).await;
    let aside = world.data(&last).with_extension("elsewhere");
    std::fs::rename(world.data(&last), &aside).unwrap();
    data.ensure(&world.order).await.unwrap();
    let (report, _) = world.until(&data, "blocked", Duration::from_secs(60), |report| report.state == ClusterState::Blocked).await;
    println!("FIGURE blocked: {:?} {:?}", report.reason, report.message);
    assert!(report.nodes.values().all(|node| node.state != NodeState::Synced));
    // The node comes back: nothing else is needed.
    let _ = std::fs::remove_dir_all(world.data(&last));
    std::fs::rename(&aside, world.data(&last)).unwrap();
    world.synced(&data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_sees_its_own_schema_only() {
    let world = World::new(1);
    let data = world.open().await;
    data.ensure(&world.order).await.unwrap();
    let (report, _) = world.synced(&data).await;
    let endpoint = report.endpoint.unwrap();
    for schema in ["t_a", "t_b"] {
        data.tenant(&world.order.cell, &tenant(schema, TenantAccess::Open)).await.unwrap();
    }
    let mut conn = support::connect(endpoint, "t_a").await.unwrap();
    let schemas: Vec<String> = conn.query("SHOW DATABASES").await.unwrap();
    assert!(!schemas.iter().any(|schema| schema == "t_b" || schema == "mysql" || schema == "atoll"), "{schemas:?}");
    assert!(conn.query_drop("CREATE TABLE t_b.x (id INT PRIMARY KEY)").await.is_err());
    // `_` is no wildcard in the grant.
    assert!(conn.query_drop("CREATE DATABASE txa").await.is_err());
    let locked = data.tenant(&world.order.cell, &tenant("t_a", TenantAccess::Locked)).await.unwrap();
    assert_eq!(locked.sessions, 0);
    assert!(conn.query_drop("SELECT 1").await.is_err(), "the session was ended");
    assert!(support::connect(endpoint, "t_a").await.is_err(), "and none begins");
    // Our own account works from the agent's side only, and no secret stands where the engine shows it.
    for container in ["n1", "db"] {
        let shown = docker(&["inspect", &world.container(container)]).unwrap();
        let secret = std::fs::read_to_string(world.state().join("data/c1/secrets/agent")).unwrap();
        assert!(!shown.contains(&secret) && !shown.contains("open sesame"));
    }
}
