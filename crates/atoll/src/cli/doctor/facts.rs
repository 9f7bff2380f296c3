//! What the engine and the kernel say.

use std::net::Ipv4Addr;

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder};
use ipnet::Ipv4Net;

use crate::platform::containers::PLATFORM_LABEL;

/// What the engine says; the error is what to tell the user.
pub type Engine = Result<Facts, String>;

/// What the engine says.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its version.
    pub version: String,
    /// Where it keeps images and containers.
    pub folder: String,
    /// Whether it keeps containers running while its daemon restarts.
    pub live_restore: bool,
    /// Names of its images.
    pub images: Vec<String>,
    /// Its networks: name, subnet, and the platform that made it.
    pub networks: Vec<(String, Ipv4Net, Option<String>)>,
    /// Platforms whose edge runs.
    pub edges: Vec<String>,
}

/// Asks the engine.
pub async fn engine() -> Engine {
    ask().await.map_err(|error| error.to_string())
}

async fn ask() -> Result<Facts, bollard::errors::Error> {
    let docker = Docker::connect_with_local_defaults()?;
    let version = docker.version().await?.version.unwrap_or_default();
    let info = docker.info().await?;
    let images = docker.list_images(Some(ListImagesOptionsBuilder::default().build())).await?;
    let networks = docker.list_networks(Some(ListNetworksOptionsBuilder::default().build())).await?;
    let networks = networks.into_iter().flat_map(|network| {
        let platform = network.labels.as_ref().and_then(|l| l.get(PLATFORM_LABEL)).cloned();
        let name = network.name.unwrap_or_default();
        let subnets = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        subnets.into_iter().filter_map(move |c| Some((name.clone(), c.subnet?.parse().ok()?, platform.clone())))
    });
    let filters = std::collections::HashMap::from([("label".to_owned(), vec!["dev.atoll.role=edge".to_owned()])]);
    let edges = docker.list_containers(Some(ListContainersOptionsBuilder::default().filters(&filters).build())).await?;
    Ok(Facts {
        version,
        folder: info.docker_root_dir.unwrap_or_default(),
        live_restore: info.live_restore_enabled.unwrap_or(false),
        images: images.into_iter().flat_map(|i| i.repo_tags).collect(),
        networks: networks.collect(),
        edges: edges.into_iter().filter_map(|c| c.labels?.remove(PLATFORM_LABEL)).collect(),
    })
}

/// Routes of this machine: interface and destination; the default route is left out.
pub fn routes() -> Vec<(String, Ipv4Net)> {
    std::fs::read_to_string("/proc/net/route").map(|text| parse_routes(&text)).unwrap_or_default()
}

/// Reads the kernel's table, whose addresses are little-endian hexadecimal.
pub fn parse_routes(text: &str) -> Vec<(String, Ipv4Net)> {
    let address = |hex: &str| u32::from_str_radix(hex, 16).ok().map(|n| Ipv4Addr::from(n.to_le_bytes()));
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (interface, destination, mask) = (fields.first()?, fields.get(1)?, fields.get(7)?);
        let net = Ipv4Net::with_netmask(address(destination)?, address(mask)?).ok()?;
        (net.prefix_len() > 0).then(|| ((*interface).to_owned(), net))
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// Free and total bytes where a path lies, or would lie.
pub fn space(path: &std::path::Path) -> Option<(u64, u64)> {
    let there = path.ancestors().find(|p| p.exists())?;
    let found = rustix::fs::statvfs(there).ok()?;
    Some((found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize))
}

/// Bytes of memory that could be had now.
pub fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}
