//! The engine port on Docker Engine.
//!
//! Purpose: containers of a cell are made, probed, rolled and healed by the rules of [`engine::roll`]; Docker keeps them running and starts ended ones
//! again with growing pauses (its `unless-stopped` policy), also while this driver is not there. The driver starts what Docker does not: containers
//! that never started, and those that somebody stopped by hand.
//! Invariants: only what carries the platform's and the cell's label is touched, never what the machine's agent made; the wanted set is on disk
//! (without secrets) before anything is done for it; secrets reach containers as mounted files only; a daemon that cannot be asked is
//! [`engine::Observation::Unknown`].
//! Entry points: [`Options`], [`DockerEngine::connect`].

mod body;
mod check;
mod client;
mod events;
mod files;
mod jobs;
mod keeper;
mod logs;
mod names;
mod network;
mod probe;
mod record;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::query_parameters::ListContainersOptionsBuilder;
use engine::{Engine, EngineError, Job, JobDone, LogOptions, LogStream, Observation, Observed, Reason, Stranger, Wanted};
use jiff::Timestamp;
use model::{CellName, InstanceName, PlatformName};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use client::Client;
use keeper::{Handle, Message, Reply};
use record::Record;

/// How long `observe` waits for the first look at an adopted cell.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Which engine, for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Prefix and label of everything that is made.
    pub platform: PlatformName,
    /// The state folder, at the same path on the host.
    pub state: PathBuf,
    /// The daemon's socket, usually `/var/run/docker.sock`. Who runs in a container mounts the folder that holds it, not the socket: a daemon that
    /// starts anew makes a new socket, and a mounted old one refuses for ever.
    pub socket: PathBuf,
}

/// The driver. Dropping it stops no container; another one adopts them.
pub struct DockerEngine {
    shared: Arc<Shared>,
    events: AbortHandle,
}

/// Held by the one caller that runs a job.
type JobLock = Arc<tokio::sync::Mutex<()>>;

/// What the driver's parts have in common.
pub(crate) struct Shared {
    options: Options,
    client: Client,
    clock: Clock,
    keepers: Mutex<BTreeMap<CellName, (Handle, AbortHandle)>>,
    jobs: Mutex<BTreeMap<(CellName, String), JobLock>>,
    /// One makes the network that leads out at a time.
    egress: tokio::sync::Mutex<()>,
}

/// Wall time that goes forward evenly: deadlines must not move when somebody sets the machine's clock.
#[derive(Debug)]
struct Clock {
    started: Timestamp,
    began: std::time::Instant,
}

impl Clock {
    fn now(&self) -> Timestamp {
        let passed = jiff::SignedDuration::try_from(self.began.elapsed()).unwrap_or_default();
        self.started.saturating_add(passed).unwrap_or(self.started)
    }
}

impl DockerEngine {
    /// Starts the driver: cells on record are adopted and kept from now on. A daemon that is away is no error; it is looked for until it is back.
    ///
    /// # Errors
    /// [`EngineError::Refused`] with `TooOldEngine`, or when the state folder cannot be read.
    pub async fn connect(options: Options) -> Result<Self, EngineError> {
        let client = Client::new(options.socket.clone());
        match client.docker().await {
            Ok(_) => {}
            Err(EngineError::Unreachable(words)) => tracing::warn!(socket = %options.socket.display(), words, "the engine does not answer yet"),
            Err(error) => return Err(error),
        }
        let state = options.state.clone();
        let records = blocking(move || Record::all(&state)).await?;
        let clock = Clock { started: Timestamp::now(), began: std::time::Instant::now() };
        let shared =
            Arc::new(Shared { options, client, clock, keepers: Mutex::default(), jobs: Mutex::default(), egress: tokio::sync::Mutex::default() });
        for record in records {
            let cell = record.wanted.cell.clone();
            let keeper = keeper::spawn(&shared, cell.clone(), Some(record));
            shared.keepers().insert(cell, keeper);
        }
        let events = tokio::spawn(events::follow(shared.clone())).abort_handle();
        Ok(Self { shared, events })
    }

    async fn ask(&self, cell: &CellName, question: impl FnOnce(Reply) -> Message) -> Result<(), EngineError> {
        let (reply, answer) = oneshot::channel();
        let handle = self.shared.keeper(cell);
        let gone = |_| EngineError::Unreachable(format!("cell {cell} is being removed from the engine: ask again"));
        handle.messages.send(question(reply)).map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        self.events.abort();
        for (_, (_, keeper)) in std::mem::take(&mut *self.shared.keepers()) {
            keeper.abort();
        }
    }
}

