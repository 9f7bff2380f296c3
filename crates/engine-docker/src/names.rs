//! Names and labels of what we make on the engine. Everything is found again by label; names are fixed, derived from the cell.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use bollard::models::ContainerSummary;
use model::v1alpha1::Probe;
use model::{CellName, InstanceName, PlatformName, ServiceName};

/// To which platform it belongs.
pub(crate) const PLATFORM: &str = "dev.atoll.platform";
/// To which cell.
pub(crate) const CELL: &str = "dev.atoll.cell";
/// Of which service; gates: `gate`.
pub(crate) const SERVICE: &str = "dev.atoll.service";
/// Which instance.
pub(crate) const INSTANCE: &str = "dev.atoll.instance";
/// The hash of what it was made from.
pub(crate) const VERSION: &str = "dev.atoll.version";
/// Its address on the cell's network.
pub(crate) const ADDRESS: &str = "dev.atoll.address";
/// The port of the version that it runs; 0: it has none.
pub(crate) const PORT: &str = "dev.atoll.port";
/// How an instance of its version is asked whether it is ready, as JSON.
pub(crate) const READY: &str = "dev.atoll.ready";
/// Set on a gate that may dial beyond its cell.
pub(crate) const EGRESS: &str = "dev.atoll.egress";
/// Set on what the machine's agent makes; not ours to touch.
pub(crate) const DATA: &str = "dev.atoll.data";
/// The key of a job.
pub(crate) const JOB: &str = "dev.atoll.job";
/// When a job's time is up, in seconds since 1970.
pub(crate) const DEADLINE: &str = "dev.atoll.deadline";

/// Name of a cell's network.
pub(crate) fn network(platform: &PlatformName, cell: &CellName) -> String {
    format!("{platform}-{cell}")
}

/// Name of the network by which gates dial beyond their cells.
pub(crate) fn egress_network(platform: &PlatformName) -> String {
    format!("{platform}-egress")
}

/// Name of an instance's container.
pub(crate) fn container(platform: &PlatformName, cell: &CellName, instance: &InstanceName) -> String {
    format!("{platform}-{cell}-{instance}")
}

/// Name of a job's container.
pub(crate) fn job(platform: &PlatformName, cell: &CellName, key: &str) -> String {
    format!("{platform}-{cell}-job-{key}")
}

/// The labels that everything of a cell carries.
pub(crate) fn labels(platform: &PlatformName, cell: &CellName) -> HashMap<String, String> {
    HashMap::from([(PLATFORM.to_owned(), platform.to_string()), (CELL.to_owned(), cell.to_string())])
}

/// The filter that finds everything of a cell.
pub(crate) fn filter(platform: &PlatformName, cell: &CellName) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{PLATFORM}={platform}"), format!("{CELL}={cell}")])])
}

/// A label of a listed container.
pub(crate) fn label<'a>(container: &'a ContainerSummary, name: &str) -> Option<&'a str> {
    container.labels.as_ref()?.get(name).map(String::as_str)
}

/// A listed container's name without the slash that the engine puts before it.
pub(crate) fn name(container: &ContainerSummary) -> &str {
    container.names.as_ref().and_then(|names| names.first()).map_or("", |name| name.trim_start_matches('/'))
}

/// What the labels of one of our instances say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labelled {
    pub(crate) instance: InstanceName,
    pub(crate) service: ServiceName,
    pub(crate) version: String,
    pub(crate) address: Option<Ipv4Addr>,
    /// None on what an older release made.
    pub(crate) asked: Option<Asked>,
}

/// How instances of one version are asked whether they are ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// 0: nobody can ask.
    pub(crate) port: u16,
    pub(crate) probe: Probe,
}

/// Reads the labels of an instance; the error says why the container is none of ours.
pub(crate) fn read(platform: &PlatformName, cell: &CellName, summary: &ContainerSummary) -> Result<Labelled, String> {
    let wanted = |key: &str| label(summary, key).ok_or_else(|| format!("carries the cell's label but no {key}: it was not made by Atoll"));
    let instance = InstanceName::new(wanted(INSTANCE)?).map_err(|error| format!("label {INSTANCE}: {error}"))?;
    let service = ServiceName::new(wanted(SERVICE)?).map_err(|error| format!("label {SERVICE}: {error}"))?;
    let version = wanted(VERSION)?.to_owned();
    if name(summary) != container(platform, cell, &instance) {
        return Err(format!("its labels say instance {instance}, whose container would be named {}", container(platform, cell, &instance)));
    }
    let address = label(summary, ADDRESS).and_then(|text| text.parse().ok());
    let port = label(summary, PORT).and_then(|text| text.parse().ok());
    let probe = label(summary, READY).and_then(|text| serde_json::from_str(text).ok());
    let asked = port.zip(probe).map(|(port, probe)| Asked { port, probe });
    Ok(Labelled { instance, service, version, address, asked })
}
