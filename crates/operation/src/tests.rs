#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use model::v1alpha1::{Cell, CellSpec, Operation, OperationSpec, OperationState, OperationStatus, Scheduling, Subject, Verb};
use model::{CellName, Document, Kind, OperationName, Typed};
use serde_json::{Value, json};
use store::{Compare, Key, SharedStore, TypedStore, fake::FakeStore};

use crate::harness::{self, Scenario, Stage};
use crate::*;

/// Three sets of marks stand for three outside systems.
#[derive(Default)]
struct Marks(Mutex<BTreeSet<String>>);

struct Open;

#[async_trait]
impl Procedure for Open {
    const VERB: Verb = Verb::CellOpen;
    type World = Marks;
    type Parameters = String;

    fn steps() -> Steps<Self> {
        Steps::new().then(First).then(Second).point_of_no_return().then(Third)
    }

    async fn conclude(_: &Context<'_, Self>, subject: Document, ending: Ending) -> Result<Conclusion, StepError> {
        let mut status = subject.status;
        status["tenants"] = json!(if ending == Ending::Done { 7 } else { 0 });
        Ok(Conclusion { status: Some(status), ..Conclusion::default() })
    }
}

macro_rules! mark_step {
    ($step:ident, $name:literal) => {
        struct $step;
        #[async_trait]
        impl Step<Open> for $step {
            const NAME: &'static str = $name;
            type Out = String;
            async fn act(&self, cx: &Context<'_, Open>) -> Result<String, StepError> {
                let mark = format!("{}-{}", $name, cx.parameters);
                cx.world.0.lock().unwrap().insert(mark.clone());
                Ok(mark)
            }
            async fn undo(&self, cx: &Context<'_, Open>) -> Result<(), StepError> {
                cx.world.0.lock().unwrap().remove(&format!("{}-{}", $name, cx.parameters));
                Ok(())
            }
        }
    };
}
mark_step!(First, "first");
mark_step!(Third, "third");

struct Second;
#[async_trait]
impl Step<Open> for Second {
    const NAME: &'static str = "second";
    type Out = ();
    async fn act(&self, cx: &Context<'_, Open>) -> Result<(), StepError> {
        let first = cx.output::<First>()?;
        let mut marks = cx.world.0.lock().unwrap();
        if !marks.contains(&first) {
            return Err(StepError::fatal("NoFirst", "the first mark is missing"));
        }
        if marks.insert(format!("second after {first}")) {
            return Err(StepError::wait("Settling", "one more look", Duration::from_secs(1)));
        }
        Ok(())
    }
    async fn undo(&self, cx: &Context<'_, Open>) -> Result<(), StepError> {
        cx.world.0.lock().unwrap().retain(|m| !m.starts_with("second"));
        Ok(())
    }
}

struct OpenCell;

#[async_trait]
impl Scenario for OpenCell {
    type World = Marks;
    fn verb(&self) -> Verb {
        Verb::CellOpen
    }
    async fn fresh(&self) -> Stage<Marks> {
        stage().await
    }
    async fn look(&self, stage: &Stage<Marks>) -> Value {
        let cell = stage.store.read::<Cell>(&(&CellName::new("a").unwrap()).into()).await.unwrap().unwrap();
        json!({ "marks": *stage.world.0.lock().unwrap(), "tenants": cell.status.tenants })
    }
}

async fn stage() -> Stage<Marks> {
    let clock: Clock = Arc::new(store::fake::tokio_clock(Timestamp::UNIX_EPOCH));
    let time = clock.clone();
    let store: SharedStore = FakeStore::new(move || time()).shared();
    let lease = store.lease("control", "test", Duration::from_secs(3600)).await.unwrap();
    let name = OperationName::new("open-a").unwrap();
    let spec = CellSpec { blueprint: "wordpress.1".to_owned().try_into().unwrap(), region: None, machines: Vec::new(), scheduling: Scheduling::Open };
    let mut cell = Typed::<Cell>::new(&CellName::new("a").unwrap(), spec);
    cell.status.operation = Some(name.clone());
    let subject = Subject { kind: Kind::Cell, name: cell.metadata.name.clone() };
    let spec = OperationSpec {
        verb: Verb::CellOpen,
        subject,
        parameters: json!("x"),
        requested_by: "test".to_owned(),
        idempotency_key: "open-a".to_owned(),
        cancel: false,
    };
    let (absent, write) = create(&name, &spec);
    store.commit(vec![absent], vec![store::spec_write(&cell), store::status_write(&cell), write]).await.unwrap();
    let procedures = Arc::new(Procedures::new().with::<Open>());
    Stage { store, lease, world: Arc::new(Marks::default()), procedures, clock, operation: name }
}

fn runner(stage: &Stage<Marks>) -> Runner<Marks> {
    Runner::new(stage.store.clone(), stage.lease.clone(), stage.world.clone(), stage.procedures.clone(), stage.clock.clone())
}

#[tokio::test(start_paused = true)]
async fn a_verb_inherits_three_tests() {
    assert_eq!(harness::inherited(&OpenCell).await, 16);
}

