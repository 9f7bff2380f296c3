//! The checks. What was seen is told apart from what it means, so that the meaning can be tested.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use ipnet::Ipv4Net;
use model::PlatformName;
use model::v1alpha1::PlatformSpec;

use super::facts::{self, Engine, Facts};
use super::{Finding, Level};
use crate::cli::session::Session;
use crate::platform::{Layout, containers};

const GIB: u64 = 1 << 30;

/// Whether the engine answers and is new enough.
pub fn docker(engine: &Engine) -> Finding {
    match engine {
        Err(why) => Finding::fail("docker", format!("the Docker engine does not answer: {why}"), "install and start it: scripts/setup"),
        Ok(facts) => match version(&facts.version) {
            fine if fine.level == Level::Ok && !facts.live_restore => Finding::warn(
                "docker",
                format!("version {} stops every container when its daemon restarts", facts.version),
                "set \"live-restore\": true in /etc/docker/daemon.json and reload the daemon: systemctl reload docker",
            ),
            found => found,
        },
    }
}

/// Judges the engine's version.
pub fn version(text: &str) -> Finding {
    if containers::too_old(text) {
        let (major, minor) = containers::OLDEST;
        return Finding::fail("docker", format!("version {text} is too old"), format!("install {major}.{minor} or newer: scripts/setup"));
    }
    Finding::ok("docker", format!("version {text}"))
}

/// Whether the state folder is one that this release can use.
pub fn state(folder: &Path, platform: Option<&PlatformName>) -> Finding {
    if !folder.join("platform.json").exists() {
        return Finding::warn("state", format!("no platform was started in {}", folder.display()), "atoll up -f FOLDER");
    }
    match Layout::open(folder) {
        Err(error) => Finding::fail("state", format!("{error:#}"), "use the release that wrote it, or another folder with --state"),
        Ok(layout) if platform.is_some_and(|p| *p != layout.platform) => Finding::fail(
            "state",
            format!("{} belongs to platform {}", folder.display(), layout.platform),
            "name that platform's folder with --state",
        ),
        Ok(layout) => Finding::ok("state", format!("{} of platform {}", folder.display(), layout.platform)),
    }
}

/// Space for data, images and containers.
pub fn disk(state: &Path, engine: &Engine) -> Vec<Finding> {
    let mut folders = vec![state.to_owned()];
    if let Ok(Facts { folder, .. }) = engine
        && !folder.is_empty()
    {
        folders.push(folder.into());
    }
    folders.iter().map(|folder| space(folder, facts::space(folder))).collect()
}

/// Judges free and total bytes.
pub fn space(folder: &Path, found: Option<(u64, u64)>) -> Finding {
    let Some((free, total)) = found else {
        return Finding::warn("disk", format!("{} cannot be looked at", folder.display()), "run as root: sudo atoll doctor");
    };
    let gib = |bytes: u64| format!("{}.{} GiB", bytes / GIB, bytes % GIB * 10 / GIB);
    let text = format!("{} free of {} at {}", gib(free), gib(total), folder.display());
    match free {
        0..2_147_483_648 => Finding::fail("disk", text, "free some space: databases stop when it runs out (docker image prune)"),
        2_147_483_648..10_737_418_240 => Finding::warn("disk", text, "free some space: a cell of WordPress needs about 1 GiB, images 3 GiB"),
        _ => Finding::ok("disk", text),
    }
}

/// Memory for cells.
pub fn memory() -> Finding {
    match facts::memory() {
        None => Finding::warn("memory", "cannot be looked at", "this machine has no /proc/meminfo"),
        Some(free) if free < 2 * GIB => {
            Finding::warn("memory", format!("{} MiB available", free >> 20), "a cell of three database nodes and WordPress needs about 1.5 GiB")
        }
        Some(free) => Finding::ok("memory", format!("{} MiB available", free >> 20)),
    }
}

