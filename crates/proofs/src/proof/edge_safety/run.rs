//! Runs a case against a backend, and says what differs from what is expected.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use super::backend::{Backend, Seen, Signals, perform};
use super::case::{Case, Expect, Step, for_host};
use super::reader::{Found, Reader};
use super::wire::{Answer, Wire, show};

/// What a case is run against.
#[derive(Debug)]
pub struct Target {
    pub edge: SocketAddr,
    pub secure: SocketAddr,
    pub host: &'static str,
    pub backend: Backend,
}

/// What the visitor got.
#[derive(Default)]
struct Got {
    answers: Vec<Answer>,
    /// Without the answer to the plain question behind the case.
    octets: Vec<u8>,
}

/// Runs one; what differs, with everything that went over both connections.
pub async fn run(case: &Case, target: &Target) -> Result<(), String> {
    target.backend.take();
    let mut got = Got::default();
    let began = Instant::now();
    let mut differs = tell(case, target, &mut got).await.and_then(|()| in_time(&case.expect, began));
    target.backend.perform(None);
    let seen = target.backend.take();
    if differs.is_ok() {
        differs = judge(&case.expect, case.script.is_empty(), &got, &seen);
    }
    if differs.is_ok() {
        differs = still_in_step(target).await;
    }
    differs.map_err(|differs| {
        target.backend.reset();
        report(case, target, &differs, &got, &seen)
    })
}

fn report(case: &Case, target: &Target, differs: &anyhow::Error, got: &Got, seen: &Seen) -> String {
    let sent = case.says.iter().map(|step| describe(step, target.host)).collect::<Vec<_>>().join("; ");
    format!(
        "{} [{:?}]: {differs:#}\n    sent      {sent}\n    expected  {}\n    got       {}\n    backend   {:?} of {}",
        case.name,
        target.backend.reader,
        describe_expected(&case.expect),
        show(&got.octets),
        seen.lines,
        show(&seen.octets),
    )
}

/// Runs one that takes long, beside others: what the backend finds meanwhile is not looked at.
pub async fn run_aside(case: &Case, target: &Target) -> Result<(), String> {
    let mut got = Got::default();
    let began = Instant::now();
    let told = tell(case, target, &mut got).await;
    let differs = told.and_then(|()| in_time(&case.expect, began)).and_then(|()| judge(&case.expect, false, &got, &Seen::default()));
    differs.map_err(|differs| report(case, target, &differs, &got, &Seen::default()))
}

fn in_time(expect: &Expect, began: Instant) -> Result<()> {
    let took = began.elapsed();
    if let Some((least, most)) = expect.within {
        ensure!((least..=most).contains(&took), "it took {:.1} s; expected {least:?} to {most:?}", took.as_secs_f64());
    }
    Ok(())
}

/// The visitor's part.
async fn tell(case: &Case, target: &Target, got: &mut Got) -> Result<()> {
    let signals = Signals::new();
    if !case.script.is_empty() {
        target.backend.perform(Some((located(&case.script, target.host), signals.clone())));
    }
    let mut wire = Wire::connect(target.edge).await?;
    if let Some((_, most)) = case.expect.within {
        wire.patience = wire.patience.max(most);
    }
    let mut result = speak(case, target, &mut wire, &signals, &mut got.answers).await;
    got.octets.clone_from(&wire.all);
    if result.is_ok() && case.expect.open {
        result = goes_on(&mut wire, target).await;
        if result.is_err() {
            got.octets.clone_from(&wire.all);
        }
    }
    result
}

async fn speak(case: &Case, target: &Target, wire: &mut Wire, signals: &Signals, answers: &mut Vec<Answer>) -> Result<()> {
    let expect = &case.expect;
    if let Some(problem) = perform(wire, &located(&case.says, target.host), &signals.visitor, &signals.backend).await {
        bail!("{problem}");
    }
    for _ in 0..expect.answers.len() {
        match wire.answer(expect.to_head).await? {
            Some(answer) => answers.push(answer),
            None => break,
        }
    }
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    ensure!(statuses == expect.answers, "the answers are {statuses:?}");
    let last_is_whole = answers.last().is_none_or(|answer| answer.whole);
    ensure!(
        last_is_whole != expect.cut,
        "the last answer is {}",
        if expect.cut { "whole to the visitor, though something is missing" } else { "cut" }
    );
    if !expect.open {
        let rest = wire.rest().await?;
        ensure!(rest == expect.tunnel.as_bytes(), "the connection goes on with {}", show(&rest));
    }
    Ok(())
}

