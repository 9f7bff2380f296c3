//! No unsafe answer: a table of cases with expected answers, run against edge and gate with backends behind them that read strictly, or accept what careless servers do.
//!
//! After each case the same connection, where it stays open, and another visitor ask something plain: whoever gets another's answer, or finds anything but that
//! question at the backend, has found the case to fail.

mod answers;
mod backend;
mod case;
mod frames;
mod framing;
mod heads;
mod host;
mod reader;
mod run;
mod slow;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use model::{Epoch, Generation, TenantName};
use routes::RouteState;

use tokio::task::JoinSet;

use crate::Options;
use crate::fault::wait_for;
use crate::fleet::{self, Fleet};
use crate::outcome::{Outcome, say};
use backend::Backend;
use case::HOST;
use reader::Reader;
use run::{Target, fools, run, run_aside};
use wire::Wire;

/// Longest wait of one side for the other.
pub(crate) const SIGNAL: Duration = Duration::from_secs(20);
/// Cell, tenant, host and reader of each backend. Hosts are as long as the word that stands for them, so that lengths are right.
const BACKENDS: [(&str, &str, &str, Reader); 4] = [
    ("strict", "strict", "s.test", Reader::Strict),
    ("lax-chunks", "lax-chunks", "c.test", Reader::LaxChunks),
    ("lax-length", "lax-length", "l.test", Reader::LaxLength),
    // For those that take long, so that nothing is between them and the others.
    ("slow", "slow", "w.test", Reader::Strict),
];

/// Runs the proof.
pub async fn prove(_: &Options) -> Result<Outcome> {
    let (cells, hosts) = (BACKENDS.map(|(cell, ..)| cell), BACKENDS.map(|(_, _, host, _)| host));
    let fleet = Fleet::start_secure(1, &cells, &hosts).await?;
    let targets = open(&fleet).await?;
    let themes = [("framing", framing::cases()), ("heads", heads::cases()), ("host", host::cases()), ("answers", answers::cases())];
    let mut aside = JoinSet::new();
    for case in slow::cases() {
        let target = targets[3].clone();
        aside.spawn(async move { run_aside(&case, &target).await });
    }
    let mut outcome = Outcome::new("edge-safety");
    let (mut cases, mut passed, mut fooled) = (0, 0, 0);
    for (theme, table) in &themes {
        let (mut runs, mut failed) = (0, 0);
        for case in table {
            // One that runs a script reads nothing in its own way.
            let targets = if case.script.is_empty() { &targets[..3] } else { &targets[..1] };
            fooled += u32::from([Reader::LaxChunks, Reader::LaxLength].into_iter().any(|reader| fools(case, reader)));
            for target in targets {
                runs += 1;
                if let Err(differs) = run(case, target).await {
                    failed += 1;
                    say(&format!("  {theme}: {differs}"));
                }
            }
        }
        say(&format!("{theme}: {} cases, {runs} runs, {failed} failed", table.len()));
        cases += runs;
        passed += runs - failed;
    }
    let (table, runs, differ) = frames::run_all(&targets[..3]).await?;
    for differs in &differ {
        say(&format!("  frames: {differs}"));
    }
    say(&format!("frames: {table} cases, {runs} runs, {} failed", differ.len()));
    cases += runs;
    passed += runs - differ.len();
    let (runs, mut failed) = (aside.len(), 0);
    while let Some(result) = aside.join_next().await {
        if let Err(differs) = result? {
            failed += 1;
            say(&format!("  slow: {differs}"));
        }
    }
    say(&format!("slow: {runs} cases, {failed} failed"));
    cases += runs;
    passed += runs - failed;
    outcome.note("cases", cases);
    outcome.equal("passed", &passed, &cases);
    // Without this the table could be one that nobody would fail.
    outcome.note("smuggled_without_edge", fooled);
    ensure!(fooled > 0, "no case would smuggle a request past a lax backend without an edge: the table shows nothing");
    Ok(outcome)
}

/// A tenant in each cell, served by a backend of its own.
async fn open(fleet: &Fleet) -> Result<Vec<Arc<Target>>> {
    let (mut targets, mut records) = (Vec::<Arc<Target>>::new(), Vec::new());
    for (cell, (_, tenant, host, reader)) in fleet.cells.iter().zip(BACKENDS) {
        ensure!(host.len() == HOST.len(), "{host} has another length than {HOST}");
        let backend = Backend::start(reader).await?;
        let name = TenantName::new(tenant)?;
        fleet.push(cell, &cell.state(Generation(1), backend.address, vec![fleet::open(name.clone())])?).await?;
        records.push(cell.record(host, &name, Epoch(1), RouteState::Open)?);
        targets.push(Target { edge: fleet.edges[0], secure: fleet.secure[0], host, backend }.into());
    }
    let generation = fleet.publish(records)?;
    fleet.applied(generation).await?;
    for target in &targets {
        wait_for("the first answer", Duration::from_secs(20), async || {
            let mut wire = Wire::connect(target.edge).await?;
            wire.send(format!("GET /first HTTP/1.1\r\nHost: {}\r\n\r\n", target.host).as_bytes()).await;
            Ok(wire.answer(false).await?.is_some_and(|answer| answer.status == 200))
        })
        .await?;
    }
    Ok(targets)
}
