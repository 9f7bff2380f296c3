#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[derive(Default)]
struct Counting {
    running: AtomicU32,
    again: Option<Duration>,
}

#[async_trait]
impl Task for Counting {
    fn name(&self) -> String {
        "counting".to_owned()
    }
    async fn activate(&self) -> Report {
        assert_eq!(self.running.fetch_add(1, Ordering::SeqCst), 0, "activations overlap");
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        Report { message: "looked".to_owned(), again: self.again }
    }
}

async fn counted(handle: &Handle, count: u64) {
    handle.reports().wait_for(|a| a.count >= count).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_signals_during_an_activation_cause_one_more() {
    let stop = CancellationToken::new();
    let handle = spawn(Arc::new(Counting::default()), Duration::from_secs(3600), Signal::new(), stop.clone());
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..10 {
        handle.wake();
    }
    counted(&handle, 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(handle.last().count, 2);
    stop.cancel();
    handle.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn the_period_and_the_wish_both_count() {
    let began = Instant::now();
    let stop = CancellationToken::new();
    let handle = spawn(Arc::new(Counting::default()), Duration::from_secs(10), Signal::new(), stop.clone());
    counted(&handle, 3).await;
    assert_eq!(began.elapsed().as_secs(), 23);
    let eager = Counting { again: Some(Duration::from_secs(2)), ..Counting::default() };
    let eager = spawn(Arc::new(eager), Duration::from_secs(10), Signal::new(), stop.clone());
    let began = Instant::now();
    counted(&eager, 3).await;
    assert_eq!(began.elapsed().as_secs(), 7);
    stop.cancel();
    handle.stopped().await;
    eager.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_the_running_activation_end() {
    let stop = CancellationToken::new();
    let handle = spawn(Arc::new(Counting::default()), Duration::from_secs(10), Signal::new(), stop.clone());
    let reports = handle.reports();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.cancel();
    handle.stopped().await;
    assert_eq!(reports.borrow().count, 1);
}
