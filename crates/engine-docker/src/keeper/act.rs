//! Steps on one instance, each in a task beside the keeper's loop: make, start, stop, remove.

use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{CreateContainerOptionsBuilder, CreateImageOptionsBuilder, RemoveContainerOptionsBuilder};
use engine::roll::{Leaving, NotMade, Process};
use engine::{EngineError, Reason};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use model::InstanceName;
use tokio::task::JoinError;

use super::Keeper;
use crate::Shared;
use crate::body::Order;
use crate::client::{gone_is_fine, patient, told};
use crate::network;

/// Most time for an image to come.
const PULL_WITHIN: Duration = Duration::from_secs(600);
/// More than any instance's time to stop: the engine keeps that time, not the client.
const STOP_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// Refused starts in a row after which an instance is made anew: its network may have been removed and made again under it.
const HOPELESS: u32 = 3;

/// How a step ended.
pub(super) enum Outcome {
    /// The container is there; its start may have failed.
    Made(String, Result<(), EngineError>),
    /// There is no container.
    NotMade(EngineError),
    /// It was told to start.
    Started(Result<(), EngineError>),
    /// It was told to stop, and is kept.
    Halted(Result<(), EngineError>),
    /// It was stopped and removed.
    Retired(Result<(), EngineError>),
}

/// The pause after so many failures in a row: from one second, doubling, at most half a minute.
pub(super) fn later(now: Timestamp, failures: u32) -> Timestamp {
    let seconds = 1_i64 << failures.saturating_sub(1).min(5);
    now.saturating_add(SignedDuration::from_secs(seconds.min(30))).unwrap_or(now)
}

impl Keeper {
    /// Starts a step on an instance, which is busy from now on.
    pub(super) fn begin(&mut self, name: &InstanceName, step: impl Future<Output = Outcome> + Send + 'static) {
        if let Some(instance) = self.instances.get_mut(name) {
            instance.busy = true;
            instance.pause_until = None;
        }
        let task = self.tasks.spawn(step);
        self.running.insert(task.id(), name.clone());
    }

    pub(super) fn start(&mut self, name: &InstanceName) -> bool {
        let Some(id) = self.instances.get(name).and_then(|instance| instance.id.clone()) else { return false };
        let shared = self.shared.clone();
        self.begin(name, async move { Outcome::Started(start(&shared, &id).await) });
        true
    }

    pub(super) fn halt(&mut self, name: &InstanceName) -> bool {
        let Some(id) = self.instances.get(name).and_then(|instance| instance.id.clone()) else { return false };
        let shared = self.shared.clone();
        self.begin(name, async move { Outcome::Halted(stop(&shared, &id).await) });
        true
    }

    pub(super) fn retire(&mut self, name: &InstanceName) -> bool {
        let Some(id) = self.instances.get(name).and_then(|instance| instance.id.clone()) else { return false };
        let shared = self.shared.clone();
        self.begin(name, async move { Outcome::Retired(stop_and_remove(&shared, &id).await) });
        true
    }

    /// Takes the end of a step.
    pub(super) fn ended(&mut self, ended: Result<(tokio::task::Id, Outcome), JoinError>) {
        self.look_due = true;
        let now = self.shared.clock.now();
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) => {
                tracing::error!(cell = %self.cell, %error, "a step on an instance broke off");
                (error.id(), None)
            }
        };
        let Some(name) = self.running.remove(&id) else { return };
        let Some(instance) = self.instances.get_mut(&name) else { return };
        instance.busy = false;
        instance.dirty = true;
        let (service, version) = (instance.labelled.service.clone(), instance.labelled.version.clone());
        match outcome {
            Some(Outcome::Made(id, started)) => {
                instance.id = Some(id);
                instance.born = now;
                instance.process = Process::Created;
                match started {
                    Ok(()) => drop(self.attempts.remove(&service)),
                    Err(error) => instance.not_started(&error, now),
                }
                self.notes.not_made.remove(&service);
            }
            Some(Outcome::NotMade(error)) => {
                self.instances.remove(&name);
                let attempts = self.attempts.entry(service.clone()).or_default();
                *attempts = attempts.saturating_add(1);
                let (reason, message) = match error {
                    EngineError::Refused { reason, message } => (reason, message),
                    other => (Reason::EngineRefused, other.to_string()),
                };
                self.notes.not_made.insert(service, NotMade { version, reason, message, again: later(now, *attempts) });
            }
            Some(Outcome::Started(Err(error))) => {
                instance.not_started(&error, now);
                if instance.failed_starts >= HOPELESS && matches!(error, EngineError::Refused { reason: Reason::EngineRefused, .. }) {
                    instance.leaving.get_or_insert(Leaving { since: now, acknowledged: true });
                    instance.pause_until = None;
                }
            }
            Some(Outcome::Retired(Ok(()))) => drop(self.instances.remove(&name)),
            Some(Outcome::Retired(Err(error)) | Outcome::Halted(Err(error))) => {
                tracing::warn!(cell = %self.cell, instance = %name, %error, "an instance could not be stopped");
                instance.failed_starts = instance.failed_starts.saturating_add(1);
                instance.pause_until = Some(later(now, instance.failed_starts));
            }
            Some(Outcome::Started(Ok(())) | Outcome::Halted(Ok(()))) => {}
            None if instance.id.is_none() => drop(self.instances.remove(&name)),
            None => instance.pause_until = Some(later(now, 3)),
        }
    }
}