impl Shared {
    fn keepers(&self) -> MutexGuard<'_, BTreeMap<CellName, (Handle, AbortHandle)>> {
        // Only whole inserts and removals happen under the lock.
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell's keeper, started where there is none.
    fn keeper(self: &Arc<Self>, cell: &CellName) -> Handle {
        self.keepers().entry(cell.clone()).or_insert_with(|| keeper::spawn(self, cell.clone(), None)).0.clone()
    }

    fn tell(&self, cell: &str, message: Message) {
        if let Some((handle, _)) = self.keepers().get(cell) {
            let _ = handle.messages.send(message);
        }
    }

    fn tell_all(&self, message: impl Fn() -> Message) {
        for (handle, _) in self.keepers().values() {
            let _ = handle.messages.send(message());
        }
    }

    /// The lock of one job, so that it is run by one caller at a time.
    fn job(&self, cell: &CellName, key: &str) -> JobLock {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, lock| Arc::strong_count(lock) > 1);
        jobs.entry((cell.clone(), key.to_owned())).or_default().clone()
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn ensure(&self, wanted: &Wanted) -> Result<(), EngineError> {
        self.ask(&wanted.cell, |reply| Message::Ensure(Box::new(wanted.clone()), reply)).await
    }

    async fn observe(&self, cell: &CellName) -> Observation {
        let held = self.shared.keepers().get(cell).map(|(handle, _)| handle.clone());
        let Some(mut handle) = held else {
            return match unordered(&self.shared, cell).await {
                Ok(observed) => Observation::Known(observed),
                Err(error) => Observation::Unknown(error.to_string()),
            };
        };
        let first = tokio::time::timeout(FIRST_LOOK, handle.view.wait_for(Option::is_some)).await;
        match first {
            Ok(Ok(view)) => view.clone().unwrap_or_else(|| Observation::Unknown("not looked at yet".to_owned())),
            Ok(Err(_)) => Observation::Unknown("the cell is being removed".to_owned()),
            Err(_) => Observation::Unknown("the cell's instances have not been heard yet".to_owned()),
        }
    }

    async fn run(&self, cell: &CellName, job: &Job) -> Result<JobDone, EngineError> {
        let lock = self.shared.job(cell, &job.key);
        let _one = lock.lock().await;
        let (reply, answer) = oneshot::channel();
        let message = format!("cell {cell} has no wanted set on this engine: order it before its jobs");
        let unknown = || EngineError::Refused { reason: Reason::EngineRefused, message: message.clone() };
        let handle = self.shared.keepers().get(cell).map(|(handle, _)| handle.clone()).ok_or_else(unknown)?;
        handle.messages.send(Message::Held(reply)).map_err(|_| unknown())?;
        let wanted = answer.await.map_err(|_| unknown())?.ok_or_else(unknown)?;
        jobs::run(&self.shared, &wanted, job).await
    }

    async fn logs(&self, cell: &CellName, instance: &InstanceName, options: LogOptions) -> Result<LogStream, EngineError> {
        logs::open(&self.shared, cell, instance, options).await
    }

    async fn drained(&self, cell: &CellName, instance: &InstanceName) -> Result<(), EngineError> {
        if !self.shared.keepers().contains_key(cell) {
            return Ok(());
        }
        self.ask(cell, |reply| Message::Drained(instance.clone(), reply)).await
    }

    async fn remove(&self, cell: &CellName) -> Result<(), EngineError> {
        let keeper = self.shared.keeper(cell);
        self.ask(cell, Message::Remove).await?;
        // The keeper is over; who asks next gets a new one.
        let mut keepers = self.shared.keepers();
        if keepers.get(cell).is_some_and(|(handle, _)| handle.messages.same_channel(&keeper.messages)) {
            keepers.remove(cell);
        }
        Ok(())
    }
}

/// A cell that nobody has ordered: whatever carries its label is strange.
async fn unordered(shared: &Shared, cell: &CellName) -> Result<Observed, EngineError> {
    let docker = shared.client.docker().await?;
    let options = ListContainersOptionsBuilder::default().all(true).filters(&names::filter(&shared.options.platform, cell)).build();
    let listed = docker.list_containers(Some(options)).await.map_err(client::told)?;
    let strange = listed.iter().filter(|summary| names::label(summary, names::DATA).is_none());
    let strangers = strange.map(|summary| {
        let explanation = "carries the label of a cell of which this engine has no wanted set".to_owned();
        Stranger { name: names::name(summary).to_owned(), explanation }
    });
    Ok(Observed { strangers: strangers.collect(), ..Observed::default() })
}

/// Runs work on files beside the runtime's own threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, EngineError> + Send + 'static) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(EngineError::Refused { reason: Reason::EngineRefused, message: format!("work on files broke off: {error}") }),
    }
}
