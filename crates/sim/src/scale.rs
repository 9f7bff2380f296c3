//! Planning at scale: every decision on a platform of a given size, timed, with the peak of memory.
//!
//! Each size runs in a process of its own, so that its peak of memory is its own. Decisions are checked by the lint of placements and by counting, so
//! that a fast wrong answer fails.

mod generate;

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use model::{CellName, Kind};
use plan::{Snapshot, cells, domains, lint, place};
use serde_json::{Value, json};

pub use generate::{Share, platform};

/// How large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Cells.
    pub cells: u32,
    /// Tenants.
    pub tenants: u32,
}

/// The size of the claim in the README.
pub const FULL: Size = Size { cells: 1_000, tenants: 200_000 };
/// A tenth of it, to see how things grow.
pub const TENTH: Size = Size { cells: 100, tenants: 20_000 };

/// Seconds of each decision, by name, and MiB of memory.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Measured {
    /// Decisions in the order in which they were made.
    pub seconds: Vec<(String, f64)>,
    /// Memory of the documents alone, before any decision.
    pub documents_mib: f64,
    /// Peak of the whole run.
    pub peak_mib: f64,
}

/// Makes every decision once on a platform of this size.
///
/// # Errors
/// When a decision is wrong, or this machine does not tell a process's memory.
pub fn measure(size: Size, seed: u64) -> Result<Measured> {
    let mut seconds = Vec::new();
    let mut timed = |name: &str, began: Instant| seconds.push((name.to_owned(), began.elapsed().as_secs_f64()));

    let new = platform(size, seed, Share::Nobody)?;
    let documents_mib = memory("VmRSS")?;
    let began = Instant::now();
    let placement = place::place(&new);
    timed("place every tenant of an empty platform", began);
    check(&new, &placement, size.tenants)?;

    let began = Instant::now();
    let allocations = allocate_all(new)?;
    timed("networks and machines for every cell", began);
    ensure!(allocations == size.cells, "{allocations} cells of {} got networks", size.cells);

    let full = platform(size, seed, Share::AllButOneInAHundred)?;
    let began = Instant::now();
    let placement = place::place(&full);
    timed("place one tenant in a hundred on a full platform", began);
    check(&full, &placement, size.tenants.div_ceil(100))?;

    let began = Instant::now();
    let ownership = domains::decide(&full);
    timed("decide who owns every domain", began);
    let conflicts = ownership.tenants.values().filter(|mine| !mine.conflicts.is_empty()).count();
    ensure!(conflicts == 0 && ownership.release.is_empty(), "{conflicts} conflicts and {} releases where there are none", ownership.release.len());

    let began = Instant::now();
    let due = cells::due(&full).len();
    timed("which cells are due", began);

    let one = vec![generate::addition(0)?];
    let began = Instant::now();
    let plan = plan::plan_changes(&full, one);
    timed("plan one more tenant", began);
    ensure!(plan.pending().count() == 1, "the plan of one tenant has {} changes ({due} cells due)", plan.pending().count());

    let all = full.tenants.keys().filter_map(|tenant| full.document(Kind::Tenant, &tenant.into())).collect::<Vec<_>>();
    let count = all.len();
    let began = Instant::now();
    let plan = plan::plan_changes(&full, all);
    timed("plan every tenant again from files", began);
    ensure!(plan.changes.len() == count && plan.pending().count() == 0, "planning what stands wants {} changes", plan.pending().count());

    Ok(Measured { seconds, documents_mib, peak_mib: memory("VmHWM")? })
}

fn check(snapshot: &Snapshot, placement: &place::Placement, wanted: u32) -> Result<()> {
    lint::placement(snapshot, placement).context("the lint refuses the placement")?;
    let placed = placement.placed().count();
    ensure!(placed == wanted as usize, "{placed} of {wanted} tenants were placed");
    Ok(())
}

/// One cell after the other, as control does it: each choice is stored before the next is made.
fn allocate_all(mut snapshot: Snapshot) -> Result<u32> {
    let names: Vec<CellName> = snapshot.cells.keys().cloned().collect();
    let mut count = 0;
    for name in names {
        let allocation = cells::allocate(&snapshot, &name, &[]).with_context(|| format!("cell {name}"))?;
        let mut document = snapshot.document(Kind::Cell, &(&name).into()).context("the cell is gone")?;
        document.status["allocation"] = serde_json::to_value(allocation)?;
        snapshot.put(document)?;
        count += 1;
    }
    Ok(count)
}

/// A line of this process's memory in MiB: `VmRSS` now, `VmHWM` at its peak.
fn memory(line: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    let Some(kib) = found else { bail!("/proc/self/status does not tell {line}") };
    Ok(kib / 1024.0)
}

/// Measures one size in a process of its own.
///
/// # Errors
/// When the process fails; its words are in the error.
pub fn measure_apart(size: Size, seed: u64) -> Result<Measured> {
    let program = std::env::current_exe().context("where this program lies")?;
    let arguments = ["one", &size.cells.to_string(), &size.tenants.to_string(), &seed.to_string()].map(str::to_owned);
    let output = std::process::Command::new(program).args(arguments).output().context("starting a process of its own")?;
    ensure!(output.status.success(), "size {size:?}, seed {seed}: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("reading what it measured")
}

/// The table, and as last line the figures by key.
#[must_use]
pub fn table(tenth: &Measured, full: &Measured) -> String {
    let mut text = format!("{:<52} {:>10} {:>10} {:>8}\n", "decision (seconds)", "a tenth", "full", "growth");
    let mut row = |name: &str, small: f64, large: f64| {
        text.push_str(&format!("{name:<52} {small:>10.3} {large:>10.3} {:>7.1}x\n", large / small.max(1e-6)));
    };
    for ((name, small), (_, large)) in tenth.seconds.iter().zip(&full.seconds) {
        row(name, *small, *large);
    }
    let total = |measured: &Measured| measured.seconds.iter().map(|(_, seconds)| seconds).sum::<f64>();
    row("all of it", total(tenth), total(full));
    row("memory of the documents (MiB)", tenth.documents_mib, full.documents_mib);
    row("peak of memory (MiB)", tenth.peak_mib, full.peak_mib);
    let keys: Value = json!({
        "cells": FULL.cells, "tenants": FULL.tenants,
        "seconds": round(total(full)), "seconds_tenth": round(total(tenth)),
        "peak_mib": round(full.peak_mib), "peak_mib_tenth": round(tenth.peak_mib),
    });
    text.push_str(&keys.to_string());
    text
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests;
