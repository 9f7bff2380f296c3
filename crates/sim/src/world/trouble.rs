//! Everything that can fail, failing.

use std::time::Duration;

use control::fake::GateFaults;
use data::ClusterState;
use engine::fake::FakeJob;
use engine::{Engine as _, Observation};
use model::{CellName, GateName};

use super::World;
use super::controls::Controls;
use crate::random::Random;

/// What fails in one world, and its dice.
pub struct Trouble {
    random: Random,
    /// What is away now, with the number of strikes after which it is back.
    away: Vec<(Away, u64)>,
}

/// Something that cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Away {
    Store,
    Engine,
    Agent,
    Gate(CellName, GateName),
    Cluster(CellName),
    Controls,
}

impl Trouble {
    pub const fn new(random: Random) -> Self {
        Self { random, away: Vec::new() }
    }

    /// Faults that are drawn for each call: some worlds have none of a kind, some many.
    pub fn begin(&mut self, world: &World) {
        let random = &mut self.random;
        let mut share = |most: u64| u32::try_from(if random.chance(500) { random.below(most) } else { 0 }).unwrap_or_default();
        let store = store::fake::Faults {
            seed: world.seed,
            unavailable_ppm: share(20_000),
            lost_answer_ppm: share(20_000),
            lost_request_ppm: share(20_000),
            late_ppm: share(50_000),
            late_at_most: Duration::from_millis(u64::from(share(2_000))),
            too_old_ppm: share(5_000),
        };
        world.store.set_faults(store);
        let late = u64::from(share(500));
        world.engine.set_faults(engine::fake::Faults { lost_request: share(100), lost_answer: share(100), late_ms: late });
        let late = u64::from(share(500));
        world.data.set_faults(data::fake::Faults { lost_request: share(100), lost_answer: share(100), not_now: share(100), late_ms: late });
        let late = u64::from(share(500));
        world.gates.set_faults(GateFaults { seed: world.seed, lost_request: share(100), lost_answer: share(100), late_ms: late });
        let failing = share(150);
        let seed = world.seed;
        world.engine.set_jobs(move |_, job| {
            let mut dice = Random::new(seed ^ u64::from(job.key.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))));
            let code = i32::from(dice.chance(failing.into()));
            FakeJob { takes: Duration::from_millis(dice.between(50, 3_000)), code, tail: "as the fault plan says".to_owned() }
        });
    }

    /// One trouble, or none; what was away long enough comes back. Whether there was one.
    pub async fn strike(&mut self, world: &World, controls: &mut Controls) -> bool {
        for (_, strikes) in &mut self.away {
            *strikes = strikes.saturating_sub(1);
        }
        let (back, away) = std::mem::take(&mut self.away).into_iter().partition(|(_, strikes)| *strikes == 0);
        self.away = away;
        let back: Vec<(Away, u64)> = back;
        for (what, _) in back {
            set(world, controls, &what, false);
        }
        match self.random.below(20) {
            0 | 1 => {
                controls.kill();
                controls.begin(world);
            }
            2 => {
                controls.stop();
                controls.begin(world);
            }
            // A second one stands by, or takes over from one that is paused.
            3 if controls.count() < 3 => controls.begin(world),
            4 => self.lose(world, controls, Away::Controls),
            5 => self.lose(world, controls, Away::Store),
            6 => self.lose(world, controls, Away::Engine),
            7 => self.lose(world, controls, Away::Agent),
            8 => {
                let cells: Vec<CellName> = world.cells.iter().cloned().collect();
                let gate = if self.random.chance(500) { "gate-1" } else { "gate-2" };
                if let (Some(cell), Ok(gate)) = (self.random.pick(&cells).cloned(), gate.parse()) {
                    self.lose(world, controls, Away::Gate(cell, gate));
                }
            }
            9 => {
                let cells: Vec<CellName> = world.cells.iter().cloned().collect();
                if let Some(cell) = self.random.pick(&cells).cloned() {
                    self.lose(world, controls, Away::Cluster(cell));
                }
            }
            10 | 11 => self.harm(world).await,
            12 => world.engine.restart(),
            13 => world.store.compact(),
            _ => return false,
        }
        true
    }

    fn lose(&mut self, world: &World, controls: &Controls, what: Away) {
        set(world, controls, &what, true);
        let strikes = self.random.between(1, 3);
        self.away.retain(|(other, _)| *other != what);
        self.away.push((what, strikes));
    }

    /// Ends or loses an instance.
    async fn harm(&mut self, world: &World) {
        let cells: Vec<CellName> = world.cells.iter().cloned().collect();
        let Some(cell) = self.random.pick(&cells) else { return };
        let Observation::Known(observed) = world.engine.observe(cell).await else { return };
        let names: Vec<_> = observed.instances.iter().map(|instance| instance.name.clone()).collect();
        let Some(instance) = self.random.pick(&names) else { return };
        if self.random.chance(500) {
            world.engine.end(cell, instance);
        } else {
            world.engine.lose(cell, instance);
        }
    }

    /// All trouble ends; one control at least is there.
    pub fn rest(&mut self, world: &World, controls: &mut Controls) {
        for (what, _) in std::mem::take(&mut self.away) {
            set(world, controls, &what, false);
        }
        world.store.set_faults(store::fake::Faults::default());
        world.engine.set_faults(engine::fake::Faults::default());
        world.data.set_faults(data::fake::Faults::default());
        world.gates.set_faults(GateFaults::default());
        world.engine.set_jobs(|_, _| FakeJob { takes: Duration::from_millis(500), code: 0, tail: String::new() });
        controls.supervise(world);
    }
}

fn set(world: &World, controls: &Controls, what: &Away, away: bool) {
    match what {
        Away::Store => world.store.set_down(away.then_some("the fault plan says so")),
        Away::Engine => world.engine.set_reachable(!away),
        Away::Agent => world.data.set_reachable(!away),
        Away::Gate(cell, gate) => world.gates.set_down(cell, gate, away),
        Away::Cluster(cell) => world.data.force(cell, away.then_some((ClusterState::Recovering, "MemberMissing"))),
        Away::Controls => controls.pause(away),
    }
}
