//! One connection within a trunk.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use super::state::{Side, State};
use crate::stream::Stream;

/// One end of a trunk, for its channels and for whoever drives it.
#[derive(Debug)]
pub(crate) struct Trunk(Mutex<State>);

impl Trunk {
    pub(super) fn new(side: Side) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::new(side))))
    }

    /// Looks at the state or changes it, and wakes the driver where there is something to send.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut state);
        let driver = if state.has_output() { state.driver.take() } else { None };
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    /// A new channel; `None` where none can be opened any more.
    pub(super) fn open(self: &Arc<Self>) -> Option<Channel> {
        self.with(State::open).map(|number| Channel::new(self, number))
    }
}

/// One end of a channel.
#[derive(Debug)]
pub(crate) struct Channel {
    trunk: Arc<Trunk>,
    number: u32,
    cut: AtomicBool,
}

impl Channel {
    pub(super) fn new(trunk: &Arc<Trunk>, number: u32) -> Self {
        Self { trunk: trunk.clone(), number, cut: AtomicBool::new(false) }
    }

    /// Open, and nothing was sent.
    pub(crate) fn is_silent(&self) -> bool {
        self.trunk.with(|state| state.is_silent(self.number))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let cut = self.cut.load(Relaxed);
        self.trunk.with(|state| state.close(self.number, cut));
    }
}

impl Stream for Channel {
    const SECURE: bool = false;

    async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| if self.trunk.with(|state| state.readable(self.number, cx.waker())) { Poll::Ready(Ok(())) } else { Poll::Pending }).await
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.trunk.with(|state| state.read(self.number, into))
    }

    async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| if self.trunk.with(|state| state.writable(self.number, cx.waker())) { Poll::Ready(Ok(())) } else { Poll::Pending }).await
    }

    fn try_write(&self, from: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(from)])
    }

    fn try_write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.trunk.with(|state| state.write(self.number, from))
    }

    async fn closed(&self) {
        poll_fn(|cx| if self.trunk.with(|state| state.closed(self.number, cx.waker())) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    async fn shutdown(&self) -> io::Result<()> {
        self.trunk.with(|state| state.shutdown(self.number));
        Ok(())
    }

    fn reset_on_drop(&self) {
        self.cut.store(true, Relaxed);
    }
}
