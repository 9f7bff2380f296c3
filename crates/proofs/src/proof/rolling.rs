//! A new blueprint version (another PHP setting, another image) rolls through a cell under load; one that never gets ready stops after its first instance.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Options;
use crate::fault::{run, wait_for};
use crate::load::Load;
use crate::outcome::{Outcome, say};
use crate::world::{Plan, World};

/// Bound for a roll.
const WITHIN: Duration = Duration::from_secs(180);

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let plan = Plan { cells: vec!["cell-a"], tenants: vec![("alpha", "cell-a"), ("beta", "cell-a")], ..Plan::default() };
    let mut world = World::start(&plan, options.keep).await?;
    let tenants = world.add_tenants(&plan).await?;
    let sites: Vec<_> = tenants.iter().map(|t| t.site.clone()).collect();
    let original = fs_err::read_to_string(world.manifests.join("wordpress/blueprint.yaml"))?;
    let image = format!("{}-roll", image_of(&original, "wordpress-php")?);
    run("docker", &["tag", &image_of(&original, "wordpress-php")?, &image]).await?;
    let rolled = roll(&world, &original, &image, &sites).await;
    let removed = run("docker", &["rmi", &image]).await;
    let outcome = rolled?;
    removed?;
    Ok(outcome)
}

async fn roll(world: &World, original: &str, image: &str, sites: &[crate::site::Site]) -> Result<Outcome> {
    say("rolling to a new image and a new setting under load");
    let load = Load::start(sites, "/", 2, Duration::from_millis(100));
    let first = version_of(original)?;
    let good = original.replace(&first, "9999.1.1").replace(&image_of(original, "wordpress-php")?, image).replacen(
        "  services:\n    php:\n",
        "  services:\n    php:\n      environment: { ATOLL_PROOF: rolled }\n",
        1,
    );
    ensure!(good.contains("ATOLL_PROOF"), "the proof could not edit the blueprint");
    let began = std::time::Instant::now();
    apply(world, &good, &first, "9999.1.1").await?;
    wait_for("the new version to serve", WITHIN, async || Ok(serving(world).await? == "wordpress.9999.1.1")).await?;
    let rolled = began.elapsed();
    let php = world.containers(&["label=dev.atoll.service=php"]).await?;
    for name in &php {
        let shown = run("docker", &["inspect", "-f", "{{.Config.Image}} {{.Config.Env}}", name]).await?;
        ensure!(shown.contains(image) && shown.contains("ATOLL_PROOF=rolled"), "{name} does not run the new version: {shown}");
    }

    say("rolling to a version that never gets ready");
    let healthy = php.clone();
    // It starts, runs, and never listens.
    let broken = good.replace("9999.1.1", "9999.1.2").replacen(
        "environment: { ATOLL_PROOF: rolled }\n",
        "environment: { ATOLL_PROOF: broken }\n      command: [sleep, \"600\"]\n",
        1,
    );
    ensure!(broken.contains("sleep"), "the proof could not break the blueprint");
    apply(world, &broken, "9999.1.1", "9999.1.2").await?;
    wait_for("the roll to stop", WITHIN, async || Ok(world.atoll(&["explain", "cell", "cell-a"]).await?.contains("RolloutStopped"))).await?;
    let now = world.containers(&["label=dev.atoll.service=php"]).await?;
    let kept = healthy.iter().filter(|name| now.contains(name)).count();
    let stopped = kept == healthy.len();

    say("applying the old version again");
    apply(world, &good, "9999.1.2", "9999.1.1").await?;
    wait_for("the old version to be whole", WITHIN, async || {
        Ok(serving(world).await? == "wordpress.9999.1.1" && !world.atoll(&["explain", "cell", "cell-a"]).await?.contains("RolloutStopped"))
    })
    .await?;
    let seen = load.stop().await;
    for (at, what) in seen.failed.iter().take(5) {
        say(&format!("  failed at {:.1} s: {what}", at.as_secs_f64()));
    }
    let mut outcome = Outcome::new("rolling");
    outcome.equal("failed", &seen.failed.len(), &0);
    outcome.equal("stopped", &stopped, &true);
    outcome.note("requests", seen.total());
    outcome.note("roll_s", format!("{:.1}", rolled.as_secs_f64()));
    Ok(outcome)
}

/// Writes a blueprint and points the cell to it, then applies both.
async fn apply(world: &World, blueprint: &str, from: &str, to: &str) -> Result<()> {
    fs_err::write(world.manifests.join("wordpress/blueprint.yaml"), blueprint)?;
    let platform = world.manifests.join("platform.yaml");
    let cells = fs_err::read_to_string(&platform)?.replace(&format!("wordpress.{from}"), &format!("wordpress.{to}"));
    fs_err::write(&platform, cells)?;
    let manifests = world.manifests.display().to_string();
    let wordpress = world.manifests.join("wordpress").display().to_string();
    world.atoll(&["apply", "--yes", "--no-wait", "-f", &wordpress, "-f", &manifests]).await.map(drop)
}

async fn serving(world: &World) -> Result<String> {
    let shown = world.json(&["cell", "show", "cell-a"]).await?;
    shown["status"]["serving"].as_str().map(str::to_owned).context("the cell reports no serving version")
}

fn version_of(blueprint: &str) -> Result<String> {
    let (_, rest) = blueprint.split_once("version:").context("the blueprint has no version")?;
    Ok(rest.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).collect())
}

fn image_of(blueprint: &str, name: &str) -> Result<String> {
    let at = blueprint.find(&format!("localhost/atoll/{name}:")).with_context(|| format!("the blueprint names no image {name}"))?;
    Ok(blueprint[at..].chars().take_while(|c| !c.is_whitespace() && !matches!(c, ',' | '"' | '}')).collect())
}
