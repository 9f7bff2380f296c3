//! A cell's network: an internal bridge with the subnet that control chose, and who gets which of its addresses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest, NetworkInspect};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use engine::{EngineError, Reason, Wanted};
use ipnet::Ipv4Net;
use model::{CellName, PlatformName};

use crate::client::{absent_is_none, gone_is_fine, told};
use crate::{Shared, names};

/// The database's endpoint: every cell's network has it at the ninth address, under this name.
const DATABASE: (&str, u32) = ("db", 9);

/// Which addresses a network gives to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    subnet: Ipv4Net,
}

impl Plan {
    pub(crate) fn new(subnet: Ipv4Net) -> Self {
        Self { subnet: subnet.trunc() }
    }

    fn size(self) -> u32 {
        1 << (32 - u32::from(self.subnet.prefix_len()))
    }

    fn at(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet.network()) + offset)
    }

    /// The host's end.
    fn gateway(self) -> Ipv4Addr {
        self.at(1)
    }

    /// The last eighth: the engine gives these to jobs.
    fn jobs(self) -> Option<Ipv4Net> {
        Ipv4Net::new(self.at(self.size() / 8 * 7), self.subnet.prefix_len() + 3).ok()
    }

    /// The first free address for an instance after the one given out last: the upper half without its last quarter. An address just left
    /// comes last, so that who still knows it meets nobody rather than somebody else.
    pub(crate) fn free(self, taken: &BTreeSet<Ipv4Addr>, last: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let (from, to) = (self.size() / 2, self.size() / 8 * 7);
        let start = last.map_or(from, |last| u32::from(last).saturating_sub(u32::from(self.subnet.network())) + 1);
        let start = if (from..to).contains(&start) { start } else { from };
        (start..to).chain(from..start).map(|offset| self.at(offset)).find(|address| !taken.contains(address))
    }

    /// Lines for `/etc/hosts`: the stable names of a cell and their fixed addresses. With them a name is found while the engine's daemon, which is
    /// also the resolver, is away. `turn` changes which gate comes first, so that not all instances choose the same one.
    pub(crate) fn hosts(self, wanted: &Wanted, turn: usize) -> Vec<String> {
        let mut by_name: BTreeMap<&str, Vec<Ipv4Addr>> = BTreeMap::new();
        for gate in &wanted.gates {
            for front in &gate.fronts {
                by_name.entry(front.as_str()).or_default().push(gate.address);
            }
        }
        for addresses in by_name.values_mut() {
            let turn = turn % addresses.len();
            addresses.rotate_left(turn);
        }
        by_name.entry(DATABASE.0).or_insert_with(|| vec![self.at(DATABASE.1)]);
        by_name.into_iter().flat_map(|(name, addresses)| addresses.into_iter().map(move |address| format!("{name}:{address}"))).collect()
    }
}

/// What a network shows when it is looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    /// Container ids and names of its running endpoints, with their addresses.
    pub(crate) endpoints: BTreeMap<String, (String, Option<Ipv4Addr>)>,
}

fn clash(message: String) -> EngineError {
    EngineError::Refused { reason: Reason::SubnetClash, message }
}

/// Makes the cell's network where it is missing, and tells who is on it.
pub(crate) async fn ensure(docker: &Docker, platform: &PlatformName, cell: &CellName, subnet: Ipv4Net) -> Result<Shown, EngineError> {
    let name = names::network(platform, cell);
    let plan = Plan::new(subnet);
    if let Some(found) = absent_is_none(docker.inspect_network(&name, None).await)? {
        if !ours(&found, platform, cell) {
            let message = format!("a network named {name} exists and is not of this cell: rename or remove it (docker network rm {name})");
            return Err(EngineError::Refused { reason: Reason::EngineRefused, message });
        }
        let held = subnet_of(&found);
        if held.as_deref() == Some(plan.subnet.to_string().as_str()) {
            return Ok(shown(&found));
        }
        let endpoints = shown(&found).endpoints;
        if !endpoints.is_empty() {
            let held = held.unwrap_or_else(|| "none".to_owned());
            return Err(clash(format!("network {name} has subnet {held}, wanted is {subnet}, and {} containers are on it", endpoints.len())));
        }
        gone_is_fine(docker.remove_network(&name).await)?;
    }
    let config = IpamConfig {
        subnet: Some(plan.subnet.to_string()),
        ip_range: plan.jobs().map(|range| range.to_string()),
        gateway: Some(plan.gateway().to_string()),
        auxiliary_addresses: None,
    };
    let request = NetworkCreateRequest {
        name: name.clone(),
        driver: Some("bridge".to_owned()),
        internal: Some(true),
        ipam: Some(Ipam { driver: None, config: Some(vec![config]), options: None }),
        enable_ipv6: Some(false),
        labels: Some(names::labels(platform, cell)),
        ..NetworkCreateRequest::default()
    };
    match docker.create_network(request).await.map_err(told) {
        Ok(_) => Ok(Shown::default()),
        Err(EngineError::Refused { reason: Reason::SubnetClash, message }) => {
            Err(clash(format!("subnet {subnet} of network {name} overlaps with another network of this host: {message}")))
        }
        Err(error) => Err(error),
    }
}

