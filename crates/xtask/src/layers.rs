//! The layer rule: a crate depends only on lower layers.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::{root, say};

/// What a crate of layer 1 must not use: it could wait, do I/O, read a clock or roll dice with it.
const IMPURE: [&str; 22] = [
    "tokio",
    "tokio-util",
    "tokio-stream",
    "async-trait",
    "futures",
    "hyper",
    "hyper-util",
    "axum",
    "reqwest",
    "rusqlite",
    "bollard",
    "mysql_async",
    "rustix",
    "socket2",
    "fs-err",
    "tempfile",
    "rand",
    "getrandom",
    "rustls",
    "tracing-subscriber",
    "chrono",
    "time",
];

/// Sideways edges that are part of the design, with their reason.
const SIDEWAYS: [(&str, &str, &str); 4] = [
    ("manifest", "model", "files are read into the model's words"),
    ("operation", "store", "operations are documents of the store"),
    ("api", "ledger", "the API answers with the ledger's counts"),
    ("certs", "identity", "private keys of visitors' certificates are sealed as all secrets are"),
];

/// Drivers that services may use; everything else of a driver is wired in the binary.
const SHARED_DRIVERS: [(&str, &[&str]); 3] =
    [("proxy", &["edge", "gate"]), ("identity", &["agent", "edge", "gate", "doors", "issuer"]), ("certs", &["edge", "issuer"])];

#[derive(Deserialize)]
struct Graph {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(default)]
    metadata: serde_json::Value,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

/// Where a crate stands. Tests and tools stand above everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Number(u8),
    Tests,
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "L{number}"),
            Self::Tests => f.write_str("T"),
        }
    }
}

/// Checks every edge of the workspace.
pub fn run(graph: bool) -> anyhow::Result<Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root()?)
        .output()
        .context("starting cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Graph = serde_json::from_slice(&output.stdout).context("reading cargo's metadata")?;
    let layers = metadata.packages.iter().map(|p| Ok((p.name.as_str(), layer(p)?))).collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let mut findings = Vec::new();
    let mut edges = 0;
    for package in &metadata.packages {
        let own = layers[package.name.as_str()];
        for dependency in &package.dependencies {
            let tests_only = dependency.kind.as_deref() == Some("dev");
            if own == Layer::Number(1) && !tests_only && IMPURE.contains(&dependency.name.as_str()) {
                findings.push(format!(
                    "crates/{}: layer 1 must not depend on `{}`: it could wait, do I/O, read a clock or roll dice",
                    package.name, dependency.name
                ));
            }
            let (Some(_), Some(&theirs)) = (&dependency.path, layers.get(dependency.name.as_str())) else { continue };
            edges += 1;
            findings.extend(edge(&package.name, own, &dependency.name, theirs, tests_only));
        }
    }
    if graph {
        let mut packages: Vec<_> = metadata.packages.iter().collect();
        packages.sort_by_key(|p| (layers[p.name.as_str()], p.name.as_str()));
        for package in packages {
            let of = |d: &&Dependency| d.path.is_some() && d.kind.is_none();
            let names: Vec<_> = package.dependencies.iter().filter(of).map(|d| d.name.as_str()).collect();
            say(&format!("{} {:14} {}", layers[package.name.as_str()], package.name, names.join(" ")));
        }
    }
    if findings.is_empty() {
        say(&format!("layers ok: {} crates, {edges} edges, all downward", metadata.packages.len()));
    }
    Ok(findings)
}

fn layer(package: &Package) -> anyhow::Result<Layer> {
    let text = package.metadata.pointer("/atoll/layer").and_then(|layer| layer.as_str());
    match text {
        Some("T") => Ok(Layer::Tests),
        Some(text) => match text.strip_prefix('L').and_then(|number| number.parse().ok()) {
            Some(number @ 0..=5) => Ok(Layer::Number(number)),
            _ => bail!("crates/{}/Cargo.toml: layer {text:?}; L0 to L5 and T are known", package.name),
        },
        None => bail!("crates/{}/Cargo.toml: add [package.metadata.atoll] with layer = \"L0\" to \"L5\" or \"T\"", package.name),
    }
}

/// What is wrong with one edge.
fn edge(from: &str, own: Layer, to: &str, theirs: Layer, tests_only: bool) -> Option<String> {
    if theirs == Layer::Tests {
        let allowed = own == Layer::Tests || tests_only;
        return (!allowed).then(|| format!("crates/{from} ({own}) -> {to} (T): parts for tests may be used in tests only (dev-dependencies)"));
    }
    // Tests of a crate may use fakes and drivers of any lower or equal layer, never a higher one.
    let downward = theirs < own || (tests_only && theirs == own);
    let driver_shared = SHARED_DRIVERS.iter().find(|(driver, _)| *driver == to);
    if let (Layer::Number(4), Layer::Number(3), false) = (own, theirs, tests_only) {
        return match driver_shared {
            Some((_, services)) if services.contains(&from) => None,
            _ => Some(format!("crates/{from} (L4) -> {to} (L3): services use ports; drivers are tied to them in `atoll` only")),
        };
    }
    if downward || SIDEWAYS.iter().any(|(a, b, _)| (*a, *b) == (from, to) && theirs <= own) {
        return None;
    }
    Some(format!("crates/{from} ({own}) -> {to} ({theirs}): a crate depends only on lower layers; move the shared part down or pass it in"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_refuses_what_it_should() {
        let number = Layer::Number;
        for (from, own, to, theirs, tests_only, allowed) in [
            ("plan", number(1), "model", number(0), false, true),
            ("plan", number(1), "store", number(2), false, false),
            ("plan", number(1), "routes", number(1), false, false),
            ("operation", number(2), "store", number(2), false, true),
            ("store", number(2), "operation", number(2), false, false),
            ("doors", number(4), "control", number(4), false, false),
            ("doors", number(4), "identity", number(3), false, true),
            ("control", number(4), "identity", number(3), false, false),
            ("control", number(4), "store-sqlite", number(3), false, false),
            ("agent", number(4), "mariadb", number(3), true, true),
            ("store", number(2), "testkit", Layer::Tests, false, false),
            ("store", number(2), "testkit", Layer::Tests, true, true),
            ("atoll", number(5), "mariadb", number(3), false, true),
            ("model", number(0), "atoll", number(5), true, false),
        ] {
            assert_eq!(edge(from, own, to, theirs, tests_only).is_none(), allowed, "{from} -> {to}");
        }
    }
}
