//! The access log: one line of JSON a request, written by a thread of its own. Requests never wait for it; lines that find no room are counted and dropped.
//!
//! Each serving thread has a [`Pen`] with a page of its own; the log's thread takes and writes each page a few times in a while. It is woken only
//! when it sleeps, so that a busy server does not pay a wake-up for each line.

mod json;

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, SystemTime};

use json::{Clock, Text, name};

/// Octets that may wait on one page.
const WAITING: usize = 4 * 1024 * 1024;
/// How long lines are collected before they are written together.
const TOGETHER: Duration = Duration::from_millis(50);
/// How long the end of a log waits for its last lines to be written.
const LAST: Duration = Duration::from_secs(1);

/// What is known of a request at its end.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub log: &'static str,
    pub id: &'a str,
    /// Of W3C Trace Context.
    pub trace: &'a str,
    pub span: &'a str,
    pub client: IpAddr,
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub reason: Option<&'static str>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// How the answer was compressed, and its octets before.
    pub squeezed: Option<(&'static str, u64)>,
    pub took: Duration,
    /// Until the head of the answer.
    pub answered: Option<Duration>,
    pub upstream: Option<SocketAddr>,
    pub tries: u32,
    pub tenant: Option<&'a str>,
    pub cell: Option<&'a str>,
    pub epoch: Option<u64>,
    /// The answer was cut short.
    pub cut: bool,
    /// What the cache did.
    pub cache: Option<&'static str>,
    /// The line stands for so many requests.
    pub one_in: NonZeroU32,
}

impl Line<'_> {
    fn write(&self, out: &mut Vec<u8>, clock: &mut Clock, now: SystemTime) {
        let mut text = Text::begin(out, clock.read(now));
        text.word(name!("log"), self.log);
        text.foreign(name!("id"), self.id);
        text.word(name!("trace"), self.trace);
        text.word(name!("span"), self.span);
        text.shown(name!("client"), &self.client);
        // Neither a method nor a host in canonical form holds anything to escape, nor do names of ours.
        text.word(name!("method"), self.method);
        text.word(name!("host"), self.host);
        text.foreign(name!("path"), self.path);
        text.number(name!("status"), u64::from(self.status));
        if let Some(reason) = self.reason {
            text.word(name!("reason"), reason);
        }
        text.number(name!("request_bytes"), self.request_bytes);
        text.number(name!("response_bytes"), self.response_bytes);
        if let Some((encoding, plain)) = self.squeezed {
            text.word(name!("encoding"), encoding);
            text.number(name!("plain_bytes"), plain);
        }
        text.milliseconds(name!("ms"), self.took);
        if let Some(answered) = self.answered {
            text.milliseconds(name!("upstream_ms"), answered);
        }
        if let Some(upstream) = self.upstream {
            text.address(name!("upstream"), upstream);
        }
        if self.tries > 1 {
            text.number(name!("tries"), u64::from(self.tries));
        }
        if let Some(tenant) = self.tenant {
            text.word(name!("tenant"), tenant);
        }
        if let Some(cell) = self.cell {
            text.word(name!("cell"), cell);
        }
        if let Some(epoch) = self.epoch {
            text.number(name!("epoch"), epoch);
        }
        if self.cut {
            text.yes(name!("cut"));
        }
        if let Some(cache) = self.cache {
            text.word(name!("cache"), cache);
        }
        if self.one_in.get() > 1 {
            text.number(name!("one_in"), u64::from(self.one_in.get()));
        }
        text.end();
    }
}

/// Where lines go.
#[derive(Debug, Clone)]
pub struct AccessLog(Option<Arc<Owner>>);

/// Ends the log's thread with the last handle.
#[derive(Debug)]
struct Owner {
    desk: Arc<Shared>,
    ended: Mutex<Receiver<()>>,
}

