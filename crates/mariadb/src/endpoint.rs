//! The single-writer endpoint: HAProxy on both of the cell's networks.
//!
//! Invariants: it works without us, and after a restart without us it has the writer on record; a change of the writer never reloads it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use model::NodeName;

use crate::cell::{Cell, Endpoint};
use crate::docker::{Container, Wanted, image_missing};
use crate::{Error, folder, settings, start};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// The name under which the cell's instances find it.
pub(crate) const ALIAS: &str = "db";

/// Keeps the endpoint as ordered until it is dropped.
pub(crate) async fn keep(cell: Arc<Cell>) {
    loop {
        let stands = match ensure(&cell).await {
            Ok(stands) => stands,
            Err(error) => {
                let reason = if image_missing(&error) { "ImageMissing" } else { "EndpointFailed" };
                Endpoint::Not { reason, message: error.chain() }
            }
        };
        let changed = {
            let mut known = cell.known();
            let changed = known.endpoint != stands;
            known.endpoint = stands.clone();
            changed
        };
        if changed {
            tracing::info!(cell = %cell.name, ?stands, "the endpoint");
            cell.wake.notify_one();
        }
        let pause = if stands == Endpoint::Up { LOOK } else { LOOK / 4 };
        tokio::time::sleep(pause).await;
    }
}

async fn ensure(cell: &Cell) -> Result<Endpoint, Error> {
    let not = |reason, message: String| Ok(Endpoint::Not { reason, message });
    let (stopped, writer, image, inside, outside) = {
        let known = cell.known();
        let outside = match known.order.endpoint().ip() {
            std::net::IpAddr::V4(address) => address,
            std::net::IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        let stopped = known.record.stopped || known.record.retired;
        (stopped, known.record.writer.clone(), known.order.haproxy_image.clone(), known.order.endpoint_inside(), outside)
    };
    if stopped {
        return not("Stopped", "the cluster is stopped by order".to_owned());
    }
    if writer.is_none() {
        return not("NoWriter", "no node has taken writes yet".to_owned());
    }
    let name = cell.container(ALIAS);
    let networks = match cell.engine().inspect(&name).await {
        Container::Unknown => return not("EngineUnreachable", "the container engine cannot be asked".to_owned()),
        Container::Running { networks, image: running } if running == image => {
            refresh(cell, &name).await?;
            networks
        }
        _ => {
            start::ensure_network(cell).await?;
            write(cell)?;
            cell.engine().start(wanted(cell, name.clone(), image, inside)).await?;
            vec![cell.data_network()]
        }
    };
    let app = cell.app_network();
    if !networks.contains(&app) {
        if !cell.engine().network(&app).await? {
            return not("WaitingForNetwork", format!("the network {app} of the cell's services is not there yet"));
        }
        cell.engine().connect(&app, &name, outside, ALIAS).await?;
    }
    if !cell.known().writer.told {
        return not("ChangingWriter", "the endpoint does not know its writer yet".to_owned());
    }
    Ok(Endpoint::Up)
}

fn wanted(cell: &Cell, name: String, image: String, inside: Ipv4Addr) -> Wanted {
    Wanted {
        name,
        image,
        command: ["haproxy", "-W", "-db", "-f", "/atoll/conf/haproxy.cfg"].map(str::to_owned).to_vec(),
        user: cell.platform.options.uids.haproxy,
        labels: cell.labels("endpoint"),
        binds: vec![(cell.folder.endpoint(), "/atoll/conf", false)],
        memory_folders: Vec::new(),
        network: Some((cell.data_network(), inside)),
        memory: Some(192 << 20),
        nano_cpus: None,
        pids: 64,
        supervised: true,
    }
}

/// Writes the settings with the writer on record.
pub(crate) fn write(cell: &Cell) -> Result<(), Error> {
    let text = {
        let known = cell.known();
        let Some(writer) = &known.record.writer else { return Ok(()) };
        settings::endpoint(&known.order, writer)
    };
    folder::make(&cell.folder.endpoint(), 0o755, None)?;
    folder::replace(&cell.folder.endpoint().join("haproxy.cfg"), text.as_bytes(), 0o444, None)
}

/// Brings running settings up to date: a change of the writer alone waits for the next start, our word moves it until then.
async fn refresh(cell: &Cell, name: &str) -> Result<(), Error> {
    let path = cell.folder.endpoint().join("haproxy.cfg");
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let (now, same) = {
        let known = cell.known();
        let Some(writer) = &known.record.writer else { return Ok(()) };
        let with = |writer: &NodeName| settings::endpoint(&known.order, writer);
        (with(writer), known.order.nodes.iter().any(|node| with(&node.name) == found))
    };
    if found == now {
        return Ok(());
    }
    write(cell)?;
    if !same {
        tracing::info!(cell = %cell.name, "the endpoint's settings changed and are loaded");
        cell.engine().kill(name, "SIGUSR2").await?;
    }
    Ok(())
}

/// Ends the endpoint.
pub(crate) async fn stop(cell: &Cell) -> Result<(), Error> {
    cell.engine().remove(&cell.container(ALIAS)).await
}
