//! `atoll up`: our own three containers run from the wanted image; parts made from another one are replaced one after the other.
//!
//! Order of a replacement: agent, control, edge. Instances, databases and requests depend on none of the first two; the edge hands its listening
//! sockets over to its successor before it leaves (two edges overlap, `-a` and `-b`). Gates are control's to replace, one at a time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bollard::models::ContainerSummaryStateEnum;
use model::PlatformName;
use model::v1alpha1::{EdgeCacheSpec, PlatformSpec};

use super::containers::{Containers, Part, VERSION_LABEL, label, name};
use super::identities::{self, EDGE_USER};
use super::layout::Layout;
use super::operators;

/// Time for a part to answer.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Ports below this one need a capability.
const FIRST_FREE_PORT: u16 = 1024;

/// The host's trusted roots.
const ROOTS: &str = "/etc/ssl/certs";

/// What `up` starts.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The platform's spec: image, public address and port.
    pub spec: PlatformSpec,
    /// Socket of the engine that control and agent use.
    pub docker_socket: PathBuf,
}

/// Looks whether the machine has what is needed, before anything is made.
///
/// # Errors
/// With what is missing and how to get it.
pub async fn check(platform: &PlatformName, wanted: &Wanted) -> Result<()> {
    let engine = Containers::connect(platform).await?;
    image_id(&engine, wanted).await?;
    refuse_taken_port(&engine, wanted).await
}

async fn image_id(engine: &Containers, wanted: &Wanted) -> Result<String> {
    let image = &wanted.spec.images.atoll;
    let found = engine.image_id(image).await?;
    found.with_context(|| format!("image {image} is not on this engine; build it with scripts/images atoll"))
}

/// Makes the three parts run as wanted; what already does is left alone.
///
/// # Errors
/// With what is missing and how to get it.
pub async fn up(layout: &Layout, wanted: &Wanted, mut say: impl FnMut(String)) -> Result<()> {
    let engine = Containers::connect(&layout.platform).await?;
    let image_id = image_id(&engine, wanted).await?;
    identities::ensure(layout, jiff::Timestamp::now())?;
    if wanted.spec.api.is_some() {
        operators::create(layout, jiff::Timestamp::now())?;
    }
    give(&layout.edge(), EDGE_USER)?;
    give(&layout.identity("edge"), EDGE_USER)?;
    for part in [agent(layout, wanted), control(layout, wanted)] {
        let version = version(&part, &image_id);
        let standing = engine.of_role(part.role).await?;
        if let Some(same) = standing.iter().find(|c| label(c, VERSION_LABEL) == Some(&version)) {
            if same.state != Some(ContainerSummaryStateEnum::RUNNING) {
                say(format!("starting {}", part.role));
                engine.start_again(&part.name).await?;
            }
            continue;
        }
        for old in standing.iter().filter_map(name) {
            say(format!("replacing {}", part.role));
            engine.stop_and_remove(old, part.stop_within).await?;
        }
        say(format!("starting {}", part.role));
        engine.start(&part, &version).await?;
    }
    wait("control", READY_WITHIN, async || tokio::net::UnixStream::connect(layout.api_socket()).await.is_ok()).await?;
    edge(layout, wanted, &engine, &image_id, &mut say).await
}

/// Starts an edge of the wanted version beside an older one, then lets the older one finish.
async fn edge(layout: &Layout, wanted: &Wanted, engine: &Containers, image_id: &str, say: &mut impl FnMut(String)) -> Result<()> {
    let standing = engine.of_role("edge").await?;
    let names: Vec<&str> = standing.iter().filter_map(name).collect();
    let slots = ["a", "b"].map(|slot| format!("{}-edge-{slot}", layout.platform));
    let part = |name: &str| edge_part(layout, wanted, name.to_owned());
    for container in &standing {
        let present = name(container).context("an edge without a name")?;
        if label(container, VERSION_LABEL) == Some(&version(&part(present), image_id)) {
            if container.state != Some(ContainerSummaryStateEnum::RUNNING) {
                say("starting edge".to_owned());
                engine.start_again(present).await?;
            }
            for old in names.iter().filter(|n| **n != present) {
                engine.stop_and_remove(old, part(present).stop_within).await?;
            }
            return answering(wanted).await;
        }
    }
    let free = slots.iter().find(|slot| !names.contains(&slot.as_str())).unwrap_or(&slots[0]);
    if names.contains(&free.as_str()) {
        engine.stop_and_remove(free, Duration::from_secs(15)).await?;
    }
    let part = part(free);
    say(if names.is_empty() { "starting edge".to_owned() } else { "starting the new edge beside the old one".to_owned() });
    engine.start(&part, &version(&part, image_id)).await?;
    let started = format!("edge {free}");
    let marker = layout.edge().join(format!("{free}.ready"));
    wait(&started, READY_WITHIN, async || marker.exists()).await?;
    for old in names.iter().filter(|n| *n != free) {
        say("the old edge finishes".to_owned());
        engine.stop_and_remove(old, part.stop_within).await?;
    }
    answering(wanted).await
}

/// Waits until the public port answers.
async fn answering(wanted: &Wanted) -> Result<()> {
    let address = public_address(wanted);
    wait("the edge", READY_WITHIN, async || tokio::net::TcpStream::connect(address).await.is_ok()).await
}

/// Where visitors of this machine reach the edge.
fn public_address(wanted: &Wanted) -> std::net::SocketAddr {
    let public = &wanted.spec.public;
    let address = if public.address.is_unspecified() { std::net::Ipv4Addr::LOCALHOST.into() } else { public.address };
    (address, public.port).into()
}

