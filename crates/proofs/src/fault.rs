//! Faults, each with a check that it really happened.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

/// Runs a program and returns its standard output.
pub async fn run(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().await.with_context(|| format!("{program} could not be started"))?;
    if !output.status.success() {
        bail!("{program} {} ended with {}: {}", args.join(" "), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The host's process id of a container's first process.
pub async fn pid_of(container: &str) -> Result<u32> {
    let pid: u32 = run("docker", &["inspect", "-f", "{{.State.Pid}}", container]).await?.trim().parse().context("not a process id")?;
    ensure!(pid > 1, "{container} does not run");
    Ok(pid)
}

/// Sends a signal to the first process of a container; no shell of the container takes part.
pub async fn signal(container: &str, signal: &str) -> Result<u32> {
    let pid = pid_of(container).await?;
    run("kill", &[&format!("-{signal}"), &pid.to_string()]).await?;
    Ok(pid)
}

/// kill -9 of a container's first process; returns once that process is gone.
pub async fn kill(container: &str) -> Result<()> {
    let pid = signal(container, "KILL").await?;
    wait_for(&format!("process {pid} to be gone"), Duration::from_secs(5), async || Ok(!alive(pid))).await
}

/// Takes the network of a container down or up again, from outside.
pub async fn link(container: &str, interface: &str, up: bool) -> Result<()> {
    let pid = pid_of(container).await?.to_string();
    run("nsenter", &["-t", &pid, "-n", "ip", "link", "set", interface, if up { "up" } else { "down" }]).await?;
    let shown = run("nsenter", &["-t", &pid, "-n", "ip", "-o", "link", "show", interface]).await?;
    ensure!(shown.contains("state UP") == up, "the link of {container} did not follow: {shown}");
    Ok(())
}

/// Whether a process exists and is not a zombie.
pub fn alive(pid: u32) -> bool {
    fs_err::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// Polls a condition until it holds or the deadline passes.
pub async fn wait_for(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = tokio::time::Instant::now() + within;
    loop {
        let last = holds().await;
        if matches!(last, Ok(true)) {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            let why = last.err().map(|e| format!(": {e:#}")).unwrap_or_default();
            bail!("waited {} s in vain for {what}{why}", within.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
