//! Two edges on two machines (network namespaces) share a virtual address by VRRP and nothing else. The one that has it loses its edge, then its link:
//! visitors go on at the other one. Then each edge's program is replaced under load, again and again: no request fails.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::StatusCode;
use model::TenantName;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::Options;
use crate::fault::{run, wait_for};
use crate::fleet::{Fleet, serve};
use crate::http_client::Visitor;
use crate::lab::{Lab, Running};
use crate::outcome::{Outcome, say};

const HOST: &str = "shop.example";
/// Port of the edges and number of the virtual address.
const PORT: u16 = 8080;
const VIRTUAL: u8 = 100;
/// Replacements of each edge's program.
const UPGRADES: u32 = 5;
const VISITORS: usize = 8;
/// A request that has no answer by then is given up and asked again.
const GIVEN_UP: Duration = Duration::from_millis(400);
const WITHIN: Duration = Duration::from_secs(30);

/// A machine with its edge and its keepalived.
struct Machine {
    name: String,
    state: PathBuf,
    edge: Option<Running>,
    _keepalived: Running,
}

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    run("keepalived", &["--version"]).await.context("the proof needs keepalived (apt-get install keepalived)")?;
    let mut lab = Lab::new().await?;
    let mut fleet = Fleet::start_at(lab.at(1), 2, &["cell-a"]).await?;
    fleet.open(&fleet.cells[0], application().await?, &[(TenantName::new("acme")?, HOST.to_owned())]).await?;
    // From here on nobody feeds them: they serve from their own folders.
    let folders = fleet.retire_edges().await?;
    let visible = SocketAddr::from((lab.at(VIRTUAL), PORT));
    let mut machines = Vec::new();
    for (number, state) in (11..).zip(folders) {
        machines.push(machine(&mut lab, number, state).await?);
    }
    wait_for("visitors to be served", WITHIN, async || Ok(Visitor::new(visible, HOST).get("/").await?.status == StatusCode::OK)).await?;

    let mut gaps = Vec::new();
    for what in ["edge", "link"] {
        let at = one_holder(&lab, lab.at(VIRTUAL)).await?;
        let index = machines.iter().position(|machine| machine.name == at).context("an unknown machine")?;
        let gap = lose(&lab, &mut machines[index], what, visible).await?;
        say(&format!("the {what} of the machine that has the address is lost: no answer for {gap:.2} s"));
        ensure!(one_holder(&lab, lab.at(VIRTUAL)).await? != at, "the address did not move");
        gaps.push(gap);
        heal(&lab, &mut machines[index], what).await?;
    }

    let (failed, requests) = upgrade(&lab, &mut machines, visible, options.rounds.unwrap_or(UPGRADES)).await?;
    let mut outcome = Outcome::new("edge-ha");
    outcome.at_most("vip_gap_s", gaps.iter().copied().fold(0.0, f64::max), 5.0);
    outcome.equal("upgrade_failed", &failed.len(), &0);
    outcome.note("gap_edge_s", format!("{:.2}", gaps[0]));
    outcome.note("gap_link_s", format!("{:.2}", gaps[1]));
    outcome.note("upgrade_requests", requests);
    for what in failed.iter().take(5) {
        say(&format!("  failed: {what}"));
    }
    Ok(outcome)
}

async fn one_holder(lab: &Lab, address: Ipv4Addr) -> Result<String> {
    let mut holder = Vec::new();
    wait_for("one machine to have the address", WITHIN, async || {
        holder = lab.holder(address).await?;
        Ok(holder.len() == 1)
    })
    .await?;
    holder.pop().context("nobody has the address")
}

/// Sets up a machine by the example's own files.
async fn machine(lab: &mut Lab, number: u8, state: PathBuf) -> Result<Machine> {
    let name = lab.machine(number).await?;
    let file: Value = serde_json::from_slice(&fs_err::read(state.join("platform.json"))?)?;
    let admin = file["ports"]["edgeAdmin"].as_u64().context("no port of the edge's admin door")?;
    let example = crate::world::workspace()?.join("examples/two-edges");
    let check = format!("{} {admin}", example.join("edge-serves").display());
    let text = fs_err::read_to_string(example.join("keepalived.conf"))?;
    // The first one gets the address at the start.
    let (address, priority) = (format!("{}/24", lab.at(VIRTUAL)), (121 - number).to_string());
    let filled =
        text.replace("CHECK", &check).replace("INTERFACE", "eth0").replace("PRIORITY\n", &format!("{priority}\n")).replace("ADDRESS", &address);
    let config = state.join("keepalived.conf");
    fs_err::write(&config, filled)?;
    let edge = start_edge(lab, &name, &state, "first").await?;
    let [pid, vrrp] = ["keepalived.pid", "vrrp.pid"].map(|file| state.join(file).display().to_string());
    let arguments = ["-n", "-l", "-D", "-P", "-f", &config.display().to_string(), "-p", &pid, "-r", &vrrp];
    let keepalived = lab.start(&name, "keepalived", &arguments, &state.join("keepalived.log"))?;
    Ok(Machine { name, state, edge: Some(edge), _keepalived: keepalived })
}

