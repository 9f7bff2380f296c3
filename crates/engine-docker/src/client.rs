//! The connection to the engine's daemon: made when first needed, forgotten when lost, and errors told apart once.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use engine::{EngineError, Reason};

/// Time for an ordinary answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// The oldest API that has what we use: Docker Engine 20.10.
const OLDEST: (usize, usize) = (1, 41);

/// The daemon behind one socket.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    docker: Mutex<Option<Docker>>,
}

impl Client {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, docker: Mutex::new(None) }
    }

    /// The daemon, its version agreed on.
    pub(crate) async fn docker(&self) -> Result<Docker, EngineError> {
        if let Some(docker) = self.held().clone() {
            return Ok(docker);
        }
        // Not under the lock: nobody waits for somebody else's silent daemon.
        let path = self.socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, ANSWER_WITHIN.as_secs(), API_DEFAULT_VERSION).map_err(told)?;
        let docker = docker.negotiate_version().await.map_err(told)?;
        let version = docker.client_version();
        if (version.major_version, version.minor_version) < OLDEST {
            return Err(too_old(version.major_version, version.minor_version));
        }
        *self.held() = Some(docker.clone());
        Ok(docker)
    }

    /// Agrees on a version anew at the next call: a daemon that went away may come back as another release.
    pub(crate) fn forget(&self) {
        *self.held() = None;
    }

    fn held(&self) -> MutexGuard<'_, Option<Docker>> {
        // Only whole values are put there.
        self.docker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_old(major: usize, minor: usize) -> EngineError {
    let message = format!("the engine offers API {major}.{minor}, {}.{} is needed: update to Docker Engine 20.10 or newer", OLDEST.0, OLDEST.1);
    EngineError::Refused { reason: Reason::TooOldEngine, message }
}

/// A daemon's handle whose answer may take so much longer than usual.
pub(crate) fn patient(docker: &Docker, longer: Duration) -> Docker {
    docker.clone().with_timeout(ANSWER_WITHIN + longer)
}

/// What an error of the client means to a caller: the engine answered and refuses, or cannot be asked.
pub(crate) fn told(error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            let message = message.trim().to_owned();
            EngineError::Refused { reason: reason_of(status_code, &message), message }
        }
        Error::DockerStreamError { error } => EngineError::Refused { reason: reason_of(500, &error), message: error },
        other => EngineError::Unreachable(other.to_string()),
    }
}

/// The code of a refusal, read from the daemon's words: it gives nothing better.
pub(crate) fn reason_of(status: u16, message: &str) -> Reason {
    let text = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["no space left on device", "disk quota exceeded"]) {
        Reason::DiskFull
    } else if says(&["no such image", "manifest unknown", "pull access denied", "repository does not exist"]) {
        Reason::ImageMissing
    } else if says(&["pool overlaps", "overlapping ipv4", "overlaps with other one"]) {
        Reason::SubnetClash
    } else if says(&["port is already allocated", "bind: address already in use"]) {
        Reason::PortTaken
    } else if says(&["executable file not found", "exec format error"])
        || text.contains("exec: \"") && says(&["no such file or directory", "permission denied", "is a directory"])
    {
        Reason::BadCommand
    } else if status == 404 && text.contains("no such container") {
        Reason::NoSuchInstance
    } else {
        Reason::EngineRefused
    }
}

/// Not there and already so are what was asked for.
pub(crate) fn gone_is_fine(answer: Result<(), Error>) -> Result<(), EngineError> {
    match answer {
        Err(Error::DockerResponseServerError { status_code: 304 | 404, .. }) => Ok(()),
        // Two removals of one container at once.
        Err(Error::DockerResponseServerError { status_code: 409, message }) if message.contains("already in progress") => Ok(()),
        other => other.map_err(told),
    }
}

/// `None` where the daemon says that there is no such thing.
pub(crate) fn absent_is_none<T>(answer: Result<T, Error>) -> Result<Option<T>, EngineError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(told(error)),
    }
}

#[cfg(test)]
mod tests;
