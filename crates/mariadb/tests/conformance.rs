//! The data port's contract on a real cluster.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stdout, reason = "tests; the support is shared")]

mod support;

use std::time::{Duration, Instant};

use data::conformance::{CASES, Subject};
use support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let world = World::new(3);
    let data = world.open().await;
    let subject = Subject { data, order: world.order.clone(), patience: Duration::from_secs(90) };
    for (name, case) in CASES {
        let began = Instant::now();
        case(&subject).await;
        println!("case {name}: {:?}", began.elapsed());
    }
}
