//! What is wanted of a cell, as its engine, its agent and its gates are told: plain functions over documents.

mod doors;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use data::{ClusterOrder, NodeOrder};
use engine::{GateWanted, Mount, Network, ServiceWanted, Wanted};
use ipnet::Ipv4Net;
use model::v1alpha1::{Allocation, BlueprintSpec, CacheSpec, FilesAccess, Limits, PlatformSpec, Probe, ProbeKind, Replicas, Service};
use model::{CellName, Cpu, Epoch, GateName, Generation, Memory, NodeName, ServiceName, Span};

use crate::names;

pub use doors::Runs;

/// What memcached takes beside its items.
const CACHE_OVERHEAD: Memory = Memory::mebi(16);
/// How long a gate may finish what it has.
const GATE_STOP: Span = Span::seconds(30);

/// A cell with everything that decides about its parts.
pub struct Frame<'a> {
    /// The cell.
    pub cell: &'a CellName,
    /// Its choices.
    pub allocation: &'a Allocation,
    /// What it is made from.
    pub blueprint: &'a BlueprintSpec,
    /// The installation.
    pub platform: &'a PlatformSpec,
    /// The state folder.
    pub state: &'a Path,
}

impl Frame<'_> {
    /// The whole wanted set. Services that use the database are left out while `without_database` says that it was never ready.
    pub fn wanted(&self, without_database: bool, generation: Generation) -> Wanted {
        let uses_database = |service: &Service| service.uses.iter().any(|used| used.as_str() == names::DATABASE);
        let held = |name: &ServiceName| without_database && self.blueprint.services.get(name).is_some_and(uses_database);
        Wanted {
            cell: self.cell.clone(),
            generation,
            network: Network { subnet: self.allocation.app_network },
            gates: self.gates().into_iter().map(|(name, address)| self.gate(name, address)).collect(),
            services: self.services().into_iter().filter(|(name, _)| !held(name)).collect(),
        }
    }

    /// Every service, the cache among them.
    pub fn services(&self) -> BTreeMap<ServiceName, ServiceWanted> {
        let mut services: BTreeMap<_, _> = self.blueprint.services.iter().map(|(name, service)| (name.clone(), self.service(service))).collect();
        if let Some(cache) = &self.blueprint.cache {
            services.insert(names::service(names::CACHE), self.cache(cache));
        }
        services
    }

    /// The gates with their addresses.
    pub fn gates(&self) -> Vec<(GateName, Ipv4Addr)> {
        gates(self.allocation, self.blueprint.gates.replicas)
    }

    fn folder(&self, what: &str) -> PathBuf {
        self.state.join("cells").join(self.cell.as_str()).join(what)
    }

    fn service(&self, service: &Service) -> ServiceWanted {
        let mut mounts = Vec::new();
        if service.settings {
            mounts.push(Mount { host: self.folder("settings"), path: names::SETTINGS_INSIDE.to_owned(), writable: false });
        }
        if service.files != FilesAccess::None {
            let writable = service.files == FilesAccess::Write;
            mounts.push(Mount { host: self.folder("files"), path: names::FILES_INSIDE.to_owned(), writable });
        }
        ServiceWanted {
            image: service.image.clone(),
            command: service.command.clone(),
            replicas: service.replicas.min,
            port: service.port,
            after: service.uses.iter().filter(|used| used.as_str() != names::DATABASE).cloned().collect(),
            environment: service.environment.clone(),
            user: service.user,
            limits: service.limits,
            ready: service.ready.clone(),
            writable: service.writable.clone(),
            capabilities: service.capabilities.clone(),
            mounts,
            secrets: Vec::new(),
            stop_within: service.stop_within,
            stop_signal: service.stop_signal.clone(),
        }
    }

    fn cache(&self, cache: &CacheSpec) -> ServiceWanted {
        let mebi = (cache.memory.0 / Memory::mebi(1).0).max(1).to_string();
        let port = names::CACHE_PORT.to_string();
        let command = ["memcached", "-l", "0.0.0.0", "-p", &port, "-U", "0", "-m", &mebi, "-c", "1024", "-I", "2m"];
        ServiceWanted {
            image: self.platform.images.memcached.clone(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            replicas: Replicas::default().min,
            port: Some(names::CACHE_PORT),
            after: Vec::new(),
            environment: BTreeMap::new(),
            user: names::CACHE_USER,
            limits: Limits { cpu: Cpu(250), memory: Memory(cache.memory.0.saturating_add(CACHE_OVERHEAD.0)), pids: 32 },
            ready: Probe::default(),
            writable: Vec::new(),
            capabilities: Vec::new(),
            mounts: Vec::new(),
            secrets: Vec::new(),
            stop_within: Span::seconds(5),
            stop_signal: "SIGTERM".to_owned(),
        }
    }

    fn gate(&self, name: GateName, address: Ipv4Addr) -> GateWanted {
        let folder = self.state.join("gates").join(self.cell.as_str()).join(name.as_str());
        let command = ["atoll", "gate", "--folder", names::GATE_INSIDE, "--cell", self.cell.as_str(), "--name", name.as_str()];
        let log = &self.platform.access_log;
        // A gate that writes every line is told nothing about it.
        let sampled = log.samples().then(|| ["--log-one-in".to_owned(), log.one_in.to_string()]);
        let command = command.iter().map(|word| (*word).to_owned()).chain(sampled.into_iter().flatten()).collect();
        let entry = |(_, service): &(&ServiceName, &Service)| service.port.is_some() && !service.entry;
        let inner = self.blueprint.services.iter().filter(entry).map(|(name, _)| name.clone());
        let cache = self.blueprint.cache.iter().map(|_| names::service(names::CACHE));
        let mail = self.platform.mail.iter().map(|_| names::service(plan::settings::MAIL_HOST));
        GateWanted {
            name,
            address,
            image: self.platform.images.atoll.clone(),
            command,
            user: names::GATE_USER,
            limits: self.blueprint.gates.limits,
            fronts: inner.chain(cache).chain(mail).collect(),
            egress: self.platform.mail.is_some(),
            mounts: vec![Mount { host: folder, path: names::GATE_INSIDE.to_owned(), writable: true }],
            secrets: Vec::new(),
            ready: Probe { check: Some(ProbeKind::Http("/.atoll/ready".to_owned())), every: Span(250), ..Probe::default() },
            probe_port: names::GATE_ENTRY,
            stop_within: GATE_STOP,
        }
    }

    /// The order of the cell's database cluster; none where it has none.
    pub fn order(&self, generation: Generation) -> Option<ClusterOrder> {
        let database = self.blueprint.database.as_ref()?;
        let nodes = (1..=database.nodes).zip(self.allocation.machines.iter().cycle());
        let nodes = nodes.filter_map(|(number, machine)| {
            let name = NodeName::new(format!("n{number}")).ok()?;
            Some(NodeOrder { name, machine: machine.clone() })
        });
        Some(ClusterOrder {
            cell: self.cell.clone(),
            membership: Epoch(1),
            generation,
            nodes: nodes.collect(),
            data_network: self.allocation.data_network,
            app_network: self.allocation.app_network,
            mariadb_image: self.platform.images.mariadb.clone(),
            haproxy_image: self.platform.images.haproxy.clone(),
            memory: database.memory,
            cpu: database.cpu,
            connections: database.connections,
            // The data network is the cell's alone, and so is its number among all networks of this size.
            gtid_domain: u32::from(self.allocation.data_network.network()) >> 8,
            grace: self.platform.grace,
        })
    }
}

/// The gates of a cell with their addresses: .2 and up.
pub fn gates(allocation: &Allocation, replicas: u32) -> Vec<(GateName, Ipv4Addr)> {
    (1..=replicas.min(4)).map(|number| (names::gate_name(number), host(allocation.app_network, names::FIRST_GATE + number - 1))).collect()
}

/// The address with this number inside a network.
fn host(network: Ipv4Net, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(network.network()).wrapping_add(number))
}
