//! The three tests that every verb inherits: fail at each step, repeat each step, crash and resume at each step.
//!
//! A [`Scenario`] makes a fresh world with one operation in it and says how that world looks. The harness drives the operation undisturbed for the
//! goal, and then with one disturbance at a time; it proves that the disturbance hit the step it was meant for.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use model::OperationName;
use model::v1alpha1::{Operation, OperationState, StepState, Verb};
use serde_json::Value;
use store::{Lease, SharedStore, TypedStore};

use crate::{Clock, Drove, Injection, Point, Probe, Procedures, RunError, Runner, StepError};

/// A world with one operation in it.
pub struct Stage<W> {
    /// Its store.
    pub store: SharedStore,
    /// A lease held in it.
    pub lease: Lease,
    /// Its ports.
    pub world: Arc<W>,
    /// Its verbs.
    pub procedures: Arc<Procedures<W>>,
    /// Its time.
    pub clock: Clock,
    /// The operation, Pending.
    pub operation: OperationName,
}

/// How to make the world of a verb, and how it looks.
#[async_trait]
pub trait Scenario: Send + Sync {
    /// The ports.
    type World: Send + Sync + 'static;

    /// The verb under test.
    fn verb(&self) -> Verb;

    /// A fresh world each time.
    async fn fresh(&self) -> Stage<Self::World>;

    /// Everything that the verb may change, without times, revisions and the operation itself: two worlds that should be alike must compare equal.
    async fn look(&self, stage: &Stage<Self::World>) -> Value;
}

/// One disturbance, and whether it happened.
struct Once {
    point: Point,
    injection: Injection,
    hits: Mutex<u32>,
}

