//! Licences, refused crates and sources, as `deny.toml` states them: what `cargo deny` checks and needs no network for.
//!
//! Advisories are left to `cargo deny`, which knows where they come from.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::{root, say};

/// What we release for, as in `deny.toml`.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];
/// The public registry, as cargo names it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

/// Checks every dependency.
pub fn run() -> anyhow::Result<Vec<String>> {
    let rules = Rules::read(&std::fs::read_to_string(root()?.join("deny.toml")).context("deny.toml")?)?;
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(root()?);
    for target in TARGETS {
        command.args(["--filter-platform", target]);
    }
    let output = command.output().context("cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("what cargo metadata says")?;
    let used: BTreeSet<&str> = metadata.resolve.nodes.iter().map(|node| node.id.as_str()).collect();
    let others: Vec<&Package> = metadata.packages.iter().filter(|p| used.contains(p.id.as_str()) && p.source.is_some()).collect();
    ensure!(!others.is_empty(), "cargo metadata names no dependency at all");
    let findings: Vec<String> = others.iter().flat_map(|package| rules.findings(package)).collect();
    if findings.is_empty() {
        say(&format!("licences ok: {} dependencies under {} licences; advisories were not looked at", others.len(), rules.allowed.len()));
    }
    Ok(findings)
}

/// What `deny.toml` says.
#[derive(Debug, PartialEq)]
struct Rules {
    allowed: Vec<String>,
    refused: Vec<String>,
}

impl Rules {
    /// Reads the two lists. They are ours and written one entry a line, so that this needs no reader of the whole format.
    fn read(text: &str) -> anyhow::Result<Self> {
        let lines = || text.lines().map(|line| line.split_once('#').map_or(line, |(line, _)| line).trim());
        let (mut allowed, mut refused) = (Vec::new(), Vec::new());
        let (mut section, mut inside) = ("", false);
        for line in lines() {
            match line {
                _ if line.starts_with('[') => section = line,
                "allow = [" if section == "[licenses]" => inside = true,
                "]" => inside = false,
                _ if inside => allowed.extend(line.split('"').nth(1).map(str::to_owned)),
                _ if section == "[bans]" => {
                    refused.extend(line.strip_prefix("{ crate = \"").and_then(|rest| rest.split('"').next()).map(str::to_owned))
                }
                _ => {}
            }
        }
        ensure!(
            !allowed.is_empty() && !refused.is_empty(),
            "deny.toml has no list of licences, or none of refused crates, where they are looked for"
        );
        Ok(Self { allowed, refused })
    }

    fn findings(&self, package: &Package) -> Vec<String> {
        let whose = format!("{} {}", package.name, package.version);
        let mut findings = Vec::new();
        match package.license.as_deref().map(|text| self.allows(text)) {
            Some(Ok(true)) => {}
            Some(Ok(false)) => findings.push(format!(
                "{whose}: licence {:?} is not among those that deny.toml allows: take another crate, or argue for it there",
                package.license.as_deref().unwrap_or_default()
            )),
            Some(Err(error)) => findings.push(format!("{whose}: its licence is not understood: {error}")),
            None => findings.push(format!("{whose} names no licence: look into its files, or take another crate")),
        }
        if self.refused.contains(&package.name) {
            findings.push(format!("{whose} is refused by deny.toml, which says why: cargo tree -i {}", package.name));
        }
        if package.source.as_deref() != Some(REGISTRY) {
            findings.push(format!("{whose} comes from {}, and not from the public registry", package.source.as_deref().unwrap_or("nowhere")));
        }
        findings
    }

    /// Whether an SPDX expression can be met with allowed licences. `/` is an old spelling of `OR`.
    fn allows(&self, expression: &str) -> anyhow::Result<bool> {
        let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let mut words = spaced.split_whitespace().peekable();
        let met = self.either(&mut words)?;
        ensure!(words.next().is_none(), "{expression:?} goes on where it should end");
        Ok(met)
    }

    fn either<'a>(&self, words: &mut Peekable<impl Iterator<Item = &'a str>>) -> anyhow::Result<bool> {
        let mut met = self.both(words)?;
        while words.next_if_eq(&"OR").is_some() {
            met |= self.both(words)?;
        }
        Ok(met)
    }

    fn both<'a>(&self, words: &mut Peekable<impl Iterator<Item = &'a str>>) -> anyhow::Result<bool> {
        let mut met = self.one(words)?;
        while words.next_if_eq(&"AND").is_some() {
            met &= self.one(words)?;
        }
        Ok(met)
    }

    fn one<'a>(&self, words: &mut Peekable<impl Iterator<Item = &'a str>>) -> anyhow::Result<bool> {
        match words.next() {
            Some("(") => {
                let met = self.either(words)?;
                ensure!(words.next() == Some(")"), "a parenthesis is not closed");
                Ok(met)
            }
            Some(word @ (")" | "OR" | "AND" | "WITH")) => bail!("{word:?} where a licence should be"),
            Some(name) => {
                let mut name = name.to_owned();
                if words.next_if_eq(&"WITH").is_some() {
                    name += &format!(" WITH {}", words.next().context("WITH what?")?);
                }
                Ok(self.allowed.contains(&name))
            }
            None => bail!("it ends where a licence should be"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn expressions_are_met_or_not() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).to_vec();
        let rules = Rules { allowed, refused: vec!["openssl".to_owned()] };
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT/GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("(GPL-3.0 OR MIT) AND Apache-2.0", true),
            ("GPL-3.0 OR MIT AND BSL-1.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("MIT WITH LLVM-exception", false),
        ] {
            assert_eq!(rules.allows(expression).unwrap(), met, "{expression}");
        }
        for broken in ["", "MIT OR", "(MIT", "MIT MIT", "AND MIT", "Apache-2.0 WITH"] {
            assert!(rules.allows(broken).is_err(), "{broken}");
        }
        let package = |name: &str, license: Option<&str>, source: &str| Package {
            id: String::new(),
            name: name.to_owned(),
            version: "1".to_owned(),
            license: license.map(str::to_owned),
            source: Some(source.to_owned()),
        };
        assert_eq!(rules.findings(&package("a", Some("MIT"), REGISTRY)), Vec::<String>::new());
        let all = rules.findings(&package("openssl", None, "git+https://example.org/x"));
        assert_eq!(all.len(), 3, "{all:?}");
    }

    #[test]
    fn the_rules_of_this_workspace_are_read() {
        let rules = Rules::read(&std::fs::read_to_string(root().unwrap().join("deny.toml")).unwrap()).unwrap();
        assert!(rules.allowed.iter().any(|name| name == "Apache-2.0 WITH LLVM-exception") && !rules.allowed.iter().any(|name| name.contains("GPL")));
        assert!(rules.refused.iter().any(|name| name == "aws-lc-rs") && rules.refused.iter().any(|name| name == "openssl"), "{rules:?}");
    }
}
