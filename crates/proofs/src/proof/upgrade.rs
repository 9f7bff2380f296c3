//! A newer build of Atoll replaces control, agent, edge and gates under load, and goes back again; no application instance and no database node restarts.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Options;
use crate::fault::{run, wait_for};
use crate::load::Load;
use crate::outcome::{Outcome, say};
use crate::world::{PATIENCE, Plan, World};

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let plan = Plan::default();
    let mut world = World::start(&plan, options.keep).await?;
    let tenants = world.add_tenants(&plan).await?;
    let sites: Vec<_> = tenants.iter().map(|t| t.site.clone()).collect();
    let present = image(&world, "control").await?;
    // The same program in another image: another id and tag, so that every part is replaced as by a newer build.
    let newer = format!("{}-proof", present);
    build_newer(&present, &newer).await?;
    let result = exchange(&mut world, &sites, &present, &newer).await;
    drop(world);
    run("docker", &["rmi", &newer]).await?;
    result
}

async fn exchange(world: &mut World, sites: &[crate::site::Site], present: &str, newer: &str) -> Result<Outcome> {
    let applications = untouched(world).await?;
    let before = world.starts(&applications).await?;
    let load = Load::start(sites, "/", 2, Duration::from_millis(100));
    for (what, image) in [("forward", newer), ("back", present)] {
        say(&format!("upgrading {what}"));
        point_to(world, image)?;
        world.up().await?;
        replaced(world, image).await.with_context(|| format!("upgrade {what}"))?;
    }
    let seen = load.stop().await;
    let after = world.starts(&applications).await?;
    let restarted = before.iter().filter(|b| !after.contains(b)).count();
    for (at, what) in seen.failed.iter().take(5) {
        say(&format!("  failed at {:.1} s: {what}", at.as_secs_f64()));
    }
    let mut outcome = Outcome::new("upgrade");
    outcome.equal("failed", &seen.failed.len(), &0);
    outcome.equal("restarted", &restarted, &0);
    outcome.note("requests", seen.total());
    Ok(outcome)
}

/// Everything but our own parts and the gates.
async fn untouched(world: &World) -> Result<Vec<String>> {
    let mut names = world.containers(&[]).await?;
    let ours = [world.containers(&["label=dev.atoll.role"]).await?, world.containers(&["label=dev.atoll.service=gate"]).await?].concat();
    names.retain(|name| !ours.contains(name));
    ensure!(names.len() >= 10, "only {} instances run", names.len());
    Ok(names)
}

/// Waits until control, agent, edge and every gate run this image.
async fn replaced(world: &World, image: &str) -> Result<()> {
    wait_for("every part to run the other build", PATIENCE, async || {
        let parts = [world.containers(&["label=dev.atoll.role"]).await?, world.containers(&["label=dev.atoll.service=gate"]).await?].concat();
        let mut arguments = vec!["inspect", "-f", "{{.Config.Image}}"];
        arguments.extend(parts.iter().map(String::as_str));
        let images = run("docker", &arguments).await?;
        Ok(parts.len() == 7 && images.lines().all(|line| line.trim() == image))
    })
    .await
}

async fn image(world: &World, role: &str) -> Result<String> {
    Ok(run("docker", &["inspect", "-f", "{{.Config.Image}}", &world.container(role)]).await?.trim().to_owned())
}

async fn build_newer(present: &str, newer: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs_err::write(folder.path().join("Containerfile"), format!("FROM {present}\nLABEL dev.atoll.proof=newer\n"))?;
    let path = folder.path().display().to_string();
    run("docker", &["build", "-q", "-t", newer, "-f", &format!("{path}/Containerfile"), &path]).await.map(drop)
}

/// Names the image of our own parts in the platform's file.
fn point_to(world: &World, image: &str) -> Result<()> {
    let path = world.manifests.join("platform.yaml");
    let text = fs_err::read_to_string(&path)?;
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("  images:")).collect();
    let text = kept.join("\n").replacen("spec:\n", &format!("spec:\n  images: {{ atoll: \"{image}\" }}\n"), 1);
    fs_err::write(&path, text + "\n")?;
    Ok(())
}