impl Once {
    fn hits(&self) -> u32 {
        *self.hits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe for Once {
    fn at(&self, _: &OperationName, point: Point) -> Injection {
        let mut hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
        if point != self.point || *hits > 0 {
            return Injection::Go;
        }
        *hits += 1;
        self.injection.clone()
    }
}

/// Runs all three and returns how many disturbed runs were made.
///
/// # Panics
/// When a verb does not keep a promise; the message names the step.
pub async fn inherited<S: Scenario>(scenario: &S) -> usize {
    let (start, goal, steps, no_return) = undisturbed(scenario).await;
    let mut runs = 0;
    for (index, step) in steps.iter().copied().enumerate() {
        if no_return.is_none_or(|at| index < at) {
            fail(scenario, step, &start).await;
            undo_crash(scenario, step, &start).await;
            runs += 2;
        }
        for point in [Point::Begun(step), Point::Acted(step), Point::Recorded(step)] {
            crash(scenario, point, step, &goal).await;
            runs += 1;
        }
        repeat(scenario, step, &goal).await;
        runs += 1;
    }
    runs
}

async fn undisturbed<S: Scenario>(scenario: &S) -> (Value, Value, Vec<&'static str>, Option<usize>) {
    let stage = scenario.fresh().await;
    let start = scenario.look(&stage).await;
    let state = drive(&stage, runner(&stage)).await;
    assert_eq!(state, OperationState::Done, "{:?} does not reach its goal undisturbed: {}", scenario.verb(), told(&stage).await);
    let goal = scenario.look(&stage).await;
    let Some(shape) = stage.procedures.shape(scenario.verb()) else { panic!("{:?} has no procedure", scenario.verb()) };
    (start, goal, shape.steps.clone(), shape.no_return)
}

/// The step fails for good after its effect: everything is as it was.
async fn fail<S: Scenario>(scenario: &S, step: &'static str, start: &Value) {
    let stage = scenario.fresh().await;
    let probe = once(Point::Acted(step), Injection::Fail(StepError::fatal("Injected", "the test says so")));
    let state = drive(&stage, runner(&stage).with_probe(probe.clone())).await;
    assert_eq!(probe.hits(), 1, "the failure did not hit step {step}");
    assert_eq!(state, OperationState::Failed, "after a failure at {step}: {}", told(&stage).await);
    let records = records(&stage).await;
    assert_eq!(records.last().map(|(name, _)| name.as_str()), Some(step), "it went on behind the failed step");
    assert!(records.iter().all(|(_, state)| *state == StepState::Undone), "not all undone after a failure at {step}: {records:?}");
    assert_eq!(&scenario.look(&stage).await, start, "a failure at {step} leaves something behind");
}

/// The step fails for good, and the process ends while it is undone.
async fn undo_crash<S: Scenario>(scenario: &S, step: &'static str, start: &Value) {
    let stage = scenario.fresh().await;
    let fail = once(Point::Acted(step), Injection::Fail(StepError::fatal("Injected", "the test says so")));
    let crash = once(Point::Undone(step), Injection::Crash);
    let both: Arc<dyn Probe> = Arc::new(Both(fail.clone(), crash.clone()));
    let state = drive(&stage, runner(&stage).with_probe(both)).await;
    assert_eq!((fail.hits(), crash.hits()), (1, 1), "failure and crash did not both hit step {step}");
    assert_eq!(state, OperationState::Failed, "after a crash while undoing {step}: {}", told(&stage).await);
    assert_eq!(&scenario.look(&stage).await, start, "a crash while undoing {step} leaves something behind");
}

/// The step's effect stands, its report is lost, and it is done again by the same process.
async fn repeat<S: Scenario>(scenario: &S, step: &'static str, goal: &Value) {
    let stage = scenario.fresh().await;
    let probe = once(Point::Acted(step), Injection::Fail(StepError::retry("Injected", "the answer was lost")));
    let state = drive(&stage, runner(&stage).with_probe(probe.clone())).await;
    assert_eq!(probe.hits(), 1, "the repetition did not hit step {step}");
    assert_eq!(state, OperationState::Done, "after step {step} was done twice: {}", told(&stage).await);
    assert_eq!(&scenario.look(&stage).await, goal, "step {step} done twice ends elsewhere");
}

/// The process ends at this point and another one goes on.
async fn crash<S: Scenario>(scenario: &S, point: Point, step: &'static str, goal: &Value) {
    let stage = scenario.fresh().await;
    let probe = once(point, Injection::Crash);
    let crashed = drive_once(&stage, &runner(&stage).with_probe(probe.clone())).await;
    assert_eq!(crashed, Err(RunError::Crashed), "no crash at {point:?}");
    assert_eq!(records(&stage).await.last().map(|(name, _)| name.as_str()), Some(step), "the crash at {point:?} hit another step");
    let state = drive(&stage, runner(&stage)).await;
    assert_eq!(state, OperationState::Done, "after a crash at {point:?}: {}", told(&stage).await);
    assert_eq!(&scenario.look(&stage).await, goal, "a crash at {point:?} ends elsewhere");
}

struct Both(Arc<Once>, Arc<Once>);

impl Probe for Both {
    fn at(&self, operation: &OperationName, point: Point) -> Injection {
        match self.0.at(operation, point) {
            Injection::Go => self.1.at(operation, point),
            other => other,
        }
    }
}

fn once(point: Point, injection: Injection) -> Arc<Once> {
    Arc::new(Once { point, injection, hits: Mutex::new(0) })
}

fn runner<W: Send + Sync + 'static>(stage: &Stage<W>) -> Runner<W> {
    Runner::new(stage.store.clone(), stage.lease.clone(), stage.world.clone(), stage.procedures.clone(), stage.clock.clone())
}

/// Drives to the end; a crash is followed by a new runner without a probe. Waits are slept through, which paused time makes instant.
async fn drive<W: Send + Sync + 'static>(stage: &Stage<W>, first: Runner<W>) -> OperationState {
    match drive_once(stage, &first).await {
        Ok(state) => state,
        Err(RunError::Crashed) => match drive_once(stage, &runner(stage)).await {
            Ok(state) => state,
            Err(error) => panic!("the resumed run failed: {error:?}"),
        },
        Err(error) => panic!("the run failed: {error:?}"),
    }
}

async fn drive_once<W: Send + Sync + 'static>(stage: &Stage<W>, runner: &Runner<W>) -> Result<OperationState, RunError> {
    for _ in 0..500 {
        match runner.drive(&stage.operation).await? {
            Drove::Ended(state) => return Ok(state),
            Drove::Gone => panic!("the operation is gone"),
            Drove::Until(at) => {
                let wait = at.duration_since((stage.clock)());
                tokio::time::sleep(wait.try_into().unwrap_or_default()).await;
            }
        }
    }
    panic!("the operation still waits after 500 tries: {}", told(stage).await);
}

async fn told<W>(stage: &Stage<W>) -> String {
    match stage.store.read::<Operation>(&(&stage.operation).into()).await {
        Ok(Some(operation)) => format!("{:#?}", operation.status),
        other => format!("{other:?}"),
    }
}

async fn records<W>(stage: &Stage<W>) -> Vec<(String, StepState)> {
    let Ok(Some(operation)) = stage.store.read::<Operation>(&(&stage.operation).into()).await else { return Vec::new() };
    operation.status.steps.into_iter().map(|r| (r.name, r.state)).collect()
}
