//! Another protocol was agreed upon: octets both ways until both sides have ended, or until nothing came from either for too long.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::buffer::{Buffer, write_all};
use crate::decide::Decide;
use crate::stream::Stream;
use crate::trace::Trace;
use crate::worker::Worker;

/// Reads of one side after which others have a turn.
const TURN: u32 = 16;

/// Relays until the end, and counts what passes. Its kind matters to nobody: both connections end with it.
pub(crate) async fn relay<D: Decide>(worker: &Worker<D>, visitor: &impl Stream, upstream: &impl Stream, trace: &mut Trace) {
    let idle = worker.server.options.times.tunnel;
    let alive = AtomicBool::new(false);
    let both = async {
        let up = pump(worker, visitor, upstream, &alive, &mut trace.up);
        let down = pump(worker, upstream, visitor, &alive, &mut trace.down);
        // An error of one direction ends both; an end of one leaves the other open, as protocols that close by halves need it.
        tokio::try_join!(up, down)
    };
    tokio::select! {
        _ = both => {}
        () = silence(idle, &alive) => {}
    }
}

/// Waits until a whole period passed without an octet. It is looked at twice a period, so the silence is at most half a period longer than it may be.
async fn silence(idle: Duration, alive: &AtomicBool) {
    let mut silent = 0;
    while silent < 2 {
        tokio::time::sleep(idle / 2).await;
        silent = if alive.swap(false, Relaxed) { 0 } else { silent + 1 };
    }
}

async fn pump<D: Decide>(worker: &Worker<D>, from: &impl Stream, to: &impl Stream, alive: &AtomicBool, octets: &mut u64) -> io::Result<()> {
    loop {
        from.readable().await?;
        // Most tunnels are silent most of the time; a silent one holds no memory.
        let mut desk = worker.desk();
        let goes_on = pass(&mut desk.buffer, from, to, worker.server.options.times.tunnel, alive, octets).await;
        worker.clear(desk);
        if !goes_on? {
            return to.shutdown().await;
        }
    }
}

/// Passes on what is there; `false` at the end.
async fn pass(buffer: &mut Buffer, from: &impl Stream, to: &impl Stream, idle: Duration, alive: &AtomicBool, octets: &mut u64) -> io::Result<bool> {
    let mut reads = 0;
    while let Some(count) = buffer.try_read(from)? {
        if count == 0 {
            return Ok(false);
        }
        alive.store(true, Relaxed);
        write_all(to, buffer.filled(), idle).await?;
        *octets += count as u64;
        buffer.clear();
        reads += 1;
        if reads % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(true)
}
