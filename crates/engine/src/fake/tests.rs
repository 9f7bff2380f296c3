#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what they expect by failing")]

use model::v1alpha1::{Limits, Probe};
use model::{Cpu, GateName, Generation, Memory, Sensitive, ServiceName, Span};

use super::*;
use crate::conformance::{Fixture, Sort, Task};
use crate::{FileMount, GateWanted, InstanceState, Network, ServiceWanted, SharedEngine};

/// The fake with images and jobs for every sort of case.
struct World {
    engine: FakeEngine,
}

async fn world() -> World {
    let engine = FakeEngine::new(1);
    let second = Duration::from_secs(1);
    let images = [
        (Sort::Slow, Behaviour::Ready(2 * second)),
        (Sort::NeverReady, Behaviour::Silent),
        (Sort::Crashes, Behaviour::Ends(3)),
        (Sort::Hungry, Behaviour::Hungry),
        (Sort::BadCommand, Behaviour::BadCommand),
        (Sort::ImageMissing, Behaviour::Missing),
    ];
    for (sort, behaviour) in images {
        engine.set_image(&format!("{sort:?}"), behaviour);
    }
    engine.set_jobs(|_, job| match job.run[0].as_str() {
        "Fails" => FakeJob { code: 3, tail: "broken".to_owned(), ..FakeJob::default() },
        "Hangs" => FakeJob { takes: Duration::from_secs(1_000_000), ..FakeJob::default() },
        _ => FakeJob { tail: job.files[0].content.reveal().clone(), ..FakeJob::default() },
    });
    World { engine }
}

impl World {
    fn set(&self, cell: &str, subnet: [u8; 3]) -> Wanted {
        let app: ServiceName = "app".parse().unwrap();
        let [a, b, c] = subnet;
        let gate = |number: u8| GateWanted {
            name: GateName::new(format!("gate-{number}")).unwrap(),
            address: [a, b, c, 1 + number].into(),
            image: "gate".to_owned(),
            command: Vec::new(),
            user: 1006,
            limits: Limits::default(),
            fronts: vec![app.clone()],
            egress: false,
            mounts: Vec::new(),
            secrets: Vec::new(),
            ready: Probe::default(),
            probe_port: 8080,
            stop_within: Span::seconds(5),
        };
        let service = ServiceWanted { replicas: 2, ..self.service(Sort::Good) };
        Wanted {
            cell: cell.parse().unwrap(),
            generation: Generation(5),
            network: Network { subnet: format!("{a}.{b}.{c}.0/24").parse().unwrap() },
            gates: vec![gate(1), gate(2)],
            services: [(app, service)].into(),
        }
    }
}

#[async_trait]
impl Fixture for World {
    fn engine(&self) -> SharedEngine {
        Arc::new(self.engine.clone())
    }

    async fn restart(&self) {
        self.engine.restart();
    }

    async fn reach(&self, reachable: bool) {
        self.engine.set_reachable(reachable);
    }

    fn wanted(&self) -> Wanted {
        self.set("a", [10, 91, 1])
    }

    fn other(&self) -> Wanted {
        self.set("b", [10, 91, 2])
    }

    fn service(&self, sort: Sort) -> ServiceWanted {
        let start_within = if sort == Sort::NeverReady { Span::seconds(2) } else { Span::seconds(30) };
        ServiceWanted {
            image: format!("{sort:?}"),
            command: Vec::new(),
            replicas: 1,
            port: Some(8080),
            after: Vec::new(),
            environment: BTreeMap::new(),
            user: 2000,
            limits: Limits { cpu: Cpu(500), memory: Memory::mebi(32), pids: 32 },
            ready: Probe { start_within, ..Probe::default() },
            writable: Vec::new(),
            capabilities: Vec::new(),
            mounts: Vec::new(),
            secrets: Vec::new(),
            stop_within: Span::seconds(5),
            stop_signal: "SIGTERM".to_owned(),
        }
    }

    fn elsewhere(&self) -> ServiceWanted {
        ServiceWanted { port: Some(8081), ..self.service(Sort::Better) }
    }

    fn job(&self, key: &str, task: Task) -> Job {
        let params = FileMount { path: "/atoll/job/params.json".to_owned(), content: Sensitive::new("s3cret-parameter".to_owned()) };
        let within = if task == Task::Hangs { Span::seconds(1) } else { Span::seconds(30) };
        Job { key: key.to_owned(), service: self.service(Sort::Good), run: vec![format!("{task:?}")], files: vec![params], within }
    }

    async fn runs(&self, cell: &CellName, key: &str) -> usize {
        self.engine.runs().iter().filter(|(at, run)| at == cell && run == key).count()
    }

    async fn end(&self, cell: &CellName, instance: &InstanceName) {
        self.engine.end(cell, instance);
    }

    async fn lose(&self, cell: &CellName, instance: &InstanceName) {
        self.engine.lose(cell, instance);
    }

    async fn stranger(&self, cell: &CellName) -> String {
        self.engine.add_stranger(cell, "by-hand");
        "by-hand".to_owned()
    }

    async fn read(&self, cell: &CellName, instance: &InstanceName, path: &str) -> Option<String> {
        let wanted = self.engine.wanted(cell)?;
        let service = instance.as_str().rsplit_once('-')?.0;
        let file = wanted.services.get(service)?.secrets.iter().find(|file| file.path == path)?.clone();
        Some(file.content.reveal().clone())
    }

    async fn trace(&self, cell: &CellName) -> Vec<String> {
        self.engine.trace(cell)
    }
}

crate::conformance_tests!(world, #[tokio::test(start_paused = true)]);

#[tokio::test(start_paused = true)]
async fn faults_come_by_seed_and_a_lost_answer_was_done() {
    let faults = Faults { lost_request: 300, lost_answer: 300, late_ms: 50 };
    let run = |seed| async move {
        let world = world().await;
        let engine = FakeEngine::with_faults(seed, faults);
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.push(engine.ensure(&world.wanted()).await.is_ok());
        }
        assert!(engine.wanted(&world.wanted().cell).is_some(), "seed {seed}: the order arrived in one of 50 tries");
        answers
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_world_catches_up_moment_by_moment() {
    let world = world().await;
    let wanted = world.wanted();
    world.engine.ensure(&wanted).await.unwrap();
    tokio::time::advance(Duration::from_secs(3600)).await;
    let Observation::Known(observed) = world.engine.observe(&wanted.cell).await else { panic!("it is in reach") };
    assert!(observed.instances.iter().all(|instance| instance.state == InstanceState::Ready), "{observed:#?}");
    let before = world.engine.writes();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(world.engine.writes(), before, "an idle hour writes nothing");
}
