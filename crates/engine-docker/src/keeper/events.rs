//! What the engine says by itself: a process ended, ran out of memory, a container came or went.

use jiff::Timestamp;
use std::time::Duration;

use engine::Exit;

use super::Keeper;

/// Longest time between the two events of one end for lack of memory.
const OOM_WITHIN: Duration = Duration::from_secs(5);

/// One event of a container of the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happened {
    pub(crate) container: String,
    pub(crate) what: What,
    pub(crate) at: Timestamp,
}

/// What happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Its process ended with this code.
    Died(i64),
    /// The kernel ended one of its processes for lack of memory.
    OutOfMemory,
    /// Anything else worth a look.
    Other,
}

impl Keeper {
    pub(super) fn happened(&mut self, happened: Happened) {
        self.look_due = true;
        let Some(instance) = self.instances.values_mut().find(|instance| instance.id.as_ref() == Some(&happened.container)) else { return };
        instance.dirty = true;
        let near = |at: Option<Timestamp>| at.is_some_and(|at| at.duration_since(happened.at).unsigned_abs() <= OOM_WITHIN);
        match happened.what {
            What::Died(code) => {
                let out_of_memory = near(instance.oom_at);
                instance.last_exit = Some(Exit { code, out_of_memory, at: Some(happened.at) });
            }
            What::OutOfMemory => {
                instance.oom_at = Some(happened.at);
                if let Some(exit) = instance.last_exit.as_mut().filter(|exit| near(exit.at)) {
                    exit.out_of_memory = true;
                }
            }
            What::Other => {}
        }
    }
}
