//! Files on the host: secrets as files of mode 0400, folders that instances write.
//!
//! A file that is mounted by itself could not be replaced under a running container, so the folder that holds it is mounted: a folder of secrets
//! holds only secrets. New content is written beside and renamed, so that a reader sees the old or the new one whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use engine::{EngineError, Mount, Reason};
use model::CellName;

/// One file for an instance: where it is inside, and what it holds.
pub(crate) type Content<'a> = (&'a str, &'a str);

/// A failed write, as the caller sees it.
pub(crate) fn failed(path: &Path, error: &std::io::Error) -> EngineError {
    let reason = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Reason::DiskFull,
        _ => Reason::EngineRefused,
    };
    EngineError::Refused { reason, message: format!("{}: {error}", path.display()) }
}

/// Where secrets of one owner (a service, a gate, a job) lie.
#[derive(Debug, Clone)]
pub(crate) struct SecretFolder(PathBuf);

impl SecretFolder {
    pub(crate) fn of_service(state: &Path, cell: &CellName, service: &str) -> Self {
        Self(cell_folder(state, cell).join(service))
    }

    pub(crate) fn of_gate(state: &Path, cell: &CellName, gate: &str) -> Self {
        Self(cell_folder(state, cell).join(format!("gate.{gate}")))
    }

    pub(crate) fn of_job(state: &Path, cell: &CellName, key: &str) -> Self {
        Self(cell_folder(state, cell).join(format!("job.{key}")))
    }

    /// The mounts that show these files inside: one for each folder.
    pub(crate) fn mounts<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Vec<Mount> {
        let folders: BTreeSet<&str> = paths.map(|path| split(path).0).collect();
        folders.into_iter().map(|inside| Mount { host: self.0.join(on_host(inside)), path: inside.to_owned(), writable: false }).collect()
    }

    /// Writes what differs.
    pub(crate) fn write(&self, files: &[Content<'_>], user: u32) -> Result<(), EngineError> {
        for (path, content) in files {
            let (inside, name) = split(path);
            let folder = self.0.join(on_host(inside));
            private_folder(&folder).and_then(|()| own(&folder, user, 0o500)).map_err(|error| failed(&folder, &error))?;
            let file = folder.join(name);
            if fs::read(&file).is_ok_and(|held| held == content.as_bytes()) {
                continue;
            }
            replace(&file, content.as_bytes(), Some(user)).map_err(|error| failed(&file, &error))?;
        }
        Ok(())
    }

    /// Removes files that are wanted no more.
    pub(crate) fn prune(&self, wanted: &[&str]) -> std::io::Result<()> {
        let mut keep: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for path in wanted {
            let (inside, name) = split(path);
            keep.entry(on_host(inside)).or_default().insert(name);
        }
        for folder in entries(&self.0)? {
            let name = folder.file_name().to_string_lossy().into_owned();
            let Some(files) = keep.get(&name) else {
                fs::remove_dir_all(folder.path())?;
                continue;
            };
            for file in entries(&folder.path())? {
                if !files.contains(file.file_name().to_string_lossy().as_ref()) {
                    fs::remove_file(file.path())?;
                }
            }
        }
        Ok(())
    }

    /// Removes everything; nothing there is fine.
    pub(crate) fn remove(&self) -> Result<(), EngineError> {
        remove_folder(&self.0)
    }
}

/// The folder of all secrets of a cell.
pub(crate) fn cell_folder(state: &Path, cell: &CellName) -> PathBuf {
    state.join("secrets").join(cell.as_str())
}

/// Removes a folder with all in it; nothing there is fine.
pub(crate) fn remove_folder(path: &Path) -> Result<(), EngineError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Ok(()),
    }
}

/// Makes the host's end of mounts where it is missing, owned by the instance's user. Others may pass through and not list it: services of one cell
/// with users of their own share a folder (one writes uploads, another serves them), and what is private inside says so by its own mode.
pub(crate) fn make_mounts(mounts: &[Mount], user: u32) -> Result<(), EngineError> {
    for mount in mounts {
        if mount.host.exists() {
            continue;
        }
        fs::create_dir_all(&mount.host).and_then(|()| own(&mount.host, user, 0o751)).map_err(|error| failed(&mount.host, &error))?;
    }
    Ok(())
}

/// Makes a folder that only its owner sees, parents too.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file whole: beside, flushed, renamed. With a user it is theirs to read only, else ours to read and write.
pub(crate) fn replace(path: &Path, content: &[u8], user: Option<u32>) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    if let Some(user) = user {
        own(&beside, user, 0o400)?;
    }
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn own(path: &Path, user: u32, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    chown(path, Some(user), Some(user))
}

fn entries(folder: &Path) -> std::io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Folder and name of a path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Name on the host of a folder inside.
fn on_host(inside: &str) -> String {
    inside.replace('/', "+")
}

/// Why a path of a secret cannot be: absolute, at least two parts deep, of harmless characters.
pub(crate) fn check_secret_path(path: &str) -> Result<(), String> {
    let harmless = path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'));
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let whole = path.starts_with('/') && parts.len() >= 2 && parts.iter().all(|part| !matches!(*part, "" | "." | ".."));
    if harmless && whole { Ok(()) } else { Err(format!("secret file {path:?}: give an absolute path in a folder that holds only secrets")) }
}

#[cfg(test)]
mod tests;
