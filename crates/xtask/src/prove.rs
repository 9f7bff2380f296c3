//! Runs proofs: the program `proofs` does the work, this builds what it needs first.

use std::process::Command;

use anyhow::{Context, ensure};

use crate::{root, say};

/// Runs one proof, or all of them one after the other; a failed one is a finding.
pub fn run(name: &str, rest: &[String]) -> anyhow::Result<Vec<String>> {
    let proofs = build()?;
    let names = if name == "all" { names(&proofs)? } else { vec![name.to_owned()] };
    let mut failed = Vec::new();
    for name in &names {
        if names.len() > 1 {
            say(&format!("== {name}"));
        }
        // The binary just built is the one that is proved, wherever cargo puts it.
        let atoll = std::env::var_os("ATOLL_BIN").unwrap_or_else(|| proofs.with_file_name("atoll").into());
        let mut proof = Command::new(&proofs);
        let status = proof.arg(name).args(rest).env("ATOLL_BIN", atoll).current_dir(root()?).status().context("starting the proof")?;
        if !status.success() {
            failed.push(format!("proof {name} failed ({status})"));
        }
    }
    Ok(failed)
}

/// Builds the binary that is proved and the proofs, both as they are released.
fn build() -> anyhow::Result<std::path::PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(&cargo)
        .args(["build", "-q", "--release", "-p", "atoll", "-p", "proofs"])
        .current_dir(root()?)
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "atoll and the proofs do not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().map(|root| root.join("target")), |folder| Ok(folder.into()))?;
    Ok(target.join("release/proofs"))
}

/// The names that the proofs give themselves: the first word of each line of their list.
fn names(proofs: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new(proofs).arg("list").output().context("asking for the list of proofs")?;
    ensure!(output.status.success(), "the list of proofs cannot be had");
    let text = String::from_utf8(output.stdout).context("the list of proofs is not UTF-8")?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}
