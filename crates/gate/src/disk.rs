//! The last state on disk, so that a gate starts without control.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use fs_err::OpenOptions;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use model::CellName;
use routes::GateState;

/// The state's file in the gate's folder.
const FILE: &str = "gate.state";

/// Where the file of a folder is.
pub(crate) fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Reads the last state; an empty one where there is none or where it is of no use, which is said in the log and kept beside.
pub(crate) fn read(folder: &Path, cell: &CellName) -> GateState {
    let path = file(folder);
    let empty = || GateState::empty(cell.clone());
    let bytes = match fs_err::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return empty(),
        Err(error) => {
            tracing::error!(%error, "the last state cannot be read; the gate waits for control");
            return empty();
        }
    };
    let problem = match GateState::from_disk(&bytes) {
        Ok(state) if state.cell == *cell => return state,
        Ok(state) => format!("it belongs to cell {}", state.cell),
        Err(error) => error.to_string(),
    };
    let beside = path.with_extension("unusable");
    tracing::error!(path = %path.display(), problem, kept_as = %beside.display(), "the last state is of no use; the gate waits for control");
    if let Err(error) = fs_err::rename(&path, &beside) {
        tracing::error!(%error, "it could not be put aside");
    }
    empty()
}

/// Writes a state beside, flushes it, renames it into place.
pub(crate) fn write(folder: &Path, state: &GateState) -> std::io::Result<()> {
    let path = file(folder);
    let beside = path.with_extension("new");
    let bytes = state.to_disk().map_err(std::io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs_err::rename(&beside, &path)?;
    fs_err::File::open(folder)?.sync_all()
}
