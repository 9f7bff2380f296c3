//! Where an instance stands and why, from what is known of it.

use jiff::Timestamp;
use model::v1alpha1::Probe;

use super::{Process, Seen, Stopped, after};
use crate::{InstanceState, Reason};

/// Where an instance stands, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Where it stands.
    pub state: InstanceState,
    /// Why.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
}

/// Ends in a row that make a loop.
const LOOP: u32 = 2;

/// Judges one instance. `kept` is the note of its stopped rollout, where it is the instance kept for that.
#[must_use]
pub fn judge(seen: &Seen, probe: &Probe, kept: Option<&Stopped>, now: Timestamp) -> Judgement {
    let says = |state, reason, message: String| Judgement { state, reason, message };
    if seen.leaving.is_some() {
        return says(InstanceState::Draining, Reason::Draining, "leaves; takes no new requests".to_owned());
    }
    if let Some(note) = kept {
        return says(InstanceState::Stopped, note.reason, note.message.clone());
    }
    match seen.process {
        Process::Making => says(InstanceState::Starting, Reason::Starting, "is being made".to_owned()),
        Process::Created => match &seen.start_error {
            Some((reason, words)) => says(InstanceState::Stopped, *reason, words.clone()),
            None => says(InstanceState::Starting, Reason::Starting, "is made, not yet started".to_owned()),
        },
        Process::BackOff | Process::Exited => {
            let (reason, words) = ended(seen).unwrap_or((Reason::Starting, "is started again".to_owned()));
            says(InstanceState::Stopped, reason, words)
        }
        Process::Running if seen.probed.ready => says(InstanceState::Ready, Reason::AsWanted, String::new()),
        Process::Running => running(seen, probe, now),
    }
}

/// A running process that is not ready.
fn running(seen: &Seen, probe: &Probe, now: Timestamp) -> Judgement {
    let words = if seen.probed.words.is_empty() { "no answer yet" } else { &seen.probed.words };
    let waiting = if seen.probed.ever_ready { InstanceState::NotReady } else { InstanceState::Starting };
    if let Some((reason, message)) = ended(seen) {
        // Between two ends of a loop there is no news: the same words as while it waits for its next start, so that nobody writes them down twice a round.
        let news = seen.probed.ever_ready || seen.restarts < LOOP;
        return Judgement { state: waiting, reason, message: if news { format!("{message}; now: {words}") } else { message } };
    }
    if seen.probed.ever_ready {
        return Judgement { state: waiting, reason: Reason::Unready, message: format!("was ready, its probe fails now: {words}") };
    }
    if now >= after(seen.born, probe.start_within) {
        let message = format!("did not become ready within {}: {words}", probe.start_within);
        return Judgement { state: InstanceState::NotReady, reason: Reason::NeverReady, message };
    }
    Judgement { state: waiting, reason: Reason::Starting, message: format!("started, not yet ready: {words}") }
}

/// What the last end of the process says about now.
fn ended(seen: &Seen) -> Option<(Reason, String)> {
    let exit = seen.last_exit.as_ref()?;
    let times = match seen.restarts {
        0 | 1 => String::new(),
        n if n < 10 => format!(", {n} times"),
        // Not each of them is news.
        n => format!(", over {} times", n / 10 * 10 - 1),
    };
    if exit.out_of_memory {
        return Some((Reason::OutOfMemory, format!("ended for lack of memory (code {}){times}", exit.code)));
    }
    match exit.code {
        126 | 127 => Some((Reason::BadCommand, format!("its command cannot be run (code {}){times}", exit.code))),
        code if seen.restarts >= LOOP => Some((Reason::CrashLoop, format!("ends again and again, last with code {code}{times}"))),
        code if seen.process != Process::Running => Some((Reason::Starting, format!("ended with code {code}, is started again"))),
        _ => None,
    }
}

/// Why an instance that was never ready counts as failed, where it does.
pub(super) fn failed(seen: &Seen, probe: &Probe, now: Timestamp) -> Option<(Reason, String)> {
    if seen.probed.ever_ready {
        return None;
    }
    if let Some((reason, words)) = &seen.start_error
        && *reason == Reason::BadCommand
    {
        return Some((*reason, words.clone()));
    }
    let fatal = seen.restarts >= super::FATAL_RESTARTS;
    let overdue = now >= after(seen.born, probe.start_within);
    if !fatal && !overdue {
        return None;
    }
    let judgement = judge(seen, probe, None, now);
    Some(if judgement.reason == Reason::Starting {
        (Reason::NeverReady, format!("did not become ready within {}: {}", probe.start_within, judgement.message))
    } else {
        (judgement.reason, judgement.message)
    })
}
