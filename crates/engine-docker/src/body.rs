//! What a container is made from: wanted words in the engine's terms.
//!
//! Invariants: read-only root, no capability but the named ones, no new privileges, a user of its own, limits always set, logs bounded, no secret in
//! anything that `docker inspect` shows.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig, Mount as Bind, MountType, NetworkingConfig,
    RestartPolicy, RestartPolicyNameEnum,
};
use engine::roll::GATE;
use engine::{GateWanted, Job, Mount, ServiceWanted, Wanted};
use model::v1alpha1::{Limits, WritablePath};
use model::{CellName, InstanceName, PlatformName, ServiceName, Span};

use crate::files::SecretFolder;
use crate::names::{self, Asked};
use crate::network::Plan;

/// Where the engine's resolver sends questions that it cannot answer itself: an address of documentation, to which a cell has no route. Otherwise
/// the daemon would ask the host's own resolver for it, and names asked for would be a way out of the cell.
const NO_RESOLVER: &str = "192.0.2.53";

/// An instance to make: everything the making needs, taken from the wanted set before it starts.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) name: InstanceName,
    pub(crate) version: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) asked: Asked,
    pub(crate) image: String,
    pub(crate) user: u32,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) container: String,
    pub(crate) body: ContainerCreateBody,
}

/// Where and for whom containers are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) platform: &'a PlatformName,
    pub(crate) state: &'a Path,
    pub(crate) wanted: &'a Wanted,
}

impl Place<'_> {
    fn cell(&self) -> &CellName {
        &self.wanted.cell
    }

    fn plan(&self) -> Plan {
        Plan::new(self.wanted.network.subnet)
    }

    /// An instance of a service.
    pub(crate) fn instance(&self, service: &ServiceName, wanted: &ServiceWanted, name: &InstanceName, address: Ipv4Addr) -> Order {
        let secrets = SecretFolder::of_service(self.state, self.cell(), service.as_str());
        let binds = secrets.mounts(wanted.secrets.iter().map(|file| file.path.as_str()));
        let parts = Parts {
            image: &wanted.image,
            user: wanted.user,
            limits: wanted.limits,
            writable: &wanted.writable,
            capabilities: &wanted.capabilities,
            mounts: wanted.mounts.iter().chain(&binds).cloned().collect(),
            hosts: self.plan().hosts(self.wanted, turn(name)),
            egress: false,
            restart: RestartPolicyNameEnum::UNLESS_STOPPED,
        };
        let mut body = parts.body();
        body.cmd = (!wanted.command.is_empty()).then(|| wanted.command.clone());
        body.env = Some(environment(wanted));
        body.stop_signal = Some(wanted.stop_signal.clone());
        let asked = Asked { port: wanted.port.unwrap_or(0), probe: wanted.ready.clone() };
        self.finish(body, service.as_str(), name, &wanted.version(), address, asked, wanted.stop_within, Vec::new(), parts)
    }

    /// A gate.
    pub(crate) fn gate(&self, wanted: &GateWanted, name: &InstanceName) -> Order {
        let secrets = SecretFolder::of_gate(self.state, self.cell(), wanted.name.as_str());
        let binds = secrets.mounts(wanted.secrets.iter().map(|file| file.path.as_str()));
        let parts = Parts {
            image: &wanted.image,
            user: wanted.user,
            limits: wanted.limits,
            writable: &[],
            capabilities: &[],
            mounts: wanted.mounts.iter().chain(&binds).cloned().collect(),
            hosts: Vec::new(),
            egress: wanted.egress,
            restart: RestartPolicyNameEnum::UNLESS_STOPPED,
        };
        let mut body = parts.body();
        body.cmd = (!wanted.command.is_empty()).then(|| wanted.command.clone());
        let aliases = wanted.fronts.iter().map(ToString::to_string).collect();
        let asked = Asked { port: wanted.probe_port, probe: wanted.ready.clone() };
        self.finish(body, GATE, name, &wanted.version(), wanted.address, asked, wanted.stop_within, aliases, parts)
    }

    #[expect(clippy::too_many_arguments, reason = "the last touches that instances and gates share, called twice, side by side")]
    fn finish(
        &self,
        mut body: ContainerCreateBody,
        service: &str,
        name: &InstanceName,
        version: &str,
        address: Ipv4Addr,
        asked: Asked,
        stop_within: Span,
        aliases: Vec<String>,
        parts: Parts<'_>,
    ) -> Order {
        let mut labels = names::labels(self.platform, self.cell());
        labels.insert(names::SERVICE.to_owned(), service.to_owned());
        labels.insert(names::INSTANCE.to_owned(), name.to_string());
        labels.insert(names::VERSION.to_owned(), version.to_owned());
        labels.insert(names::ADDRESS.to_owned(), address.to_string());
        labels.insert(names::PORT.to_owned(), asked.port.to_string());
        // Plain data always becomes JSON; without the label it would be asked as what is wanted later.
        labels.extend(serde_json::to_string(&asked.probe).ok().map(|probe| (names::READY.to_owned(), probe)));
        if parts.egress {
            labels.insert(names::EGRESS.to_owned(), "true".to_owned());
        }
        body.labels = Some(labels);
        body.hostname = Some(name.to_string());
        body.stop_timeout = Some(seconds(stop_within));
        let network = names::network(self.platform, self.cell());
        body.networking_config = Some(endpoint(&network, Some(address), aliases));
        if let Some(host) = body.host_config.as_mut() {
            host.network_mode = Some(network);
        }
        let container = names::container(self.platform, self.cell(), name);
        Order {
            name: name.clone(),
            version: version.to_owned(),
            address,
            asked,
            image: parts.image.to_owned(),
            user: parts.user,
            mounts: parts.mounts,
            container,
            body,
        }
    }

    /// A job: a service's image, user, limits and mounts, another command, no restart.
    pub(crate) fn job(&self, job: &Job, deadline: i64) -> ContainerCreateBody {
        let service = &job.service;
        let secrets = SecretFolder::of_job(self.state, self.cell(), &job.key);
        let paths = service.secrets.iter().map(|file| file.path.as_str()).chain(job.files.iter().map(|file| file.path.as_str()));
        let binds = secrets.mounts(paths);
        let parts = Parts {
            image: &service.image,
            user: service.user,
            limits: service.limits,
            writable: &service.writable,
            capabilities: &service.capabilities,
            mounts: service.mounts.iter().chain(&binds).cloned().collect(),
            hosts: self.plan().hosts(self.wanted, 0),
            egress: false,
            restart: RestartPolicyNameEnum::NO,
        };
        let mut body = parts.body();
        body.entrypoint = Some(job.run.clone());
        body.env = Some(environment(service));
        let mut labels = names::labels(self.platform, self.cell());
        labels.insert(names::JOB.to_owned(), job.key.clone());
        labels.insert(names::DEADLINE.to_owned(), deadline.to_string());
        body.labels = Some(labels);
        let network = names::network(self.platform, self.cell());
        body.networking_config = Some(endpoint(&network, None, Vec::new()));
        if let Some(host) = body.host_config.as_mut() {
            host.network_mode = Some(network);
        }
        body
    }
}

