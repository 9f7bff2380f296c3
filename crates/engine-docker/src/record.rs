//! What the driver keeps of a cell on disk: the wanted set without the content of secrets, and the rollouts that stopped.
//!
//! With it a driver that starts anew keeps healing before anybody has ordered anything.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use engine::roll::Stopped;
use engine::{EngineError, Wanted};
use model::{CellName, Sensitive, ServiceName};
use serde::{Deserialize, Serialize};

use crate::files::{failed, private_folder, replace};

/// Format of the file; a newer one is refused.
const FORMAT: u32 = 1;

/// A cell as it stands on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    format: u32,
    pub(crate) wanted: Wanted,
    #[serde(default)]
    pub(crate) stopped: BTreeMap<ServiceName, Stopped>,
}

impl Record {
    pub(crate) fn new(wanted: &Wanted, stopped: BTreeMap<ServiceName, Stopped>) -> Self {
        Self { format: FORMAT, wanted: without_secrets(wanted), stopped }
    }

    /// Writes it whole.
    pub(crate) fn save(&self, state: &Path) -> Result<(), EngineError> {
        let path = file(state, &self.wanted.cell);
        let folder = folder(state);
        private_folder(&folder).map_err(|error| failed(&folder, &error))?;
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| failed(&path, &error.into()))?;
        replace(&path, &bytes, None).map_err(|error| failed(&path, &error))
    }

    /// Forgets a cell; forgotten already is fine.
    pub(crate) fn forget(state: &Path, cell: &CellName) -> Result<(), EngineError> {
        let path = file(state, cell);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path, &error)),
            _ => Ok(()),
        }
    }

    /// Every cell's record. One that cannot be read is told and left: its cell is not healed until it is ordered anew.
    pub(crate) fn all(state: &Path) -> Result<Vec<Self>, EngineError> {
        let folder = folder(state);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&folder, &error)),
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.extension().is_some_and(|e| e == "json"));
        Ok(paths
            .filter_map(|path| read(&path).inspect_err(|error| tracing::error!(path = %path.display(), error, "a cell's record cannot be read")).ok())
            .collect())
    }
}

fn read(path: &Path) -> Result<Record, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if record.format > FORMAT {
        return Err(format!("format {} was written by a newer release, this one knows {FORMAT}", record.format));
    }
    Ok(record)
}

fn folder(state: &Path) -> PathBuf {
    state.join("control").join("engine")
}

fn file(state: &Path, cell: &CellName) -> PathBuf {
    folder(state).join(format!("{cell}.json"))
}

/// The set as it is kept: paths of secrets, not their content.
pub(crate) fn without_secrets(wanted: &Wanted) -> Wanted {
    let mut bare = wanted.clone();
    let secrets = bare.services.values_mut().map(|s| &mut s.secrets).chain(bare.gates.iter_mut().map(|g| &mut g.secrets));
    for file in secrets.flatten() {
        file.content = Sensitive::new(String::new());
    }
    bare
}
