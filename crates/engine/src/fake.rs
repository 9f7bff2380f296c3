//! The engine in memory, with a fault plan.
//!
//! Purpose: control's simulation and tests run against it. It rolls and heals by the same rules as a real driver ([`crate::roll`]); what its
//! containers do depends on their image, as a test has set it.
//! Invariants: it has no tasks of its own and sleeps on tokio's clock only, so that paused time makes it instant: whoever asks makes it catch up to
//! now, moment by moment; the same seed and the same calls give the same answers.
//! Entry point: [`FakeEngine`].

mod cell;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use model::{CellName, InstanceName};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::{Engine, EngineError, Job, JobDone, LogLine, LogOptions, LogStream, Observation, Observed, Reason, Wanted};
use cell::Cell;

/// What goes wrong, and how often. Shares are in thousandths of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// The request never arrives: unreachable or unknown, nothing done.
    pub lost_request: u32,
    /// The work is done, the answer is lost: unreachable or unknown.
    pub lost_answer: u32,
    /// Longest time by which an answer is late, in milliseconds; each call draws its own.
    pub late_ms: u64,
}

/// What a container made from an image does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Is ready so long after its start.
    Ready(Duration),
    /// Runs and is never ready.
    Silent,
    /// Ends half a second after each start with this code.
    Ends(i64),
    /// Ends half a second after each start for lack of memory.
    Hungry,
    /// Its command does not exist.
    BadCommand,
    /// The image is nowhere.
    Missing,
}

/// How a job goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeJob {
    /// How long it takes.
    pub takes: Duration,
    /// Its exit code.
    pub code: i32,
    /// Its output.
    pub tail: String,
}

impl Default for FakeJob {
    fn default() -> Self {
        Self { takes: Duration::from_secs(1), code: 0, tail: String::new() }
    }
}

/// Decides how jobs go.
type Jobs = Arc<dyn Fn(&CellName, &Job) -> FakeJob + Send + Sync>;

/// An engine in memory. Clones share one world.
#[derive(Clone)]
pub struct FakeEngine {
    world: Arc<Mutex<World>>,
    began: Instant,
}

struct World {
    random: u64,
    faults: Faults,
    reachable: bool,
    images: BTreeMap<String, Behaviour>,
    jobs: Jobs,
    cells: BTreeMap<CellName, Cell>,
    strangers: BTreeMap<CellName, Vec<String>>,
    ids: u64,
    writes: u64,
    runs: Vec<(CellName, String)>,
    running: BTreeMap<(CellName, String), RunningJob>,
    done: BTreeMap<(CellName, String), JobDone>,
}

#[derive(Clone)]
struct RunningJob {
    id: u64,
    ends: Instant,
    done: JobDone,
}

