//! Another protocol was agreed upon: octets both ways until both sides have ended, until nothing came from either for too long, or until it is told to end.
//!
//! A WebSocket that is told to end does so between two frames of what goes to the visitor: it hears "service restart" (1012), by which clients know that they
//! should come again. Its own last word goes to the upstream like all it says, so nothing of what it sent before is lost; where none comes, one is said for it.
//! Of other protocols no word is known, so both connections just end.

use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::buffer::{Buffer, write_all};
use crate::decide::Decide;
use crate::events::UNFINISHED;
use crate::frames::{self, Frames};
use crate::stream::Stream;
use crate::trace::Trace;
use crate::worker::Worker;

/// Reads of one side after which others have a turn.
const TURN: u32 = 16;
/// How long a visitor's answer to the last word is waited for, and the upstream's room for its own.
const LAST_WORD: Duration = Duration::from_secs(2);

/// What tells a tunnel to end.
pub(crate) struct End {
    pub told: CancellationToken,
    /// It carries a WebSocket's frames.
    pub frames: bool,
}

/// How the passing of one direction ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Its sender has ended.
    Ended,
    /// It was told to, at a place that is fit. `closed`: the sender's last word has passed.
    Told { closed: bool },
}

/// Where a direction that was told to end may do so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Between two frames.
    Boundary,
    /// Behind its sender's last word.
    LastWord,
}

/// One direction.
struct Way<'w> {
    stop: Stop,
    frames: Option<Frames>,
    told: Option<&'w CancellationToken>,
    octets: &'w mut u64,
    /// Something passed.
    alive: &'w AtomicBool,
    /// All that was taken was passed on, up to the end of a frame, and no last word was.
    fit: &'w AtomicBool,
}

impl Way<'_> {
    fn is_told(&self) -> bool {
        self.frames.is_some() && self.told.is_some_and(CancellationToken::is_cancelled)
    }

    fn may_stop(&self) -> Option<Over> {
        let frames = self.frames.as_ref()?;
        let fit = match self.stop {
            Stop::Boundary => frames.at_boundary(),
            Stop::LastWord => frames.at_boundary() && frames.closed(),
        };
        fit.then(|| Over::Told { closed: frames.closed() })
    }

    /// How many of these octets go on.
    fn take(&mut self, octets: &[u8]) -> usize {
        let told = self.is_told();
        let Some(frames) = &mut self.frames else { return octets.len() };
        if told {
            return frames.step(octets);
        }
        frames.pass(octets);
        octets.len()
    }

    fn passed(&mut self, count: usize) {
        *self.octets += count as u64;
        self.alive.store(true, Relaxed);
        self.fit.store(self.frames.as_ref().is_some_and(|frames| frames.at_boundary() && !frames.closed()), Relaxed);
    }
}

/// Where the frames of one direction stand after what passed early, where it has any that matter.
pub(crate) fn frames(end: Option<&End>, early: &[u8]) -> Option<Frames> {
    end.filter(|end| end.frames).map(|_| {
        let mut frames = Frames::default();
        frames.pass(early);
        frames
    })
}

/// Relays until the end, and counts what passes. Its kind matters to nobody: both connections end with it. `ways` is where the
/// frames of both directions stand, down and up.
pub(crate) async fn relay<D: Decide>(
    worker: &Worker<D>,
    visitor: &impl Stream,
    upstream: &impl Stream,
    end: Option<&End>,
    [down, up]: [Option<Frames>; 2],
    trace: &mut Trace,
) {
    let (alive, fit) = (AtomicBool::new(false), [AtomicBool::new(true), AtomicBool::new(true)]);
    let told = end.map(|end| &end.told);
    let down = Way { stop: Stop::Boundary, frames: down, told, octets: &mut trace.down, alive: &alive, fit: &fit[0] };
    let up = Way { stop: Stop::LastWord, frames: up, told, octets: &mut trace.up, alive: &alive, fit: &fit[1] };
    fit[1].store(up.frames.as_ref().is_some_and(|frames| frames.at_boundary() && !frames.closed()), Relaxed);
    let mut down = pin!(pump(worker, upstream, visitor, down));
    let mut up = pin!(pump(worker, visitor, upstream, up));
    let mut still = pin!(silence(worker.server.options.times.tunnel, &alive));
    let mut overdue = pin!(overdue(end));
    let (mut down_open, mut up_open) = (true, true);
    // An error of one direction ends both; an end of one leaves the other open, as protocols that close by halves need it.
    let closed = loop {
        tokio::select! {
            over = &mut down, if down_open => match over {
                Ok(Over::Told { closed }) => break closed,
                Ok(Over::Ended) => down_open = false,
                Err(_) => return,
            },
            over = &mut up, if up_open => match over {
                Ok(_) => up_open = false,
                Err(_) => return,
            },
            () = &mut still => return,
            () = &mut overdue => return,
        }
        if !down_open && !up_open {
            return;
        }
    };
    if !closed && write_all(visitor, &frames::restart(), LAST_WORD).await.is_err() {
        return;
    }
    // A visitor that says nothing more, or too late, is not waited for: both connections end.
    let _ = tokio::time::timeout(LAST_WORD, async { if up_open { up.await } else { Ok(Over::Ended) } }).await;
    if fit[1].load(Relaxed) {
        let _ = write_all(upstream, &frames::restart_masked(rand::random()), LAST_WORD).await;
    }
}

/// Waits until it is told to end, and then for as long as a frame may take to its end.
async fn overdue(end: Option<&End>) {
    let Some(end) = end else { return pending().await };
    end.told.cancelled().await;
    if end.frames {
        tokio::time::sleep(UNFINISHED).await;
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

async fn pump<D: Decide>(worker: &Worker<D>, from: &impl Stream, to: &impl Stream, mut way: Way<'_>) -> io::Result<Over> {
    loop {
        let told = way.is_told();
        if let Some(over) = way.may_stop().filter(|_| told) {
            return Ok(over);
        }
        let heard = async {
            match way.told.filter(|_| !told && way.frames.is_some()) {
                Some(token) => token.cancelled().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            ready = from.readable() => ready?,
            () = heard => continue,
        }
        // Most tunnels are silent most of the time; a silent one holds no memory.
        let mut desk = worker.desk();
        let goes_on = pass(&mut desk.buffer, from, to, worker.server.options.times.tunnel, &mut way).await;
        worker.clear(desk);
        if !goes_on? {
            // Whoever is told to end says so in its own words.
            if !way.is_told() {
                to.shutdown().await?;
            }
            return Ok(Over::Ended);
        }
    }
}

/// Passes on what is there; `false` at the end.
async fn pass(buffer: &mut Buffer, from: &impl Stream, to: &impl Stream, idle: Duration, way: &mut Way<'_>) -> io::Result<bool> {
    let mut reads = 0;
    while let Some(count) = buffer.try_read(from)? {
        if count == 0 {
            return Ok(false);
        }
        while !buffer.is_empty() {
            way.fit.store(false, Relaxed);
            let part = way.take(buffer.filled());
            write_all(to, &buffer.filled()[..part], idle).await?;
            way.passed(part);
            buffer.consume(part);
            if way.is_told() && way.may_stop().is_some() {
                return Ok(true);
            }
        }
        reads += 1;
        if reads % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(true)
}
