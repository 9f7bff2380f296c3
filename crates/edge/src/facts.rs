//! What tenants take, on its way to control's ledger.
//!
//! Requests count in memory and never wait for any of this. Every turn of five seconds their counts are taken and go to an outbox, with a share of the processor
//! time of that turn; every second turn what waits there is sent. While control is away it stays, and is made coarser where it becomes too much. At the end of
//! the process the last counts are sent if control answers at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Request, StatusCode};
use identity::{HttpsClient, Kept, Role};
use ledger::{Counts, Outbox, share};
use tokio_util::sync::CancellationToken;

use crate::client::TURN;
use crate::fair::Fair;

/// Counts are sent after so many turns.
const TURNS: u32 = 2;
/// Time for one report.
const WITHIN: Duration = Duration::from_secs(5);
/// Time for the last ones, at the end of the process.
const LAST: Duration = Duration::from_secs(2);
/// Most rows that wait while control is away: about 30 MB.
const MOST: usize = 100_000;
/// Microseconds in a tick of the kernel's counts, of which there are 100 a second on every machine that it shows to programs.
const TICK_US: u64 = 10_000;
/// Serving threads are called so, and a number.
const SERVING: &str = "edge-";

/// Takes counts and sends them until the stop, and once more then.
pub(crate) async fn report(fair: Arc<Fair>, client: HttpsClient, control: SocketAddr, name: String, stop: CancellationToken) {
    let mut client = client.within(WITHIN).kept(control, Role::Control);
    let mut outbox = Outbox::new(identity::token(9).reveal().clone(), MOST);
    let mut cpu = Cpu::default();
    cpu.passed();
    for turn in 1_u32.. {
        let stopped = stop.run_until_cancelled(tokio::time::sleep(TURN)).await.is_none();
        take(&fair, &mut outbox, cpu.passed());
        if stopped {
            // Whoever serves on takes none of our counts over, so they would be lost.
            if tokio::time::timeout(LAST, send(&mut client, &name, &mut outbox)).await != Ok(true) {
                tracing::warn!("control does not take the last counts of tenants; they are lost");
            }
            return;
        }
        if turn % TURNS == 0 {
            // The stop cuts a report short; it is repeated then, and counted once.
            let _ = stop.run_until_cancelled(send(&mut client, &name, &mut outbox)).await;
        }
    }
}

/// Ends a turn: its counts go to the outbox.
fn take(fair: &Fair, outbox: &mut Outbox, cpu_us: u64) {
    let mut counts: Vec<_> = fair.turn().into_iter().map(|(tenant, facts)| (tenant, facts.counts())).collect();
    share(cpu_us, counts.iter_mut().map(|(_, counts): &mut (_, Counts)| counts));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let lost = outbox.add(i64::try_from(now.as_secs()).unwrap_or(0), counts);
    if lost > 0 {
        tracing::warn!(requests = lost, "counts of tenants are given up: control has been away for too long");
    }
}

/// Sends all that waits; `false` where control does not take it.
async fn send(client: &mut Kept, name: &str, outbox: &mut Outbox) -> bool {
    while let Some(report) = outbox.due() {
        let Ok(body) = serde_json::to_vec(report) else { return false };
        let request = Request::post(format!("/v1/edges/{name}/facts")).header("content-type", "application/json").body(body.into());
        let Ok(request) = request else { return false };
        match client.request(request).await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => outbox.accepted(),
            // It is no report for this control, and will be none the next time.
            Ok(status @ (StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE)) => {
                let requests = outbox.refused();
                tracing::error!(%status, requests, "control refuses counts of tenants; they are given up");
                // Not at once: a control that refuses everything is asked once a turn.
                return false;
            }
            Ok(status) => {
                tracing::debug!(%status, "control does not take counts of tenants now");
                return false;
            }
            // That control is away is told by the feed.
            Err(_) => return false,
        }
    }
    true
}

/// Processor time of the serving threads, as the kernel counts it: one small file a thread, read once a turn.
#[derive(Debug, Default)]
struct Cpu {
    /// Ticks of each thread so far.
    threads: HashMap<String, u64>,
}

impl Cpu {
    /// Microseconds since the last time.
    fn passed(&mut self) -> u64 {
        let now: HashMap<_, _> = threads().collect();
        let passed = now.iter().map(|(thread, ticks)| ticks.saturating_sub(self.threads.get(thread).copied().unwrap_or(0))).sum::<u64>();
        self.threads = now;
        passed * TICK_US
    }
}

/// Each serving thread with its ticks; none where the kernel does not tell.
fn threads() -> impl Iterator<Item = (String, u64)> {
    let folder = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    folder.filter_map(|thread| {
        // A thread may end between the two.
        let text = std::fs::read_to_string(thread.path().join("stat")).ok()?;
        Some((thread.file_name().into_string().ok()?, ticks(&text)?))
    })
}

/// User's and system's ticks of a line of `stat`, where it is of a serving thread.
fn ticks(stat: &str) -> Option<u64> {
    // A name may hold anything, also a bracket.
    let (head, rest) = stat.rsplit_once(") ")?;
    head.split_once(" (")?.1.strip_prefix(SERVING)?;
    let mut fields = rest.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_of_serving_threads_only() {
        let line = |name: &str| format!("7 ({name}) S 1 7 7 0 -1 4194368 100 0 1 0 250 31 0 0 20 0 9 0 1000 1 1 1 1 1");
        assert_eq!(ticks(&line("edge-0")), Some(281));
        assert_eq!(ticks(&line("edge-) 1")), Some(281));
        assert_eq!(ticks(&line("tokio-runtime-w")), None);
        assert_eq!(ticks(""), None);
    }
}