/// Makes and starts an instance.
pub(super) async fn make(shared: &Arc<Shared>, order: Order) -> Outcome {
    match create(shared, order).await {
        Ok(id) => {
            let started = start(shared, &id).await;
            if let Err(EngineError::Refused { reason, .. }) = &started
                && *reason == Reason::EngineRefused
            {
                // Most often its address or its network: made anew, it gets other ones.
                if let Err(error) = stop_and_remove(shared, &id).await {
                    tracing::warn!(%error, "a container that could not be started could not be removed");
                    return Outcome::Made(id, started);
                }
                return started.map_or_else(Outcome::NotMade, |()| Outcome::Made(id, Ok(())));
            }
            Outcome::Made(id, started)
        }
        Err(error) => Outcome::NotMade(error),
    }
}

async fn create(shared: &Arc<Shared>, order: Order) -> Result<String, EngineError> {
    let (mounts, user) = (order.mounts, order.user);
    crate::blocking(move || crate::files::make_mounts(&mounts, user)).await?;
    let docker = shared.client.docker().await?;
    create_container(&docker, &order.container, &order.image, order.body).await
}

/// Makes a container, fetching its image where it is missing and can be had.
pub(crate) async fn create_container(
    docker: &Docker,
    name: &str,
    image: &str,
    body: bollard::models::ContainerCreateBody,
) -> Result<String, EngineError> {
    let options = || Some(CreateContainerOptionsBuilder::default().name(name).build());
    let first = docker.create_container(options(), body.clone()).await.map_err(told);
    let made = match first {
        Err(EngineError::Refused { reason: Reason::ImageMissing, .. }) => {
            pull(docker, image).await?;
            docker.create_container(options(), body).await.map_err(told)
        }
        other => other,
    };
    made.map(|made| made.id)
}

/// Fetches an image. Names under `localhost/` are built on the machine and cannot be fetched.
async fn pull(docker: &Docker, image: &str) -> Result<(), EngineError> {
    let missing =
        |words: String| EngineError::Refused { reason: Reason::ImageMissing, message: format!("image {image} is not on the engine{words}") };
    if image.starts_with("localhost/") {
        return Err(missing(": build it or load it (docker load)".to_owned()));
    }
    let fetch = async {
        let mut lines = docker.create_image(Some(CreateImageOptionsBuilder::default().from_image(image).build()), None, None);
        while let Some(line) = lines.next().await {
            line.map_err(|error| missing(format!(" and cannot be fetched: {error}")))?;
        }
        Ok(())
    };
    tokio::time::timeout(PULL_WITHIN, fetch).await.unwrap_or_else(|_| Err(missing(format!(" and did not come within {PULL_WITHIN:?}"))))
}

async fn start(shared: &Arc<Shared>, id: &str) -> Result<(), EngineError> {
    let docker = patient(&shared.client.docker().await?, Duration::from_secs(60));
    network::lead_out(shared, &docker, id).await?;
    docker.start_container(id, None).await.map_err(told)
}

/// Stops a container in its own time; stopped or gone already is fine.
async fn stop(shared: &Arc<Shared>, id: &str) -> Result<(), EngineError> {
    let docker = patient(&shared.client.docker().await?, STOP_WITHIN);
    gone_is_fine(docker.stop_container(id, None).await)
}

/// Stops a container in its own time and removes it; gone already is fine.
pub(super) async fn stop_and_remove(shared: &Arc<Shared>, id: &str) -> Result<(), EngineError> {
    stop(shared, id).await?;
    remove(shared, id).await
}

/// Removes a container whatever it does; gone already is fine.
pub(super) async fn remove(shared: &Arc<Shared>, id: &str) -> Result<(), EngineError> {
    let docker = patient(&shared.client.docker().await?, Duration::from_secs(60));
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    gone_is_fine(docker.remove_container(id, Some(options)).await)
}
