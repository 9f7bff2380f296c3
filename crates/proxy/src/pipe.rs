//! A connection in memory: to the relay it is a visitor's like any other, at its far end somebody speaks another protocol with the visitor.

use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

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
    relay: Notify,
    far: Notify,
}

#[derive(Default)]
struct State {
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

    /// Waits on one side until something holds, whoever changes it.
    async fn until(&self, side: &Notify, holds: impl Fn(&State) -> bool) {
        loop {
            let mut changed = pin!(side.notified());
            // Heard from here on, so that no change falls between the look and the wait.
            changed.as_mut().enable();
            if holds(&self.state()) {
                return;
            }
            changed.await;
        }
    }
}

impl Far {
    /// Sends up, waiting for room. `false`: the relay has ended.
    pub(crate) async fn put(&self, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            self.0.until(&self.0.far, |state| state.up.len() < ROOM || state.down_ended).await;
            let mut state = self.0.state();
            if state.down_ended {
                return false;
            }
            let part = data.len().min(ROOM - state.up.len());
            state.up.extend_from_slice(&data[..part]);
            data = &data[part..];
            drop(state);
            self.0.relay.notify_waiters();
        }
        true
    }

    /// Nothing more goes up.
    pub(crate) fn end(&self) {
        self.0.state().up_ended = true;
        self.0.relay.notify_waiters();
    }

    /// Appends what came down, waiting for some. `false`: nothing more comes.
    pub(crate) async fn take(&self, into: &mut Vec<u8>) -> bool {
        self.0.until(&self.0.far, |state| !state.down.is_empty() || state.down_ended).await;
        let mut state = self.0.state();
        if state.down.is_empty() {
            return false;
        }
        into.append(&mut state.down);
        drop(state);
        self.0.relay.notify_waiters();
        true
    }

    /// Whether something is missing of what came down.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.state().cut
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.0.state().far_gone = true;
        self.0.relay.notify_waiters();
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.state().down_ended = true;
        self.0.far.notify_waiters();
    }
}

impl Stream for Pipe {
    const SECURE: bool = true;

    async fn readable(&self) -> io::Result<()> {
        self.0.until(&self.0.relay, |state| !state.up.is_empty() || state.up_ended || state.far_gone).await;
        Ok(())
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.up.is_empty() {
            return match (state.up_ended, state.far_gone) {
                (true, _) => Ok(0),
                // It went before it had said everything.
                (false, true) => Err(io::ErrorKind::ConnectionReset.into()),
                (false, false) => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let part = into.len().min(state.up.len());
        into[..part].copy_from_slice(&state.up[..part]);
        state.up.drain(..part);
        drop(state);
        self.0.far.notify_waiters();
        Ok(part)
    }

    async fn writable(&self) -> io::Result<()> {
        self.0.until(&self.0.relay, |state| state.down.len() < ROOM || state.far_gone).await;
        Ok(())
    }

    fn try_write(&self, from: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.far_gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let part = from.len().min(ROOM.saturating_sub(state.down.len()));
        if part == 0 && !from.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.down.extend_from_slice(&from[..part]);
        drop(state);
        self.0.far.notify_waiters();
        Ok(part)
    }

    fn try_write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        for part in from {
            match self.try_write(part) {
                Ok(count) if count == part.len() => written += count,
                Ok(count) => return Ok(written + count),
                Err(_) if written > 0 => return Ok(written),
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    async fn closed(&self) {
        self.0.until(&self.0.relay, |state| state.far_gone).await;
    }

    async fn shutdown(&self) -> io::Result<()> {
        self.0.state().down_ended = true;
        self.0.far.notify_waiters();
        Ok(())
    }

    fn reset_on_drop(&self) {
        self.0.state().cut = true;
    }
}
