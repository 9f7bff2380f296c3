//! Deadlines that cost a comparison: of the waits of a connection hardly one in a million ends by its deadline.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The deadline of one wait after the other. The alarm is set once and stays set while deadlines move away; when it rings too early it is set again.
#[derive(Debug, Default)]
pub(crate) struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// Waits until then.
    pub(crate) async fn until(&mut self, deadline: Instant) {
        poll_fn(|cx| self.poll(deadline, cx)).await;
    }

    /// What `work` gives; `None` when it is not there by then.
    pub(crate) async fn by<T>(&mut self, deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => self.poll(deadline, cx).map(|()| None),
        })
        .await
    }

    /// What `work` gives; `None` when it takes longer.
    pub(crate) async fn within<T>(&mut self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut deadline = None;
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            // The clock is read only where there is a wait.
            Poll::Pending => self.poll(*deadline.get_or_insert_with(|| Instant::now() + limit), cx).map(|()| None),
        })
        .await
    }

    #[inline]
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() > deadline {
            alarm.as_mut().reset(deadline);
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if alarm.deadline() >= deadline {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
