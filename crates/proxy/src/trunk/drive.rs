//! The two directions of a trunk's connection, by one task.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::net::TcpStream;

use super::channel::{Channel, Trunk};
use super::state::Broken;
use crate::buffer::Buffer;
use crate::stream::Stream;

/// Reads after which others have a turn.
const TURN: u32 = 16;

struct Driver<'t, F> {
    stream: &'t TcpStream,
    trunk: &'t Arc<Trunk>,
    /// Gets every channel that the other end opens.
    taken: F,
    input: Buffer,
    /// What goes out, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    opened: Vec<u32>,
    awake: Vec<Waker>,
}

/// Passes everything between the connection and the channels, until the connection ends or nobody needs it any more.
pub(super) async fn drive(stream: &TcpStream, trunk: &Arc<Trunk>, taken: impl FnMut(Channel)) -> io::Result<()> {
    let (input, output, opened, awake) = (Buffer::default(), Vec::new(), Vec::new(), Vec::new());
    let mut driver = Driver { stream, trunk, taken, input, output, sent: 0, opened, awake };
    // However this ends, and even if it is dropped.
    let over = Over(trunk);
    let result = poll_fn(|cx| driver.poll(cx)).await;
    drop(over);
    result
}

struct Over<'t>(&'t Arc<Trunk>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut awake = Vec::new();
        self.0.with(|state| state.end_all(&mut awake));
        awake.into_iter().for_each(Waker::wake);
    }
}

impl<F: FnMut(Channel)> Driver<'_, F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.receive(cx)? {
            return Poll::Ready(Ok(()));
        }
        self.send(cx)
    }

    /// Reads what is there; `true` at the end.
    fn receive(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        for _ in 0..TURN {
            match self.stream.poll_read_ready(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(ready) => ready?,
            }
            match self.input.try_read(self.stream)? {
                None => continue,
                Some(0) => return Ok(true),
                Some(_) => {}
            }
            let Self { trunk, input, opened, awake, .. } = self;
            let used =
                trunk.with(|state| state.receive(input.filled(), opened, awake)).map_err(|Broken| io::Error::from(io::ErrorKind::InvalidData))?;
            input.consume(used);
            for number in opened.drain(..) {
                (self.taken)(Channel::new(trunk, number));
            }
            awake.drain(..).for_each(Waker::wake);
        }
        cx.waker().wake_by_ref();
        Ok(false)
    }

    /// Sends what waits; ends where the other end is leaving and nobody is left.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.sent == self.output.len() {
                self.output.clear();
                self.sent = 0;
                let Self { trunk, output, awake, .. } = self;
                let unneeded = trunk.with(|state| {
                    state.send(output, awake);
                    // While something is on its way nobody needs to be told that there is more.
                    state.driver = output.is_empty().then(|| cx.waker().clone());
                    output.is_empty() && state.leaving && state.is_unused()
                });
                awake.drain(..).for_each(Waker::wake);
                if unneeded {
                    return Poll::Ready(Ok(()));
                }
                if self.output.is_empty() {
                    return Poll::Pending;
                }
            }
            match Stream::try_write(self.stream, &self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.stream.poll_write_ready(cx))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}