impl FakeEngine {
    /// An engine without faults, whose containers are ready a second after their start.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_faults(seed, Faults::default())
    }

    /// An engine with a fault plan.
    #[must_use]
    pub fn with_faults(seed: u64, faults: Faults) -> Self {
        let world = World {
            random: seed,
            faults,
            reachable: true,
            images: BTreeMap::new(),
            jobs: Arc::new(|_, _| FakeJob::default()),
            cells: BTreeMap::new(),
            strangers: BTreeMap::new(),
            ids: 0,
            writes: 0,
            runs: Vec::new(),
            running: BTreeMap::new(),
            done: BTreeMap::new(),
        };
        Self { world: Arc::new(Mutex::new(world)), began: Instant::now() }
    }

    /// Changes the fault plan.
    pub fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// The engine is gone (`false`) or back (`true`). Instances live on meanwhile, as real ones do.
    pub fn set_reachable(&self, reachable: bool) {
        self.world().reachable = reachable;
    }

    /// What containers made from an image do from their next start on.
    pub fn set_image(&self, image: &str, behaviour: Behaviour) {
        self.world().images.insert(image.to_owned(), behaviour);
    }

    /// How jobs go from now on.
    pub fn set_jobs(&self, jobs: impl Fn(&CellName, &Job) -> FakeJob + Send + Sync + 'static) {
        self.world().jobs = Arc::new(jobs);
    }

    /// Ends an instance's process; it is started again as a real engine would.
    pub fn end(&self, cell: &CellName, instance: &InstanceName) {
        let now = self.now();
        if let Some(cell) = self.caught_up(now).cells.get_mut(cell) {
            cell.end(instance, now);
        }
    }

    /// Removes an instance behind everybody's back.
    pub fn lose(&self, cell: &CellName, instance: &InstanceName) {
        let now = self.now();
        if let Some(cell) = self.caught_up(now).cells.get_mut(cell) {
            cell.lose(instance);
        }
    }

    /// Puts something with a cell's label there that nobody wanted.
    pub fn add_stranger(&self, cell: &CellName, name: &str) {
        self.world().strangers.entry(cell.clone()).or_default().push(name.to_owned());
    }

    /// A driver's process ends and another one takes over: what was only in memory (drains, pauses) is gone.
    pub fn restart(&self) {
        let now = self.now();
        self.caught_up(now).cells.values_mut().for_each(Cell::forget_memory);
    }

    /// The wanted set that it holds of a cell.
    #[must_use]
    pub fn wanted(&self, cell: &CellName) -> Option<Wanted> {
        self.world().cells.get(cell).map(|cell| cell.wanted.clone())
    }

    /// How a cell stands in truth: what `observe` tells when nothing goes wrong.
    #[must_use]
    pub fn look(&self, cell: &CellName) -> Observed {
        let now = self.now();
        self.caught_up(now).observe(cell, now)
    }

    /// Jobs that were begun, in order.
    #[must_use]
    pub fn runs(&self) -> Vec<(CellName, String)> {
        self.world().runs.clone()
    }

    /// How often anything was changed: asking again must not raise it.
    #[must_use]
    pub fn writes(&self) -> u64 {
        let now = self.now();
        self.caught_up(now).writes
    }

    /// Everything of a cell, so written that any making, starting or removing changes it.
    #[must_use]
    pub fn trace(&self, cell: &CellName) -> Vec<String> {
        let now = self.now();
        self.caught_up(now).cells.get(cell).map(Cell::trace).unwrap_or_default()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A panic in another test thread leaves plain data behind, which stays readable.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wall time of the fake: a fixed start plus what tokio's clock says has passed.
    fn now(&self) -> Timestamp {
        let start = Timestamp::constant(1_767_225_600, 0);
        let passed = self.began.elapsed();
        start.checked_add(SignedDuration::try_from(passed).unwrap_or_default()).unwrap_or(start)
    }

    /// The world as it stands now.
    fn caught_up(&self, now: Timestamp) -> MutexGuard<'_, World> {
        let mut world = self.world();
        world.catch_up(now);
        world
    }

    /// Runs one call under the fault plan.
    async fn call<T: Send>(&self, work: impl FnOnce(&mut World, Timestamp) -> Result<T, EngineError> + Send) -> Result<T, EngineError> {
        let (late, answer) = {
            let now = self.now();
            let mut world = self.caught_up(now);
            if !world.reachable {
                return Err(EngineError::Unreachable("the engine does not answer".to_owned()));
            }
            let Faults { lost_request, lost_answer, late_ms } = world.faults;
            let late = if late_ms == 0 { 0 } else { world.draw() % (late_ms + 1) };
            let answer = if world.chance(lost_request) {
                Err(EngineError::Unreachable("the request was lost".to_owned()))
            } else {
                let answer = work(&mut world, now);
                world.catch_up(now);
                if world.chance(lost_answer) { Err(EngineError::Unreachable("the answer was lost".to_owned())) } else { answer }
            };
            (late, answer)
        };
        if late > 0 {
            tokio::time::sleep(Duration::from_millis(late)).await;
        }
        answer
    }
}

