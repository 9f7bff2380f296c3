//! Jobs: a command run to its end in a container of its own.
//!
//! Invariants: one container a key, by its name, so that an interrupted job is found again; a result of success is on disk before the container goes,
//! so that asking once more runs nothing; a job that failed starts clean when it is asked for again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use bollard::query_parameters::{KillContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder};
use engine::{EngineError, Job, JobDone, Reason, Wanted};
use futures::StreamExt as _;
use jiff::Timestamp;
use model::CellName;
use tokio::time::{Instant, timeout_at};

use crate::Shared;
use crate::body::Place;
use crate::client::{absent_is_none, gone_is_fine, patient, told};
use crate::files::{SecretFolder, failed, make_mounts, private_folder, remove_folder, replace};
use crate::keeper::create_container;
use crate::names;

/// As much of the output as is kept.
const TAIL: usize = 16 * 1024;
/// Exit codes of processes that were ended by SIGKILL and SIGTERM.
const ENDED: [i64; 2] = [137, 143];
/// Results kept for each cell.
const RESULTS: usize = 256;

/// Runs a job of a cell whose wanted set is known.
pub(crate) async fn run(shared: &Arc<Shared>, wanted: &Wanted, job: &Job) -> Result<JobDone, EngineError> {
    crate::check::job(job)?;
    let results = results(&shared.options.state, &wanted.cell).join(format!("{}.json", job.key));
    if let Some(done) = read_result(&results) {
        return Ok(done);
    }
    let docker = shared.client.docker().await?;
    crate::network::ensure(&docker, &shared.options.platform, &wanted.cell, wanted.network.subnet).await?;
    let name = names::job(&shared.options.platform, &wanted.cell, &job.key);
    let shown = begin(shared, &docker, wanted, job, &name).await?;
    let (ended, timed_out) = wait(&docker, &name, job, &shown).await?;
    let tail = tail(&docker, &name).await?;
    let done = conclude(&ended, timed_out, tail);
    let (state, cell, key, kept) = (shared.options.state.clone(), wanted.cell.clone(), job.key.clone(), done.clone());
    crate::blocking(move || {
        if kept.code == Some(0) {
            write_result(&results, &kept)?;
        }
        SecretFolder::of_job(&state, &cell, &key).remove()
    })
    .await?;
    remove(&docker, &name).await?;
    Ok(done)
}

/// The job's container, running or ended: the one that is there, or a new one.
async fn begin(shared: &Arc<Shared>, docker: &Docker, wanted: &Wanted, job: &Job, name: &str) -> Result<ContainerInspectResponse, EngineError> {
    if let Some(found) = absent_is_none(docker.inspect_container(name, None).await)? {
        let labels = found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default();
        if names::labels(&shared.options.platform, &wanted.cell).iter().any(|(key, value)| labels.get(key) != Some(value)) {
            let message = format!("a container named {name} exists and is not of this cell: rename or remove it");
            return Err(EngineError::Refused { reason: Reason::EngineRefused, message });
        }
        if found.state.as_ref().is_some_and(|state| state.status != Some(ContainerStateStatusEnum::CREATED)) {
            return Ok(found);
        }
        remove(docker, name).await?;
    }
    let folder = SecretFolder::of_job(&shared.options.state, &wanted.cell, &job.key);
    let owned = job.clone();
    crate::blocking(move || {
        let secrets = owned.service.secrets.iter().map(|file| (file.path.as_str(), file.content.reveal().as_str()));
        let files = owned.files.iter().map(|file| (file.path.as_str(), file.content.reveal().as_str()));
        folder.write(&secrets.chain(files).collect::<Vec<_>>(), owned.service.user)?;
        make_mounts(&owned.service.mounts, owned.service.user)
    })
    .await?;
    let place = Place { platform: &shared.options.platform, state: &shared.options.state, wanted };
    let deadline = Timestamp::now().as_second().saturating_add(i64::try_from(job.within.0 / 1000).unwrap_or(i64::MAX));
    let made = create_container(docker, name, &job.service.image, place.job(job, deadline)).await?;
    if let Err(error) = patient(docker, Duration::from_secs(60)).start_container(&made, None).await.map_err(told) {
        remove(docker, name).await?;
        return Err(error);
    }
    docker.inspect_container(name, None).await.map_err(told)
}

