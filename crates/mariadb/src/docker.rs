//! The few things that we ask of Docker Engine.
//!
//! Invariants: only containers and networks of our names are touched; everything is bounded in time; the daemon may be dead at any call.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig, Ipam, IpamConfig, NetworkConnectRequest,
    NetworkCreateRequest, NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, InspectNetworkOptions, KillContainerOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions,
};
use futures::StreamExt as _;
use ipnet::Ipv4Net;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::Error;

/// Most time for one call.
const CALL: Duration = Duration::from_secs(30);

/// A container as the daemon sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Container {
    /// The daemon could not be asked.
    Unknown,
    /// There is none.
    Absent,
    /// It was made and never started.
    Created,
    /// It runs (or is paused).
    Running {
        /// Networks it is connected to, by name.
        networks: Vec<String>,
        /// The image it was made from.
        image: String,
    },
    /// It ended.
    Exited {
        /// Exit code.
        code: i64,
        /// The kernel ended it for its memory.
        out_of_memory: bool,
    },
}

/// How a container is to be made.
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) command: Vec<String>,
    pub(crate) user: u32,
    pub(crate) labels: HashMap<String, String>,
    /// Host path, path inside, writable.
    pub(crate) binds: Vec<(PathBuf, &'static str, bool)>,
    /// Folders in memory: path and options.
    pub(crate) memory_folders: Vec<(&'static str, String)>,
    /// Network and address; none: no network at all.
    pub(crate) network: Option<(String, Ipv4Addr)>,
    pub(crate) memory: Option<u64>,
    pub(crate) nano_cpus: Option<i64>,
    pub(crate) pids: i64,
    /// Started again by the daemon until we stop it.
    pub(crate) supervised: bool,
}

/// The daemon, dialled when it is first needed.
pub(crate) struct Engine {
    socket: PathBuf,
    client: OnceCell<Docker>,
}

impl Engine {
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), client: OnceCell::new() }
    }

    async fn call<T>(&self, action: impl Into<String>, work: impl AsyncFnOnce(&Docker) -> Result<T, DockerError>) -> Result<T, Error> {
        let action = action.into();
        let run = async {
            let client = self
                .client
                .get_or_try_init(|| async {
                    let path = self.socket.to_string_lossy();
                    Docker::connect_with_unix(&path, CALL.as_secs(), bollard::API_DEFAULT_VERSION)?.negotiate_version().await
                })
                .await?;
            work(client).await
        };
        match tokio::time::timeout(CALL, run).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(Error::Engine { action, source }),
            Err(_) => Err(Error::Slow { action }),
        }
    }

    /// How a container stands. A daemon that does not answer is [`Container::Unknown`], never absence.
    pub(crate) async fn inspect(&self, name: &str) -> Container {
        let answer = self.call(format!("inspect {name}"), async |docker| docker.inspect_container(name, None::<InspectContainerOptions>).await).await;
        let found = match answer {
            Ok(found) => found,
            Err(error) if is(&error, 404) => return Container::Absent,
            Err(_) => return Container::Unknown,
        };
        let state = found.state.unwrap_or_default();
        if state.running == Some(true) {
            let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
            let image = found.config.and_then(|config| config.image).unwrap_or_default();
            return Container::Running { networks: networks.into_keys().collect(), image };
        }
        if state.started_at.as_deref().is_none_or(|at| at.starts_with("0001-")) {
            return Container::Created;
        }
        Container::Exited { code: state.exit_code.unwrap_or(-1), out_of_memory: state.oom_killed.unwrap_or(false) }
    }

    /// Makes an internal network, if it is not there.
    pub(crate) async fn ensure_network(&self, name: &str, subnet: Ipv4Net, gateway: Ipv4Addr, labels: &HashMap<String, String>) -> Result<(), Error> {
        if self.network(name).await? {
            return Ok(());
        }
        let range = IpamConfig { subnet: Some(subnet.to_string()), gateway: Some(gateway.to_string()), ..IpamConfig::default() };
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            internal: Some(true),
            ipam: Some(Ipam { driver: Some("default".to_owned()), config: Some(vec![range]), options: None }),
            labels: Some(labels.clone()),
            ..NetworkCreateRequest::default()
        };
        let made = self.call(format!("make the network {name} ({subnet})"), async |docker| docker.create_network(request).await.map(|_| ())).await;
        match made {
            Err(error) if is(&error, 409) => Ok(()),
            other => other,
        }
    }

    /// Whether a network is there.
    pub(crate) async fn network(&self, name: &str) -> Result<bool, Error> {
        let found =
            self.call(format!("inspect the network {name}"), async |docker| docker.inspect_network(name, None::<InspectNetworkOptions>).await);
        match found.await {
            Ok(_) => Ok(true),
            Err(error) if is(&error, 404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a network, if it is there.
    pub(crate) async fn remove_network(&self, name: &str) -> Result<(), Error> {
        absent_is_fine(self.call(format!("remove the network {name}"), async |docker| docker.remove_network(name).await).await)
    }

    /// Connects a container to a network under an address and an alias.
    pub(crate) async fn connect(&self, network: &str, container: &str, address: Ipv4Addr, alias: &str) -> Result<(), Error> {
        let settings = EndpointSettings { aliases: Some(vec![alias.to_owned()]), ..at(address) };
        let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(settings) };
        self.call(format!("connect {container} to {network} as {address}"), async |docker| docker.connect_network(network, request).await).await
    }

    /// Makes a container anew and starts it; one of the same name is removed first.
    pub(crate) async fn start(&self, wanted: Wanted) -> Result<(), Error> {
        let name = wanted.name.clone();
        self.remove(&name).await?;
        let body = body(wanted);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        self.call(format!("make the container {name}"), async |docker| docker.create_container(Some(options), body).await.map(|_| ())).await?;
        self.start_again(&name).await
    }

    /// Starts a container that is there.
    pub(crate) async fn start_again(&self, name: &str) -> Result<(), Error> {
        self.call(format!("start the container {name}"), async |docker| docker.start_container(name, None::<StartContainerOptions>).await).await
    }

    /// Runs a container to its end, gives its standard output and removes it.
    pub(crate) async fn run(&self, wanted: Wanted, what: &str) -> Result<String, Error> {
        let name = wanted.name.clone();
        self.start(wanted).await?;
        let code = loop {
            match self.inspect(&name).await {
                Container::Exited { code, .. } => break code,
                Container::Absent => return Err(Error::Job { what: what.to_owned(), code: -1, tail: "its container vanished".to_owned() }),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        if code != 0 {
            let tail = self.tail(&name, 15, true).await;
            self.remove(&name).await?;
            return Err(Error::Job { what: what.to_owned(), code, tail });
        }
        let output = self.tail(&name, 5, false).await;
        self.remove(&name).await?;
        Ok(output)
    }

    /// The last lines of a container's output.
    pub(crate) async fn tail(&self, name: &str, lines: u32, errors: bool) -> String {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(errors).tail(&lines.to_string()).build();
        let read = self.call(format!("read the log of {name}"), async |docker| {
            let mut text = String::new();
            let mut stream = std::pin::pin!(docker.logs(name, Some(options)));
            while let Some(part) = stream.next().await {
                text.push_str(&String::from_utf8_lossy(&part?.into_bytes()));
            }
            Ok(text)
        });
        read.await.unwrap_or_else(|error| error.chain())
    }

    /// Sends a signal; a container that does not run is fine.
    pub(crate) async fn kill(&self, name: &str, signal: &str) -> Result<(), Error> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let sent = self.call(format!("send {signal} to {name}"), async |docker| docker.kill_container(name, Some(options)).await).await;
        match sent {
            Err(error) if is(&error, 404) || is(&error, 409) => Ok(()),
            other => other,
        }
    }

    /// Asks a container to end and waits; after `patience` it is killed.
    pub(crate) async fn stop(&self, name: &str, patience: Duration) -> Result<(), Error> {
        self.kill(name, "SIGTERM").await?;
        let deadline = Instant::now() + patience;
        let mut killed = false;
        loop {
            match self.inspect(name).await {
                Container::Running { .. } => {}
                Container::Unknown => return Err(Error::Slow { action: format!("inspect {name}") }),
                _ => return Ok(()),
            }
            if Instant::now() > deadline && !killed {
                tracing::warn!(container = name, "did not end within {patience:?} and is killed");
                self.kill(name, "SIGKILL").await?;
                killed = true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Removes a container, running or not; none is fine.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        absent_is_fine(self.call(format!("remove {name}"), async |docker| docker.remove_container(name, Some(options)).await).await)
    }
}

fn body(wanted: Wanted) -> ContainerCreateBody {
    let binds = wanted.binds.iter().map(|(host, inside, writable)| {
        let mode = if *writable { "rw" } else { "ro" };
        format!("{}:{inside}:{mode}", host.display())
    });
    let log = HashMap::from([("max-size".to_owned(), "10m".to_owned()), ("max-file".to_owned(), "2".to_owned())]);
    let policy = if wanted.supervised { RestartPolicyNameEnum::UNLESS_STOPPED } else { RestartPolicyNameEnum::NO };
    let memory = wanted.memory.and_then(|bytes| i64::try_from(bytes).ok());
    let host = HostConfig {
        binds: Some(binds.collect()),
        tmpfs: Some(wanted.memory_folders.iter().map(|(path, options)| ((*path).to_owned(), options.clone())).collect()),
        network_mode: Some(wanted.network.as_ref().map_or_else(|| "none".to_owned(), |(name, _)| name.clone())),
        restart_policy: Some(RestartPolicy { name: Some(policy), maximum_retry_count: None }),
        memory,
        memory_swap: memory,
        nano_cpus: wanted.nano_cpus,
        // Weighs by its limit, as the cell's services do: a whole processor is 1024.
        cpu_shares: wanted.nano_cpus.map(|nano| (nano * 1024 / 1_000_000_000).max(2)),
        pids_limit: Some(wanted.pids),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log) }),
        ..HostConfig::default()
    };
    let networks = wanted.network.map(|(name, address)| NetworkingConfig { endpoints_config: Some(HashMap::from([(name, at(address))])) });
    ContainerCreateBody {
        image: Some(wanted.image),
        cmd: Some(wanted.command),
        user: Some(format!("{0}:{0}", wanted.user)),
        labels: Some(wanted.labels),
        host_config: Some(host),
        networking_config: networks,
        ..ContainerCreateBody::default()
    }
}

fn at(address: Ipv4Addr) -> EndpointSettings {
    let fixed = EndpointIpamConfig { ipv4_address: Some(address.to_string()), ..EndpointIpamConfig::default() };
    EndpointSettings { ipam_config: Some(fixed), ..EndpointSettings::default() }
}

fn is(error: &Error, status: u16) -> bool {
    matches!(error, Error::Engine { source: DockerError::DockerResponseServerError { status_code, .. }, .. } if *status_code == status)
}

/// A missing image, as the daemon says it.
pub(crate) fn image_missing(error: &Error) -> bool {
    is(error, 404) && error.chain().contains("No such image")
}

/// Addresses that somebody else has, as the daemon says it.
pub(crate) fn subnet_clash(error: &Error) -> bool {
    let text = error.chain();
    text.contains("overlaps") || text.contains("Pool overlaps") || text.contains("conflicts with network")
}

fn absent_is_fine(answer: Result<(), Error>) -> Result<(), Error> {
    match answer {
        Err(error) if is(&error, 404) => Ok(()),
        other => other,
    }
}
