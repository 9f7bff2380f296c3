//! Figures of all rounds, as a table and as one line of JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cases::Case;

/// Figures of one proxy in one round of one case.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// CPU for each unit, in microseconds.
    pub cpu_us: f64,
    /// The kernel's part of it.
    pub system_us: f64,
    /// How much of its processor it used.
    pub busy: f64,
    /// Units in a second.
    pub rate: f64,
    /// Half are answered within so many microseconds.
    pub p50_us: f64,
    /// All but one in a hundred.
    pub p99_us: f64,
    /// All but one in a thousand.
    pub p999_us: f64,
    /// Memory in MiB; in the idle case octets for each connection.
    pub memory: f64,
    /// Units that failed.
    pub failed: u64,
}

/// All rounds of all cases.
#[derive(Debug, Default)]
pub struct Report {
    rounds: BTreeMap<Case, BTreeMap<String, Vec<Figures>>>,
}

impl Report {
    /// Notes one round.
    pub fn note(&mut self, case: Case, peer: &str, figures: Figures) {
        self.rounds.entry(case).or_default().entry(peer.to_owned()).or_default().push(figures);
    }

    /// The table of a case, its ratios against `base` where that was measured.
    pub fn print(&self, case: Case, base: &str) {
        let Some(peers) = self.rounds.get(&case) else { return };
        say(&format!("\n{} (ratios to {base}: median of the rounds, and their span)", case.name()));
        let memory = if case.work() == Case::Idle { "octets/conn" } else { "MiB" };
        say(&format!(
            "  {:14} {:>9} {:>8} {:>5} {:>9} {:>8} {:>8} {:>8} {memory:>11}  {:>20}  failed",
            "",
            format!("us/{}", case.unit()),
            "system",
            "busy",
            "per s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "cpu ratio"
        ));
        for (peer, rounds) in peers {
            let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure));
            let ratio = self.ratios(case, peer, base, |f| f.cpu_us);
            let span = ratio.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &r| (low.min(r), high.max(r)));
            let ratio = if ratio.is_empty() { "-".to_owned() } else { format!("{:.2} ({:.2} to {:.2})", median(ratio), span.0, span.1) };
            let failed: u64 = rounds.iter().map(|f| f.failed).sum();
            say(&format!(
                "  {peer:14} {:9.2} {:8.2} {:4.0}% {:9.0} {:8.0} {:8.0} {:8.0} {:11.1}  {ratio:>20}  {failed}",
                of(|f| f.cpu_us),
                of(|f| f.system_us),
                of(|f| f.busy) * 100.0,
                of(|f| f.rate),
                of(|f| f.p50_us),
                of(|f| f.p99_us),
                of(|f| f.p999_us),
                of(|f| f.memory)
            ));
        }
    }

    fn ratios(&self, case: Case, peer: &str, base: &str, figure: fn(&Figures) -> f64) -> Vec<f64> {
        let rounds = |name: &str| self.rounds.get(&case).and_then(|peers| peers.get(name)).map(Vec::as_slice).unwrap_or_default();
        let pairs = rounds(peer).iter().zip(rounds(base));
        pairs.filter(|(_, base)| figure(base) > 0.0).map(|(this, base)| figure(this) / figure(base)).collect()
    }

    /// The figures that a proof limits, each only where it was measured.
    pub fn keys(&self) -> BTreeMap<&'static str, f64> {
        type Wanted = (&'static str, Case, &'static str, &'static str, fn(&Figures) -> f64);
        let cpu: fn(&Figures) -> f64 = |f| f.cpu_us;
        let wanted: [Wanted; 14] = [
            ("cpu_vs_haproxy", Case::Small, "edge", "haproxy", cpu),
            ("cpu_vs_haproxy_bare", Case::Small, "edge", "haproxy-bare", cpu),
            ("cpu_vs_nginx_lua", Case::Small, "edge", "nginx-lua", cpu),
            ("nginx_lua_rate_vs_ours", Case::Small, "nginx-lua", "edge", |f| f.rate),
            ("p99_vs_haproxy", Case::Small, "edge", "haproxy", |f| f.p99_us),
            ("pair_ratio", Case::Pair, "edge-gate", "nginx-haproxy", cpu),
            ("large_vs_haproxy", Case::Large, "edge", "haproxy", cpu),
            ("connect_vs_haproxy", Case::Connect, "edge", "haproxy", cpu),
            ("upload_vs_haproxy", Case::Upload, "edge", "haproxy", cpu),
            ("websocket_vs_haproxy", Case::Websocket, "edge", "haproxy", cpu),
            ("tls_cpu_vs_haproxy", Case::TlsSmall, "edge", "haproxy", cpu),
            ("tls_connect_vs_haproxy", Case::TlsConnect, "edge", "haproxy", cpu),
            ("h2_cpu_vs_nginx", Case::H2Small, "edge", "nginx-lua", cpu),
            ("h2_cpu_vs_haproxy", Case::H2Small, "edge", "haproxy", cpu),
        ];
        let mut keys: BTreeMap<_, _> = wanted
            .into_iter()
            .filter_map(|(key, case, peer, base, figure)| {
                let ratios = self.ratios(case, peer, base, figure);
                (!ratios.is_empty()).then(|| (key, median(ratios)))
            })
            .collect();
        for (key, case) in [("idle_octets", Case::Idle), ("tls_idle_octets", Case::TlsIdle)] {
            if let Some(rounds) = self.rounds.get(&case).and_then(|peers| peers.get("edge")) {
                keys.insert(key, median(rounds.iter().map(|f| f.memory)));
            }
        }
        let failed = self.rounds.values().flat_map(BTreeMap::iter).filter(|(peer, _)| peer.starts_with("edge"));
        keys.insert("failed", failed.flat_map(|(_, rounds)| rounds).map(|f| f.failed as f64).sum());
        keys
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// Says a line.
#[expect(clippy::print_stdout, reason = "a measurement speaks on standard output; this is its one printer")]
pub fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_medians_of_rounds_and_what_was_not_measured_is_not_there() {
        let mut report = Report::default();
        for (edge, haproxy) in [(8.0, 10.0), (30.0, 20.0), (9.0, 10.0)] {
            report.note(Case::Small, "edge", Figures { cpu_us: edge, ..Figures::default() });
            report.note(Case::Small, "haproxy", Figures { cpu_us: haproxy, ..Figures::default() });
        }
        assert_eq!(report.keys(), BTreeMap::from([("cpu_vs_haproxy", 0.9), ("failed", 0.0)]));
    }
}
