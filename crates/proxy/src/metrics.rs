//! Counters and their text for Prometheus. No tenant stands in a label: a fleet has too many.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::page::Reason;

/// Upper bounds of the duration's buckets, in milliseconds.
const BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000];

/// What one server counts.
#[derive(Debug)]
pub struct Metrics {
    connections: AtomicU64,
    open: AtomicU64,
    in_flight: AtomicU64,
    answers: [AtomicU64; 6],
    reasons: Vec<AtomicU64>,
    refused_connections: AtomicU64,
    connect_failures: AtomicU64,
    retries: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    lost_log_lines: AtomicU64,
    buckets: [AtomicU64; BUCKETS_MS.len()],
    duration_us: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: AtomicU64::default(),
            open: AtomicU64::default(),
            in_flight: AtomicU64::default(),
            answers: Default::default(),
            reasons: Reason::ALL.iter().map(|_| AtomicU64::default()).collect(),
            refused_connections: AtomicU64::default(),
            connect_failures: AtomicU64::default(),
            retries: AtomicU64::default(),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            lost_log_lines: AtomicU64::default(),
            buckets: Default::default(),
            duration_us: AtomicU64::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn opened(&self) -> u64 {
        self.connections.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed)
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(crate) fn refused_connection(&self) {
        self.refused_connections.fetch_add(1, Relaxed);
    }

    /// Takes a place among requests under way, where one is left.
    pub(crate) fn begin(&self, most: u64) -> bool {
        let room = self.in_flight.fetch_add(1, Relaxed) < most;
        if !room {
            self.end();
        }
        room
    }

    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    pub(crate) fn connect_failed(&self) {
        self.connect_failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn lost_line(&self) {
        self.lost_log_lines.fetch_add(1, Relaxed);
    }

    pub(crate) fn answered(&self, status: u16, reason: Option<Reason>, took: Duration, bytes_in: u64, bytes_out: u64) {
        if let Some(class) = self.answers.get(usize::from(status / 100)) {
            class.fetch_add(1, Relaxed);
        }
        if let Some(counter) = reason.and_then(|reason| self.reasons.get(reason as usize)) {
            counter.fetch_add(1, Relaxed);
        }
        self.bytes_in.fetch_add(bytes_in, Relaxed);
        self.bytes_out.fetch_add(bytes_out, Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.duration_us.fetch_add(us, Relaxed);
        if let Some(at) = BUCKETS_MS.iter().position(|ms| us <= ms * 1000) {
            self.buckets[at].fetch_add(1, Relaxed);
        }
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Answers given so far.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.answers.iter().map(|class| class.load(Relaxed)).sum()
    }

    /// The text, each name beginning with `prefix` (`atoll_edge`).
    #[must_use]
    pub fn text(&self, prefix: &str) -> String {
        let mut text = Text::new(prefix);
        text.one("connections_total", "counter", "Connections taken.", &self.connections);
        text.one("connections_open", "gauge", "Connections open.", &self.open);
        text.one("connections_refused_total", "counter", "Connections refused because too many were open.", &self.refused_connections);
        text.one("requests_in_flight", "gauge", "Requests under way.", &self.in_flight);
        text.head("responses_total", "counter", "Answers by class of their status.");
        for (class, count) in self.answers.iter().enumerate().skip(1) {
            text.line("responses_total", &format!("{{class=\"{class}xx\"}}"), count.load(Relaxed));
        }
        text.head("refusals_total", "counter", "Answers given by Atoll itself, by reason.");
        for (reason, count) in Reason::ALL.iter().zip(&self.reasons) {
            text.line("refusals_total", &format!("{{reason=\"{reason}\"}}"), count.load(Relaxed));
        }
        text.one("connect_failures_total", "counter", "Connections to upstreams that failed.", &self.connect_failures);
        text.one("retries_total", "counter", "Requests sent again because nothing had been processed.", &self.retries);
        text.one("request_bytes_total", "counter", "Octets of request bodies.", &self.bytes_in);
        text.one("response_bytes_total", "counter", "Octets of answers' bodies.", &self.bytes_out);
        text.one("access_log_lost_total", "counter", "Lines of the access log that were dropped.", &self.lost_log_lines);
        self.durations(&mut text);
        text.0
    }

    fn durations(&self, text: &mut Text<'_>) {
        const NAME: &str = "request_duration_seconds";
        text.head(NAME, "histogram", "Time from a request's head to the end of its answer.");
        let mut sum = 0;
        for (ms, count) in BUCKETS_MS.iter().zip(&self.buckets) {
            sum += count.load(Relaxed);
            let (seconds, rest) = (ms / 1000, ms % 1000);
            text.line(&format!("{NAME}_bucket"), &format!("{{le=\"{seconds}.{rest:03}\"}}"), sum);
        }
        let all = self.answers();
        text.line(&format!("{NAME}_bucket"), "{le=\"+Inf\"}", all.max(sum));
        let us = self.duration_us.load(Relaxed);
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
        self.head(name, kind, help);
        self.line(name, "", value.load(Relaxed));
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}
