//! Control, the agent and Docker's daemon are killed hard and stay dead under load; then edge and gates are restarted without control and agent; at the end everything is adopted.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Options;
use crate::fault::{alive, kill, run, wait_for};
use crate::load::Load;
use crate::outcome::{Outcome, say};
use crate::world::{PATIENCE, Plan, Tenant, World};

/// How long they are dead.
const DEAD: Duration = Duration::from_secs(60);

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let plan = Plan::default();
    let mut world = World::start(&plan, options.keep).await?;
    let tenants = world.add_tenants(&plan).await?;
    let sites: Vec<_> = tenants.iter().map(|t| t.site.clone()).collect();
    let ours = [world.container("control"), world.container("agent")];
    let mut instances = world.containers(&[]).await?;
    instances.retain(|name| !ours.contains(name));
    let before = world.starts(&instances).await?;

    let load = Load::start(&sites, "/", 2, Duration::from_millis(100));
    say("killing Docker's daemon, then control and the agent");
    kill_daemon().await?;
    for name in ["control", "agent"] {
        kill_role(&world, name).await?;
    }
    let dead_since = std::time::Instant::now();
    tokio::time::sleep(DEAD).await;
    ensure!(!daemon_answers().await, "the daemon came back by itself: this was no outage");
    say("starting the daemon again; control and agent follow by their restart policy");
    start_daemon().await?;
    wait_for("control to answer", PATIENCE, async || Ok(world.atoll(&["cell", "list"]).await.is_ok())).await?;
    let dead = dead_since.elapsed();
    let seen = load.stop().await;
    let after = world.starts(&instances).await?;
    let restarted = before.iter().filter(|b| !after.contains(b)).count();

    say("a change afterwards");
    world.add_tenant("omega", "cell-b").await.context("a tenant could not be added afterwards")?;

    say("edge and gates restart while control and agent are dead");
    let cold = without_control(&world, &tenants).await?;

    let mut outcome = Outcome::new("control-down");
    outcome.equal("failed", &seen.failed.len(), &0);
    outcome.equal("restarted", &restarted, &0);
    outcome.equal("cold_failed", &cold, &0);
    outcome.note("requests", seen.total());
    outcome.note("dead_s", format!("{:.0}", dead.as_secs_f64()));
    for (at, what) in seen.failed.iter().take(5) {
        say(&format!("  failed at {:.1} s: {what}", at.as_secs_f64()));
    }
    Ok(outcome)
}

/// Stops control and agent, restarts edge and every gate, and counts tenants that are not served from disk. Then starts control and agent again.
async fn without_control(world: &World, tenants: &[Tenant]) -> Result<usize> {
    for name in ["control", "agent"] {
        run("docker", &["stop", "-t", "10", &world.container(name)]).await?;
    }
    let doors = world.containers(&["label=dev.atoll.service=gate"]).await?;
    ensure!(doors.len() >= 2, "no gates run");
    for name in doors.iter().chain(&world.containers(&["label=dev.atoll.role=edge"]).await?) {
        run("docker", &["kill", "-s", "KILL", name]).await?;
        run("docker", &["start", name]).await?;
    }
    let mut failed = 0;
    for tenant in tenants {
        let served = wait_for("a page", Duration::from_secs(20), async || Ok(tenant.site.visitor().get("/").await?.status.is_success())).await;
        failed += usize::from(served.is_err());
    }
    for name in ["control", "agent"] {
        run("docker", &["start", &world.container(name)]).await?;
    }
    wait_for("control to answer", PATIENCE, async || Ok(world.atoll(&["cell", "list"]).await.is_ok())).await?;
    Ok(failed)
}

async fn kill_role(world: &World, role: &str) -> Result<()> {
    // The daemon is dead, so the process is found by its command line and state folder.
    let state = world.state.display().to_string();
    let found = run("pgrep", &["-f", &format!("atoll {role} --state {state}")]).await?;
    for pid in found.split_whitespace() {
        run("kill", &["-9", pid]).await?;
    }
    let pid: u32 = found.split_whitespace().next().context("no process")?.parse()?;
    wait_for("the process to be gone", Duration::from_secs(5), async || Ok(!alive(pid))).await
}

async fn kill_daemon() -> Result<()> {
    let pid: u32 = fs_err::read_to_string("/var/run/docker.pid")?.trim().parse().context("docker.pid")?;
    run("kill", &["-9", &pid.to_string()]).await?;
    wait_for("the daemon to be gone", Duration::from_secs(5), async || Ok(!alive(pid) && !daemon_answers().await)).await
}

async fn daemon_answers() -> bool {
    run("docker", &["version", "--format", "{{.Server.Version}}"]).await.is_ok()
}

async fn start_daemon() -> Result<()> {
    run("scripts/docker-start", &[]).await?;
    wait_for("the daemon", Duration::from_secs(60), async || Ok(daemon_answers().await)).await
}

/// Kills a container's first process and waits until the engine runs a new one.
pub async fn kill_and_return(container: &str, within: Duration) -> Result<Duration> {
    let began = std::time::Instant::now();
    let before = crate::fault::pid_of(container).await?;
    kill(container).await?;
    wait_for(&format!("{container} to run again"), within, async || Ok(crate::fault::pid_of(container).await.is_ok_and(|pid| pid != before))).await?;
    Ok(began.elapsed())
}
