//! What is said of this driver alone: what containers may do, whom they reach, what stands where.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use engine::conformance::{Fixture as _, Sort};
use engine::{InstanceState, Observation, Observed, Reason, SecretFile, ServiceWanted, Wanted};
use model::v1alpha1::WritablePath;
use model::{Generation, Memory, Sensitive, ServiceName};
use testkit::wait_until_async;

use crate::world::{USER, World, world};

const PATIENCE: Duration = Duration::from_secs(60);

fn app() -> ServiceName {
    "app".parse().unwrap()
}

async fn until(world: &World, wanted: &Wanted, what: &str, good: impl Fn(&Observed) -> bool) -> Observed {
    wait_until_async(what, PATIENCE, async || match world.engine().observe(&wanted.cell).await {
        Observation::Known(observed) => Some(observed).filter(&good),
        Observation::Unknown(words) => panic!("{words}"),
    })
    .await
}

async fn settle(world: &World, wanted: &Wanted) -> Observed {
    world.engine().ensure(wanted).await.unwrap();
    until(world, wanted, "as wanted", |o| {
        o.generation == Some(wanted.generation) && !o.rollouts.is_empty() && o.rollouts.values().all(|rollout| rollout.reason == Reason::AsWanted)
    })
    .await
}

fn next(wanted: &Wanted) -> Wanted {
    Wanted { generation: Generation(wanted.generation.0 + 1), ..wanted.clone() }
}

/// Runs a line of shell in an instance; its output, or `None` where it failed.
fn inside(world: &World, wanted: &Wanted, instance: &str, line: &str) -> Option<String> {
    world.docker().try_run(["exec", &world.container(&wanted.cell, instance), "sh", "-c", line])
}

