//! What is remembered of each domain's way to its certificate, in the book, so that a restart forgets no pause.

use certs::acme::Window;
use certs::{Book, BookError};
use jiff::Timestamp;
use model::Sensitive;
use serde::{Deserialize, Serialize};

/// The topic of these notes.
const TOPIC: &str = "attempt";

/// One domain's way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attempt {
    /// Failures since the last certificate.
    pub failures: u32,
    /// No try before.
    pub not_before: Option<Timestamp>,
    /// Since when there is a problem.
    pub since: Option<Timestamp>,
    /// What the last problem was.
    pub problem: Option<String>,
    /// When its certificate is renewed, thrown once.
    pub renew_at: Option<Timestamp>,
    /// When the authority is asked again about that.
    pub ask_again: Option<Timestamp>,
    /// Which authority gave the certificate that stands.
    pub authority: Option<String>,
}

impl Attempt {
    /// All that are known.
    pub(crate) fn all(book: &Book) -> Result<Vec<(String, Self)>, BookError> {
        let notes = book.memos(TOPIC)?;
        Ok(notes.into_iter().filter_map(|(domain, text)| serde_json::from_str(text.reveal()).ok().map(|attempt| (domain, attempt))).collect())
    }

    /// Keeps it.
    pub(crate) fn keep(&self, book: &Book, domain: &str) -> Result<(), BookError> {
        let text = serde_json::to_string(self).unwrap_or_default();
        book.note_memo(TOPIC, domain, Some(&Sensitive::new(text)))
    }

    /// Forgets a domain.
    pub(crate) fn forget(book: &Book, domain: &str) -> Result<(), BookError> {
        book.note_memo(TOPIC, domain, None)
    }

    /// The same after a failure.
    pub(crate) fn failed(mut self, problem: String, now: Timestamp, pause: jiff::SignedDuration) -> Self {
        self.failures += 1;
        self.since.get_or_insert(now);
        self.problem = Some(problem);
        self.not_before = now.saturating_add(pause).ok();
        self
    }

    /// The same after a word of the authority about renewal.
    pub(crate) fn told(mut self, window: Option<Window>, renew_at: Timestamp, ask_again: Timestamp) -> Self {
        self.renew_at = Some(renew_at);
        self.ask_again = Some(window.map_or(ask_again, |window| window.ask_again));
        self
    }
}
