//! Counters and their text for Prometheus. No tenant stands in a label: a fleet has too many.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::kept::Kept;
use crate::page::Reason;

/// Upper bounds of the duration's buckets, in milliseconds.
const BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000];

/// What one server counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Both are compared with limits of the whole server, so all threads share them.
    open: AtomicU64,
    in_flight: AtomicU64,
    threads: Mutex<Vec<Arc<Counts>>>,
}

/// What one thread counts. Nobody else writes here, so counting needs no lock on the processor's bus; the text adds the threads up.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Counts {
    connections: Count,
    answers: [Count; 6],
    reasons: Vec<Count>,
    refused_connections: Count,
    without_preamble: Count,
    connect_failures: Count,
    trunks: Count,
    retries: Count,
    bytes_in: Count,
    bytes_out: Count,
    lost_log_lines: Count,
    buckets: [Count; BUCKETS_MS.len()],
    duration_us: Count,
    kept: [Count; Kept::ALL.len()],
}

/// A counter with one writer.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            connections: Count::default(),
            answers: Default::default(),
            reasons: Reason::ALL.iter().map(|_| Count::default()).collect(),
            refused_connections: Count::default(),
            without_preamble: Count::default(),
            connect_failures: Count::default(),
            trunks: Count::default(),
            retries: Count::default(),
            bytes_in: Count::default(),
            bytes_out: Count::default(),
            lost_log_lines: Count::default(),
            buckets: Default::default(),
            duration_us: Count::default(),
            kept: Default::default(),
        }
    }
}

impl Counts {
    pub(crate) fn connection(&self) {
        self.connections.add(1);
    }

    pub(crate) fn refused_connection(&self) {
        self.refused_connections.add(1);
    }

    pub(crate) fn without_preamble(&self) {
        self.without_preamble.add(1);
    }

    pub(crate) fn connect_failed(&self) {
        self.connect_failures.add(1);
    }

    pub(crate) fn trunk(&self) {
        self.trunks.add(1);
    }

    pub(crate) fn retried(&self) {
        self.retries.add(1);
    }

    pub(crate) fn lost_line(&self) {
        self.lost_log_lines.add(1);
    }

    pub(crate) fn kept(&self, kept: Kept) {
        self.kept[kept as usize].add(1);
    }

    #[inline]
    pub(crate) fn answered(&self, status: u16, reason: Option<Reason>, took: Duration, bytes_in: u64, bytes_out: u64) {
        if let Some(class) = self.answers.get(usize::from(status / 100)) {
            class.add(1);
        }
        if let Some(counter) = reason.and_then(|reason| self.reasons.get(reason as usize)) {
            counter.add(1);
        }
        self.bytes_in.add(bytes_in);
        self.bytes_out.add(bytes_out);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.duration_us.add(us);
        if let Some(at) = BUCKETS_MS.iter().position(|ms| us <= ms * 1000) {
            self.buckets[at].add(1);
        }
    }
}