fn control(layout: &Layout, wanted: &Wanted) -> Part {
    let mut mounts = vec![(layout.root.clone(), true), (folder_of(&wanted.docker_socket), true)];
    // Certificate authorities are trusted by the host's roots: they are kept current there, and know those of the house.
    if wanted.spec.public.tls.is_some() && Path::new(ROOTS).exists() {
        mounts.push((PathBuf::from(ROOTS), false));
    }
    Part {
        role: "control",
        name: format!("{}-control", layout.platform),
        image: wanted.spec.images.atoll.clone(),
        command: role(layout, "control", &["--docker", &wanted.docker_socket.display().to_string()]),
        user: "0:0".to_owned(),
        // It hands folders to the users of instances; it may read what those wrote.
        capabilities: vec!["CHOWN", "DAC_OVERRIDE", "FOWNER"],
        mounts,
        stop_within: Duration::from_secs(10),
    }
}

/// The folder of a socket is mounted, not the socket: a daemon that restarts makes a new one.
fn folder_of(socket: &Path) -> PathBuf {
    socket.parent().map_or_else(|| socket.to_owned(), Path::to_path_buf)
}

fn agent(layout: &Layout, wanted: &Wanted) -> Part {
    Part {
        role: "agent",
        name: format!("{}-agent", layout.platform),
        command: role(layout, "agent", &["--docker", &wanted.docker_socket.display().to_string()]),
        ..control(layout, wanted)
    }
}

fn edge_part(layout: &Layout, wanted: &Wanted, name: String) -> Part {
    let public = &wanted.spec.public;
    let secure = public.tls.as_ref().map(|tls| std::net::SocketAddr::from((public.address, tls.port)).to_string());
    let low = public.port < FIRST_FREE_PORT || public.tls.as_ref().is_some_and(|tls| tls.port < FIRST_FREE_PORT);
    let listen = std::net::SocketAddr::from((public.address, public.port)).to_string();
    let mut arguments = vec!["--listen", &listen, "--name", &name];
    if let Some(secure) = &secure {
        arguments.extend(["--secure", secure]);
    }
    let one_in = wanted.spec.access_log.one_in.to_string();
    if wanted.spec.access_log.samples() {
        arguments.extend(["--log-one-in", &one_in]);
    }
    let cache = wanted.spec.edge_cache.memory.0.to_string();
    if wanted.spec.edge_cache != EdgeCacheSpec::default() {
        arguments.extend(["--cache", &cache]);
    }
    let behind = public.behind.clone().unwrap_or_default();
    let networks = behind.proxies.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    if !networks.is_empty() {
        arguments.extend(["--behind", &networks]);
        arguments.extend(behind.proxy_protocol.then_some("--proxy-protocol"));
    }
    Part {
        role: "edge",
        command: role(layout, "edge", &arguments),
        name,
        image: wanted.spec.images.atoll.clone(),
        // Without the capability for low ports a user other than root cannot be given one by the engine.
        user: if low { format!("0:{EDGE_USER}") } else { format!("{EDGE_USER}:{EDGE_USER}") },
        capabilities: if low { vec!["NET_BIND_SERVICE", "DAC_OVERRIDE"] } else { Vec::new() },
        mounts: vec![(layout.edge(), true), (layout.identity("edge"), false), (layout.root.join("platform.json"), false)],
        stop_within: Duration::from_secs(30),
    }
}

fn role(layout: &Layout, role: &str, rest: &[&str]) -> Vec<String> {
    let state = layout.root.display().to_string();
    ["atoll", role, "--state", &state].iter().chain(rest).map(|a| (*a).to_owned()).collect()
}

/// Identifies what a part is made from. The name is left out for the edge's sake: its two slots are the same version.
fn version(part: &Part, image_id: &str) -> String {
    let anonymous = Part { name: String::new(), command: part.command.iter().filter(|a| **a != part.name).cloned().collect(), ..part.clone() };
    blake3::hash(format!("v1 {image_id} {anonymous:?}").as_bytes()).to_hex()[..16].to_owned()
}

/// Refuses a public port that somebody else listens on.
async fn refuse_taken_port(engine: &Containers, wanted: &Wanted) -> Result<()> {
    let ours = engine.of_role("edge").await?.iter().any(|c| c.state == Some(ContainerSummaryStateEnum::RUNNING));
    if ours {
        return Ok(());
    }
    let public = &wanted.spec.public;
    match tokio::net::TcpListener::bind((public.address, public.port)).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!(
                "port {} is taken on {}: free it (ss -ltnp 'sport = :{0}' shows by whom) or set spec.public.port of the Platform",
                public.port,
                public.address
            )
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => bail!("{} is not an address of this machine", public.address),
        _ => Ok(()),
    }
}

/// Gives a folder to a user.
fn give(folder: &Path, user: u32) -> Result<()> {
    fs_err::create_dir_all(folder)?;
    std::os::unix::fs::chown(folder, Some(user), Some(user))
        .with_context(|| format!("{} could not be given to user {user}; run as root", folder.display()))?;
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        std::os::unix::fs::lchown(&path, Some(user), Some(user)).with_context(|| format!("{} could not be given to user {user}", path.display()))?;
    }
    Ok(())
}

/// Polls a condition until it holds or the time is over.
async fn wait(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) -> Result<()> {
    let deadline = tokio::time::Instant::now() + within;
    while !holds().await {
        if tokio::time::Instant::now() > deadline {
            bail!("{what} did not answer within {} s; see its log with `docker logs`", within.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
