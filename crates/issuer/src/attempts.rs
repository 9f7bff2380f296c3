//! What is remembered of each domain's way to its certificate, in the book, so that a restart forgets no pause.

use certs::acme::{Fault, Window};
use certs::{Book, BookError};
use jiff::Timestamp;
use model::Sensitive;
use serde::{Deserialize, Serialize};

/// The topic of these notes.
const TOPIC: &str = "attempt";

/// Of what kind a problem is, which says who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Noted before kinds were.
    #[default]
    Unsaid,
    /// The domain does not lead to an edge of ours.
    Elsewhere,
    /// The domain's zone names other authorities (CAA).
    Forbidden,
    /// The authority looked at the domain and refuses it.
    Refused,
    /// The authority was asked too often, or would be.
    Limited,
    /// The authority does not answer as it should.
    Authority,
    /// What the authority wants to see could not be shown, or what it gave not be kept.
    Ours,
}

impl From<Fault> for Cause {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Domain => Self::Refused,
            Fault::Forbidden => Self::Forbidden,
            Fault::Limited => Self::Limited,
            Fault::Authority => Self::Authority,
            Fault::Ours => Self::Ours,
        }
    }
}

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
    /// Of what kind it is.
    pub cause: Cause,
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
    pub(crate) fn failed(mut self, cause: Cause, problem: String, now: Timestamp, pause: jiff::SignedDuration) -> Self {
        self.failures += 1;
        self.since.get_or_insert(now);
        (self.cause, self.problem) = (cause, Some(problem));
        self.not_before = now.saturating_add(pause).ok();
        self
    }

    /// The same after it was found that nobody may be asked now: no failure of the domain's, and yet the reason why it waits.
    pub(crate) fn waits(mut self, fault: Fault, now: Timestamp, pause: jiff::SignedDuration) -> Self {
        self.since.get_or_insert(now);
        let problem = match fault {
            Fault::Limited => "no authority may be asked for more certificates now",
            _ => "no authority that answers is left",
        };
        // What an authority itself said of it says more.
        if self.cause != fault.into() || self.problem.is_none() {
            (self.cause, self.problem) = (fault.into(), Some(problem.to_owned()));
        }
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
