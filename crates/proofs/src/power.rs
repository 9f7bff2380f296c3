//! A power cut: every process of the platform and of the engine ends at once, networks and mounts are gone, only disks are left.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::fault::{alive, pid_of, run, wait_for};
use crate::outcome::say;
use crate::world::World;

/// What ran before the cut, by process id.
struct Running {
    processes: Vec<u32>,
    bridges: Vec<String>,
}

/// Whether the engine may be cut at all: it runs nobody else's containers, and nobody supervises it who would start it behind our back.
///
/// # Errors
/// With what stands in the way, and how to prove this elsewhere.
pub async fn may_cut(world: &World) -> Result<()> {
    let all: Vec<String> = run("docker", &["ps", "--format", "{{.Names}}"]).await?.lines().map(str::to_owned).collect();
    let ours = world.containers(&[]).await?;
    let foreign: Vec<_> = all.iter().filter(|name| !ours.contains(name)).collect();
    ensure!(foreign.is_empty(), "this engine also runs {foreign:?}: run the proof on a machine of its own");
    ensure!(!Path::new("/run/systemd/system").exists(), "a service manager supervises the engine here: run the proof on a machine without one");
    Ok(())
}

/// Ends everything with one signal call, then takes away what a reboot would: network links and mounts. The engine's daemon is not started again.
///
/// # Errors
/// When something survives.
pub async fn cut(world: &World) -> Result<()> {
    let running = running(world).await?;
    say(&format!("  {} processes end at once", running.processes.len()));
    let pids: Vec<String> = running.processes.iter().map(u32::to_string).collect();
    let mut arguments = vec!["-9"];
    arguments.extend(pids.iter().map(String::as_str));
    // It fails for one that ended by itself since, after it has ended all others; whether it did is looked at next.
    tokio::process::Command::new("kill").args(&arguments).output().await.context("kill could not be started")?;
    wait_for("every process to be gone", Duration::from_secs(20), async || Ok(!running.processes.iter().any(|pid| alive(*pid)))).await?;
    for bridge in &running.bridges {
        run("ip", &["link", "delete", bridge]).await?;
    }
    for mount in mounts()? {
        run("umount", &["-l", &mount]).await?;
    }
    ensure!(mounts()?.is_empty(), "mounts of the engine survived");
    Ok(())
}

async fn running(world: &World) -> Result<Running> {
    let mut processes = vec![pid_in("/var/run/docker.pid")?];
    let containerd = pid_in("/var/run/docker/containerd/containerd.pid");
    processes.extend(containerd.ok());
    let shims = run("pgrep", &["-f", "containerd-shim.*-namespace moby"]).await?;
    processes.extend(shims.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    let containers = world.containers(&[]).await?;
    ensure!(containers.len() > 10, "only {} containers ran", containers.len());
    for name in &containers {
        // The first process of a container takes all others with it. Containers of one task (a node's recovery) come and go by themselves.
        match pid_of(name).await {
            Ok(pid) => processes.push(pid),
            Err(error) => ensure!(!world.containers(&[]).await?.contains(name), "{error:#}"),
        }
    }
    let label = format!("label=dev.atoll.platform={}", world.platform);
    let networks = run("docker", &["network", "ls", "-q", "--filter", &label]).await?;
    let bridges = networks.split_whitespace().map(|id| format!("br-{id}")).collect();
    Ok(Running { processes, bridges })
}

fn pid_in(path: &str) -> Result<u32> {
    fs_err::read_to_string(path)?.trim().parse().with_context(|| format!("{path} holds no process id"))
}

/// Mount points that the engine made, innermost first.
fn mounts() -> Result<Vec<String>> {
    let table = fs_err::read_to_string("/proc/self/mounts")?;
    let of_engine =
        |point: &&str| point.starts_with("/var/lib/docker/") || point.starts_with("/run/docker/") || point.starts_with("/var/run/docker/");
    let mut points: Vec<String> = table.lines().filter_map(|line| line.split(' ').nth(1)).filter(of_engine).map(str::to_owned).collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.len()));
    Ok(points)
}
