//! Our own containers: control, agent, edge. The engine's daemon supervises them; they serve on while it is away.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bollard::Docker;
use bollard::models::{ContainerCreateBody, ContainerSummary, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder,
};
use model::PlatformName;

/// Label that says to which platform an object of the engine belongs.
pub const PLATFORM_LABEL: &str = "dev.atoll.platform";
/// Label that says which of our parts a container is.
pub const ROLE_LABEL: &str = "dev.atoll.role";
/// Label with the hash of what a container was made from.
pub const VERSION_LABEL: &str = "dev.atoll.version";

/// The oldest engine that is tested against.
pub const OLDEST: (u64, u64) = (20, 10);

/// Whether an engine of this version is too old; one that does not say its version is.
#[must_use]
pub fn too_old(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u64>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST
}

/// What one of our containers is made from.
#[derive(Debug, Clone)]
pub struct Part {
    /// `control`, `agent`, `edge`.
    pub role: &'static str,
    /// Container's name.
    pub name: String,
    /// Image of our binary.
    pub image: String,
    /// Arguments.
    pub command: Vec<String>,
    /// `uid:gid`.
    pub user: String,
    /// Capabilities kept.
    pub capabilities: Vec<&'static str>,
    /// Folders and sockets of the host, mounted at the same path; `true`: may be written.
    pub mounts: Vec<(PathBuf, bool)>,
    /// Time to finish after SIGTERM.
    pub stop_within: Duration,
}

/// The engine as `up` and `down` use it.
#[derive(Debug, Clone)]
pub struct Containers {
    docker: Docker,
    platform: PlatformName,
}

impl Containers {
    /// Connects to the local engine.
    ///
    /// # Errors
    /// When no engine answers.
    pub async fn connect(platform: &PlatformName) -> Result<Self> {
        let docker =
            Docker::connect_with_local_defaults().context("no Docker engine is found on this machine; scripts/setup installs and starts one")?;
        docker.ping().await.context("the Docker engine does not answer; start it with scripts/setup")?;
        let version = docker.version().await.context("the Docker engine does not say its version")?.version.unwrap_or_default();
        if too_old(&version) {
            bail!(
                "the Docker engine is of version {version}, which is too old: {}.{} or newer is needed; scripts/setup says how",
                OLDEST.0,
                OLDEST.1
            );
        }
        Ok(Self { docker, platform: platform.clone() })
    }

