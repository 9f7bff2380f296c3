//! Probes: what each node says, whether the writer commits, what the daemon sees.
//!
//! Invariants: a probe only writes down what it saw; decisions are the keeper's. Each probe has its own connection, so that a commit that hangs hides nothing.

use std::sync::Arc;
use std::time::Duration;

use model::NodeName;
use mysql_async::Conn;
use tokio::time::Instant;

use crate::cell::Cell;
use crate::docker::Container;
use crate::{endpoint, sql};

/// Most time for a node's words.
const WORDS: Duration = Duration::from_millis(1500);
/// Between two questions, in calm and in trouble.
const CALM: Duration = Duration::from_millis(500);
const TROUBLE: Duration = Duration::from_millis(100);
/// Most time for one commit of the probe; a longer one is asked anew on a new connection.
const COMMIT: Duration = Duration::from_secs(3);
/// Between two commits of the probe in calm.
const BEAT: Duration = Duration::from_secs(1);
/// Between two looks at the daemon.
const LOOK: Duration = Duration::from_millis(500);

/// Asks one node again and again.
pub(crate) async fn node(cell: Arc<Cell>, name: NodeName) {
    let mut conn: Option<Conn> = None;
    loop {
        let Some(address) = cell.known().nodes.get(&name).map(|node| node.address) else { return };
        let asked = async {
            let mut open = match conn.take() {
                Some(open) => open,
                None => sql::connect(address, &cell.password, WORDS).await?,
            };
            let status = sql::bounded(&name, WORDS, sql::status(&mut open)).await?;
            Ok::<_, crate::Error>((open, status))
        };
        let answer = asked.await;
        let pause = {
            let mut known = cell.known();
            let calm = known.writer.stalled.is_none() && known.nodes.values().all(|node| node.silent.is_none());
            let Some(node) = known.nodes.get_mut(&name) else { return };
            match answer {
                Ok((open, status)) => {
                    conn = Some(open);
                    let now = Instant::now();
                    if node.silent.take().is_some() || node.status.as_ref().is_none_or(|(old, _)| differs(old, &status)) {
                        cell.wake.notify_one();
                    }
                    node.settled |= status.synced();
                    node.outside = if status.primary { None } else { node.outside.or(Some(now)) };
                    node.position = Some(status.position.clone()).filter(galera::Position::is_evidence).or(node.position.take());
                    node.status = Some((status, now));
                }
                Err(error) => {
                    if node.silent.is_none() {
                        tracing::debug!(cell = %cell.name, node = %name, error = error.chain(), "the node does not answer");
                        node.silent = Some(Instant::now());
                        cell.wake.notify_one();
                    }
                }
            }
            if calm { CALM } else { TROUBLE }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Whether the keeper should look at once.
fn differs(old: &sql::Status, new: &sql::Status) -> bool {
    (old.primary, old.local_state, old.view, &old.members) != (new.primary, new.local_state, new.view, &new.members)
}

/// Commits on the writer again and again.
pub(crate) async fn commits(cell: Arc<Cell>) {
    let mut conn: Option<(NodeName, Conn)> = None;
    loop {
        let target = cell.known().writer_address();
        let Some((name, address)) = target else {
            tokio::time::sleep(TROUBLE).await;
            continue;
        };
        let chosen = cell.known().writer.since;
        let began = Instant::now();
        let committed = async {
            let mut open = match conn.take() {
                Some((of, open)) if of == name => open,
                _ => sql::connect(address, &cell.password, WORDS).await?,
            };
            let position = sql::bounded(&name, COMMIT, sql::commit(&mut open)).await?;
            Ok::<_, crate::Error>((open, position))
        };
        // A commit that hangs is given up as soon as another writer is chosen.
        let committed = tokio::select! {
            committed = committed => committed,
            () = moved(&cell, chosen) => continue,
        };
        let pause = match committed {
            Ok((open, position)) => {
                conn = Some((name.clone(), open));
                proved(&cell, &name, chosen, position);
                BEAT
            }
            Err(error) => {
                let mut known = cell.known();
                if known.writer.since == chosen && known.writer.stalled.is_none() {
                    tracing::warn!(cell = %cell.name, node = %name, error = error.chain(), "the writer does not commit");
                    known.writer.stalled = Some(began);
                    cell.wake.notify_one();
                }
                TROUBLE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = moved(&cell, chosen) => {}
        }
    }
}

/// Another writer was chosen.
async fn moved(cell: &Cell, chosen: Instant) {
    while cell.known().writer.since == chosen {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A commit succeeded on the chosen writer: it goes on record before the endpoint may hear of it.
fn proved(cell: &Cell, name: &NodeName, chosen: Instant, position: galera::Position) {
    let first = {
        let known = cell.known();
        if known.writer.since != chosen {
            return;
        }
        known.writer.committed.is_none()
    };
    let recorded = cell.remember(|record| {
        record.writer = Some(name.clone());
        if position.is_evidence() {
            record.recorded = Some(position.clone());
        }
    });
    // The endpoint reads its settings only when it starts, so they follow the record and need not precede our word.
    let written = recorded.and_then(|()| if first { endpoint::write(cell) } else { Ok(()) });
    if let Err(error) = written {
        tracing::error!(cell = %cell.name, error = error.chain(), "the writer cannot be recorded, so the endpoint is not told");
        return;
    }
    let mut known = cell.known();
    if known.writer.since == chosen {
        known.writer.stalled = None;
        known.writer.committed = Some(Instant::now());
        if first {
            tracing::info!(cell = %cell.name, node = %name, %position, "the writer commits");
            cell.wake.notify_one();
        }
    }
}

/// Looks at the daemon's containers again and again.
pub(crate) async fn containers(cell: Arc<Cell>) {
    loop {
        let names = cell.known().names();
        for name in names {
            let Some(epoch) = cell.known().nodes.get(&name).map(|node| node.epoch) else { continue };
            let seen = cell.engine().inspect(&cell.container(&name)).await;
            let mut known = cell.known();
            let Some(node) = known.nodes.get_mut(&name).filter(|node| !node.busy && node.epoch == epoch) else { continue };
            if std::mem::discriminant(&node.container) != std::mem::discriminant(&seen) {
                if let Container::Exited { code, out_of_memory } = &seen {
                    tracing::warn!(cell = %cell.name, node = %name, code, out_of_memory, "the node ended");
                }
                cell.wake.notify_one();
            }
            node.container = seen;
        }
        let free = rustix::fs::statvfs(cell.folder.root()).ok().map(|fs| fs.f_bavail * fs.f_frsize);
        cell.known().disk_free = free;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = silence(&cell) => {}
        }
    }
}

/// A node fell silent just now, or was changed: the daemon knows more.
async fn silence(cell: &Cell) {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let known = cell.known();
        let fresh = |node: &crate::cell::Node| node.runs() && node.silent.is_some_and(|at| at.elapsed() < Duration::from_secs(2));
        if known.nodes.values().any(|node| !node.busy && (node.container == Container::Unknown || fresh(node))) {
            return;
        }
    }
}
