//! Every kind of instance is killed once; each comes back and serves. One that crashes again and again backs off and is explained.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::control_down::kill_and_return;
use crate::Options;
use crate::fault::wait_for;
use crate::outcome::{Outcome, say};
use crate::world::{Plan, Tenant, World};

/// Bound for coming back.
const WITHIN: Duration = Duration::from_secs(60);
/// Kills in a row that count as a crash loop.
const CRASHES: u32 = 6;

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let plan = Plan { cells: vec!["cell-a"], tenants: vec![("alpha", "cell-a")], ..Plan::default() };
    let mut world = World::start(&plan, options.keep).await?;
    let tenants = world.add_tenants(&plan).await?;
    let mut slowest = Duration::ZERO;
    let kinds = ["web", "php", "cache", "gate", "db", "node", "edge", "control", "agent"];
    let mut healed = 0;
    for kind in kinds {
        let container = one_of(&world, kind).await?;
        let began = Instant::now();
        kill_and_return(&container, WITHIN).await.with_context(|| kind.to_owned())?;
        whole(&world, &tenants).await.with_context(|| format!("after {kind} was killed"))?;
        let took = began.elapsed();
        say(&format!("  {kind}: back and whole after {:.1} s", took.as_secs_f64()));
        slowest = slowest.max(took);
        healed += 1;
    }
    say("crashing one instance again and again");
    let container = one_of(&world, "cache").await?;
    for _ in 0..CRASHES {
        kill_and_return(&container, WITHIN).await?;
    }
    let explained = world.atoll(&["explain", "cell", "cell-a"]).await?;
    let explained = explained.contains("CrashLoop") || explained.contains("restart");
    whole(&world, &tenants).await.context("after a crash loop")?;
    let mut outcome = Outcome::new("self-heal");
    outcome.note("kinds", kinds.len());
    outcome.equal("healed", &healed, &kinds.len());
    outcome.at_most("healed_s_max", slowest.as_secs_f64(), WITHIN.as_secs_f64());
    outcome.equal("explained", &explained, &true);
    Ok(outcome)
}

/// A running container of a kind.
async fn one_of(world: &World, kind: &str) -> Result<String> {
    let names = match kind {
        "edge" | "control" | "agent" => world.containers(&[&format!("label=dev.atoll.role={kind}")]).await?,
        "db" => vec![world.container("cell-a-db")],
        "node" => vec![world.container(&format!("cell-a-{}", world.writer("cell-a").await?))],
        service => world.containers(&["label=dev.atoll.cell=cell-a", &format!("label=dev.atoll.service={service}")]).await?,
    };
    names.into_iter().next().with_context(|| format!("no {kind} runs"))
}

/// The site serves a page from the database, and the cell reports itself ready.
async fn whole(world: &World, tenants: &[Tenant]) -> Result<()> {
    for tenant in tenants {
        let path = format!("/?s={}", tenant.site.tenant);
        wait_for("a page", WITHIN, async || Ok(tenant.site.visitor().get(&path).await?.status.is_success())).await?;
    }
    wait_for("the cell to be ready", WITHIN, async || {
        let shown = world.json(&["cell", "show", "cell-a"]).await?;
        let conditions = shown["status"]["conditions"].as_array().context("no conditions")?;
        Ok(conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
    })
    .await
}