#[tokio::test(start_paused = true)]
async fn the_subject_is_given_back_in_the_commit_that_ends_it() {
    let stage = stage().await;
    let runner = runner(&stage);
    let Drove::Until(_) = runner.drive(&stage.operation).await.unwrap() else { panic!("the second step waits once") };
    let cell = stage.store.read::<Cell>(&"a".to_owned().try_into().unwrap()).await.unwrap().unwrap();
    assert_eq!(cell.status.operation.as_ref(), Some(&stage.operation));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(runner.drive(&stage.operation).await.unwrap(), Drove::Ended(OperationState::Done));
    let cell = stage.store.read::<Cell>(&"a".to_owned().try_into().unwrap()).await.unwrap().unwrap();
    let operation = stage.store.read::<Operation>(&(&stage.operation).into()).await.unwrap().unwrap();
    assert_eq!((cell.status.operation, operation.status.state), (None, OperationState::Done));
    assert_eq!(operation.status.steps[1].attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn cancel_works_before_the_point_of_no_return_only() {
    for (late, end) in [(false, OperationState::Failed), (true, OperationState::Done)] {
        let stage = stage().await;
        let runner = runner(&stage);
        runner.drive(&stage.operation).await.unwrap();
        if late {
            let probe = Arc::new(StopAt(Point::Begun("third")));
            let first = self::runner(&stage).with_probe(probe);
            assert_eq!(first.drive(&stage.operation).await, Err(RunError::Crashed));
        }
        let mut operation = stage.store.read::<Operation>(&(&stage.operation).into()).await.unwrap().unwrap();
        operation.spec.cancel = true;
        stage.store.commit(vec![], vec![store::spec_write(&operation)]).await.unwrap();
        assert_eq!(runner.drive(&stage.operation).await.unwrap(), Drove::Ended(end));
        assert_eq!(stage.world.0.lock().unwrap().is_empty(), !late);
    }
}

struct StopAt(Point);
impl Probe for StopAt {
    fn at(&self, _: &OperationName, point: Point) -> Injection {
        if point == self.0 { Injection::Crash } else { Injection::Go }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_lost_the_lease_writes_nothing() {
    let stage = stage().await;
    stage.store.release(&stage.lease).await.unwrap();
    stage.store.lease("control", "another", Duration::from_secs(60)).await.unwrap();
    assert_eq!(runner(&stage).drive(&stage.operation).await, Err(RunError::Fenced));
    assert!(stage.world.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_says_the_same_again_writes_nothing() {
    struct Never;
    struct Wait;
    #[async_trait]
    impl Procedure for Never {
        const VERB: Verb = Verb::CellOpen;
        type World = Marks;
        type Parameters = String;
        fn steps() -> Steps<Self> {
            Steps::new().then(Wait)
        }
        async fn conclude(_: &Context<'_, Self>, _: Document, _: Ending) -> Result<Conclusion, StepError> {
            Ok(Conclusion::default())
        }
    }
    #[async_trait]
    impl Step<Never> for Wait {
        const NAME: &'static str = "wait";
        type Out = ();
        async fn act(&self, _: &Context<'_, Never>) -> Result<(), StepError> {
            Err(StepError::retry("Never", "it never comes"))
        }
        async fn undo(&self, _: &Context<'_, Never>) -> Result<(), StepError> {
            Ok(())
        }
    }
    let stage = stage().await;
    let procedures = Arc::new(Procedures::new().with::<Never>());
    let runner = Runner::new(stage.store.clone(), stage.lease.clone(), stage.world.clone(), procedures, stage.clock.clone());
    runner.drive(&stage.operation).await.unwrap();
    let key = Key::new(Kind::Operation, &stage.operation);
    let before = stage.store.get(&key).await.unwrap().unwrap().metadata.revision;
    for _ in 0..50 {
        let Drove::Until(at) = runner.drive(&stage.operation).await.unwrap() else { panic!("it waits") };
        assert!(at <= (stage.clock)() + Duration::from_secs(20));
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    assert_eq!(stage.store.get(&key).await.unwrap().unwrap().metadata.revision, before);
}

#[test]
fn every_illegal_transition_is_refused() {
    use OperationState as S;
    let states = [S::Pending, S::Running, S::Undoing, S::Done, S::Failed, S::NeedsHuman];
    let events = [Event::Start, Event::Finished, Event::TurnBack, Event::BackAtStart, Event::Stuck];
    let legal = states.iter().flat_map(|s| events.iter().map(move |e| next_state(*s, *e))).filter(Result::is_ok).count();
    assert_eq!(legal, 8);
    assert!(events.iter().all(|e| next_state(S::Done, *e).is_err() && next_state(S::Failed, *e).is_err()));
}

#[test]
fn a_decision_needs_only_the_record() {
    let shape = Shape { steps: vec!["a"], no_return: None };
    let spec = OperationSpec {
        verb: Verb::CellOpen,
        subject: Subject { kind: Kind::Cell, name: "a".to_owned().try_into().unwrap() },
        parameters: Value::Null,
        requested_by: String::new(),
        idempotency_key: String::new(),
        cancel: true,
    };
    let pending = OperationStatus::default();
    assert_eq!(decide(&shape, &spec, &pending, Timestamp::UNIX_EPOCH), Next::End(Event::TurnBack));
    let _ = Compare::Absent(Key::new(Kind::Cell, &CellName::new("a").unwrap()));
}
