//! What the connections of one thread share, and nobody else touches while they run.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache::Task;
use tokio_util::sync::CancellationToken;

use crate::access::Pen;
use crate::buffer::Buffer;
use crate::decide::Decide;
use crate::h1::head::{RequestHead, ResponseHead};
use crate::metrics::Counts;
use crate::patience::Patience;
use crate::pool::Pool;
use crate::server::{Faces, Server};
use crate::squeeze::Places;
use crate::trunk::Trunks;

/// Desks kept for the next connection.
const DESKS: usize = 64;
/// What a desk that is kept may hold of each output.
const OUTPUT: usize = 64 * 1024;

/// One thread.
#[derive(Debug)]
pub(crate) struct Worker<D> {
    pub server: Arc<Server<D>>,
    pub pool: Pool,
    /// Ways to gates that many requests share; an edge's only.
    pub trunks: Option<Trunks>,
    pub counts: Arc<Counts>,
    pub pen: Option<Arc<Pen>>,
    pub squeezing: Places,
    /// Ends patience with idle connections. Requests look at [`Worker::is_stopping`], which costs nothing.
    pub stop: CancellationToken,
    /// Ends what lasts, once nobody who comes again can come to this thread.
    pub leaving: CancellationToken,
    stopping: AtomicBool,
    run: u32,
    requests: AtomicU64,
    // The boxes travel between connections; what is in them does not move.
    #[expect(clippy::vec_box, reason = "a desk is handed over by its pointer")]
    desks: Mutex<Vec<Box<Desk>>>,
}

/// Everything that a connection needs while it is busy, and that an idle one does without.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// What the visitor sent.
    pub buffer: Buffer,
    /// What the upstream sent.
    pub link_buffer: Buffer,
    pub head: RequestHead,
    pub answer: ResponseHead,
    /// What goes to the visitor next.
    pub out: Vec<u8>,
    /// What goes to the upstream next.
    pub up_out: Vec<u8>,
    /// Patience with what the visitor sends. Its alarm stays set from one connection to the next: setting one costs more than waking the one before for nothing.
    pub visitor: Patience,
    /// Patience with what the upstream sends.
    pub upstream: Patience,
    /// What the cache wants of the answer.
    pub fetch: Option<Task>,
}

impl<D: Decide> Worker<D> {
    pub(crate) fn new(server: Arc<Server<D>>, stop: CancellationToken) -> Arc<Self> {
        let (most, pooled) = (server.options.limits.idle, server.options.times.pooled);
        let pool = Pool::new(most, pooled);
        let (counts, pen) = (server.metrics.counts(), server.log.pen());
        let trunks = (server.options.faces == Faces::Visitors).then(|| Trunks::new(most, pooled, counts.clone()));
        let (leaving, stopping, squeezing) = (CancellationToken::new(), AtomicBool::new(false), Places::default());
        let (run, requests, desks) = (rand::random(), AtomicU64::new(0), Mutex::default());
        Arc::new(Self { server, pool, trunks, counts, pen, squeezing, stop, leaving, stopping, run, requests, desks })
    }

    /// From now on connections end after the request that they are at.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// The parts of a request's id, which nobody else has.
    pub(crate) fn number(&self) -> (u32, u64) {
        // Only this thread counts here, so nothing is lost between the two.
        let count = self.requests.load(Relaxed);
        self.requests.store(count + 1, Relaxed);
        (self.run, count)
    }

    /// Lets go of upstream connections that nobody used for long.
    pub(crate) fn sweep(&self) {
        self.pool.sweep();
        if let Some(trunks) = &self.trunks {
            trunks.sweep();
        }
    }

    pub(crate) fn desk(&self) -> Box<Desk> {
        self.desks().pop().unwrap_or_default()
    }

    /// Takes a desk back from a connection that became idle or ended.
    pub(crate) fn clear(&self, mut desk: Box<Desk>) {
        desk.fetch = None;
        desk.buffer.clear();
        desk.link_buffer.clear();
        for out in [&mut desk.out, &mut desk.up_out] {
            out.clear();
            out.shrink_to(OUTPUT);
        }
        let mut desks = self.desks();
        if desks.len() < DESKS {
            desks.push(desk);
        }
    }

    #[expect(clippy::vec_box, reason = "a desk is handed over by its pointer")]
    fn desks(&self) -> MutexGuard<'_, Vec<Box<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