#[derive(Debug)]
struct Shared {
    pens: Mutex<Vec<Arc<Pen>>>,
    asleep: AtomicBool,
    closing: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

/// One thread's page.
#[derive(Debug)]
pub(crate) struct Pen {
    page: Mutex<(Vec<u8>, Clock)>,
    shared: Arc<Shared>,
}

impl AccessLog {
    /// Nowhere.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// To standard output.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn stdout() -> std::io::Result<Self> {
        Self::to(std::io::stdout())
    }

    /// To any writer, which the log's thread keeps until the last clone of the log is gone.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn to(writer: impl Write + Send + 'static) -> std::io::Result<Self> {
        let shared =
            Arc::new(Shared { pens: Mutex::default(), asleep: AtomicBool::new(false), closing: AtomicBool::new(false), thread: Mutex::default() });
        let (end, ended) = channel();
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            write(&theirs, writer);
            // Nobody listens where the end was not waited for.
            let _ = end.send(());
        })?;
        *lock(&shared.thread) = Some(thread.thread().clone());
        Ok(Self(Some(Arc::new(Owner { desk: shared, ended: Mutex::new(ended) }))))
    }

    /// A page for the thread that asks; `None` where nobody reads.
    pub(crate) fn pen(&self) -> Option<Arc<Pen>> {
        let shared = &self.0.as_ref()?.desk;
        let pen = Arc::new(Pen { page: Mutex::default(), shared: shared.clone() });
        lock(&shared.pens).push(pen.clone());
        Some(pen)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.desk.closing.store(true, SeqCst);
        self.desk.wake();
        match lock(&self.ended).recv_timeout(LAST) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => tracing::warn!("the last lines of the access log could not be written in time"),
        }
    }
}

impl Pen {
    /// Writes a line; `false` where there is no room.
    pub(crate) fn write(&self, line: &Line<'_>) -> bool {
        let now = SystemTime::now();
        {
            let mut page = lock(&self.page);
            let (text, clock) = &mut *page;
            if text.len() > WAITING {
                return false;
            }
            line.write(text, clock, now);
        }
        // The thread says that it sleeps before it looks at the pages a last time: one of the two sees the other.
        if self.shared.asleep.load(SeqCst) {
            self.shared.wake();
        }
        true
    }
}

impl Shared {
    fn wake(&self) {
        self.asleep.store(false, SeqCst);
        if let Some(thread) = &*lock(&self.thread) {
            thread.unpark();
        }
    }

    /// Shows what stands on each page, page by page; `false` where that is nothing.
    fn collect(&self, page: &mut Vec<u8>, mut see: impl FnMut(&[u8])) -> bool {
        let (pens, mut any) = (lock(&self.pens).clone(), false);
        for pen in &pens {
            page.clear();
            std::mem::swap(&mut lock(&pen.page).0, page);
            if !page.is_empty() {
                any = true;
                see(page);
            }
        }
        // A page whose thread has ended is empty for good once it was taken.
        drop(pens);
        lock(&self.pens).retain(|pen| Arc::strong_count(pen) > 1 || !lock(&pen.page).0.is_empty());
        any
    }
}

/// The log's thread.
fn write(shared: &Shared, mut writer: impl Write) {
    let mut page = Vec::new();
    loop {
        let closing = shared.closing.load(SeqCst);
        // A log that cannot be written must not stop requests; the thread goes on for the case that it can be again.
        let some = shared.collect(&mut page, |lines| drop(writer.write_all(lines).and_then(|()| writer.flush())));
        if closing && !some {
            return;
        }
        if !some {
            shared.asleep.store(true, SeqCst);
            // What was written before that word woke nobody.
            let empty = lock(&shared.pens).iter().all(|pen| lock(&pen.page).0.is_empty());
            if empty && !shared.closing.load(SeqCst) {
                std::thread::park();
            }
            shared.asleep.store(false, SeqCst);
        }
        if !closing {
            // So that more lines are written with one call.
            std::thread::park_timeout(TOGETHER);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "access/tests.rs"]
mod tests;