/// Puts a container that may dial beyond its cell on the network that leads there. Others are left as they are. Done before every start, so that no
/// crash leaves a gate without its way out.
pub(crate) async fn lead_out(shared: &Shared, docker: &Docker, id: &str) -> Result<(), EngineError> {
    let shown = docker.inspect_container(id, None).await.map_err(told)?;
    let labels = shown.config.and_then(|config| config.labels).unwrap_or_default();
    let networks = shown.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let name = names::egress_network(&shared.options.platform);
    if !labels.contains_key(names::EGRESS) || networks.contains_key(&name) {
        return Ok(());
    }
    let network = egress(shared, docker, name).await?;
    let request = NetworkConnectRequest { container: id.to_owned(), endpoint_config: None };
    docker.connect_network(&network, request).await.map_err(told)
}

/// Id of the network that leads out, made where it is missing. There is one for all cells; who is on it reaches nobody else on it. By its id, and made by
/// one start at a time: the engine would make several of one name.
async fn egress(shared: &Shared, docker: &Docker, name: String) -> Result<String, EngineError> {
    let _one = shared.egress.lock().await;
    let platform = &shared.options.platform;
    let filters = HashMap::from([("label".to_owned(), vec![format!("{}={platform}", names::PLATFORM)]), ("name".to_owned(), vec![name.clone()])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let mut found = docker.list_networks(Some(options)).await.map_err(told)?;
    found.retain(|network| network.name.as_deref() == Some(name.as_str()));
    found.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(id) = found.into_iter().find_map(|network| network.id) {
        return Ok(id);
    }
    let request = NetworkCreateRequest {
        name,
        driver: Some("bridge".to_owned()),
        options: Some(HashMap::from([("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned())])),
        enable_ipv6: Some(false),
        labels: Some(HashMap::from([(names::PLATFORM.to_owned(), platform.to_string())])),
        ..NetworkCreateRequest::default()
    };
    Ok(docker.create_network(request).await.map_err(told)?.id)
}

/// Removes the cell's network, taking off whoever is still on it.
pub(crate) async fn remove(docker: &Docker, platform: &PlatformName, cell: &CellName) -> Result<(), EngineError> {
    let name = names::network(platform, cell);
    let Some(found) = absent_is_none(docker.inspect_network(&name, None).await)? else { return Ok(()) };
    if !ours(&found, platform, cell) {
        return Ok(());
    }
    for id in shown(&found).endpoints.into_keys() {
        let request = NetworkDisconnectRequest { container: id, force: Some(true) };
        gone_is_fine(docker.disconnect_network(&name, request).await)?;
    }
    gone_is_fine(docker.remove_network(&name).await)
}

fn ours(network: &NetworkInspect, platform: &PlatformName, cell: &CellName) -> bool {
    let empty = HashMap::new();
    let labels = network.labels.as_ref().unwrap_or(&empty);
    names::labels(platform, cell).iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn subnet_of(network: &NetworkInspect) -> Option<String> {
    network.ipam.as_ref()?.config.as_ref()?.first()?.subnet.clone()
}

fn shown(network: &NetworkInspect) -> Shown {
    let endpoints = network.containers.iter().flatten().map(|(id, endpoint)| {
        let address = endpoint.ipv4_address.as_deref().and_then(|text| text.split('/').next()).and_then(|text| text.parse().ok());
        (id.clone(), (endpoint.name.clone().unwrap_or_default(), address))
    });
    Shown { endpoints: endpoints.collect() }
}

#[cfg(test)]
mod tests;
