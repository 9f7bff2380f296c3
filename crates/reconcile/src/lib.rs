//! Background tasks: activations without input, on timer and on signal.
//!
//! Purpose: the frame of every reconciler. An activation takes no input: it looks at what is wanted and what is, and does what is missing; so a lost
//! signal costs a period and never an effect.
//! Invariants: activations of one task never overlap; a signal during an activation causes exactly one more; an activation never retries inside; the
//! report of the last one is kept; on stop the running activation ends first.
//! Entry point: [`spawn`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
pub use tokio_util::sync::CancellationToken;

/// What an activation says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What was done, or why nothing was.
    pub message: String,
    /// When to look again, if earlier than the period.
    pub again: Option<Duration>,
}

impl Report {
    /// A report without a wish.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), again: None }
    }

    /// Looks again after this time.
    #[must_use]
    pub const fn again(mut self, after: Duration) -> Self {
        self.again = Some(after);
        self
    }
}

/// A reconciler.
#[async_trait]
pub trait Task: Send + Sync + 'static {
    /// Its name in logs and reports.
    fn name(&self) -> String;

    /// One look and what follows from it. May be ended at any await by a crash.
    async fn activate(&self) -> Report;
}

/// The last activation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Activation {
    /// How many there were.
    pub count: u64,
    /// How long the last took.
    pub took: Duration,
    /// What it said.
    pub report: Report,
}

/// A running task.
pub struct Handle {
    signal: Signal,
    last: watch::Receiver<Activation>,
    join: JoinHandle<()>,
}

/// Wakes a task. Cheap to clone; many signals at once cause one activation.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<Notify>);

impl Signal {
    /// A signal not yet given to a task.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Causes an activation now, or one more after the running one.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits for a wake-up; one that came before is not lost. For loops that are not a [`Task`]; a signal has one reader.
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}

impl Handle {
    /// Causes an activation.
    pub fn wake(&self) {
        self.signal.wake();
    }

    /// The last activation's report.
    #[must_use]
    pub fn last(&self) -> Activation {
        self.last.borrow().clone()
    }

    /// A receiver of reports.
    #[must_use]
    pub fn reports(&self) -> watch::Receiver<Activation> {
        self.last.clone()
    }

    /// Waits until the task has stopped.
    pub async fn stopped(self) {
        if let Err(error) = self.join.await
            && error.is_panic()
        {
            tracing::error!(%error, "a reconciler panicked");
        }
    }

    /// Ends the task at its next await, as a crash would.
    pub fn abort(&self) {
        self.join.abort();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.join.is_finished()
    }
}

/// Runs a task at once, then on every signal and at least once a period, until stopped.
pub fn spawn<T: Task>(task: Arc<T>, every: Duration, signal: Signal, stop: CancellationToken) -> Handle {
    let (sender, last) = watch::channel(Activation::default());
    let woken = signal.clone();
    let join = tokio::spawn(async move {
        while !stop.is_cancelled() {
            let began = Instant::now();
            let report = task.activate().await;
            let pause = report.again.map_or(every, |again| again.min(every));
            tracing::trace!(task = task.name(), report.message, "activation");
            sender.send_modify(|last| *last = Activation { count: last.count + 1, took: began.elapsed(), report });
            tokio::select! {
                () = stop.cancelled() => {}
                () = woken.0.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    });
    Handle { signal, last, join }
}

#[cfg(test)]
mod tests;
