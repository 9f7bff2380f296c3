//! The measurement: everything is started once and asked in turn, round by round.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cases::{Case, Transport};
use crate::certificate::Files;
use crate::cpu::{Usage, usage};
use crate::load::Outcome;
use crate::peer::{Kind, Peer, Place, free, spawn};
use crate::report::{Figures, Report, say};
use crate::world::DOMAINS;

/// What is measured, and for how long.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What is measured; everything where left out.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<Case>,
    /// Who is measured; everybody where left out. `edge` and the first of the others are needed for ratios.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Kind>,
    /// Rounds of each case.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each round and proxy.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Domains.
    #[arg(long, default_value_t = DOMAINS)]
    domains: usize,
    /// Envoy's program.
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// Where the figures are written as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Leave every proxy running until Enter, to look at it.
    #[arg(long)]
    hold: bool,
}

const PROXY: usize = 0;
const LOAD: usize = 1;

/// Measures.
pub fn run(options: &Options) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(cores > LOAD, "two processors are needed, one for the proxy and one for backend and load; here is {cores}");
    let folder = tempfile::tempdir()?;
    let backend = free()?;
    let program = std::env::current_exe()?;
    let _backend = spawn(LOAD, folder.path(), &program, &["backend".into(), "--listen".into(), backend.to_string()])?;
    let certificate = Files::create(folder.path())?;
    let place =
        Place { folder: folder.path(), core: PROXY, backend, domains: options.domains, certificate: &certificate, envoy: options.envoy.as_deref() };
    let cases = if options.cases.is_empty() { Case::all().to_vec() } else { options.cases.clone() };
    let peers = start(options, &cases, &place)?;
    say(&format!("load of the machine before: {}", fs_err::read_to_string("/proc/loadavg")?.trim()));
    if options.hold {
        for peer in &peers {
            say(&format!("{} at {:?}, processes {:?}", peer.kind.name(), peer.at, peer.roots()));
        }
        std::io::stdin().read_line(&mut String::new())?;
        return Ok(());
    }
    let mut report = Report::default();
    for &case in &cases {
        // Memory does not change from round to round.
        let rounds = if case.work() == Case::Idle { 1 } else { options.rounds };
        for round in 0..rounds {
            let mut fitting: Vec<_> = peers.iter().filter(|peer| fits(case, peer.kind)).collect();
            let count = fitting.len().max(1);
            // Nobody is always the one after the same other.
            fitting.rotate_left(round % count);
            for peer in fitting {
                let figures =
                    measure(options, case, peer, round, &certificate).with_context(|| format!("{} of {}", case.name(), peer.kind.name()))?;
                report.note(case, &peer.kind.name(), figures);
            }
        }
        report.print(case, if case == Case::Pair { "nginx-haproxy" } else { "haproxy" });
    }
    let keys = report.keys();
    say("");
    for (key, value) in &keys {
        say(&format!("  {key:24} {value:.3}"));
    }
    if let Some(path) = &options.json {
        fs_err::write(path, serde_json::to_vec(&keys)?)?;
    }
    Ok(())
}

const fn fits(case: Case, kind: Kind) -> bool {
    matches!(case, Case::Pair) == kind.is_pair()
}

/// Starts whom the cases need. Whoever is not installed is left out with a word; one that was asked for by name must be there.
fn start(options: &Options, cases: &[Case], place: &Place<'_>) -> Result<Vec<Peer>> {
    let named = !options.peers.is_empty();
    let kinds = if named { &options.peers[..] } else { Kind::value_variants_of() };
    let mut peers = Vec::new();
    for &kind in kinds.iter().filter(|kind| cases.iter().any(|&case| fits(case, **kind))) {
        match Peer::start(kind, place) {
            Ok(peer) => {
                if kind.is_pair() {
                    warm(options, &peer, place.certificate)?;
                }
                peers.push(peer);
            }
            Err(error) if kind == Kind::Envoy && !named => say(&format!("left out: {error:#}")),
            Err(error) => return Err(error),
        }
    }
    Ok(peers)
}

/// Every domain is asked for once: a gate proves each header when it first comes.
fn warm(options: &Options, peer: &Peer, certificate: &Files) -> Result<()> {
    let status = Load::command(options, Case::Small, peer, 0, certificate)?.arg("--once").status().context("starting the load")?;
    ensure!(status.success(), "{} does not answer for every domain", peer.kind.name());
    Ok(())
}

impl Kind {
    fn value_variants_of() -> &'static [Self] {
        <Self as clap::ValueEnum>::value_variants()
    }
}

fn measure(options: &Options, case: Case, peer: &Peer, round: usize, certificate: &Files) -> Result<Figures> {
    let roots = peer.roots();
    let mut load = Load::start(options, case, peer, round, certificate)?;
    load.expect("begin")?;
    let before = usage(&roots)?;
    let outcome: Outcome = serde_json::from_str(&load.line()?).context("the load's outcome")?;
    let after = usage(&roots)?;
    load.end()?;
    let done = outcome.done.max(1) as f64;
    if let Some(failure) = &outcome.failure {
        say(&format!("  {} of {} failed at {}: {failure}", outcome.failed, outcome.done, peer.kind.name()));
    }
    ensure!(outcome.done > outcome.failed, "nothing was answered");
    let spent = |of: fn(&Usage) -> Duration| of(&after).saturating_sub(of(&before)).as_secs_f64();
    let (cpu, system) = (spent(|u| u.cpu), spent(|u| u.system));
    let idle = case.work() == Case::Idle;
    let memory = if idle { after.memory.saturating_sub(before.memory) as f64 / done } else { after.memory as f64 / 1_048_576.0 };
    Ok(Figures {
        cpu_us: cpu * 1e6 / done,
        system_us: system * 1e6 / done,
        busy: cpu / outcome.seconds,
        rate: done / outcome.seconds,
        p50_us: outcome.p50 as f64,
        p99_us: outcome.p99 as f64,
        p999_us: outcome.p999 as f64,
        memory,
        failed: outcome.failed,
    })
}

/// The load's process.
struct Load {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Load {
    fn command(options: &Options, case: Case, peer: &Peer, round: usize, certificate: &Files) -> Result<Command> {
        let target = match case.transport() {
            Transport::Plain => peer.at.plain,
            Transport::Tls | Transport::H2 => peer.at.secure.context("it has no door under TLS")?,
        };
        let mut command = Command::new("taskset");
        command.args(["-c", &LOAD.to_string()]).arg(std::env::current_exe()?).arg("load");
        command.args(["--target", &target.to_string(), "--case", &case.name(), "--seconds", &options.seconds.to_string()]);
        command.args(["--domains", &options.domains.to_string(), "--seed", &round.to_string()]);
        command.arg("--certificate").arg(&certificate.chain);
        Ok(command)
    }

    fn start(options: &Options, case: Case, peer: &Peer, round: usize, certificate: &Files) -> Result<Self> {
        let mut command = Self::command(options, case, peer, round, certificate)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting the load (through taskset of util-linux)")?;
        let lines = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, lines })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the load ended early");
        Ok(line.trim().to_owned())
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        let line = self.line()?;
        if line == word { Ok(()) } else { bail!("the load says {line}") }
    }

    fn end(&mut self) -> Result<()> {
        if let Some(input) = &mut self.child.stdin {
            // It may have ended by itself.
            let _ = input.write_all(b"\n");
        }
        self.child.wait()?;
        Ok(())
    }
}
