//! What `run` promises.

use super::{Fixture, Task, must, settle};
use crate::{EngineError, JobDone};

/// Asked at once by two, and asked again later, a job with one key runs once and everybody gets its end.
pub async fn job_runs_once(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    let before = fixture.trace(&wanted.cell).await;
    let engine = fixture.engine();
    let job = fixture.job("once", Task::Tells);
    let (one, two) = tokio::join!(engine.run(&wanted.cell, &job), engine.run(&wanted.cell, &job));
    let one = must(one, "run");
    assert_eq!((one.code, one.timed_out), (Some(0), false), "{one:?}");
    assert!(one.tail.contains("s3cret-parameter"), "its file is there and its output is told: {one:?}");
    assert_eq!(must(two, "run"), one);
    drop(engine);
    fixture.restart().await;
    assert_eq!(must(fixture.engine().run(&wanted.cell, &job).await, "run again"), one);
    assert_eq!(fixture.runs(&wanted.cell, "once").await, 1);
    assert_eq!(fixture.trace(&wanted.cell).await, before, "nothing is left of it");
}

/// A job that failed tells its code, and starts clean when it is asked for again.
pub async fn failed_job_starts_clean(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    for runs in 1..=2 {
        let done = must(fixture.engine().run(&wanted.cell, &fixture.job("fails", Task::Fails)).await, "run");
        assert_eq!((done.code, done.timed_out), (Some(3), false), "{done:?}");
        assert!(done.tail.contains("broken"), "{done:?}");
        assert_eq!(fixture.runs(&wanted.cell, "fails").await, runs);
    }
}

/// A job that takes too long is ended.
pub async fn job_is_ended_when_its_time_is_up(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    let before = fixture.trace(&wanted.cell).await;
    let done = must(fixture.engine().run(&wanted.cell, &fixture.job("hangs", Task::Hangs)).await, "run");
    assert!(matches!(done, JobDone { code: None, timed_out: true, .. }), "{done:?}");
    assert_eq!(fixture.trace(&wanted.cell).await, before, "nothing is left of it");
}

/// A job whose caller went away goes on or starts clean; the next caller gets its end.
pub async fn interrupted_job_goes_on(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    let job = fixture.job("interrupted", Task::Tells);
    let engine = fixture.engine();
    let run = engine.run(&wanted.cell, &job);
    let early = tokio::time::timeout(std::time::Duration::from_millis(500), run).await;
    assert!(early.is_err(), "a job of a second was over at once: {early:?}");
    drop(engine);
    fixture.restart().await;
    let done = must(fixture.engine().run(&wanted.cell, &job).await, "run");
    assert_eq!(done.code, Some(0), "{done:?}");
}

/// There is no job beside nothing.
pub async fn job_of_an_unknown_cell_is_refused(fixture: &impl Fixture) {
    let answer = fixture.engine().run(&fixture.wanted().cell, &fixture.job("early", Task::Tells)).await;
    assert!(matches!(answer, Err(EngineError::Refused { .. })), "{answer:?}");
}
