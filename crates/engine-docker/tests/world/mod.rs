//! A cell on the real engine, as the contract's cases want it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::conformance::{Fixture, Sort, Task};
use engine::{FileMount, GateWanted, Job, Mount, Network, ServiceWanted, SharedEngine, Wanted};
use engine_docker::{DockerEngine, Options};
use ipnet::Ipv4Net;
use model::v1alpha1::{Limits, Probe, ProbeKind};
use model::{CellName, Cpu, GateName, Generation, InstanceName, Memory, Sensitive, ServiceName, Span};
use testkit::{Docker, Guard, free_subnet, prefix};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

pub const BASE: &str = "localhost/atoll/base:bookworm";
/// The daemon that the `docker` command uses.
fn socket_of_engine() -> String {
    let host = std::env::var("DOCKER_HOST").ok();
    host.and_then(|host| host.strip_prefix("unix://").map(str::to_owned)).unwrap_or_else(|| "/var/run/docker.sock".to_owned())
}

/// No account of the image: a number is enough.
pub const USER: u32 = 2000;

/// Answers HTTP on 8080 or the port it is told, at `/` or the path it is told; writes a line a second.
const SERVER: &str = r#"
use IO::Socket::INET; $| = 1; $SIG{TERM} = sub { exit 0 }; print "started\n"; sleep($ENV{PAUSE} // 0);
my $s = IO::Socket::INET->new(LocalPort => $ENV{PORT} // 8080, Listen => 64, ReuseAddr => 1) or die "listen: $!";
my $n = 0; $SIG{ALRM} = sub { print "line " . $n++ . "\n"; alarm 1 }; alarm 1;
my $path = $ENV{READY} // "/";
while (1) { my $c = $s->accept or next; sysread($c, my $b, 4096); my $code = $b =~ m{^GET \Q$path\E } ? "200 OK" : "404 Not Found";
  print $c "HTTP/1.1 $code\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"; close $c }
"#;
const SILENT: &str = r#"$SIG{TERM} = sub { exit 0 }; sleep 1 while 1"#;
const COUNT: &str = r#"$| = 1; open(my $f, ">>", "/count/$ARGV[0]") or die $!; print $f "run\n"; close $f; "#;

/// A platform of its own on the engine of this machine.
pub struct World {
    engine: Mutex<Option<Arc<DockerEngine>>>,
    reach: watch::Sender<bool>,
    options: Options,
    subnets: [Ipv4Net; 2],
    docker: Docker,
    /// Files of the platform; after the driver and before the guard, so that nothing writes into what is gone.
    _state: tempfile::TempDir,
    _guard: Guard,
}

/// A world with nothing in it.
pub async fn world() -> World {
    let docker = Docker::with_image(BASE);
    let prefix = prefix();
    let guard = Guard::new(&prefix);
    let state = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
    let socket = state.path().join("docker.sock");
    let reach = relay(&socket);
    let options = Options { platform: prefix.parse().unwrap(), state: state.path().to_owned(), socket };
    let engine = DockerEngine::connect(options.clone()).await.unwrap();
    let subnets = [free_subnet().parse().unwrap(), free_subnet().parse().unwrap()];
    World { engine: Mutex::new(Some(Arc::new(engine))), reach, options, subnets, docker, _state: state, _guard: guard }
}

/// A socket before the daemon's own that can be cut.
fn relay(socket: &PathBuf) -> watch::Sender<bool> {
    let listener = UnixListener::bind(socket).unwrap();
    let (reach, reachable) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut reachable = reachable.clone();
            if !*reachable.borrow_and_update() {
                continue;
            }
            tokio::spawn(async move {
                let Ok(mut far) = UnixStream::connect(socket_of_engine()).await else { return };
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = reachable.changed() => {}
                }
            });
        }
    });
    reach
}

impl World {
    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn docker(&self) -> Docker {
        self.docker
    }

    pub fn container(&self, cell: &CellName, instance: &str) -> String {
        format!("{}-{cell}-{instance}", self.options.platform)
    }

    fn set(&self, cell: &str, subnet: Ipv4Net) -> Wanted {
        let app: ServiceName = "app".parse().unwrap();
        let gate = |number: u32| GateWanted {
            name: GateName::new(format!("gate-{number}")).unwrap(),
            address: (u32::from(subnet.network()) + 1 + number).into(),
            image: BASE.to_owned(),
            command: perl(SERVER),
            user: USER,
            limits: Limits::default(),
            fronts: vec![app.clone()],
            egress: false,
            mounts: Vec::new(),
            secrets: Vec::new(),
            ready: probe(Span::seconds(30)),
            probe_port: 8080,
            stop_within: Span::seconds(5),
        };
        let service = ServiceWanted { replicas: 2, ..self.service(Sort::Good) };
        Wanted {
            cell: cell.parse().unwrap(),
            generation: Generation(5),
            network: Network { subnet },
            gates: vec![gate(1), gate(2)],
            services: [(app, service)].into(),
        }
    }
}

fn perl(script: &str) -> Vec<String> {
    ["perl", "-e", script].map(str::to_owned).to_vec()
}

fn probe(start_within: Span) -> Probe {
    Probe { check: Some(ProbeKind::Http("/".to_owned())), every: Span(200), within: Span::seconds(2), start_within, ..Probe::default() }
}

#[async_trait]
impl Fixture for World {
    fn engine(&self) -> SharedEngine {
        self.engine.lock().unwrap().clone().unwrap()
    }

