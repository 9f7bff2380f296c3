//! In cell A processor, memory, processes, database connections and writable space are exhausted and at last everything is killed; cell B does not notice, and
//! nothing of B answers from A.
//!
//! A cell is only as isolated as its limits: the proof gives both cells limits that fit two processors together. With the blueprint's own limits, which let a cell
//! use both processors while nobody else does, a cell that burns all it may doubles its neighbour's latency.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Options;
use crate::fault::{kill, run};
use crate::load::Load;
use crate::outcome::{Outcome, say};
use crate::world::{Plan, World};
use crate::writers::Account;

/// How often each visitor asks in a measured stretch.
const ROUNDS: u32 = 45;
/// A disturbance that could go on ends so long before its stretch.
const BEFORE: Duration = Duration::from_secs(3);
/// Visitors of cell B.
const VISITORS: usize = 4;
/// The quickest and the slowest that each of them asks.
const PACES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// Containers of a cell that must be there to be killed.
const CONTAINERS: usize = 9;

/// Limits by which two cells fit two processors: what a cell's php may burn (twice 300m) leaves the neighbour its own part, beside what the idle parts of
/// two cells, the edge and the visitors take.
fn limited(blueprint: String) -> String {
    let php = |cpu: &str| format!("limits: {{ cpu: {cpu}, memory: 384Mi, pids: 64 }}");
    let limited = blueprint.replace(&php("\"1\""), &php("300m"));
    limited.replace("cpu: 500m", "cpu: 200m").replace("cpu: \"1\"", "cpu: 400m")
}

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let plan = Plan { tenants: vec![("alpha", "cell-a"), ("gamma", "cell-b")], blueprint: limited, ..Plan::default() };
    let mut world = World::start(&plan, options.keep).await?;
    let tenants = world.add_tenants(&plan).await?;
    let b = [tenants[1].site.clone()];
    let reachable = reach(&world).await?;
    say("cell B warms up: its processes have read their code");
    measure(&b, PACES[0], async || Ok(())).await?;
    let pace = pace(&b).await?;
    say(&format!("cell B undisturbed; each of {VISITORS} visitors asks every {:.2} s", pace.as_secs_f64()));
    let calm = measure(&b, pace, async || Ok(())).await?;
    let mut errors = calm.0;
    let mut worst: f64 = 0.0;
    for what in ["cpu", "memory", "pids", "connections", "space", "kill"] {
        say(&format!("cell A: {what}"));
        let (failed, p99) = measure(&b, pace, async || exhaust(&world, what, stretch(pace) - BEFORE).await).await.with_context(|| what.to_owned())?;
        say(&format!("  cell B: {failed} errors, p99 {p99:.1} ms (undisturbed {:.1} ms)", calm.1));
        errors += failed;
        worst = worst.max(p99 / calm.1);
    }
    let mut outcome = Outcome::new("blast-radius");
    outcome.equal("errors_b", &errors, &0);
    outcome.at_most("p99_ratio", worst, 1.2);
    outcome.equal("reachable", &reachable.len(), &0);
    outcome.note("pace_s", format!("{:.2}", pace.as_secs_f64()));
    for address in reachable {
        say(&format!("  reachable from cell A: {address}"));
    }
    Ok(outcome)
}

/// How often each visitor asks so that cell B does half of what the limits of its two instances can: near their end any breath is felt, and how much they
/// can depends on the machine and its hour. A visitor alone shows what a request takes.
async fn pace(b: &[crate::site::Site]) -> Result<Duration> {
    let load = Load::start(b, "/", 1, PACES[0]);
    tokio::time::sleep(20 * PACES[0]).await;
    let alone = load.stop().await;
    ensure!(alone.failed.is_empty() && alone.total() >= 10, "a visitor alone was not served");
    let wanted = Duration::from_secs_f64(alone.percentile_ms(0.5) / 1000.0).mul_f64(VISITORS as f64 / 2.0 / 0.5);
    ensure!(
        wanted <= PACES[1],
        "at half of what its limits allow each visitor of cell B would ask every {wanted:?}: this machine is too slow for the proof"
    );
    Ok(wanted.max(PACES[0]))
}

fn stretch(pace: Duration) -> Duration {
    pace * ROUNDS
}

/// Errors and p99 of cell B while something happens in cell A.
async fn measure(b: &[crate::site::Site], pace: Duration, disturb: impl AsyncFnOnce() -> Result<()>) -> Result<(usize, f64)> {
    let load = Load::start(b, "/", VISITORS, pace);
    let began = tokio::time::Instant::now();
    disturb().await?;
    tokio::time::sleep_until(began + stretch(pace)).await;
    let seen = load.stop().await;
    ensure!(seen.total() > 50, "cell B was hardly asked");
    Ok((seen.failed.len(), seen.percentile_ms(0.99)))
}

