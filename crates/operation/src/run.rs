//! Takes an operation through its steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::v1alpha1::{Operation, OperationSpec, OperationState, StepRecord, StepState};
use model::{OperationName, Resource, Typed};
use serde_json::Value;
use store::{Compare, Key, Lease, SharedStore, StoreError, TypedStore, Write};

use crate::decide::past_return;
use crate::procedure::Erased;
use crate::{Ending, Event, Next, Procedures, RunError, StepError, decide, next_state};

/// Wall time, as the process is told it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Pause before the second try; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// How a drive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drove {
    /// The operation has ended, now or before.
    Ended(OperationState),
    /// Nothing is due before then.
    Until(Timestamp),
    /// No such operation stands.
    Gone,
}

/// A place between two lines of the protocol, for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The step is recorded as begun, nothing was done.
    Begun(&'static str),
    /// Its effect stands and is not recorded.
    Acted(&'static str),
    /// It is recorded as done.
    Recorded(&'static str),
    /// Its effect was taken back, which is not recorded.
    Undone(&'static str),
}

/// What a test does at a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Injection {
    /// Nothing.
    Go,
    /// The step fails like this although its effect may stand.
    Fail(StepError),
    /// The process ends.
    Crash,
}

/// Decides at each point; production always goes on.
pub trait Probe: Send + Sync {
    /// What happens here.
    fn at(&self, operation: &OperationName, point: Point) -> Injection;
}

/// Goes on everywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Go;

impl Probe for Go {
    fn at(&self, _: &OperationName, _: Point) -> Injection {
        Injection::Go
    }
}

/// The compare and the write that create an operation. The same commit must set `status.operation` of the subject and compare its revision.
#[must_use]
pub fn create(name: &OperationName, spec: &OperationSpec) -> (Compare, Write) {
    let document = Typed::<Operation>::new(name, spec.clone());
    (Compare::Absent(store::key_of(&document)), store::spec_write(&document))
}

/// Runs operations under one lease.
pub struct Runner<W> {
    store: SharedStore,
    lease: Lease,
    world: Arc<W>,
    procedures: Arc<Procedures<W>>,
    clock: Clock,
    probe: Arc<dyn Probe>,
    /// Tries since the record last changed: a wait that says the same again is not written again.
    tries: Mutex<BTreeMap<OperationName, Tries>>,
}

/// Tries since the record last changed.
#[derive(Default)]
struct Tries {
    count: u32,
    /// Whether the last one ended in [`StepError::Wait`].
    waits: bool,
}

impl<W: Send + Sync + 'static> Runner<W> {
    /// A runner that works while the lease is held.
    pub fn new(store: SharedStore, lease: Lease, world: Arc<W>, procedures: Arc<Procedures<W>>, clock: Clock) -> Self {
        Self { store, lease, world, procedures, clock, probe: Arc::new(Go), tries: Mutex::default() }
    }

    /// The same with a test's probe.
    #[must_use]
    pub fn with_probe(mut self, probe: Arc<dyn Probe>) -> Self {
        self.probe = probe;
        self
    }

    /// Goes on until the operation ends or nothing is due. May be called again at any time, also by another process after a crash.
    ///
    /// # Errors
    /// [`RunError`]; what is recorded then is where the next call goes on.
    pub async fn drive(&self, name: &OperationName) -> Result<Drove, RunError> {
        let mut conflicts = 0;
        loop {
            let Some(operation) = self.store.read::<Operation>(&name.into()).await? else { return Ok(Drove::Gone) };
            match self.advance(name, operation).await {
                Ok(Some(drove)) => return Ok(drove),
                Ok(None) => conflicts = 0,
                // Somebody wrote in between (a cancel, the subject's status), or the answer was lost: what stands decides.
                Err(RunError::Store(StoreError::Conflict(_) | StoreError::Unknown(_))) if conflicts < 100 => conflicts += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the last try said that something outside must happen first, so that news from outside are a reason to try again at once; after a
    /// failure only time is.
    #[must_use]
    pub fn waits(&self, name: &OperationName) -> bool {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).get(name).is_some_and(|tries| tries.waits)
    }

    /// One move. `None`: there is more to do.
    async fn advance(&self, name: &OperationName, mut operation: Typed<Operation>) -> Result<Option<Drove>, RunError> {
        let now = (self.clock)();
        let Some(procedure) = self.procedures.get(operation.spec.verb) else {
            return Ok(Some(Drove::Ended(OperationState::NeedsHuman)));
        };
        match decide(procedure.shape(), &operation.spec, &operation.status, now) {
            Next::Nothing => Ok(Some(Drove::Ended(operation.status.state))),
            Next::Wait(until) => Ok(Some(Drove::Until(until))),
            Next::Begin(index) => {
                let step = procedure.shape().steps[index];
                if operation.status.state == OperationState::Pending {
                    self.move_state(&mut operation, Event::Start);
                }
                operation.status.steps.push(StepRecord {
                    name: step.to_owned(),
                    state: StepState::Begun,
                    attempts: 0,
                    began_at: now,
                    ended_at: None,
                    output: Value::Null,
                    message: None,
                });
                self.record(operation).await?;
                self.inject(name, Point::Begun(step)).map(|_| None)
            }
            Next::Act(index) => self.act(name, operation, &*procedure, index, now).await,
            Next::Cancel => {
                self.move_state(&mut operation, Event::TurnBack);
                operation.status.reason = Some("Cancelled".to_owned());
                operation.status.message = Some("somebody asked for it to be cancelled".to_owned());
                operation.status.next_try_at = None;
                self.record(operation).await.map(|()| None)
            }
            Next::Undo(index) => self.undo(name, operation, &*procedure, index, now).await,
            Next::End(event) => self.end(name, operation, &*procedure, event, now).await,
        }
    }

    async fn act(
        &self,
        name: &OperationName,
        mut operation: Typed<Operation>,
        procedure: &dyn Erased<W>,
        index: usize,
        now: Timestamp,
    ) -> Result<Option<Drove>, RunError> {
        let step = procedure.shape().steps[index];
        let mut result = procedure.act(&self.world, &operation, index, now).await;
        if let Injection::Fail(error) = self.inject(name, Point::Acted(step))? {
            result = Err(error);
        }
        let now = (self.clock)();
        match result {
            Ok(output) => {
                let tries = self.forget(name);
                let record = &mut operation.status.steps[index];
                record.state = StepState::Done;
                record.attempts += tries + 1;
                record.ended_at = Some(now);
                record.output = output;
                record.message = None;
                calm(&mut operation);
                self.record(operation).await?;
                self.inject(name, Point::Recorded(step)).map(|_| None)
            }
            Err(StepError::Fatal { reason, message }) => {
                tracing::warn!(operation = %name, step, reason, message, "a step failed for good");
                let tries = self.forget(name);
                let record = &mut operation.status.steps[index];
                record.state = StepState::Failed;
                record.attempts += tries + 1;
                record.ended_at = Some(now);
                record.message = Some(message.clone());
                operation.status.next_try_at = None;
                operation.status.reason = Some(reason);
                operation.status.message = Some(message);
                if past_return(procedure.shape(), &operation.status) {
                    return self.end(name, operation, procedure, Event::Stuck, now).await;
                }
                self.move_state(&mut operation, Event::TurnBack);
                self.record(operation).await.map(|()| None)
            }
            Err(later) => self.later(name, operation, index, &later, now).await,
        }
    }

    async fn undo(
        &self,
        name: &OperationName,
        mut operation: Typed<Operation>,
        procedure: &dyn Erased<W>,
        index: usize,
        now: Timestamp,
    ) -> Result<Option<Drove>, RunError> {
        let step = procedure.shape().steps.get(index).copied().unwrap_or_default();
        let mut result = procedure.undo(&self.world, &operation, index, now).await;
        if let Injection::Fail(error) = self.inject(name, Point::Undone(step))? {
            result = Err(error);
        }
        let now = (self.clock)();
        match result {
            Ok(()) => {
                self.forget(name);
                let record = &mut operation.status.steps[index];
                record.state = StepState::Undone;
                record.ended_at = Some(now);
                operation.status.next_try_at = None;
                self.record(operation).await.map(|()| None)
            }
            Err(StepError::Fatal { reason, message }) => {
                operation.status.reason = Some(reason);
                operation.status.message = Some(format!("step {step} cannot be undone: {message}"));
                self.end(name, operation, procedure, Event::Stuck, now).await
            }
            Err(later) => self.later(name, operation, index, &later, now).await,
        }
    }

    /// Ends the operation and gives its subject back in one commit.
    async fn end(
        &self,
        name: &OperationName,
        mut operation: Typed<Operation>,
        procedure: &dyn Erased<W>,
        event: Event,
        now: Timestamp,
    ) -> Result<Option<Drove>, RunError> {
        let ending = match event {
            Event::Finished => Ending::Done,
            Event::Stuck => Ending::NeedsHuman,
            _ => Ending::Failed,
        };
        if operation.spec.cancel && operation.status.state == OperationState::Pending {
            operation.status.reason = Some("Cancelled".to_owned());
        }
        let subject = Key { kind: operation.spec.subject.kind, name: operation.spec.subject.name.clone() };
        let mut compares = vec![Compare::Fence(self.lease.clone())];
        let mut writes = Vec::new();
        if let Some(document) = self.store.get(&subject).await? {
            let revision = document.metadata.revision;
            let mut status = document.status.clone();
            let concluded = match procedure.conclude(&self.world, &operation, document, ending, now).await {
                Ok(concluded) => concluded,
                Err(StepError::Fatal { reason, message }) if ending != Ending::NeedsHuman => {
                    operation.status.reason = Some(reason);
                    operation.status.message = Some(message);
                    return Box::pin(self.end(name, operation, procedure, Event::Stuck, now)).await;
                }
                Err(StepError::Fatal { .. }) => crate::Conclusion::default(),
                Err(later) => {
                    let again = now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now);
                    tracing::warn!(operation = %name, error = %later, "the conclusion must wait");
                    return Ok(Some(Drove::Until(again)));
                }
            };
            status = concluded.status.unwrap_or(status);
            if let Some(fields) = status.as_object_mut() {
                fields.remove("operation");
            }
            compares.push(Compare::Revision(subject.clone(), revision));
            compares.extend(concluded.compares);
            writes.push(Write::Status { key: subject, status });
            writes.extend(concluded.writes);
            operation.status.reveal = concluded.reveal;
        }
        self.move_state(&mut operation, event);
        if ending == Ending::Done {
            calm(&mut operation);
        }
        operation.status.ended_at = Some(now);
        operation.status.next_try_at = None;
        compares.push(Compare::Revision(store::key_of(&operation), operation.metadata.revision));
        writes.push(store::status_write(&operation));
        self.store.commit(compares, writes).await?;
        tracing::info!(operation = %name, state = ?operation.status.state, "operation ended");
        Ok(Some(Drove::Ended(operation.status.state)))
    }

    /// Another try later. Only news is written down.
    async fn later(
        &self,
        name: &OperationName,
        mut operation: Typed<Operation>,
        index: usize,
        error: &StepError,
        now: Timestamp,
    ) -> Result<Option<Drove>, RunError> {
        let tries = {
            let mut all = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
            let tries = all.entry(name.clone()).or_default();
            tries.count += 1;
            tries.waits = matches!(error, StepError::Wait { .. });
            tries.count
        };
        let pause = match error {
            StepError::Wait { again, .. } => *again,
            _ => LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow((tries - 1).min(10))),
        };
        let until = now.saturating_add(SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX);
        let too_late = operation.spec.cancel && operation.status.state == OperationState::Running;
        let message = if too_late { format!("too late to cancel: {error}") } else { error.to_string() };
        let news = operation.status.reason.as_deref() != Some(error.reason()) || operation.status.message.as_deref() != Some(message.as_str());
        if news {
            tracing::info!(operation = %name, step = operation.status.steps[index].name, reason = error.reason(), message, "a step waits");
            operation.status.steps[index].message = Some(message.clone());
            if operation.status.state == OperationState::Running {
                operation.status.reason = Some(error.reason().to_owned());
                operation.status.message = Some(message);
            }
            self.record(operation).await?;
        }
        Ok(Some(Drove::Until(until)))
    }

    /// Writes the operation's status if nobody else did since it was read.
    async fn record(&self, operation: Typed<Operation>) -> Result<(), RunError> {
        self.store.write_status(&operation, vec![Compare::Fence(self.lease.clone())]).await?;
        Ok(())
    }

    fn move_state(&self, operation: &mut Typed<Operation>, event: Event) {
        match next_state(operation.status.state, event) {
            Ok(state) => operation.status.state = state,
            // Cannot happen by `decide`; a person then sees a record that stands still, which is better than a wrong one.
            Err(illegal) => tracing::error!(name = %operation.metadata.name, error = %illegal, "defect"),
        }
    }

    fn inject(&self, name: &OperationName, point: Point) -> Result<Injection, RunError> {
        match self.probe.at(name, point) {
            Injection::Crash => Err(RunError::Crashed),
            other => Ok(other),
        }
    }

    fn forget(&self, name: &OperationName) -> u32 {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).remove(name).map_or(0, |tries| tries.count)
    }
}

/// Nothing is waited for any more.
fn calm(operation: &mut Typed<Operation>) {
    operation.status.reason = None;
    operation.status.message = None;
    operation.status.next_try_at = None;
}

const _: () = assert!(matches!(Operation::KIND, model::Kind::Operation));