    async fn restart(&self) {
        drop(self.engine.lock().unwrap().take());
        let engine = DockerEngine::connect(self.options.clone()).await.unwrap();
        *self.engine.lock().unwrap() = Some(Arc::new(engine));
    }

    async fn reach(&self, reachable: bool) {
        self.reach.send_replace(reachable);
    }

    fn wanted(&self) -> Wanted {
        self.set("a", self.subnets[0])
    }

    fn other(&self) -> Wanted {
        self.set("b", self.subnets[1])
    }

    fn service(&self, sort: Sort) -> ServiceWanted {
        let mut service = ServiceWanted {
            image: BASE.to_owned(),
            command: perl(SERVER),
            replicas: 1,
            port: Some(8080),
            after: Vec::new(),
            environment: [("SORT".to_owned(), format!("{sort:?}"))].into(),
            user: USER,
            limits: Limits { cpu: Cpu(500), memory: Memory::mebi(48), pids: 32 },
            ready: probe(Span::seconds(40)),
            writable: Vec::new(),
            capabilities: Vec::new(),
            mounts: Vec::new(),
            secrets: Vec::new(),
            stop_within: Span::seconds(5),
            stop_signal: "SIGTERM".to_owned(),
        };
        match sort {
            Sort::Good | Sort::Better => {}
            Sort::Slow => drop(service.environment.insert("PAUSE".to_owned(), "2".to_owned())),
            Sort::NeverReady => {
                service.command = perl(SILENT);
                service.ready = probe(Span::seconds(2));
            }
            Sort::Crashes => service.command = perl(r#"print STDERR "cannot\n"; exit 3"#),
            Sort::Hungry => service.command = perl(r#"my @all; push @all, "x" x 1_000_000 while 1"#),
            Sort::BadCommand => service.command = vec!["/no/such/program".to_owned()],
            Sort::ImageMissing => service.image = "localhost/atolltest/none:1".to_owned(),
        }
        service
    }

    fn elsewhere(&self) -> ServiceWanted {
        let mut service = ServiceWanted { port: Some(8181), ..self.service(Sort::Better) };
        service.environment.insert("PORT".to_owned(), "8181".to_owned());
        // It also knows a path that the others do not, and not theirs.
        service.environment.insert("READY".to_owned(), "/healthz".to_owned());
        service.ready.check = Some(ProbeKind::Http("/healthz".to_owned()));
        service
    }

    fn job(&self, key: &str, task: Task) -> Job {
        let count = Mount { host: self.options.state.join("count"), path: "/count".to_owned(), writable: true };
        let script = match task {
            Task::Tells => r#"open(my $p, "<", "/atoll/job/params.json") or die $!; print <$p>; sleep 1"#,
            Task::Fails => r#"print "broken\n"; exit 3"#,
            Task::Hangs => "sleep 1 while 1",
        };
        let run = ["perl", "-e", &format!("{COUNT}{script}"), key].map(str::to_owned).to_vec();
        let params = FileMount { path: "/atoll/job/params.json".to_owned(), content: Sensitive::new("{\"p\":\"s3cret-parameter\"}\n".to_owned()) };
        let within = if task == Task::Hangs { Span::seconds(1) } else { Span::seconds(30) };
        let service = ServiceWanted { mounts: vec![count], ..self.service(Sort::Good) };
        Job { key: key.to_owned(), service, run, files: vec![params], within }
    }

    async fn runs(&self, _cell: &CellName, key: &str) -> usize {
        std::fs::read_to_string(self.options.state.join("count").join(key)).unwrap_or_default().lines().count()
    }

    async fn end(&self, cell: &CellName, instance: &InstanceName) {
        let container = self.container(cell, instance.as_str());
        // Not through the engine: what it kills itself it does not start again.
        let pid = self.docker.run(["inspect", "--format", "{{.State.Pid}}", &container]);
        assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    }

    async fn lose(&self, cell: &CellName, instance: &InstanceName) {
        self.docker.run(["rm", "--force", &self.container(cell, instance.as_str())]);
    }

    async fn stranger(&self, cell: &CellName) -> String {
        let name = format!("{}-by-hand", self.options.platform);
        let labels = [format!("dev.atoll.platform={}", self.options.platform), format!("dev.atoll.cell={cell}")];
        self.docker.run(["create", "--name", &name, "--label", &labels[0], "--label", &labels[1], "--network", "none", BASE, "true"]);
        name
    }

    async fn read(&self, cell: &CellName, instance: &InstanceName, path: &str) -> Option<String> {
        self.docker.try_run(["exec", &self.container(cell, instance.as_str()), "cat", path])
    }

    async fn trace(&self, cell: &CellName) -> Vec<String> {
        let label = format!("label=dev.atoll.cell={cell}");
        let platform = format!("label=dev.atoll.platform={}", self.options.platform);
        let containers = self.docker.run(["ps", "--all", "--quiet", "--no-trunc", "--filter", &label, "--filter", &platform]);
        let networks = self.docker.run(["network", "ls", "--quiet", "--no-trunc", "--filter", &label, "--filter", &platform]);
        let format = "{{.Name}} {{.Id}} {{.State.StartedAt}} {{.RestartCount}}";
        let mut lines: Vec<String> = containers.lines().filter_map(|id| self.docker.try_run(["inspect", "--format", format, id])).collect();
        lines.sort();
        lines.extend(networks.lines().map(|id| format!("network {id}")));
        lines
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(90)
    }
}
