//! The process of the writing node is killed, then stopped, then cut off, under load from four writers through HTTP and four through SQL.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::Options;
use crate::fault::{kill, link, pid_of, signal, wait_for};
use crate::outcome::{Outcome, say};
use crate::world::{Plan, Tenant, World};
use crate::writers::{Writers, found};

/// Load before each fault.
const WARM: Duration = Duration::from_secs(4);
/// A node must be back in sync by itself within this.
const RESYNC_WITHIN: Duration = Duration::from_secs(120);

/// How the writer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Kill,
    Link,
    Stop,
}

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let plan = Plan { cells: vec!["cell-a"], tenants: vec![("alpha", "cell-a"), ("beta", "cell-a")], ..Plan::default() };
    let mut world = World::start(&plan, options.keep).await?;
    let tenants = world.add_tenants(&plan).await?;
    let tenants: Vec<&Tenant> = tenants.iter().collect();
    let mut writers = Writers::start(&world, "cell-a", &tenants, 4, 4).await?;
    let rounds = options.rounds.unwrap_or(1);
    let mut stalls = [Vec::new(), Vec::new(), Vec::new()];
    let mut resync = Duration::ZERO;
    for _ in 0..rounds {
        for (i, loss) in [Loss::Kill, Loss::Stop, Loss::Link].into_iter().enumerate() {
            let (stall, synced) = lose(&world, &writers, loss).await.with_context(|| format!("{loss:?}"))?;
            say(&format!("  {loss:?}: commits stalled {:.2} s, node in sync again after {:.1} s", stall.as_secs_f64(), synced.as_secs_f64()));
            stalls[i].push(stall);
            resync = resync.max(synced);
        }
    }
    writers.stop().await;
    let found = found(&world, "cell-a", &tenants).await?;
    let lost = writers.sql.lost(&found).len() + writers.http.lost(&found).len();
    let (sql, sql_unknown) = writers.sql.counts();
    let (http, http_unknown) = writers.http.counts();
    ensure!(sql > 100 && http > 20, "the writers hardly wrote: {sql} through SQL, {http} through HTTP");
    let worst = |i: usize| stalls[i].iter().max().copied().unwrap_or_default().as_secs_f64();
    let mut outcome = Outcome::new("writer-loss");
    outcome.equal("lost", &lost, &0);
    outcome.at_most("stall_kill_s", worst(0), 5.0);
    outcome.at_most("stall_link_s", worst(2), 5.0);
    outcome.at_most("stall_stop_s", worst(1), 15.0);
    outcome.at_most("resync_s_max", resync.as_secs_f64(), RESYNC_WITHIN.as_secs_f64());
    outcome.note("acknowledged", sql + http);
    outcome.note("unknown", sql_unknown + http_unknown);
    Ok(outcome)
}

/// One loss: the longest time without an acknowledged SQL commit, and the time until all nodes are in sync again.
async fn lose(world: &World, writers: &Writers, loss: Loss) -> Result<(Duration, Duration)> {
    let began = Instant::now();
    wait_for("writes before the fault", Duration::from_secs(30), async || {
        Ok(began.elapsed() > WARM && writers.sql.first_after(Instant::now() - Duration::from_millis(500)).is_some())
    })
    .await?;
    let writer = world.writer("cell-a").await?;
    let container = world.container(&format!("cell-a-{writer}"));
    let at = Instant::now();
    let pid = pid_of(&container).await?;
    match loss {
        Loss::Kill => kill(&container).await?,
        Loss::Stop => drop(signal(&container, "STOP").await?),
        Loss::Link => link(&container, "eth0", false).await?,
    }
    wait_for("another writer", Duration::from_secs(40), async || Ok(world.writer("cell-a").await? != writer)).await?;
    let switched = Instant::now();
    wait_for("commits after the fault", Duration::from_secs(40), async || Ok(writers.sql.first_after(switched).is_some())).await?;
    let stall = writers.sql.longest_gap(at);
    match loss {
        Loss::Kill => {}
        // A stopped process that was not ended meanwhile goes on: it must not be believed.
        Loss::Stop if crate::fault::alive(pid) => drop(crate::fault::run("kill", &["-CONT", &pid.to_string()]).await?),
        Loss::Stop => {}
        Loss::Link if pid_of(&container).await.is_ok_and(|now| now == pid) => link(&container, "eth0", true).await?,
        Loss::Link => {}
    }
    wait_for("all nodes in sync", RESYNC_WITHIN, async || {
        let shown = world.json(&["cell", "show", "cell-a"]).await?;
        let nodes = shown["status"]["database"]["nodes"].as_object().context("no nodes reported")?;
        Ok(nodes.len() == 3 && nodes.values().all(|n| n["state"] == "Synced"))
    })
    .await?;
    Ok((stall, at.elapsed()))
}
