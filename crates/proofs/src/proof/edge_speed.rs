//! What a request costs at the edge, beside HAProxy and nginx with Lua. The measurement is `make bench-edge`; this holds its figures against the limits.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use crate::Options;
use crate::outcome::Outcome;

/// Rounds of each case, where the options name none.
const ROUNDS: u32 = 7;

/// What is measured. First what idle connections take: a process that has served has room left, and shows nothing.
const CASES: &str = "idle,tls-idle,small,paced,large,connect,upload,websocket,tls-small,tls-large,tls-connect,tls-upload,tls-websocket,h2-small,h2-large,h2-upload,pair";

/// Key and limit: ours over theirs. What was not measured is reported as missing, never made up.
const LIMITS: [(&str, f64); 9] = [
    ("cpu_vs_haproxy", 0.82),
    ("cpu_vs_nginx_lua", 0.80),
    ("nginx_lua_rate_vs_ours", 0.80),
    ("p99_vs_haproxy", 1.0),
    ("pair_ratio", 0.80),
    ("tls_cpu_vs_haproxy", 1.0),
    ("h2_cpu_vs_nginx", 1.0),
    ("idle_octets", 4096.0),
    ("failed", 0.0),
];

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("figures.json");
    let rounds = options.rounds.unwrap_or(ROUNDS).to_string();
    let status = tokio::process::Command::new("scripts/bench-edge")
        .args(["--cases", CASES, "--rounds", &rounds])
        .args(["--peers", "edge,haproxy,nginx-lua,edge-gate,nginx-haproxy", "--json"])
        .arg(&json)
        .status()
        .await
        .context("starting scripts/bench-edge")?;
    ensure!(status.success(), "the measurement failed ({status})");
    let figures: BTreeMap<String, f64> = serde_json::from_slice(&fs_err::read(&json)?).context("the measurement's figures")?;
    let mut outcome = Outcome::new("edge-speed");
    for (key, limit) in LIMITS {
        let figure = figures.get(key).with_context(|| format!("{key} was not measured"))?;
        outcome.at_most(key, *figure, limit);
    }
    for (key, figure) in figures.iter().filter(|(key, _)| LIMITS.iter().all(|(limited, _)| limited != key)) {
        outcome.note(key, format!("{figure:.2}"));
    }
    Ok(outcome)
}
