//! Requests go on together.
//!
//! A send wakes whoever waits at the other end, and on the same machine that is most of what it costs: the next processor is called out of its sleep, runs for
//! one message and sleeps again. Where many requests are under way, those that came in one turn of the thread are therefore all read and decided upon before the
//! first of them is sent on: the first send wakes their receiver, and the others find it at work. With 64 connections a request wakes somebody 0.1 times
//! instead of 0.5 times, which saves a tenth of its processor time (`make bench-edge`); alone it costs one more look at a task that is at hand.

use std::future::poll_fn;
use std::task::Poll;

/// Lets all others of this thread go first who have something to do now.
pub(crate) async fn after_others() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // Behind those who are awake; not `yield_now`, which would wait for what comes next as well.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::after_others;

    #[tokio::test(flavor = "current_thread")]
    async fn all_who_are_awake_go_first_and_only_once() {
        let said = Rc::new(RefCell::new(Vec::new()));
        let local = tokio::task::LocalSet::new();
        for name in ["a", "b", "c"] {
            let said = said.clone();
            local.spawn_local(async move {
                said.borrow_mut().push(format!("{name} read"));
                after_others().await;
                said.borrow_mut().push(format!("{name} sent"));
            });
        }
        local.await;
        assert_eq!(*said.borrow(), ["a read", "b read", "c read", "a sent", "b sent", "c sent"]);
    }
}
