//! `atoll down`: everything of the platform stops and goes, in an order that loses nothing; data stays.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bollard::models::ContainerSummary;
use futures::future::try_join_all;
use model::PlatformName;

use super::containers::{Containers, ROLE_LABEL, label, name};

/// Label by which the agent's containers (database nodes and endpoint) are told from services.
pub const DATA_LABEL: &str = "dev.atoll.data";

/// In which order containers stop: deciders first so that nothing is healed, then from the visitors' side inwards, database nodes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Deciders,
    Edge,
    Services,
    Endpoints,
    Nodes,
}

/// Stops and removes every container and network of a platform. Safe to repeat; works without control.
///
/// # Errors
/// When the engine cannot be asked or refuses.
pub async fn down(platform: &PlatformName, mut say: impl FnMut(String)) -> Result<()> {
    let engine = Containers::connect(platform).await?;
    let mut containers = engine.all().await?;
    containers.sort_by_key(|c| (stage(c), name(c).map(str::to_owned)));
    for group in containers.chunk_by(|a, b| stage(a) == stage(b)) {
        let what = match stage(&group[0]) {
            Stage::Deciders => "control and agent",
            Stage::Edge => "edge",
            Stage::Services => "gates and services",
            Stage::Endpoints => "database endpoints",
            Stage::Nodes => "database nodes",
        };
        say(format!("stopping {what} ({})", group.len()));
        if stage(&group[0]) == Stage::Nodes {
            // Last node first: the first one then leaves last, with the highest position.
            for container in group.iter().rev() {
                stop(&engine, container, Duration::from_secs(60)).await?;
            }
        } else {
            try_join_all(group.iter().map(|c| stop(&engine, c, Duration::from_secs(15)))).await?;
        }
    }
    let (networks, stay) = engine.remove_networks().await?;
    for network in stay {
        say(format!(
            "network {network} stays, empty: Docker counts somebody on it who is gone; the next `up` uses it, and after a restart of Docker it can be removed"
        ));
    }
    say(format!("removed {} containers and {networks} networks; data is kept", containers.len()));
    Ok(())
}

async fn stop(engine: &Containers, container: &ContainerSummary, within: Duration) -> Result<()> {
    let id = container.id.as_deref().or_else(|| name(container)).context("the engine lists a container without an id")?;
    engine.stop_and_remove(id, within).await
}

fn stage(container: &ContainerSummary) -> Stage {
    match (label(container, ROLE_LABEL), label(container, DATA_LABEL)) {
        (Some("control" | "agent"), _) => Stage::Deciders,
        (Some("edge"), _) => Stage::Edge,
        (_, Some("node")) => Stage::Nodes,
        (_, Some(_)) => Stage::Endpoints,
        _ => Stage::Services,
    }
}
