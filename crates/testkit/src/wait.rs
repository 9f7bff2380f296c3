//! Waiting for a condition, never for time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks until something is there.
///
/// # Panics
/// When the time is up, with what was waited for.
pub async fn wait_until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    wait_until_async(what, within, async || look()).await
}

/// As [`wait_until`], with a look that waits itself.
///
/// # Panics
/// When the time is up, with what was waited for.
pub async fn wait_until_async<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not {what} within {within:?}");
        sleep(PAUSE).await;
    }
}
