//! All three nodes are killed at random moments under load, seed after seed: nothing acknowledged is lost and the right node bootstraps.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::Options;
use crate::fault::{kill, wait_for};
use crate::outcome::{Outcome, say};
use crate::world::{Plan, Tenant, World};
use crate::writers::{Writers, found};

/// Rounds where no other number is asked for.
const SEEDS: u32 = 20;

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let plan = Plan { cells: vec!["cell-a"], tenants: vec![("alpha", "cell-a"), ("beta", "cell-a")], ..Plan::default() };
    let mut world = World::start(&plan, options.keep).await?;
    let tenants = world.add_tenants(&plan).await?;
    let tenants: Vec<&Tenant> = tenants.iter().collect();
    let seeds = options.rounds.unwrap_or(SEEDS);
    let (mut lost, mut wrong, mut slowest, mut acknowledged) = (0, 0, Duration::ZERO, 0);
    for seed in options.seed..options.seed + u64::from(seeds) {
        let mut writers = Writers::start(&world, "cell-a", &tenants, 4, 0).await?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let offsets: Vec<u64> = (0..3).map(|_| random.random_range(0..400)).collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(500..2500))).await;
        // A kill proves nothing unless something was acknowledged before it.
        wait_for("the writers to write", Duration::from_secs(30), async || Ok(writers.sql.counts().0 > 20))
            .await
            .with_context(|| format!("seed {seed}"))?;
        let at = kill_all(&world, &offsets).await.with_context(|| format!("seed {seed}"))?;
        wait_for("commits after the outage", Duration::from_secs(90), async || Ok(writers.sql.first_after(at).is_some()))
            .await
            .with_context(|| format!("seed {seed}"))?;
        let writable = writers.sql.first_after(at).map_or(Duration::MAX, |first| first - at);
        synced(&world).await.with_context(|| format!("seed {seed}"))?;
        writers.stop().await;
        // Read on the node that bootstrapped (through the endpoint): what it lacks was lost with the choice of that node.
        let missing = writers.sql.lost(&found(&world, "cell-a", &tenants).await?).len();
        lost += missing;
        wrong += usize::from(missing > 0);
        slowest = slowest.max(writable);
        acknowledged += writers.sql.counts().0;
        say(&format!("  seed {seed}: offsets {offsets:?} ms, writable after {:.2} s, {missing} lost", writable.as_secs_f64()));
    }
    let mut outcome = Outcome::new("outage");
    outcome.note("seeds", seeds);
    outcome.equal("wrong", &wrong, &0);
    outcome.equal("lost", &lost, &0);
    outcome.at_most("writable_s_max", slowest.as_secs_f64(), 30.0);
    outcome.note("acknowledged", acknowledged);
    Ok(outcome)
}

/// Kills each node after its offset; returns the moment after the last kill.
async fn kill_all(world: &World, offsets: &[u64]) -> Result<Instant> {
    let kills = offsets.iter().enumerate().map(|(i, offset)| {
        let container = world.container(&format!("cell-a-n{}", i + 1));
        let offset = Duration::from_millis(*offset);
        async move {
            tokio::time::sleep(offset).await;
            kill(&container).await
        }
    });
    let mut kills = kills.collect::<Vec<_>>().into_iter();
    let (a, b, c) = (kills.next().context("three nodes")?, kills.next().context("three nodes")?, kills.next().context("three nodes")?);
    let (a, b, c) = tokio::join!(a, b, c);
    a.and(b).and(c)?;
    Ok(Instant::now())
}

/// Waits until all three nodes are in sync.
async fn synced(world: &World) -> Result<()> {
    wait_for("all nodes in sync", Duration::from_secs(180), async || {
        let shown = world.json(&["cell", "show", "cell-a"]).await?;
        let nodes = shown["status"]["database"]["nodes"].as_object().context("no nodes reported")?;
        Ok(nodes.len() == 3 && nodes.values().all(|n| n["state"] == "Synced"))
    })
    .await
}