/// Starts an edge and waits until it serves.
async fn start_edge(lab: &Lab, machine: &str, state: &Path, what: &str) -> Result<Running> {
    let program = crate::world::program()?.display().to_string();
    let ready = state.join("edge").join(format!("{what}.ready"));
    let (listen, folder) = (format!("0.0.0.0:{PORT}"), state.display().to_string());
    let edge =
        lab.start(machine, &program, &["edge", "--name", what, "--state", &folder, "--listen", &listen], &state.join(format!("edge-{what}.log")))?;
    wait_for("the edge to serve", WITHIN, async || Ok(ready.exists())).await?;
    Ok(edge)
}

/// Takes something from a machine; how long nobody was answered, in seconds.
async fn lose(lab: &Lab, machine: &mut Machine, what: &str, visible: SocketAddr) -> Result<f64> {
    let stop = Arc::new(AtomicBool::new(false));
    let answered: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let mut visitors = JoinSet::new();
    for _ in 0..VISITORS {
        let (stop, answered) = (stop.clone(), answered.clone());
        visitors.spawn(async move {
            while !stop.load(SeqCst) {
                let mut visitor = Visitor::new(visible, HOST);
                if matches!(tokio::time::timeout(GIVEN_UP, visitor.get("/")).await, Ok(Ok(answer)) if answer.status == StatusCode::OK) {
                    answered.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    let since = |at: Instant| answered.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|answer| **answer > at).count();
    let began = Instant::now();
    wait_for("visitors to be served", WITHIN, async || Ok(since(began) > 20)).await?;
    match what {
        "edge" => machine.edge.as_mut().context("no edge")?.kill()?,
        _ => lab.link(&machine.name, false).await?,
    }
    // Not before the last answer that was under way.
    let lost = Instant::now() + GIVEN_UP;
    wait_for("visitors to be served by the other machine", WITHIN, async || Ok(since(lost) > 20)).await?;
    stop.store(true, SeqCst);
    while visitors.join_next().await.is_some() {}
    let mut times = std::mem::take(&mut *answered.lock().unwrap_or_else(PoisonError::into_inner));
    times.sort_unstable();
    Ok(times.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().unwrap_or_default().as_secs_f64())
}

/// Gives a machine back what it lost. The address stays where it is.
async fn heal(lab: &Lab, machine: &mut Machine, what: &str) -> Result<()> {
    if what == "edge" {
        machine.edge = Some(start_edge(lab, &machine.name, &machine.state, "again").await?);
    } else {
        lab.link(&machine.name, true).await?;
    }
    one_holder(lab, lab.at(VIRTUAL)).await.map(drop)
}

/// Replaces each edge's program under visitors who keep their connections and some who wait for a slow answer; what failed, and how many asked.
async fn upgrade(lab: &Lab, machines: &mut [Machine], visible: SocketAddr, rounds: u32) -> Result<(Vec<String>, usize)> {
    say("replacing the edges' program under load");
    let stop = Arc::new(AtomicBool::new(false));
    let mut visitors = JoinSet::new();
    for number in 0..VISITORS {
        let stop = stop.clone();
        let path = if number % 4 == 0 { "/slow" } else { "/" };
        visitors.spawn(async move {
            let (mut failed, mut requests, mut visitor) = (Vec::new(), 0, Visitor::new(visible, HOST));
            while !stop.load(SeqCst) {
                requests += 1;
                match visitor.get(path).await {
                    Ok(answer) if answer.status == StatusCode::OK => {}
                    Ok(answer) => failed.push(format!("{path}: {}", answer.status)),
                    Err(error) => failed.push(format!("{path}: {error:#}")),
                }
            }
            (failed, requests)
        });
    }
    for round in 1..=rounds {
        for machine in machines.iter_mut() {
            let next = start_edge(lab, &machine.name, &machine.state, &format!("round-{round}")).await?;
            if let Some(old) = machine.edge.replace(next) {
                old.stop().await?;
            }
        }
    }
    stop.store(true, SeqCst);
    let (mut failed, mut requests) = (Vec::new(), 0);
    while let Some(one) = visitors.join_next().await {
        let (what, count) = one?;
        failed.extend(what);
        requests += count;
    }
    ensure!(requests > 1000, "only {requests} requests were asked");
    Ok((failed, requests))
}

/// The application: `/slow` takes a second.
async fn application() -> Result<SocketAddr> {
    serve(|request| async move {
        let wait = if request.uri().path() == "/slow" { 1000 } else { 2 };
        tokio::time::sleep(Duration::from_millis(wait)).await;
        Bytes::from_static(b"served")
    })
    .await
}
