//! One platform of fakes on a clock that does not wait: operators ask for things, everything fails that can, then it rests, and must have converged.
//!
//! A world has no threads. What operators ask for, what fails and when is drawn from its seed; which of several ready tasks runs first is tokio's choice,
//! which follows the seed only in a build with `RUSTFLAGS="--cfg tokio_unstable"`. Without that a rare failure may need its seed to be run a few times. It runs in three parts: trouble (operators act while
//! answers are lost, late and doubled, controls crash and are paused, engine, agent, store and gates go away); rest (all faults end); and the account
//! ([`settled`]). What must hold at every moment ([`always`]) is looked at all along.

mod always;
mod controls;
mod cut;
mod docs;
mod operator;
mod settled;
mod trouble;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use control::Options;
use control::fake::{FakeFiles, FakeGates};
use data::fake::FakeData;
use engine::fake::{Behaviour, FakeEngine, FakeJob};
use jiff::Timestamp;
use model::CellName;
use operation::Clock;
use store::fake::FakeStore;
use tokio::time::Instant;

use crate::random::Random;
use always::Memory;
use controls::Controls;

/// How often what must always hold is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Longest time in which a world at rest must have converged.
const REST: Duration = Duration::from_secs(1_800);
/// Longest real time of that.
const PATIENCE: Duration = Duration::from_secs(40);
/// A world has converged when nothing was written for so long.
const QUIET: Duration = Duration::from_secs(45);

/// How a world went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// What operators asked for.
    pub asked: u64,
    /// Faults that were injected by name (drawn ones come on top).
    pub troubles: u64,
    /// Looks at what must always hold.
    pub looks: u64,
    /// Operations that ended.
    pub operations: u64,
    /// Tenants that are served in the end.
    pub served: u64,
    /// Cells that stand in the end.
    pub cells: u64,
    /// Simulated seconds.
    pub seconds: u64,
}

/// All fakes of one platform.
pub struct World {
    seed: u64,
    store: FakeStore,
    engine: FakeEngine,
    data: FakeData,
    gates: FakeGates,
    files: FakeFiles,
    options: Options,
    clock: Clock,
    /// Every cell name that was ever used.
    cells: BTreeSet<CellName>,
}

impl World {
    fn new(seed: u64) -> Result<Self> {
        let clock: Clock = Arc::new(store::fake::tokio_clock(Timestamp::UNIX_EPOCH));
        let time = clock.clone();
        let store = FakeStore::new(move || time());
        let engine = FakeEngine::new(seed);
        engine.set_jobs(|_, _| FakeJob { takes: Duration::from_millis(800), code: 0, tail: String::new() });
        let data = FakeData::new(seed);
        data.set_forming(Duration::from_secs(4));
        let options = Options::new("sim".parse()?, "/state").on("m1".parse()?, "127.0.0.1:7420".parse()?);
        let gates = FakeGates::default();
        Ok(Self { seed, store, engine, data, gates, files: FakeFiles::default(), options, clock, cells: BTreeSet::new() })
    }

    fn set_image(&self, image: &str, behaviour: Behaviour) {
        self.engine.set_image(image, behaviour);
    }
}

/// Runs one world to its end.
///
/// # Errors
/// What did not hold, with the seed and how to replay it.
pub fn run(seed: u64) -> Result<Summary> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    // Which of several ready tasks or branches comes first is tokio's own chance; only its unstable interface takes a seed.
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder.build().context("a runtime of tokio")?;
    let outcome = runtime.block_on(play(seed));
    runtime.shutdown_background();
    outcome.with_context(|| {
        format!("seed {seed} does not hold; replay: RUSTFLAGS='--cfg tokio_unstable' cargo run -p sim -- world --seed {seed} --times 20")
    })
}

async fn play(seed: u64) -> Result<Summary> {
    let began = Instant::now();
    let mut random = Random::new(seed);
    let mut world = World::new(seed)?;
    let mut controls = Controls::default();
    let mut memory = Memory::default();
    let mut summary = Summary::default();
    let mut operator = operator::Operator::found(&mut world, random.branch()).await?;
    let mut trouble = trouble::Trouble::new(random.branch());
    controls.begin(&world);
    trouble.begin(&world);
    for _ in 0..random.between(15, 45) {
        summary.asked += u64::from(operator.ask(&mut world).await?);
        summary.troubles += u64::from(trouble.strike(&world, &mut controls).await);
        let pause = Duration::from_millis(random.between(1, 9_000));
        watched(&world, &mut controls, &mut memory, pause).await?;
    }
    trouble.rest(&world, &mut controls);
    rest(&world, &mut controls, &mut memory).await?;
    settled::check(&world, &controls).context("at rest")?;
    if random.chance(300) {
        // The grace of removed tenants ends.
        tokio::time::sleep(operator::GRACE).await;
        rest(&world, &mut controls, &mut memory).await.context("after the grace")?;
        settled::check(&world, &controls).context("after the grace")?;
        settled::purged(&world).context("after the grace")?;
    }
    settled::count(&world, &mut summary)?;
    summary.looks = memory.looks;
    summary.seconds = began.elapsed().as_secs();
    controls.kill();
    Ok(summary)
}

/// Lets so much time pass, looking all along.
async fn watched(world: &World, controls: &mut Controls, memory: &mut Memory, time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        tokio::time::sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
        controls.supervise(world);
        memory.look(world, controls)?;
    }
    Ok(())
}

/// Waits until nothing is written any more.
async fn rest(world: &World, controls: &mut Controls, memory: &mut Memory) -> Result<()> {
    let deadline = Instant::now() + REST;
    let began = std::time::Instant::now();
    // Not the engine's: it starts what crashes again and again, by itself.
    let written = |world: &World| (world.store.head(), world.data.writes(), world.gates.pushes());
    loop {
        let before = written(world);
        let until = Instant::now() + QUIET;
        while Instant::now() < until {
            watched(world, controls, memory, Duration::from_secs(3)).await?;
            if written(world) != before {
                break;
            }
        }
        // An operation that waits for its next try writes nothing either; only what waits for a person to change a cell may stay.
        let docs = docs::Docs::read(&world.store)?;
        let ended = docs.open().all(|(_, operation)| settled::waits_for_a_person(operation)) && !settled::to_be_tried(&docs);
        if ended && written(world) == before && controls.active().is_some() {
            return Ok(());
        }
        // A world that works all the time without simulated time passing is found by the real clock alone.
        if Instant::now() > deadline || began.elapsed() > PATIENCE {
            bail!("it does not come to rest within {REST:?}: {}", settled::restless(world)?);
        }
    }
}