/// Whether the connection serves one more request, and nothing besides.
async fn goes_on(wire: &mut Wire, target: &Target) -> Result<()> {
    let seen = target.backend.take();
    let line = canary(wire, target).await?;
    let later = target.backend.take();
    ensure!(later.lines == [line], "the next request on the same connection was found as {:?}", later.lines);
    target.backend.put_back(seen);
    Ok(())
}

/// A plain request that must get its own answer; its first line.
async fn canary(wire: &mut Wire, target: &Target) -> Result<String> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let line = format!("GET /canary-{} HTTP/1.1", NUMBER.fetch_add(1, Relaxed));
    let sent = format!("{line}\r\nHost: {}\r\n\r\n", target.host);
    wire.send(sent.as_bytes()).await;
    let answer = wire.answer(false).await?;
    let right = answer.as_ref().is_some_and(|answer| answer.status == 200 && answer.body == line.as_bytes());
    ensure!(right, "the next request got {answer:?}");
    Ok(line)
}

/// Whether another visitor still gets the answer to the own question, and the backend nothing else.
pub async fn still_in_step(target: &Target) -> Result<()> {
    target.backend.take();
    let mut wire = Wire::connect(target.edge).await?;
    let line = canary(&mut wire, target).await?;
    let seen = target.backend.take();
    ensure!(seen.lines == [line], "the request of the next visitor was found as {:?}", seen.lines);
    Ok(())
}

fn judge(expect: &Expect, by_reader: bool, got: &Got, seen: &Seen) -> Result<()> {
    if by_reader {
        ensure!(seen.lines == expect.seen, "the backend found {:?}", seen.lines);
    }
    let last = got.answers.last();
    let reason = last.and_then(|answer| answer.find("atoll-reason"));
    ensure!(reason == expect.reason, "the reason is {reason:?}");
    if let Some(body) = &expect.body {
        let body_got = last.map(|answer| answer.body.as_slice()).unwrap_or_default();
        ensure!(body_got == body, "the answer's body is {}", show(body_got));
    }
    if let Some(body) = &expect.upload {
        let found = seen.uploads.last().map(Vec::as_slice).unwrap_or_default();
        ensure!(found == body, "the body at the backend is {}", show(found));
    }
    let (up, down) = (lower(&seen.octets), lower(&got.octets));
    for (octets, texts, wanted, whose) in [
        (&up, &expect.has, true, "the backend's request"),
        (&up, &expect.lacks, false, "the backend's request"),
        (&down, &expect.told, true, "the answer"),
        (&down, &expect.untold, false, "the answer"),
    ] {
        for text in texts {
            ensure!(octets.contains(text) == wanted, "{whose} {} {text:?}", if wanted { "lacks" } else { "has" });
        }
    }
    Ok(())
}

fn lower(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).to_lowercase()
}

fn located(steps: &[Step], host: &str) -> Vec<Step> {
    let located = |step: &Step| match step {
        Step::Send(octets) => Step::Send(for_host(octets, host)),
        Step::Flood(octets, times) => Step::Flood(for_host(octets, host), *times),
        Step::Drip(octets, pause) => Step::Drip(for_host(octets, host), *pause),
        other => other.clone(),
    };
    steps.iter().map(located).collect()
}

fn describe(step: &Step, host: &str) -> String {
    match step {
        Step::Send(octets) => show(&for_host(octets, host)),
        Step::Flood(octets, times) => format!("{times} times {}", show(octets)),
        Step::Drip(octets, pause) => format!("octet by octet, {pause:?} each, {}", show(octets)),
        other => format!("{other:?}"),
    }
}

fn describe_expected(expect: &Expect) -> String {
    let (last, then) = (expect.reason.unwrap_or("the backend's"), if expect.open { "stays open" } else { "ends" });
    format!("{:?} ({last}); backend {:?}; the connection {then}; {:?}", expect.answers, expect.seen, expect.within)
}

/// Whether a reader that gets a case's octets without an edge before it finds the smuggled request, or is offended by them.
pub fn fools(case: &Case, reader: Reader) -> bool {
    let octets = case.octets().unwrap_or_default();
    let mut rest = octets;
    while let Found::Request { used, line, .. } = reader.next(rest) {
        if line.contains("/smuggled") {
            return true;
        }
        rest = &rest[used..];
    }
    false
}
