//! The last routes on disk, so that an edge starts without control.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fs_err::OpenOptions;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use routes::{Snapshot, Table};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::table::Routes;

/// The routes' file in the edge's folder.
const FILE: &str = "routes.snapshot";
/// Changes within this time are written together.
const TOGETHER: Duration = Duration::from_millis(200);
/// Pause after a write that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Reads the last routes; none where there are none or where they are of no use, which is said in the log and kept beside.
pub(crate) fn read(folder: &Path) -> Option<Table> {
    let path = folder.join(FILE);
    let bytes = match fs_err::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(%error, "the last routes cannot be read; the edge waits for control");
            return None;
        }
    };
    let table =
        Snapshot::from_disk(&bytes).map_err(|error| error.to_string()).and_then(|snapshot| snapshot.compile().map_err(|error| error.to_string()));
    match table {
        Ok((table, _)) => Some(table),
        Err(problem) => {
            let beside = path.with_extension("unusable");
            tracing::error!(path = %path.display(), problem, kept_as = %beside.display(), "the last routes are of no use; the edge waits for control");
            if let Err(error) = fs_err::rename(&path, &beside) {
                tracing::error!(%error, "they could not be put aside");
            }
            None
        }
    }
}

/// Writes the routes whenever they change, until the stop. `changes` was subscribed to before anybody could change them.
pub(crate) async fn keep(routes: Arc<Routes>, mut changes: watch::Receiver<u64>, folder: PathBuf, name: String, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            changed = changes.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
        // Told to stop, it writes at once.
        stop.run_until_cancelled(tokio::time::sleep(TOGETHER)).await;
        changes.borrow_and_update();
        let (routes, folder, name) = (routes.clone(), folder.clone(), name.clone());
        let written = tokio::task::spawn_blocking(move || write(&routes, &folder, &name)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            tracing::error!(%error, "the routes cannot be written; the edge serves on, but would start from older ones");
            if stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
                return;
            }
            changes.mark_changed();
        }
    }
}

/// Writes beside, flushes, renames into place. Two edges may do so at once, so the file beside carries the edge's name.
fn write(routes: &Routes, folder: &Path, name: &str) -> std::io::Result<()> {
    let bytes = routes.with(Table::snapshot).to_disk().map_err(std::io::Error::other)?;
    let (path, beside) = (folder.join(FILE), folder.join(format!("{FILE}.{name}")));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs_err::rename(&beside, &path)?;
    fs_err::File::open(folder)?.sync_all()
}