impl Metrics {
    pub(crate) fn opened(&self) -> u64 {
        self.open.fetch_add(1, Relaxed)
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// Takes a place among requests under way, where one is left.
    #[inline]
    pub(crate) fn begin(&self, most: u64) -> bool {
        let room = self.in_flight.fetch_add(1, Relaxed) < most;
        if !room {
            self.end();
        }
        room
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Counters for one more thread. They stay when it ends: totals never fall.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        let counts = Arc::<Counts>::default();
        self.threads().push(counts.clone());
        counts
    }

    fn threads(&self) -> MutexGuard<'_, Vec<Arc<Counts>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sum(&self, of: impl Fn(&Counts) -> &Count) -> u64 {
        self.threads().iter().map(|counts| of(counts).read()).sum()
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Answers given so far.
    #[must_use]
    pub fn answers(&self) -> u64 {
        (0..6).map(|class| self.sum(|counts| &counts.answers[class])).sum()
    }

    /// The text, each name beginning with `prefix` (`atoll_edge`).
    #[must_use]
    pub fn text(&self, prefix: &str) -> String {
        let mut text = Text::new(prefix);
        text.number("connections_total", "counter", "Connections taken; one within a trunk counts as one.", self.sum(|counts| &counts.connections));
        text.number("connections_open", "gauge", "Connections open.", self.open.load(Relaxed));
        text.number(
            "connections_refused_total",
            "counter",
            "Connections refused because too many were open.",
            self.sum(|counts| &counts.refused_connections),
        );
        text.number(
            "connections_without_preamble_total",
            "counter",
            "Connections of trusted networks closed because their preamble (PROXY protocol) was missing or malformed.",
            self.sum(|counts| &counts.without_preamble),
        );
        text.number("requests_in_flight", "gauge", "Requests under way.", self.in_flight.load(Relaxed));
        text.head("responses_total", "counter", "Answers by class of their status.");
        for class in 1..6 {
            text.line("responses_total", &format!("{{class=\"{class}xx\"}}"), self.sum(|counts| &counts.answers[class]));
        }
        text.head("refusals_total", "counter", "Answers given by Atoll itself, by reason.");
        for (at, reason) in Reason::ALL.iter().enumerate() {
            text.line("refusals_total", &format!("{{reason=\"{reason}\"}}"), self.sum(|counts| &counts.reasons[at]));
        }
        text.number("connect_failures_total", "counter", "Connections to upstreams that failed.", self.sum(|counts| &counts.connect_failures));
        text.number(
            "trunks_total",
            "counter",
            "Connections between edge and gate that carry many requests at once.",
            self.sum(|counts| &counts.trunks),
        );
        text.number("retries_total", "counter", "Requests sent again because nothing had been processed.", self.sum(|counts| &counts.retries));
        text.number("request_bytes_total", "counter", "Octets of request bodies.", self.sum(|counts| &counts.bytes_in));
        text.number("response_bytes_total", "counter", "Octets of answers' bodies.", self.sum(|counts| &counts.bytes_out));
        text.number("access_log_lost_total", "counter", "Lines of the access log that were dropped.", self.sum(|counts| &counts.lost_log_lines));
        text.head("cache_total", "counter", "Requests of tenants whose answers are kept, by what the cache did.");
        for kept in Kept::ALL {
            text.line("cache_total", &format!("{{did=\"{}\"}}", kept.word()), self.sum(|counts| &counts.kept[kept as usize]));
        }
        self.durations(&mut text);
        text.0
    }

    fn durations(&self, text: &mut Text<'_>) {
        const NAME: &str = "request_duration_seconds";
        text.head(NAME, "histogram", "Time from a request's head to the end of its answer.");
        let mut sum = 0;
        for (at, ms) in BUCKETS_MS.iter().enumerate() {
            sum += self.sum(|counts| &counts.buckets[at]);
            let (seconds, rest) = (ms / 1000, ms % 1000);
            text.line(&format!("{NAME}_bucket"), &format!("{{le=\"{seconds}.{rest:03}\"}}"), sum);
        }
        let all = self.answers();
        text.line(&format!("{NAME}_bucket"), "{le=\"+Inf\"}", all.max(sum));
        let us = self.sum(|counts| &counts.duration_us);
        text.line(&format!("{NAME}_sum"), "", format_args!("{}.{:06}", us / 1_000_000, us % 1_000_000));
        text.line(&format!("{NAME}_count"), "", all.max(sum));
    }
}

/// Text for Prometheus in the making.
#[derive(Debug)]
pub struct Text<'p>(String, &'p str);

impl<'p> Text<'p> {
    /// Nothing yet; each name will begin with `prefix`.
    #[must_use]
    pub const fn new(prefix: &'p str) -> Self {
        Self(String::new(), prefix)
    }

    /// What a metric is.
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to memory does not fail.
        let _ = writeln!(self.0, "# HELP {0}_{name} {help}\n# TYPE {0}_{name} {kind}", self.1);
    }

    /// One value.
    pub fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        // Writing to memory does not fail.
        let _ = writeln!(self.0, "{}_{name}{labels} {value}", self.1);
    }

    /// A metric of one value.
    pub fn one(&mut self, name: &str, kind: &str, help: &str, value: &AtomicU64) {
        self.number(name, kind, help, value.load(Relaxed));
    }

    fn number(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(name, "", value);
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}
