//! Folders of cells and tenants in the state folder of this machine.
//!
//! `cells/<cell>/settings/<tenant>/..` (files of mode 0400), `cells/<cell>/files/<tenant>`, `gates/<cell>/..`. A file is replaced by a rename, so that a
//! reader sees the old or the new one whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use async_trait::async_trait;
use model::{CellName, TenantName};

use crate::{Files, PortError};

/// The folders below one state folder.
#[derive(Debug, Clone)]
pub struct Folders {
    state: PathBuf,
}

impl Folders {
    /// Folders below this state folder.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self { state: state.into() }
    }

    fn cell(&self, cell: &CellName) -> PathBuf {
        self.state.join("cells").join(cell.as_str())
    }

    fn settings(&self, cell: &CellName, tenant: &TenantName) -> PathBuf {
        self.cell(cell).join("settings").join(tenant.as_str())
    }

    fn files(&self, cell: &CellName, tenant: &TenantName) -> PathBuf {
        self.cell(cell).join("files").join(tenant.as_str())
    }
}

#[async_trait]
impl Files for Folders {
    async fn make_tenant(&self, cell: &CellName, tenant: &TenantName, owner: u32) -> Result<(), PortError> {
        let folder = self.files(cell, tenant);
        blocking(move || make_folder(&folder, 0o755, owner)).await
    }

    async fn write_settings(&self, cell: &CellName, tenant: &TenantName, files: &BTreeMap<String, String>, owner: u32) -> Result<(), PortError> {
        let (folder, files) = (self.settings(cell, tenant), files.clone());
        blocking(move || write_all(&folder, &files, owner)).await
    }

    async fn remove_settings(&self, cell: &CellName, tenant: &TenantName) -> Result<(), PortError> {
        let folder = self.settings(cell, tenant);
        blocking(move || remove(&folder)).await
    }

    async fn remove_tenant(&self, cell: &CellName, tenant: &TenantName) -> Result<(), PortError> {
        let folder = self.files(cell, tenant);
        blocking(move || remove(&folder)).await
    }

    async fn remove_cell(&self, cell: &CellName) -> Result<(), PortError> {
        let folders = [self.cell(cell), self.state.join("gates").join(cell.as_str())];
        blocking(move || folders.iter().try_for_each(|folder| remove(folder))).await
    }
}

/// Runs file work where it may block.
async fn blocking(work: impl FnOnce() -> Result<(), PortError> + Send + 'static) -> Result<(), PortError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(PortError::new("SettingsFailed", format!("file work ended by itself: {error}"))))
}

fn failed<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> PortError + 'a {
    move |error| {
        let reason = if error.kind() == ErrorKind::StorageFull { "DiskFull" } else { "SettingsFailed" };
        PortError::new(reason, format!("{} cannot be {what}: {error}", path.display()))
    }
}

fn make_folder(folder: &Path, mode: u32, owner: u32) -> Result<(), PortError> {
    std::fs::create_dir_all(folder).map_err(failed("made", folder))?;
    give(folder, mode, owner)
}

fn give(path: &Path, mode: u32, owner: u32) -> Result<(), PortError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed("protected", path))?;
    std::os::unix::fs::chown(path, Some(owner), Some(owner)).map_err(failed("given to its user", path))
}

/// Writes every file that differs, then removes what is not named.
fn write_all(folder: &Path, files: &BTreeMap<String, String>, owner: u32) -> Result<(), PortError> {
    make_folder(folder, 0o750, owner)?;
    let mut named = BTreeSet::new();
    for (path, content) in files {
        let relative = Path::new(path);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(PortError::new("SettingsFailed", format!("settings path {path:?} leaves the tenant's folder")));
        }
        let target = folder.join(relative);
        for parent in relative.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            make_folder(&folder.join(parent), 0o750, owner)?;
        }
        if std::fs::read(&target).ok().as_deref() != Some(content.as_bytes()) {
            replace(&target, content, owner)?;
        }
        named.insert(target);
    }
    sweep(folder, &named)
}

fn replace(target: &Path, content: &str, owner: u32) -> Result<(), PortError> {
    let mut beside = target.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    remove(&beside)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&beside).map_err(failed("made", &beside))?;
    file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("written", &beside))?;
    give(&beside, 0o400, owner)?;
    std::fs::rename(&beside, target).map_err(failed("put into place", target))
}

fn sweep(folder: &Path, named: &BTreeSet<PathBuf>) -> Result<(), PortError> {
    for entry in std::fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        if path.is_dir() {
            sweep(&path, named)?;
            if std::fs::read_dir(&path).map_err(failed("read", &path))?.next().is_none() {
                remove(&path)?;
            }
        } else if !named.contains(&path) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a file or folder that may be gone already. Links are removed, never followed.
fn remove(path: &Path) -> Result<(), PortError> {
    let kind = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("looked at", path))?,
    };
    let removed = if kind.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("removed", path)),
    }
}
