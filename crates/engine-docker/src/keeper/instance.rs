//! What a keeper knows of one instance.

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummaryStateEnum};
use engine::roll::{Leaving, Probed, Process, Seen};
use engine::{EngineError, Exit, Reason};
use jiff::Timestamp;
use model::ServiceName;
use tokio::task::AbortHandle;

use crate::body::Order;
use crate::client::reason_of;
use crate::names::{Asked, Labelled};
use crate::probe::Question;

/// A probe that runs; dropping it ends it.
pub(super) struct Probing {
    pub(super) question: Question,
    pub(super) task: AbortHandle,
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One instance.
pub(super) struct Instance {
    pub(super) id: Option<String>,
    pub(super) labelled: Labelled,
    pub(super) born: Timestamp,
    pub(super) process: Process,
    pub(super) restarts: u32,
    pub(super) last_exit: Option<Exit>,
    pub(super) oom_at: Option<Timestamp>,
    pub(super) start_error: Option<(Reason, String)>,
    pub(super) failed_starts: u32,
    pub(super) started_at: Option<String>,
    pub(super) probed: Probed,
    pub(super) probing: Option<Probing>,
    pub(super) heard: bool,
    pub(super) leaving: Option<Leaving>,
    pub(super) busy: bool,
    pub(super) pause_until: Option<Timestamp>,
    pub(super) shown: Option<ContainerSummaryStateEnum>,
    pub(super) dirty: bool,
}

impl Instance {
    fn new(labelled: Labelled, process: Process, now: Timestamp) -> Self {
        Self {
            id: None,
            labelled,
            born: now,
            process,
            restarts: 0,
            last_exit: None,
            oom_at: None,
            start_error: None,
            failed_starts: 0,
            started_at: None,
            probed: Probed::default(),
            probing: None,
            heard: false,
            leaving: None,
            busy: false,
            pause_until: None,
            shown: None,
            dirty: true,
        }
    }

    /// One that was asked for just now.
    pub(super) fn making(order: &Order, service: &ServiceName, now: Timestamp) -> Self {
        let labelled = Labelled {
            instance: order.name.clone(),
            service: service.clone(),
            version: order.version.clone(),
            address: Some(order.address),
            asked: Some(order.asked.clone()),
        };
        Self { heard: true, ..Self::new(labelled, Process::Making, now) }
    }

    /// One that was found.
    pub(super) fn found(labelled: Labelled, now: Timestamp) -> Self {
        Self::new(labelled, Process::Created, now)
    }

    /// Whether enough is known of it to decide: not the case of a running one whose probe has said nothing yet.
    pub(super) fn known(&self) -> bool {
        self.heard || self.process != Process::Running
    }

    /// Pauses after failures no longer count.
    pub(super) fn try_again(&mut self) {
        self.pause_until = None;
        self.failed_starts = 0;
    }

    pub(super) fn take_probe(&mut self, probed: Probed) {
        self.heard = true;
        let ever_ready = self.probed.ever_ready || probed.ever_ready;
        self.probed = Probed { ever_ready, ..probed };
        if self.probed.ready {
            self.failed_starts = 0;
        }
    }

    /// How it is asked whether it is ready. `wanted` counts for the version that is wanted now, and where nothing better is known; another version
    /// answers as it did when it was made.
    pub(super) fn asked(&self, wanted: Option<(&str, Asked)>) -> Option<Asked> {
        match (wanted, &self.labelled.asked) {
            (Some((version, wanted)), _) if version == self.labelled.version => Some(wanted),
            (_, Some(made)) => Some(made.clone()),
            (wanted, None) => wanted.map(|(_, wanted)| wanted),
        }
    }

    pub(super) fn seen(&self, port: u16, now: Timestamp) -> Seen {
        let paused = self.pause_until.filter(|at| *at > now);
        Seen {
            name: self.labelled.instance.clone(),
            service: self.labelled.service.clone(),
            version: self.labelled.version.clone(),
            address: self.labelled.address,
            port,
            born: self.born,
            process: self.process,
            restarts: self.restarts + self.failed_starts,
            last_exit: self.last_exit.clone(),
            start_error: self.start_error.clone(),
            start_again: paused,
            probed: self.probed.clone(),
            leaving: self.leaving,
            // A step on a leaving one that failed is tried again after its pause.
            busy: self.busy || self.leaving.is_some() && paused.is_some(),
        }
    }

    /// Takes what the engine shows of its container.
    pub(super) fn take(&mut self, shown: &ContainerInspectResponse) {
        self.dirty = false;
        let Some(state) = &shown.state else { return };
        let process = match state.status {
            Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::PAUSED) => Process::Running,
            Some(ContainerStateStatusEnum::RESTARTING) => Process::BackOff,
            Some(ContainerStateStatusEnum::CREATED) => Process::Created,
            _ => Process::Exited,
        };
        let again = state.started_at != self.started_at;
        if again || process != Process::Running {
            // Probes speak of one run of the process.
            self.probing = None;
            if again {
                self.probed = Probed::default();
            }
            self.probed.ready = false;
            self.started_at.clone_from(&state.started_at);
        }
        self.process = process;
        self.restarts = shown.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        match process {
            Process::Running => self.start_error = None,
            Process::BackOff | Process::Exited => self.take_exit(state),
            Process::Created | Process::Making => {}
        }
        if process != Process::Running
            && let Some(words) = state.error.as_deref().filter(|words| !words.is_empty())
        {
            self.start_error = Some((reason_of(500, words), words.to_owned()));
        }
    }

    fn take_exit(&mut self, state: &bollard::models::ContainerState) {
        let at = state.finished_at.as_deref().and_then(|text| text.parse::<Timestamp>().ok()).filter(|at| at.as_second() > 0);
        let Some(code) = state.exit_code else { return };
        let near = self.last_exit.as_ref().is_some_and(|held| held.code == code && held.out_of_memory);
        self.last_exit = Some(Exit { code, out_of_memory: state.oom_killed == Some(true) || near, at });
    }

    /// A start that failed.
    pub(super) fn not_started(&mut self, error: &EngineError, now: Timestamp) {
        if let EngineError::Refused { reason, message } = error {
            self.start_error = Some((*reason, message.clone()));
            self.failed_starts = self.failed_starts.saturating_add(1);
        }
        self.pause_until = Some(super::act::later(now, self.failed_starts));
    }
}
