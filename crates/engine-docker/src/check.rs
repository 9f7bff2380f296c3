//! What a wanted set must be before anything is done for it.

use std::collections::BTreeSet;

use engine::roll::GATE;
use engine::{EngineError, Job, Mount, Reason, SecretFile, Wanted};
use model::v1alpha1::WritablePath;

use crate::files::check_secret_path;

fn refuse(message: String) -> EngineError {
    EngineError::Refused { reason: Reason::EngineRefused, message }
}

/// Refuses a set that cannot be followed.
pub(crate) fn wanted(wanted: &Wanted) -> Result<(), EngineError> {
    let subnet = wanted.network.subnet;
    if subnet.prefix_len() > 26 || subnet.prefix_len() < 16 {
        return Err(refuse(format!("subnet {subnet} of cell {}: give one from /16 to /26", wanted.cell)));
    }
    if let Some(gate) = wanted.gates.iter().find(|gate| !subnet.contains(&gate.address)) {
        return Err(refuse(format!("{} has address {}, which is not in {subnet}", gate.name, gate.address)));
    }
    for gate in &wanted.gates {
        paths(gate.name.as_str(), &gate.mounts, &gate.secrets, &[])?;
    }
    for (name, service) in &wanted.services {
        if name.as_str() == GATE {
            return Err(refuse(format!("a service must not be named {GATE}: that is what the cell's own doors are called")));
        }
        paths(name.as_str(), &service.mounts, &service.secrets, &service.writable)?;
    }
    Ok(())
}

/// Refuses a job that cannot be run.
pub(crate) fn job(job: &Job) -> Result<(), EngineError> {
    let key = &job.key;
    model::InstanceName::new(key).map_err(|error| refuse(format!("key {key:?} of a job: {error}")))?;
    if job.run.is_empty() {
        return Err(refuse(format!("job {key} has no program to run")));
    }
    let files = job.files.iter().map(|file| SecretFile { path: file.path.clone(), content: file.content.clone() });
    let secrets: Vec<SecretFile> = job.service.secrets.iter().cloned().chain(files).collect();
    paths(key, &job.service.mounts, &secrets, &job.service.writable)
}

/// Absolute paths, each used once.
fn paths(owner: &str, mounts: &[Mount], secrets: &[SecretFile], writable: &[WritablePath]) -> Result<(), EngineError> {
    for file in secrets {
        check_secret_path(&file.path).map_err(|message| refuse(format!("{owner}: {message}")))?;
    }
    if let Some(mount) = mounts.iter().find(|mount| !mount.host.is_absolute()) {
        return Err(refuse(format!("{owner}: {} of the host is not an absolute path", mount.host.display())));
    }
    let folders: BTreeSet<&str> = secrets.iter().filter_map(|file| Some(file.path.rsplit_once('/')?.0)).collect();
    let inside = mounts.iter().map(|mount| mount.path.as_str()).chain(writable.iter().map(|path| path.path.as_str())).chain(folders);
    let mut taken = BTreeSet::new();
    for path in inside {
        if !path.starts_with('/') || path == "/" {
            return Err(refuse(format!("{owner}: {path:?} inside is not an absolute path")));
        }
        if !taken.insert(path.trim_end_matches('/')) {
            return Err(refuse(format!("{owner}: {path} inside is used twice; a folder of secrets holds only secrets")));
        }
    }
    Ok(())
}