/// What the container of an instance, a gate and a job have in common.
struct Parts<'a> {
    image: &'a str,
    user: u32,
    limits: Limits,
    writable: &'a [WritablePath],
    capabilities: &'a [String],
    mounts: Vec<Mount>,
    hosts: Vec<String>,
    /// Whether names beyond the cell may be asked for.
    egress: bool,
    restart: RestartPolicyNameEnum,
}

impl Parts<'_> {
    fn body(&self) -> ContainerCreateBody {
        let memory = i64::try_from(self.limits.memory.0).unwrap_or(i64::MAX);
        let user = self.user;
        let writable = self.writable.iter().map(|w| (w.path.clone(), format!("rw,nosuid,nodev,size={},mode=0750,uid={user},gid={user}", w.size.0)));
        let host = HostConfig {
            restart_policy: Some(RestartPolicy { name: Some(self.restart), maximum_retry_count: None }),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: (!self.capabilities.is_empty()).then(|| self.capabilities.to_vec()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            nano_cpus: Some(i64::from(self.limits.cpu.0) * 1_000_000),
            // Where the machine has less than all limits together, each has its part by its limit (a whole processor weighs 1024).
            cpu_shares: Some((i64::from(self.limits.cpu.0) * 1024 / 1000).max(2)),
            memory: Some(memory),
            memory_swap: Some(memory),
            pids_limit: Some(i64::from(self.limits.pids)),
            tmpfs: Some(writable.collect()),
            mounts: Some(self.mounts.iter().map(bind).collect()),
            extra_hosts: Some(self.hosts.clone()),
            dns: (!self.egress).then(|| vec![NO_RESOLVER.to_owned()]),
            // The daemon answers nothing at all where it cannot ask on: who asks for a name outside gives up after a second, not after ten.
            dns_options: (!self.egress).then(|| vec!["timeout:1".to_owned(), "attempts:1".to_owned()]),
            ipc_mode: Some("private".to_owned()),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([("max-size".to_owned(), "10m".to_owned()), ("max-file".to_owned(), "3".to_owned())])),
            }),
            ..HostConfig::default()
        };
        ContainerCreateBody {
            image: Some(self.image.to_owned()),
            user: Some(format!("{user}:{user}")),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }
}

fn bind(mount: &Mount) -> Bind {
    Bind {
        target: Some(mount.path.clone()),
        source: Some(mount.host.to_string_lossy().into_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(!mount.writable),
        ..Bind::default()
    }
}

fn endpoint(network: &str, address: Option<Ipv4Addr>, aliases: Vec<String>) -> NetworkingConfig {
    let settings = EndpointSettings {
        ipam_config: address.map(|address| EndpointIpamConfig { ipv4_address: Some(address.to_string()), ..EndpointIpamConfig::default() }),
        aliases: (!aliases.is_empty()).then_some(aliases),
        ..EndpointSettings::default()
    };
    NetworkingConfig { endpoints_config: Some(HashMap::from([(network.to_owned(), settings)])) }
}

fn environment(service: &ServiceWanted) -> Vec<String> {
    service.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// Whole seconds, at least one: the engine counts no finer.
pub(crate) fn seconds(span: Span) -> i64 {
    i64::try_from(span.0.div_ceil(1000)).unwrap_or(i64::MAX).max(1)
}

/// The number at the end of an instance's name.
fn turn(name: &InstanceName) -> usize {
    name.as_str().rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}
