//! A crowd that waits for its tenant, and goes on.

use super::*;

const CROWD: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_goes_on_at_a_pace_and_nobody_is_lost() {
    let came = Arc::new(Mutex::new(Vec::new()));
    let noted = came.clone();
    let (address, _gate) = gate(move |_, _| {
        noted.lock().unwrap().push(Instant::now());
        ok("hi")
    })
    .await;
    let world = World::new().await;
    let running = world.start("e1");
    world.ready("e1").await;
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    world.get_until("shop.example", 200).await;
    came.lock().unwrap().clear();
    world.control.records(vec![record("shop.example", "a", 1, RouteState::Held), record("sign.example", "a", 1, RouteState::Open)]);
    world.get_until("sign.example", 200).await;
    came.lock().unwrap().clear();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        let mut visitor = world.visitor().await;
        crowd.spawn(async move { visitor.get("shop.example", "/").await.unwrap().0 });
    }
    let mut admin = Visitor { stream: TcpStream::connect((world.at, 9090)).await.unwrap(), read: Vec::new() };
    let deadline = Instant::now() + PATIENCE;
    let all = format!("atoll_edge_requests_held {CROWD}\n");
    while !admin.get("admin", "/metrics").await.unwrap().1.contains(&all) {
        assert!(Instant::now() < deadline, "not all wait");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.control.records(vec![record("shop.example", "a", 2, RouteState::Open)]);
    assert!(crowd.join_all().await.iter().all(|status| *status == 200));
    let came = came.lock().unwrap().clone();
    let took = *came.iter().max().unwrap() - *came.iter().min().unwrap();
    // 32 at once, and 168 behind them in as many milliseconds.
    assert!(came.len() == CROWD && took >= Duration::from_millis(150), "{} in {took:?}", came.len());
    println!("{CROWD} went on within {took:?}");
    end(running).await;
}