fn inspect(world: &World, wanted: &Wanted, instance: &str, format: &str) -> String {
    world.docker().run(["inspect", "--format", format, &world.container(&wanted.cell, instance)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_may_do_little_and_shows_no_secret() {
    let world = world().await;
    let mut wanted = world.wanted();
    wanted.gates.clear();
    let service = ServiceWanted {
        writable: vec![WritablePath { path: "/scratch".to_owned(), size: Memory::mebi(2) }],
        secrets: vec![SecretFile { path: "/atoll/secrets/key".to_owned(), content: Sensitive::new("very-s3cret".to_owned()) }],
        ..world.service(Sort::Good)
    };
    wanted.services.insert(app(), service);
    settle(&world, &wanted).await;
    let run = |line: &str| inside(&world, &wanted, "app-1", line);
    assert_eq!(run("id -u; id -g"), Some(format!("{USER}\n{USER}")));
    assert_eq!(run("touch /etc/x /x /var/x"), None, "the root is read-only");
    assert_eq!(run("echo 1 > /scratch/x && cat /scratch/x").as_deref(), Some("1"));
    assert_eq!(run("head -c 4000000 /dev/zero > /scratch/y"), None, "its size is bounded");
    assert_eq!(run("stat -c '%a %u' /atoll/secrets/key"), Some(format!("400 {USER}")));
    assert_eq!(run("echo x > /atoll/secrets/key"), None);
    let status = world.docker().run(["exec", &world.container(&wanted.cell, "app-1"), "cat", "/proc/1/status"]);
    for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    let host =
        "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}";
    let memory = 48 << 20;
    assert_eq!(inspect(&world, &wanted, "app-1", host), format!("{memory} {memory} 500000000 32 unless-stopped"));
    let all = world.docker().run(["inspect", &world.container(&wanted.cell, "app-1")]);
    assert!(!all.contains("very-s3cret"));
    let record = world.options().state.join("control/engine/a.json");
    assert_eq!(std::fs::metadata(&record).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(record).unwrap().contains("very-s3cret"));
}

/// A server on this host's loopback address and the requests that it got.
fn loopback() -> (u16, std::net::TcpListener) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    (listener.local_addr().unwrap().port(), listener)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_reach_neither_each_other_nor_us_nor_the_world() {
    let world = world().await;
    let (a, b) = (world.wanted(), world.other());
    settle(&world, &a).await;
    let there = settle(&world, &b).await;
    let dial = |host: &str, port: u16| {
        let script = format!(
            "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => \"{host}\", PeerPort => {port}, Timeout => 1) or die \"none\\n\"'"
        );
        inside(&world, &a, "app-1", &script).is_some()
    };
    let own = a.gates[0].address.to_string();
    assert!(dial(&own, 8080), "its own gate is reached, or this test could not fail");
    assert!(dial("app", 8080), "by the name of the service");
    for instance in there.instances {
        assert!(!dial(&instance.address.unwrap().ip().to_string(), 8080), "{} of another cell", instance.name);
    }
    let (port, listener) = loopback();
    let gateway = std::net::Ipv4Addr::from(u32::from(a.network.subnet.network()) + 1);
    assert!(!dial(&gateway.to_string(), port), "what listens on the host's loopback address");
    assert!(listener.accept().is_err());
    assert!(!dial("1.1.1.1", 53), "the world");
    assert!(inside(&world, &a, "app-1", "getent hosts app-2").is_some(), "the engine's resolver answers");
    let began = std::time::Instant::now();
    assert_eq!(inside(&world, &a, "app-1", "getent hosts example.org"), None, "and carries no question outside");
    assert!(began.elapsed() < Duration::from_secs(6), "two questions of a second each, not {:?}", began.elapsed());
    let names = inside(&world, &a, "app-1", "getent ahostsv4 app | awk '{print $1}' | sort -u").unwrap();
    let gates: BTreeSet<String> = a.gates.iter().map(|gate| gate.address.to_string()).collect();
    assert_eq!(names.lines().map(str::to_owned).collect::<BTreeSet<_>>(), gates, "a service's name is the cell's gates");
    let hosts = inside(&world, &a, "app-1", "cat /etc/hosts").unwrap();
    assert_eq!(hosts.lines().filter(|line| line.ends_with("\tapp")).count(), 2, "found without the engine's resolver: {hosts}");
    assert!(hosts.lines().any(|line| line.ends_with("\tdb")), "{hosts}");
}

/// Only a gate with egress has a way beyond the cell, keeps it when it is made anew, and reaches no other cell's gate by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_gate_with_egress_has_a_way_out() {
    let world = world().await;
    let (mut a, mut b) = (world.wanted(), world.other());
    a.gates[0].egress = true;
    b.gates[0].egress = true;
    settle(&world, &a).await;
    settle(&world, &b).await;
    // By its networks: an internal one of this engine has a default route too, which its firewall leads nowhere.
    let networks = "{{range $name, $network := .NetworkSettings.Networks}}{{$name}} {{end}}";
    let way_out =
        |wanted: &Wanted, instance: &str| inspect(&world, wanted, instance, networks).split_whitespace().any(|network| network.ends_with("-egress"));
    assert!(way_out(&a, "gate-1") && way_out(&b, "gate-1"));
    assert!(!way_out(&a, "gate-2") && !way_out(&a, "app-1"));
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let own = a.gates[0].address.to_string();
    let shown = inspect(&world, &a, "gate-1", format);
    let other = inspect(&world, &b, "gate-1", format);
    let other = other.split_whitespace().find(|address| **address != b.gates[0].address.to_string()).unwrap().to_owned();
    let dial = |host: &str| {
        let script = format!("perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => \"{host}\", PeerPort => 8080, Timeout => 1) or die'");
        inside(&world, &a, "gate-1", &script).is_some()
    };
    assert!(shown.contains(&own) && dial(&own), "its own port is reached, or this test could not fail");
    assert!(!dial(&other), "another cell's gate at {other}");
    world.docker().run(["rm", "-f", &world.container(&a.cell, "gate-1")]);
    until(&world, &a, "all ready", |o| o.instances.len() == 4 && o.instances.iter().all(|i| i.state == InstanceState::Ready)).await;
    assert!(way_out(&a, "gate-1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_stopped_is_started_again() {
    let world = world().await;
    let wanted = world.wanted();
    settle(&world, &wanted).await;
    let before = inspect(&world, &wanted, "app-1", "{{.Id}}");
    world.docker().run(["stop", &world.container(&wanted.cell, "app-1")]);
    settle(&world, &wanted).await;
    until(&world, &wanted, "all ready", |o| o.instances.len() == 4 && o.instances.iter().all(|i| i.state == InstanceState::Ready)).await;
    assert_eq!(inspect(&world, &wanted, "app-1", "{{.Id}} {{.State.Running}}"), format!("{before} true"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_in_use_by_something_else_is_told_and_that_is_left_alone() {
    let world = world().await;
    let wanted = world.wanted();
    let name = world.container(&wanted.cell, "app-1");
    let foreign = world.docker().run(["create", "--name", &name, "--network", "none", crate::world::BASE, "true"]);
    world.engine().ensure(&wanted).await.unwrap();
    let told = |o: &Observed| o.rollouts.get(&app()).is_some_and(|rollout| rollout.reason == Reason::EngineRefused);
    let observed = until(&world, &wanted, "told", told).await;
    assert!(observed.rollouts[&app()].message.contains(&name), "{:?}", observed.rollouts[&app()]);
    assert_eq!(inspect(&world, &wanted, "app-1", "{{.Id}}"), foreign);
    world.docker().run(["rm", &foreign]);
    settle(&world, &wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_off_its_network_is_made_anew() {
    let world = world().await;
    let mut wanted = world.wanted();
    wanted.gates.clear();
    wanted.services.insert(app(), world.service(Sort::Good));
    settle(&world, &wanted).await;
    let network = format!("{}-{}", world.options().platform, wanted.cell);
    // The container that serves, by its id: a new one may have another name while the old one leaves.
    let another = async |old: &str| {
        wait_until_async("served by another container", PATIENCE, async || {
            let Observation::Known(observed) = world.engine().observe(&wanted.cell).await else { return None };
            let ready = observed.instances.iter().find(|instance| instance.state == InstanceState::Ready)?;
            let id = world.docker().try_run(["inspect", "--format", "{{.Id}}", &world.container(&wanted.cell, ready.name.as_str())])?;
            (id != old).then_some(id)
        })
        .await
    };

    let first = another("").await;
    world.docker().run(["network", "disconnect", "--force", &network, &first]);
    // Nothing tells of this: the next event of the container does.
    world.docker().run(["restart", "--time", "1", &first]);
    let second = another(&first).await;

    world.reach(false).await;
    let _ = world.docker().try_run(["rm", "--force", &first]);
    world.docker().run(["stop", "--time", "1", &second]);
    world.docker().run(["network", "rm", &network]);
    world.reach(true).await;
    another(&second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_network_of_the_name_is_left_alone() {
    let world = world().await;
    let wanted = world.wanted();
    let network = format!("{}-{}", world.options().platform, wanted.cell);
    let foreign = world.docker().run(["network", "create", "--internal", "--subnet", &wanted.network.subnet.to_string(), &network]);
    let answer = world.engine().ensure(&wanted).await;
    assert!(matches!(&answer, Err(engine::EngineError::Refused { message, .. }) if message.contains(&network)), "{answer:?}");
    world.docker().run(["network", "rm", &foreign]);
    settle(&world, &next(&wanted)).await;
}
