//! WebSockets and event streams under way. Edges end them when a tenant's route closes; what is still here a while after the gate was told so would keep a move
//! from ending, and is ended by the gate; so is what is under way when the gate stops.

use std::sync::Arc;
use std::time::Duration;

use proxy::{Lasting, Place, Streams};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::busy::Proved;
use crate::door::{Verdict, judge};
use crate::known::{Known, Memory};

/// How long edges have for it.
const GRACE: Duration = Duration::from_secs(5);

/// What a stream goes on by.
#[derive(Debug)]
pub(crate) struct About {
    proved: Arc<Proved>,
    kind: Lasting,
    /// When it is ended, unless its tenant opens again.
    end: Option<Instant>,
}

impl About {
    fn is_served(&self, known: &Known) -> bool {
        is_served(known, &self.proved, self.kind)
    }
}

/// Whether this would still be let in. What goes through a tunnel may write.
fn is_served(known: &Known, Proved { header, .. }: &Proved, kind: Lasting) -> bool {
    let (epoch, safe) = (header.epoch, kind == Lasting::Events);
    judge(known.tenant(&header.tenant), epoch, safe) == Verdict::Serve
}

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    streams: Arc<Streams<About>>,
    late: Notify,
}

impl UnderWay {
    /// A stream begins.
    pub(crate) fn begin(&self, memory: &Memory, proved: Arc<Proved>, kind: Lasting, leaving: &CancellationToken) -> Place<About> {
        let place = self.streams.begin(proved.header.tenant.as_str(), About { proved: proved.clone(), kind, end: None }, leaving);
        if !is_served(&memory.known(), &proved, kind) {
            // It began while its tenant was closed.
            self.late.notify_one();
        }
        place
    }
}

/// Ends what is not served any more, in its time, until the stop.
pub(crate) async fn follow(memory: Arc<Memory>, stop: CancellationToken) {
    let mut changes = memory.changes();
    loop {
        changes.mark_unchanged();
        let next = look(&memory, Instant::now());
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            // The memory outlives its followers.
            changed = changes.changed() => if changed.is_err() { return },
            () = memory.lasting.late.notified() => {}
            () = due => {}
        }
    }
}

/// Ends what is due, and says when the next is.
fn look(memory: &Memory, now: Instant) -> Option<Instant> {
    let (known, mut next) = (memory.known(), None::<Instant>);
    memory.lasting.streams.check_all(|_, about| {
        about.end = if about.is_served(&known) { None } else { about.end.or(Some(now + GRACE)) };
        let due = about.end.is_some_and(|end| end <= now);
        if let Some(end) = about.end.filter(|_| !due) {
            next = Some(next.map_or(end, |next| next.min(end)));
        }
        !due
    });
    next
}