    /// Id of an image, where the engine has it.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn image_id(&self, image: &str) -> Result<Option<String>> {
        match self.docker.inspect_image(image).await {
            Ok(found) => Ok(found.id),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(error).context("the engine could not be asked for an image"),
        }
    }

    /// Every container of this platform, stopped ones too.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn all(&self) -> Result<Vec<ContainerSummary>> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{PLATFORM_LABEL}={}", self.platform)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.docker.list_containers(Some(options)).await.context("the engine could not list containers")
    }

    /// Containers of one of our parts.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn of_role(&self, role: &str) -> Result<Vec<ContainerSummary>> {
        let mut all = self.all().await?;
        all.retain(|c| label(c, ROLE_LABEL) == Some(role));
        Ok(all)
    }

    /// Makes and starts a part. One of that name that stands already is an error.
    ///
    /// # Errors
    /// The engine's words.
    pub async fn start(&self, part: &Part, version: &str) -> Result<()> {
        let labels = HashMap::from([
            (PLATFORM_LABEL.to_owned(), self.platform.to_string()),
            (ROLE_LABEL.to_owned(), part.role.to_owned()),
            (VERSION_LABEL.to_owned(), version.to_owned()),
        ]);
        let binds = part.mounts.iter().map(|(path, writable)| format!("{0}:{0}:{1}", path.display(), if *writable { "rw" } else { "ro" }));
        let host = HostConfig {
            network_mode: Some("host".to_owned()),
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::UNLESS_STOPPED), maximum_retry_count: None }),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(part.capabilities.iter().map(|c| (*c).to_owned()).collect()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            binds: Some(binds.collect()),
            tmpfs: Some(HashMap::from([("/tmp".to_owned(), "size=16m,mode=1777".to_owned())])),
            pids_limit: Some(512),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([("max-size".to_owned(), "20m".to_owned()), ("max-file".to_owned(), "2".to_owned())])),
            }),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(part.image.clone()),
            cmd: Some(part.command.clone()),
            user: Some(part.user.clone()),
            labels: Some(labels),
            stop_timeout: i64::try_from(part.stop_within.as_secs()).ok(),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&part.name).build();
        self.docker.create_container(Some(options), body).await.with_context(|| format!("container {} could not be made", part.name))?;
        self.docker.start_container(&part.name, None).await.with_context(|| format!("container {} could not be started", part.name))
    }

    /// Starts a container that stands stopped.
    ///
    /// # Errors
    /// The engine's words.
    pub async fn start_again(&self, name: &str) -> Result<()> {
        self.docker.start_container(name, None).await.with_context(|| format!("container {name} could not be started"))
    }

    /// Asks a container to stop, waits, and removes it. One that is gone already is fine.
    ///
    /// # Errors
    /// The engine's words.
    pub async fn stop_and_remove(&self, name: &str, within: Duration) -> Result<()> {
        let seconds = i32::try_from(within.as_secs()).unwrap_or(i32::MAX);
        let stop = StopContainerOptionsBuilder::default().t(seconds).build();
        gone_is_fine(self.docker.stop_container(name, Some(stop)).await).with_context(|| format!("container {name} could not be stopped"))?;
        let remove = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        gone_is_fine(self.docker.remove_container(name, Some(remove)).await).with_context(|| format!("container {name} could not be removed"))
    }

    /// Removes every network of this platform; containers must be gone. Gives how many it removed, and the names of those that are empty and stay all the same:
    /// Docker 20.10 may count an endpoint on after its container is gone, where several left one network at once, and refuses until its own next start. Whoever
    /// comes up again uses them as they are.
    ///
    /// # Errors
    /// The engine's words.
    pub async fn remove_networks(&self) -> Result<(usize, Vec<String>)> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{PLATFORM_LABEL}={}", self.platform)])]);
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        let networks = self.docker.list_networks(Some(options)).await.context("the engine could not list networks")?;
        let (mut removed, mut stay) = (0, Vec::new());
        for name in networks.into_iter().filter_map(|network| network.name) {
            match gone_is_fine(self.docker.remove_network(&name).await) {
                Ok(()) => removed += 1,
                Err(bollard::errors::Error::DockerResponseServerError { status_code: 403, .. }) if self.is_empty(&name).await? => stay.push(name),
                Err(error) => return Err(error).with_context(|| format!("network {name} could not be removed")),
            }
        }
        Ok((removed, stay))
    }

    /// Whether nobody is on a network.
    async fn is_empty(&self, network: &str) -> Result<bool> {
        let shown = self.docker.inspect_network(network, None).await.with_context(|| format!("the engine could not show network {network}"))?;
        Ok(shown.containers.is_none_or(|containers| containers.is_empty()))
    }
}

/// A label of a container.
#[must_use]
pub fn label<'a>(container: &'a ContainerSummary, name: &str) -> Option<&'a str> {
    container.labels.as_ref()?.get(name).map(String::as_str)
}

/// A container's name without the slash that the engine puts before it.
#[must_use]
pub fn name(container: &ContainerSummary) -> Option<&str> {
    container.names.as_ref()?.first().map(|n| n.trim_start_matches('/'))
}

/// Not there (404), already so (304) and being removed (409) are what was asked for.
fn gone_is_fine(result: Result<(), bollard::errors::Error>) -> Result<(), bollard::errors::Error> {
    match result {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 304 | 404 | 409, .. }) => Ok(()),
        other => other,
    }
}
