//! What the kernel says of a process and all its children.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Ticks of a second as the kernel shows them, on every machine that we release for.
const TICKS: u64 = 100;

/// CPU and memory of a tree of processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Time on a processor, in the kernel and outside.
    pub cpu: Duration,
    /// The kernel's share of it, by the ticks of the clock: coarse.
    pub system: Duration,
    /// Memory of its own, and its part of what is shared.
    pub memory: u64,
}

/// Reads it for these processes and everything below them.
pub fn usage(roots: &[u32]) -> Result<Usage> {
    let mut sum = Usage::default();
    for process in tree(roots) {
        // One that ended meanwhile has nothing to say.
        let Ok(one) = of(process) else { continue };
        sum.cpu += one.cpu;
        sum.system += one.system;
        sum.memory += one.memory;
    }
    anyhow::ensure!(sum.cpu > Duration::ZERO, "none of the processes {roots:?} is running");
    Ok(sum)
}

fn tree(roots: &[u32]) -> BTreeSet<u32> {
    let mut all: BTreeSet<u32> = roots.iter().copied().collect();
    let mut next: Vec<u32> = roots.to_vec();
    while let Some(process) = next.pop() {
        let Ok(threads) = fs_err::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs_err::read_to_string(thread.path().join("children")).unwrap_or_default();
            next.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()).filter(|child| all.insert(*child)));
        }
    }
    all
}

fn of(process: u32) -> Result<Usage> {
    let mut usage = Usage::default();
    for thread in fs_err::read_dir(format!("/proc/{process}/task"))? {
        // First number: nanoseconds on a processor.
        let text = fs_err::read_to_string(thread?.path().join("schedstat"))?;
        let ns = text.split_whitespace().next().and_then(|word| word.parse().ok()).context("schedstat")?;
        usage.cpu += Duration::from_nanos(ns);
    }
    let stat = fs_err::read_to_string(format!("/proc/{process}/stat"))?;
    // Fields behind the name, which may hold anything; the 13th of them is the system's ticks.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ')).context("stat")?;
    let ticks: u64 = fields.clone().nth(12).and_then(|word| word.parse().ok()).context("system's ticks")?;
    usage.system = Duration::from_millis(ticks * 1000 / TICKS);
    let maps = fs_err::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let pss = maps.lines().find_map(|line| line.strip_prefix("Pss:")).and_then(|rest| rest.split_whitespace().next()).context("Pss")?;
    usage.memory = pss.parse::<u64>()? * 1024;
    Ok(usage)
}