/// Waits for the end, or makes one when the time is up, which counts from the start of the process.
async fn wait(docker: &Docker, name: &str, job: &Job, shown: &ContainerInspectResponse) -> Result<(ContainerInspectResponse, bool), EngineError> {
    let running = |shown: &ContainerInspectResponse| shown.state.as_ref().is_some_and(|state| state.running == Some(true));
    if !running(shown) {
        return Ok((shown.clone(), false));
    }
    let started = shown.state.as_ref().and_then(|state| state.started_at.as_deref()?.parse::<Timestamp>().ok());
    let used = started.map(|at| Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or_default()).unwrap_or_default();
    let until = Instant::now() + job.within.duration().saturating_sub(used);
    let mut timed_out = false;
    loop {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut ends = patient(docker, job.within.duration()).wait_container(name, Some(options));
        let answer = timeout_at(until, ends.next()).await;
        let lost = match answer {
            Err(_) => {
                timed_out = true;
                let kill = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
                let killed = docker.kill_container(name, Some(kill)).await;
                // It may have ended by itself in this moment.
                if !matches!(killed, Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, .. })) {
                    gone_is_fine(killed)?;
                }
                None
            }
            Ok(Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. }))) => None,
            Ok(Some(Err(error))) => Some(told(error)),
            Ok(None) => Some(EngineError::Unreachable("the engine broke off while a job ran".to_owned())),
        };
        if let Some(error) = lost {
            return Err(error);
        }
        let shown = docker.inspect_container(name, None).await.map_err(told)?;
        if !running(&shown) {
            return Ok((shown, timed_out));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What an ended container says.
fn conclude(ended: &ContainerInspectResponse, timed_out: bool, mut tail: String) -> JobDone {
    let state = ended.state.as_ref();
    let code = state.and_then(|state| state.exit_code);
    let out_of_memory = state.is_some_and(|state| state.oom_killed == Some(true));
    if out_of_memory {
        tail.push_str("\n(ended for lack of memory)");
    }
    let code = match code {
        _ if timed_out => None,
        Some(code) if ENDED.contains(&code) && !out_of_memory => None,
        code => code.and_then(|code| i32::try_from(code).ok()),
    };
    JobDone { code, timed_out, tail }
}

/// The end of what it wrote.
async fn tail(docker: &Docker, name: &str) -> Result<String, EngineError> {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("1000").build();
    let mut lines = docker.logs(name, Some(options));
    let mut bytes: Vec<u8> = Vec::new();
    while let Some(line) = lines.next().await {
        bytes.extend_from_slice(line.map_err(told)?.as_ref());
        if bytes.len() > 4 * TAIL {
            bytes.drain(..bytes.len() - TAIL);
        }
    }
    Ok(last_lines(&bytes))
}

/// At most [`TAIL`] bytes from the end, beginning with a whole line where there is one.
fn last_lines(bytes: &[u8]) -> String {
    let cut = bytes.len().saturating_sub(TAIL);
    let mut part = &bytes[cut..];
    if cut > 0
        && let Some(end) = part.iter().position(|byte| *byte == b'\n')
        && end + 1 < part.len()
    {
        part = &part[end + 1..];
    }
    let text = String::from_utf8_lossy(part);
    // Replaced bytes are longer than what they replace.
    let mut start = text.len().saturating_sub(TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

async fn remove(docker: &Docker, name: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    gone_is_fine(docker.remove_container(name, Some(options)).await)
}

fn results(state: &Path, cell: &CellName) -> PathBuf {
    state.join("control").join("engine").join("jobs").join(cell.as_str())
}

fn read_result(path: &Path) -> Option<JobDone> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a result, and forgets the oldest ones beyond a number.
fn write_result(path: &Path, done: &JobDone) -> Result<(), EngineError> {
    let keep = || -> std::io::Result<()> {
        let Some(folder) = path.parent() else { return Ok(()) };
        private_folder(folder)?;
        replace(path, &serde_json::to_vec(done)?, None)?;
        let mut held: Vec<_> =
            fs::read_dir(folder)?.filter_map(Result::ok).filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path()))).collect();
        held.sort();
        let old = held.len().saturating_sub(RESULTS);
        held.into_iter().take(old).try_for_each(|(_, path)| fs::remove_file(path))
    };
    keep().map_err(|error| failed(path, &error))
}

/// Forgets every result of a cell.
pub(crate) fn forget_all(state: &Path, cell: &CellName) -> Result<(), EngineError> {
    remove_folder(&results(state, cell))
}

#[cfg(test)]
mod tests;
