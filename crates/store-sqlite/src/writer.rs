//! The one thread that writes. What waits is gathered: decided one after the other, flushed together, told to watchers, then answered.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use store::feed::Feed;
use store::{Committed, Compare, Lease, StoreError, Write};
use tokio::sync::{mpsc, oneshot};

use crate::draft::{Draft, Failure, Log};
use crate::leases::Leases;
use crate::schema::unavailable;

/// Changes that watchers find in memory; older ones they read from the log.
pub const KEPT_IN_MEMORY: usize = 4_096;
/// Orders that one flush serves.
const BATCH: usize = 64;
/// Orders that may wait.
const QUEUE: usize = 1_024;

/// Where a result goes.
pub type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked.
pub enum Order {
    Commit { compares: Vec<Compare>, writes: Vec<Write>, answer: Answer<Committed> },
    Lease { name: String, holder: String, ttl: Duration, answer: Answer<Lease> },
    Release { lease: Lease, answer: Answer<()> },
    Forget { answer: Answer<()> },
    Idle { answer: Answer<()> },
}

/// The handle of the thread; dropping it lets the thread finish what waits and close the file.
pub struct Writer {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. Leases of the file's last user have run out; their fences go on.
    pub fn start(connection: Connection, fences: BTreeMap<String, u64>, feed: Arc<Feed>) -> io::Result<Self> {
        let (orders, queue) = mpsc::channel(QUEUE);
        let log = Log::measure(&connection).map_err(io::Error::other)?;
        let thread = Thread { connection, feed, leases: Leases::free(fences), log, broken: None };
        let thread = Builder::new().name("store-writer".to_owned()).spawn(move || thread.run(queue))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Commits; the answer comes when it is durable.
    pub async fn commit(&self, compares: Vec<Compare>, writes: Vec<Write>) -> Result<Committed, StoreError> {
        self.ask(|answer| Order::Commit { compares, writes, answer }).await
    }

    /// Takes or renews a lease.
    pub async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.ask(|answer| Order::Lease { name, holder, ttl, answer }).await
    }

    /// Gives a lease back.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.ask(|answer| Order::Release { lease, answer }).await
    }

    /// Forgets the changes so far.
    pub async fn forget(&self) -> Result<(), StoreError> {
        self.ask(|answer| Order::Forget { answer }).await
    }

    /// Returns when everything asked before is done and told.
    pub async fn idle(&self) -> Result<(), StoreError> {
        self.ask(|answer| Order::Idle { answer }).await
    }

    async fn ask<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, StoreError> {
        let (answer, heard) = oneshot::channel();
        let closed = || StoreError::Unavailable("the store was closed".to_owned());
        self.orders.as_ref().ok_or_else(closed)?.send(order(answer)).await.map_err(|_| closed())?;
        heard.await.unwrap_or_else(|_| Err(StoreError::Unknown("the store's writer ended before it answered".to_owned())))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer had panicked; reopen the store");
        }
    }
}

/// The thread's own state.
struct Thread {
    connection: Connection,
    feed: Arc<Feed>,
    leases: Leases,
    log: Log,
    /// Why nothing more is written: what is on disk may differ from what we believe, until it is opened anew.
    broken: Option<String>,
}

impl Thread {
    fn run(mut self, mut queue: mpsc::Receiver<Order>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(order) = queue.try_recv()
            {
                batch.push(order);
            }
            self.batch(batch);
        }
    }

    fn batch(&mut self, orders: Vec<Order>) {
        if let Some(why) = &self.broken {
            let error = StoreError::Unavailable(format!("it was closed after a failure and must be opened again: {why}"));
            return orders.into_iter().for_each(|order| order.refuse(&error));
        }
        let mut draft = match Draft::begin(&mut self.connection, self.leases.clone(), self.log) {
            Ok(draft) => draft,
            Err(error) => return orders.into_iter().for_each(|order| order.refuse(&unavailable(&error))),
        };
        if draft.head != self.feed.head() {
            let why = format!("its file stands at revision {}, but {} was written here: another process wrote to it", draft.head, self.feed.head());
            tracing::error!(why, "the store is closed");
            orders.into_iter().for_each(|order| order.refuse(&StoreError::Unavailable(why.clone())));
            self.broken = Some(why);
            return;
        }
        let replies: Vec<Reply> = orders.into_iter().map(|order| draft.carry_out(order)).collect();
        let flushed = match draft.flush() {
            Ok(done) => {
                self.leases = done.leases;
                self.log = done.log;
                if let Some(up_to) = done.forgotten {
                    self.feed.forget(up_to);
                }
                self.feed.publish(done.changes);
                Ok(())
            }
            Err(Failure::Nothing(error)) => Err(error),
            Err(Failure::Unsure { error, fatal }) => {
                tracing::error!(%error, fatal, "a commit of the store failed");
                self.broken = fatal.then(|| error.to_string());
                Err(error)
            }
        };
        replies.into_iter().for_each(|reply| reply.send(&flushed));
    }
}

/// A result held back until what it rests on is durable.
pub enum Reply {
    Committed(Answer<Committed>, Result<Committed, StoreError>),
    Leased(Answer<Lease>, Result<Lease, StoreError>),
    Done(Answer<()>, Result<(), StoreError>),
}

impl Reply {
    fn send(self, flushed: &Result<(), StoreError>) {
        // Whoever stopped waiting has its answer lost; the port allows that.
        match self {
            Self::Committed(answer, result) => drop(answer.send(flushed.clone().and(result))),
            Self::Leased(answer, result) => drop(answer.send(flushed.clone().and(result))),
            Self::Done(answer, result) => drop(answer.send(flushed.clone().and(result))),
        }
    }
}

impl Order {
    /// Answers that nothing was done.
    fn refuse(self, error: &StoreError) {
        self.failed(error).send(&Ok(()));
    }

    /// The reply that nothing was done.
    pub fn failed(self, error: &StoreError) -> Reply {
        match self {
            Self::Commit { answer, .. } => Reply::Committed(answer, Err(error.clone())),
            Self::Lease { answer, .. } => Reply::Leased(answer, Err(error.clone())),
            Self::Release { answer, .. } | Self::Forget { answer } | Self::Idle { answer } => Reply::Done(answer, Err(error.clone())),
        }
    }
}