/// Whether the public port is ours or free.
pub async fn port(spec: &PlatformSpec, engine: &Engine, session: &Session) -> Finding {
    let address = SocketAddr::from((spec.public.address, spec.public.port));
    let own = Layout::open(&session.state).ok().map(|l| l.platform);
    let ours = own.is_some_and(|own| engine.as_ref().is_ok_and(|f| f.edges.iter().any(|e| *e == own.as_str())));
    if ours {
        let from = SocketAddr::new(if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() }, address.port());
        return match tokio::net::TcpStream::connect(from).await {
            Ok(_) => Finding::ok("port", format!("our edge listens on {address}")),
            Err(error) => {
                Finding::fail("port", format!("our edge does not answer on {address}: {error}"), "docker logs of the edge's container tell why")
            }
        };
    }
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok("port", format!("{address} is free")),
        Err(error) => {
            let hint = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    format!("free it (ss -ltnp 'sport = :{}' shows by whom), or set spec.public.port of the Platform", address.port())
                }
                std::io::ErrorKind::PermissionDenied => "run as root: sudo atoll doctor".to_owned(),
                _ => "set spec.public.address of the Platform to an address of this machine".to_owned(),
            };
            Finding::fail("port", format!("{address} cannot be used: {error}"), hint)
        }
    }
}

/// Whether operators elsewhere reach the API, where that is wanted.
pub async fn api(spec: &PlatformSpec) -> Option<Finding> {
    let api = spec.api?;
    let loopback = if api.address.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { api.address };
    let address = SocketAddr::new(loopback, api.port);
    Some(match tokio::net::TcpStream::connect(address).await {
        Ok(_) => Finding::ok("api", format!("listens on {}:{}", api.address, api.port)),
        Err(error) => Finding::fail(
            "api",
            format!("nobody answers on {address}: {error}"),
            "control opens it when the Platform is applied; docker logs of its container tell why it cannot",
        ),
    })
}

/// Whether the pool of private addresses is free on this machine.
pub fn subnets(spec: &PlatformSpec, engine: &Engine) -> Finding {
    let networks = engine.as_ref().map_or(&[][..], |f| &f.networks);
    clash(spec.network.pool, &facts::routes(), networks)
}

/// Judges routes and the engine's networks against the pool.
pub fn clash(pool: Ipv4Net, routes: &[(String, Ipv4Net)], networks: &[(String, Ipv4Net, Option<String>)]) -> Finding {
    let overlaps = |net: &Ipv4Net| pool.contains(net) || net.contains(&pool);
    let ours = |net: &Ipv4Net| networks.iter().any(|(_, n, platform)| n == net && platform.is_some());
    let foreign = networks.iter().find(|(_, net, platform)| platform.is_none() && overlaps(net));
    if let Some((name, net, _)) = foreign {
        return Finding::fail(
            "subnets",
            format!("network {name} of Docker ({net}) lies in the pool {pool}"),
            "remove it, or set spec.network.pool of the Platform",
        );
    }
    match routes.iter().find(|(_, net)| overlaps(net) && !ours(net)) {
        Some((interface, net)) => Finding::fail(
            "subnets",
            format!("a route of this machine ({net} by {interface}) meets the pool {pool}"),
            "set spec.network.pool of the Platform to private addresses that nothing else here uses",
        ),
        None => Finding::ok("subnets", format!("{pool} is free on this machine")),
    }
}

/// Whether every image is there.
pub fn images(wanted: &[String], engine: &Engine) -> Vec<Finding> {
    let Ok(facts) = engine else { return Vec::new() };
    let missing: Vec<&String> = wanted.iter().filter(|image| !facts.images.contains(image)).collect();
    if missing.is_empty() {
        return vec![Finding::ok("images", format!("all {} are on this engine", wanted.len()))];
    }
    missing.iter().map(|image| Finding::fail("images", format!("{image} is not on this engine"), "build it: scripts/images")).collect()
}

/// Whether control answers, works, and is of this release.
pub async fn control(session: &Session) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    match session.client.about().await {
        Ok(about) if about.version != own => Finding::warn(
            "control",
            format!("control is release {}, this program {own}", about.version),
            "atoll up -f FOLDER brings both to this release",
        ),
        Ok(about) if !about.active => {
            Finding::warn("control", "control answers, but another one holds the lease", "stop the other one, or wait until its lease runs out")
        }
        Ok(about) => Finding::ok("control", format!("release {} answers and is active", about.version)),
        Err(error) if session.state.join("platform.json").exists() => {
            Finding::fail("control", error.to_string(), "start it with atoll up -f FOLDER; docker logs of its container tell why it ended")
        }
        Err(_) => Finding::warn("control", "not started yet", "atoll up -f FOLDER"),
    }
}