impl World {
    /// SplitMix64: small, seeded, good enough to choose faults.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.draw() % 1000 < u64::from(permille)
    }

    fn catch_up(&mut self, now: Timestamp) {
        let Self { cells, images, ids, writes, .. } = self;
        let subnets: BTreeMap<CellName, ipnet::Ipv4Net> =
            cells.iter().filter(|(_, cell)| cell.fault.is_none()).map(|(name, cell)| (name.clone(), cell.wanted.network.subnet)).collect();
        for (name, cell) in cells {
            let subnet = cell.wanted.network.subnet;
            let overlaps = |other: &ipnet::Ipv4Net| other.contains(&subnet) || subnet.contains(other);
            let clash = subnets.iter().find(|(other, held)| *other != name && overlaps(held));
            cell.fault = clash.map(|(other, held)| (Reason::SubnetClash, format!("subnet {subnet} overlaps with {held} of cell {other}")));
            cell.catch_up(now, images, ids, writes);
        }
    }

    fn ensure(&mut self, wanted: &Wanted, now: Timestamp) -> Result<(), EngineError> {
        match self.cells.get_mut(&wanted.cell) {
            Some(cell) if cell.wanted.generation > wanted.generation => {
                return Err(EngineError::Older { held: cell.wanted.generation, offered: wanted.generation });
            }
            Some(cell) if cell.wanted == *wanted => {}
            Some(cell) => {
                cell.take(wanted.clone());
                self.writes += 1;
            }
            None => {
                let mut cell = Cell::new(wanted.clone(), now);
                // Who comes second gives way; the next look finds out whether there is a clash.
                cell.fault = Some((Reason::SubnetClash, String::new()));
                self.cells.insert(wanted.cell.clone(), cell);
                self.writes += 1;
            }
        }
        self.catch_up(now);
        match self.cells.get(&wanted.cell).and_then(|cell| cell.fault.clone()) {
            Some((reason, message)) => Err(EngineError::Refused { reason, message }),
            None => Ok(()),
        }
    }

    fn observe(&mut self, name: &CellName, now: Timestamp) -> Observed {
        let strangers = self.strangers.get(name).cloned().unwrap_or_default();
        match self.cells.get_mut(name) {
            Some(cell) => cell.observe(now, &strangers),
            None => Observed { strangers: cell::strangers(&strangers), ..Observed::default() },
        }
    }

    /// The running job of a key, begun where there is none.
    fn begin(&mut self, name: &CellName, job: &Job) -> Result<RunningJob, EngineError> {
        let refuse = |message: String| EngineError::Refused { reason: Reason::EngineRefused, message };
        if !self.cells.contains_key(name) {
            return Err(refuse(format!("cell {name} has no wanted set on this engine: order it before its jobs")));
        }
        if self.images.get(&job.service.image) == Some(&Behaviour::Missing) {
            return Err(EngineError::Refused { reason: Reason::ImageMissing, message: format!("image {} is nowhere", job.service.image) });
        }
        let key = (name.clone(), job.key.clone());
        let now = Instant::now();
        if let Some(done) = self.done.get(&key) {
            return Ok(RunningJob { id: 0, ends: now, done: done.clone() });
        }
        if let Some(running) = self.running.get(&key) {
            return Ok(running.clone());
        }
        let plan = (self.jobs)(name, job);
        let timed_out = plan.takes > job.within.duration();
        let done = JobDone { code: (!timed_out).then_some(plan.code), timed_out, tail: plan.tail };
        self.ids += 1;
        let running = RunningJob { id: self.ids, ends: now + plan.takes.min(job.within.duration()), done };
        self.writes += 1;
        self.runs.push(key.clone());
        self.running.insert(key, running.clone());
        Ok(running)
    }

    /// A job's end was seen: a success is remembered, anything else forgotten.
    fn conclude(&mut self, name: &CellName, job: &Job, seen: &RunningJob) {
        let key = (name.clone(), job.key.clone());
        if self.running.get(&key).is_some_and(|running| running.id == seen.id) {
            self.running.remove(&key);
            if seen.done.code == Some(0) {
                self.done.insert(key, seen.done.clone());
            }
        }
    }

    fn remove(&mut self, name: &CellName) {
        let before = self.cells.len() + self.strangers.len();
        self.cells.remove(name);
        self.strangers.remove(name);
        self.running.retain(|(cell, _), _| cell != name);
        self.done.retain(|(cell, _), _| cell != name);
        if self.cells.len() + self.strangers.len() != before {
            self.writes += 1;
        }
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn ensure(&self, wanted: &Wanted) -> Result<(), EngineError> {
        self.call(|world, now| world.ensure(wanted, now)).await
    }

    async fn observe(&self, cell: &CellName) -> Observation {
        match self.call(|world, now| Ok(world.observe(cell, now))).await {
            Ok(observed) => Observation::Known(observed),
            Err(error) => Observation::Unknown(error.to_string()),
        }
    }

    async fn run(&self, cell: &CellName, job: &Job) -> Result<JobDone, EngineError> {
        let running = self.call(|world, _| world.begin(cell, job)).await?;
        tokio::time::sleep_until(running.ends).await;
        self.call(|world, _| {
            world.conclude(cell, job, &running);
            Ok(running.done.clone())
        })
        .await
    }

    async fn logs(&self, cell: &CellName, instance: &InstanceName, options: LogOptions) -> Result<LogStream, EngineError> {
        let lines = |world: &World, now| world.cells.get(cell).and_then(|cell| cell.log(instance, now));
        let missing = || EngineError::Refused { reason: Reason::NoSuchInstance, message: format!("cell {cell} has no instance {instance}") };
        let held = self.call(|world, now| lines(world, now).ok_or_else(missing)).await?;
        let mut told = held.len();
        let from = options.tail.map_or(0, |tail| told.saturating_sub(tail as usize));
        let (sender, stream) = mpsc::channel(told.max(1) + 16);
        for line in held.into_iter().skip(from).filter(|line| options.since.is_none_or(|since| line.at >= Some(since))) {
            let _ = sender.try_send(line);
        }
        if options.follow {
            let (engine, cell, instance) = (self.clone(), cell.clone(), instance.clone());
            tokio::spawn(async move {
                while !sender.is_closed() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let now = engine.now();
                    let Some(lines) = engine.caught_up(now).cells.get(&cell).and_then(|cell| cell.log(&instance, now)) else { return };
                    let new: Vec<LogLine> = lines.iter().skip(told).cloned().collect();
                    told = lines.len();
                    for line in new {
                        if sender.send(line).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
        Ok(stream)
    }

    async fn drained(&self, cell: &CellName, instance: &InstanceName) -> Result<(), EngineError> {
        self.call(|world, _| {
            if let Some(cell) = world.cells.get_mut(cell) {
                cell.drained(instance);
            }
            Ok(())
        })
        .await
    }

    async fn remove(&self, cell: &CellName) -> Result<(), EngineError> {
        self.call(|world, _| {
            world.remove(cell);
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests;