/// Exhausts one resource of cell A. Each disturbance ends by itself, one that could go on after `last`.
async fn exhaust(world: &World, what: &str, last: Duration) -> Result<()> {
    let php = world.containers(&["label=dev.atoll.cell=cell-a", "label=dev.atoll.service=php"]).await?;
    let in_php = async |code: &str| {
        for name in &php {
            run("docker", &["exec", "-d", name, "php", "-d", "memory_limit=-1", "-r", code]).await?;
        }
        anyhow::Ok(())
    };
    match what {
        "cpu" => in_php(&format!("$end = time() + {}; while (time() < $end) {{ sha1(random_bytes(64)); }}", last.as_secs())).await,
        "memory" => in_php("$a = []; while (true) { $a[] = str_repeat('x', 1 << 20); }").await,
        "pids" => {
            for name in &php {
                let bomb = "for i in $(seq 1 2000); do sleep 10 & done; wait";
                run("docker", &["exec", "-d", name, "sh", "-c", bomb]).await?;
            }
            Ok(())
        }
        "connections" => {
            let account = Account::of(world, "cell-a", "alpha").await?;
            let mut open = Vec::new();
            let mut refused = false;
            for _ in 0..400 {
                match account.connect().await {
                    Ok(conn) => open.push(conn),
                    Err(_) => {
                        refused = true;
                        break;
                    }
                }
            }
            ensure!(refused && open.len() > 10, "{} connections were opened and none was refused", open.len());
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(())
        }
        "space" => {
            for name in &php {
                let fill = "cat /dev/zero > /tmp/proof; test $(stat -c %s /tmp/proof) -ge 33554432 && echo full; sleep 5; rm /tmp/proof";
                let said = run("docker", &["exec", name, "sh", "-c", fill]).await?;
                ensure!(said.trim() == "full", "{name} could not fill its writable space: {said}");
            }
            Ok(())
        }
        _ => {
            let mut killed = 0;
            for name in world.containers(&["label=dev.atoll.cell=cell-a"]).await? {
                // One that the engine is just starting again may be gone between the listing and the kill.
                killed += usize::from(kill(&name).await.is_ok());
            }
            ensure!(killed >= CONTAINERS, "only {killed} containers of cell A were killed");
            Ok(())
        }
    }
}

/// Addresses that answer from an instance of cell A and should not: every port we know of cell B, its database, the agent, control, the engine's socket.
async fn reach(world: &World) -> Result<Vec<String>> {
    let php = world.containers(&["label=dev.atoll.cell=cell-a", "label=dev.atoll.service=php"]).await?;
    let php = php.first().context("cell-a runs no php")?;
    let mut targets = Vec::new();
    for name in world.containers(&["label=dev.atoll.cell=cell-b"]).await? {
        let shown = run("docker", &["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}} {{end}}", &name]).await?;
        targets.extend(shown.split_whitespace().map(str::to_owned));
    }
    let file: Value = serde_json::from_slice(&fs_err::read(world.state.join("platform.json"))?)?;
    let ours: Vec<u64> = ["feed", "agent", "edgeAdmin"].iter().filter_map(|p| file["ports"][p].as_u64()).collect();
    ensure!(targets.len() >= 10 && ours.len() == 3, "too few targets: {targets:?} {ours:?}");
    let own = run("docker", &["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", php]).await?;
    let host = own.trim().rsplit_once('.').map(|(net, _)| format!("{net}.1")).context("no address")?;
    let data = run("docker", &["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", &world.container("cell-a-data")]).await?;
    let data = data.trim().rsplit_once('.').map(|(net, _)| format!("{net}.")).context("no data network")?;
    targets.extend(["127.0.0.1".to_owned(), host, format!("{data}1"), format!("{data}11"), "172.17.0.1".to_owned()]);
    targets.sort();
    targets.dedup();
    let ports: Vec<u64> = [22, 2375, 3306, 4567, 4568, 8080, 9000, 9443, 11211].into_iter().chain(ours).collect();
    // The instance's own loopback has its own php on 9000; that is no finding.
    let code = format!(
        "$found = []; foreach (json_decode('{}') as $h) foreach (json_decode('{}') as $p) {{ if ($h == '127.0.0.1' && $p == 9000) continue; $s = @stream_socket_client(\"tcp://$h:$p\", $e, $m, 0.2); if ($s) $found[] = \"$h:$p\"; }} if (file_exists('/var/run/docker.sock')) $found[] = 'docker.sock'; echo json_encode($found);",
        serde_json::to_string(&targets)?,
        serde_json::to_string(&ports)?
    );
    // A listener that must be found shows that the scan works: the cell's own gate.
    let works = run("docker", &["exec", php, "php", "-r", "echo @stream_socket_client('tcp://cache:11211', $e, $m, 1) ? 'yes' : 'no';"]).await?;
    ensure!(works.trim() == "yes", "the scan cannot even reach the cell's own cache");
    let found = run("docker", &["exec", php, "php", "-r", &code]).await?;
    serde_json::from_str(&found).with_context(|| format!("the scan printed {found}"))
}
