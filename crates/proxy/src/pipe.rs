//! A connection in memory: to the relay it is a visitor's like any other, at its far end somebody speaks another protocol with the visitor.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::stream::Stream;

/// Octets that wait in each direction.
const ROOM: usize = 32 * 1024;

/// The relay's end.
pub(crate) struct Pipe(Arc<Shared>);

/// The other end.
pub(crate) struct Far(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

/// One of the two ends. Everything that waits at an end is one task's, so that there is one to wake.
#[derive(Clone, Copy)]
enum Side {
    Relay,
    Far,
}

#[derive(Default)]
struct State {
    /// Who waits, by [`Side`].
    waiting: [Option<Waker>; 2],
    up: Vec<u8>,
    up_ended: bool,
    down: Vec<u8>,
    down_ended: bool,
    /// Something is missing of what went down.
    cut: bool,
    /// The far end is gone.
    far_gone: bool,
}

/// Both ends.
pub(crate) fn pipe() -> (Pipe, Far) {
    let shared = Arc::<Shared>::default();
    (Pipe(shared.clone()), Far(shared))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at one end until something holds.
    async fn until(&self, side: Side, holds: impl Fn(&State) -> bool) {
        poll_fn(|cx| {
            let mut state = self.state();
            if holds(&state) {
                return Poll::Ready(());
            }
            let waiting = &mut state.waiting[side as usize];
            if waiting.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                *waiting = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Changes something that the other end may wait for.
    fn change<T>(&self, other: Side, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        let waiting = state.waiting[other as usize].take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
        result
    }
}

impl Far {
    /// Sends up, waiting for room. `false`: the relay has ended.
    pub(crate) async fn put(&self, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            self.0.until(Side::Far, |state| state.up.len() < ROOM || state.down_ended).await;
            let part = self.0.change(Side::Relay, |state| {
                let part = data.len().min(ROOM - state.up.len());
                state.up.extend_from_slice(&data[..part]);
                (!state.down_ended).then_some(part)
            });
            let Some(part) = part else { return false };
            data = &data[part..];
        }
        true
    }

    /// Nothing more goes up.
    pub(crate) fn end(&self) {
        self.0.change(Side::Relay, |state| state.up_ended = true);
    }

    /// Appends what came down, waiting for some. `false`: nothing more comes.
    pub(crate) async fn take(&self, into: &mut Vec<u8>) -> bool {
        self.0.until(Side::Far, |state| !state.down.is_empty() || state.down_ended).await;
        self.0.change(Side::Relay, |state| {
            let some = !state.down.is_empty();
            if into.is_empty() {
                std::mem::swap(into, &mut state.down);
            } else {
                into.append(&mut state.down);
            }
            some
        })
    }

    /// Whether something is missing of what came down.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.state().cut
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.0.change(Side::Relay, |state| state.far_gone = true);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.change(Side::Far, |state| state.down_ended = true);
    }
}

impl Stream for Pipe {
    const SECURE: bool = true;

    async fn readable(&self) -> io::Result<()> {
        self.0.until(Side::Relay, |state| !state.up.is_empty() || state.up_ended || state.far_gone).await;
        Ok(())
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let state = self.0.state();
        if state.up.is_empty() {
            return match (state.up_ended, state.far_gone) {
                (true, _) => Ok(0),
                // It went before it had said everything.
                (false, true) => Err(io::ErrorKind::ConnectionReset.into()),
                (false, false) => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        drop(state);
        Ok(self.0.change(Side::Far, |state| {
            let part = into.len().min(state.up.len());
            into[..part].copy_from_slice(&state.up[..part]);
            state.up.drain(..part);
            part
        }))
    }

    async fn writable(&self) -> io::Result<()> {
        self.0.until(Side::Relay, |state| state.down.len() < ROOM || state.far_gone).await;
        Ok(())
    }

    fn try_write(&self, from: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(from)])
    }

    fn try_write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let state = self.0.state();
        if state.far_gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let (all, room) = (from.iter().map(|part| part.len()).sum::<usize>(), ROOM.saturating_sub(state.down.len()));
        if room == 0 && all > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        drop(state);
        let mut left = all.min(room);
        self.0.change(Side::Far, |state| {
            state.down.reserve(left);
            for part in from {
                let part = &part[..left.min(part.len())];
                state.down.extend_from_slice(part);
                left -= part.len();
            }
        });
        Ok(all.min(room))
    }

    async fn closed(&self) {
        self.0.until(Side::Relay, |state| state.far_gone).await;
    }

    async fn shutdown(&self) -> io::Result<()> {
        self.0.change(Side::Far, |state| state.down_ended = true);
        Ok(())
    }

    fn reset_on_drop(&self) {
        self.0.state().cut = true;
    }
}
