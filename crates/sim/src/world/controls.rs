//! Controls of one world: begun, stopped, killed, paused; at most one of them holds the lease by the store's word.

use std::sync::Arc;

use control::fake::{FakeCertificates, FakeHost, FakeKeys};
use control::{Control, ControlError, Ports};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::World;
use super::cut::{CutData, CutEngine, CutFiles, CutGates, CutMachines, CutStore, Life, Thread};

/// One control's process.
struct Process {
    control: Control,
    life: watch::Sender<Life>,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), ControlError>>,
}

/// All that were begun and are not known to have ended.
#[derive(Default)]
pub struct Controls {
    processes: Vec<Process>,
    begun: u64,
}

impl Controls {
    /// Begins one more.
    pub fn begin(&mut self, world: &World) {
        self.begun += 1;
        let (life, thread) = Thread::new();
        let data: data::SharedData = Arc::new(CutData(Arc::new(world.data.clone()), thread.clone()));
        let ports = Ports {
            store: Arc::new(CutStore(world.store.shared(), thread.clone())),
            engine: Arc::new(CutEngine(Arc::new(world.engine.clone()), thread.clone())),
            machines: Arc::new(CutMachines(data)),
            gates: Arc::new(CutGates(Arc::new(world.gates.clone()), thread.clone())),
            keys: Arc::new(FakeKeys::new(world.seed.wrapping_mul(1_000).wrapping_add(self.begun))),
            files: Arc::new(CutFiles(Arc::new(world.files.clone()), thread)),
            hosts: Arc::new(FakeHost::default()),
            certificates: Arc::new(FakeCertificates::default()),
            clock: world.clock.clone(),
        };
        let control = Control::new(ports, world.options.clone());
        let stop = CancellationToken::new();
        let (running, token) = (control.clone(), stop.clone());
        let ended = tokio::spawn(async move { running.run(token).await });
        self.processes.push(Process { control, life, stop, ended });
    }

    /// Kills every one, as kill -9 does.
    pub fn kill(&mut self) {
        for process in self.processes.drain(..) {
            let _ = process.life.send(Life::Dead);
        }
    }

    /// Asks every one to stop, without waiting for it.
    pub fn stop(&mut self) {
        for process in self.processes.drain(..) {
            process.stop.cancel();
            // Its thread of life stays open as long as somebody holds it.
            tokio::spawn(async move {
                let _ = process.ended.await;
                drop(process.life);
            });
        }
    }

    /// Pauses every one (`true`), or lets them go on.
    pub fn pause(&self, pause: bool) {
        for process in &self.processes {
            let _ = process.life.send(if pause { Life::Paused } else { Life::Runs });
        }
    }

    /// Begins a new one in place of each that ended by itself, as a restart policy does.
    pub fn supervise(&mut self, world: &World) {
        let before = self.processes.len();
        self.processes.retain(|process| !process.ended.is_finished());
        for _ in self.processes.len()..before.max(1) {
            self.begin(world);
        }
    }

    /// The one that says it works.
    pub fn active(&self) -> Option<&Control> {
        self.processes.iter().filter(|process| *process.life.borrow() == Life::Runs).map(|process| &process.control).find(|control| control.active())
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.processes.len()
    }
}
