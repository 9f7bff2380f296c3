//! Instances outlive their driver, and "cannot ask" is not "nothing there".

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::{Fixture, PAUSE, app, known, must, of, settle, settled, until};
use crate::{EngineError, LogOptions, Observation};

/// An engine out of reach is unknown, refuses nothing and loses nothing.
pub async fn engine_out_of_reach_is_unknown(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    let before = fixture.trace(&wanted.cell).await;
    fixture.reach(false).await;
    let deadline = Instant::now() + fixture.patience();
    while !matches!(fixture.engine().observe(&wanted.cell).await, Observation::Unknown(_)) {
        assert!(Instant::now() < deadline, "an engine out of reach is not told as unknown");
        tokio::time::sleep(PAUSE).await;
    }
    let never_ordered = fixture.other().cell;
    assert!(matches!(fixture.engine().observe(&never_ordered).await, Observation::Unknown(_)), "not even of a cell that was never ordered");
    let answer = fixture.engine().ensure(&wanted).await;
    assert!(matches!(answer, Err(EngineError::Unreachable(_))), "{answer:?}");
    fixture.reach(true).await;
    let deadline = Instant::now() + fixture.patience();
    while !matches!(fixture.engine().observe(&wanted.cell).await, Observation::Known(observed) if settled(&observed, &wanted)) {
        assert!(Instant::now() < deadline, "an engine that is back is not told as before");
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(fixture.trace(&wanted.cell).await, before);
}

/// A new driver finds everything ready at its first word, restarts nothing, and heals before anybody has ordered anything.
pub async fn new_driver_adopts_and_heals(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    let observed = settle(fixture, &wanted).await;
    let before = fixture.trace(&wanted.cell).await;
    fixture.restart().await;
    assert!(settled(&known(fixture, &wanted.cell).await, &wanted), "the first word of a new driver is the whole truth");
    assert_eq!(fixture.trace(&wanted.cell).await, before);
    let victim = of(&observed, &app())[0].name.clone();
    fixture.lose(&wanted.cell, &victim).await;
    until(fixture, &wanted.cell, "noticing", |o| !settled(o, &wanted)).await;
    until(fixture, &wanted.cell, "healed", |o| settled(o, &wanted)).await;
}

/// A log gives its last lines, its lines since a moment, and those to come.
pub async fn log_is_read_and_followed(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    let observed = settle(fixture, &wanted).await;
    let instance = of(&observed, &app())[0].name.clone();
    let engine = fixture.engine();
    let read = async |options: LogOptions| {
        let mut stream = must(engine.logs(&wanted.cell, &instance, options).await, "logs");
        let mut lines = Vec::new();
        while let Ok(Some(line)) = timeout(Duration::from_secs(10), stream.recv()).await {
            lines.push(line);
        }
        lines
    };
    let all = read(LogOptions::default()).await;
    assert_eq!(all.first().map(|line| line.text.as_str()), Some("started"), "{all:?}");
    assert!(all.iter().all(|line| line.instance == instance && line.at.is_some()));
    assert_eq!(read(LogOptions { tail: Some(1), ..LogOptions::default() }).await.len(), 1);
    let far = Timestamp::now().saturating_add(jiff::SignedDuration::from_hours(1)).unwrap_or(Timestamp::MAX);
    assert_eq!(read(LogOptions { since: Some(far), ..LogOptions::default() }).await, Vec::new());
    let mut followed = must(engine.logs(&wanted.cell, &instance, LogOptions { follow: true, tail: Some(0), since: None }).await, "logs");
    let line = timeout(fixture.patience(), followed.recv()).await;
    assert!(matches!(line, Ok(Some(_))), "a followed log goes on: {line:?}");
}
