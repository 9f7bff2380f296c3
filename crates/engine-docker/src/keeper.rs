//! The keeper of one cell: looks, decides, acts, tells; one task a cell, woken by the engine's events, by probes, by orders and by time.
//!
//! Invariants: nothing is decided from a look that failed, nor before every adopted instance has answered its probe or failed it often enough; the
//! loop itself waits for nothing slow, steps on instances run beside it and mark them busy; what is decided durably is on disk before it is done.

mod act;
mod events;
mod instance;
mod look;
mod remove;

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use engine::roll::{self, Action, Decision, Input, Leaving, Notes, Probed, Seen, Since, gate_service};
use engine::{EngineError, Observation, Observed, Reason, Stranger, Wanted};
use jiff::Timestamp;
use model::{CellName, InstanceName, ServiceName};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Shared;
use crate::body::Place;
use crate::files::SecretFolder;
use crate::network::Plan;
use crate::record::{Record, without_secrets};

pub(crate) use act::create_container;
pub(crate) use events::{Happened, What};
use instance::Instance;

/// Time between looks when nothing happens; events come between.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Time between looks while the engine cannot be asked or refuses.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Most time for the first word of adopted instances.
const ADOPT_WITHIN: Duration = Duration::from_secs(15);
/// Most rounds of deciding and marking in one go; each round has something new to say, so a few are always enough.
const ROUNDS: usize = 16;

/// An answer owed to a caller.
pub(crate) type Reply = oneshot::Sender<Result<(), EngineError>>;

/// What reaches a keeper.
pub(crate) enum Message {
    /// A new wanted set.
    Ensure(Box<Wanted>, Reply),
    /// Tell the wanted set.
    Held(oneshot::Sender<Option<Arc<Wanted>>>),
    /// Gates have acknowledged a drain.
    Drained(InstanceName, Reply),
    /// Remove the cell.
    Remove(Reply),
    /// The engine says that something happened.
    Happened(Happened),
    /// Look at everything: events may have been missed.
    LookAnew,
    /// A probe has changed its mind about a container.
    Probed(InstanceName, String, Probed),
}

/// How others reach a keeper.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) messages: mpsc::UnboundedSender<Message>,
    pub(crate) view: watch::Receiver<Option<Observation>>,
}

/// The keeper's own state.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    cell: CellName,
    me: mpsc::WeakUnboundedSender<Message>,
    view: watch::Sender<Option<Observation>>,
    wanted: Option<Arc<Wanted>>,
    notes: Notes,
    instances: BTreeMap<InstanceName, Instance>,
    strangers: Vec<Stranger>,
    fault: Option<(Reason, String)>,
    unknown: Option<String>,
    adopting: Option<Instant>,
    attempts: BTreeMap<ServiceName, u32>,
    last_address: Option<Ipv4Addr>,
    endpoints: Vec<Ipv4Addr>,
    since: Since,
    tasks: JoinSet<act::Outcome>,
    running: HashMap<tokio::task::Id, InstanceName>,
    replies: Vec<Reply>,
    look_due: bool,
    look_at: Instant,
    next: Option<Timestamp>,
    prune_due: bool,
    over: bool,
}

/// Starts a keeper; a record makes it adopt what runs.
pub(crate) fn spawn(shared: &Arc<Shared>, cell: CellName, record: Option<Record>) -> (Handle, tokio::task::AbortHandle) {
    let (messages, inbox) = mpsc::unbounded_channel();
    let (view, seen) = watch::channel(None);
    let (wanted, stopped) = match record {
        Some(record) => (Some(Arc::new(record.wanted)), record.stopped),
        None => (None, BTreeMap::new()),
    };
    let keeper = Keeper {
        shared: shared.clone(),
        cell,
        me: messages.downgrade(),
        view,
        wanted,
        notes: Notes { stopped, not_made: BTreeMap::new() },
        instances: BTreeMap::new(),
        strangers: Vec::new(),
        fault: None,
        unknown: None,
        adopting: Some(Instant::now() + ADOPT_WITHIN),
        attempts: BTreeMap::new(),
        last_address: None,
        endpoints: Vec::new(),
        since: Since::default(),
        tasks: JoinSet::new(),
        running: HashMap::new(),
        replies: Vec::new(),
        look_due: true,
        look_at: Instant::now(),
        next: None,
        prune_due: false,
        over: false,
    };
    let task = tokio::spawn(keeper.run(inbox));
    (Handle { messages, view: seen }, task.abort_handle())
}

impl Keeper {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        while !self.over {
            let wake = self.wake();
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.take(message).await,
                    None => return,
                },
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                () = tokio::time::sleep_until(wake) => {}
            }
            // What has come meanwhile is taken before the next look, so that a burst costs one.
            while !self.over
                && let Ok(message) = inbox.try_recv()
            {
                self.take(message).await;
            }
            if self.over {
                break;
            }
            if self.look_due || Instant::now() >= self.look_at {
                self.look().await;
            }
            self.step().await;
            for reply in self.replies.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
    }

    /// When to look at the clock again at the latest.
    fn wake(&self) -> Instant {
        if self.look_due {
            return Instant::now();
        }
        let now = self.shared.clock.now();
        let pauses = self.instances.values().filter_map(|instance| instance.pause_until).filter(|at| *at > now);
        let moment = pauses.chain(self.next).min().map(|at| {
            let left = std::time::Duration::try_from(at.duration_since(now)).unwrap_or_default();
            Instant::now() + left.max(Duration::from_millis(10))
        });
        moment.map_or(self.look_at, |moment| moment.min(self.look_at))
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Ensure(wanted, reply) => match self.ensure(&wanted).await {
                Ok(()) => self.replies.push(reply),
                Err(error) => drop(reply.send(Err(error))),
            },
            Message::Held(reply) => drop(reply.send(self.wanted.clone())),
            Message::Drained(name, reply) => {
                if let Some(leaving) = self.instances.get_mut(&name).and_then(|instance| instance.leaving.as_mut()) {
                    leaving.acknowledged = true;
                }
                self.replies.push(reply);
            }
            Message::Remove(reply) => {
                let answer = self.remove().await;
                self.over = answer.is_ok();
                drop(reply.send(answer));
            }
            Message::Happened(happened) => self.happened(happened),
            Message::LookAnew => {
                self.instances.values_mut().for_each(|instance| instance.dirty = true);
                self.look_due = true;
            }
            Message::Probed(name, id, probed) => {
                if let Some(instance) = self.instances.get_mut(&name).filter(|instance| instance.id.as_ref() == Some(&id)) {
                    instance.take_probe(probed);
                }
            }
        }
    }

    /// Takes a wanted set: secrets first, then the record, then the network; the rest follows by itself.
    async fn ensure(&mut self, wanted: &Wanted) -> Result<(), EngineError> {
        crate::check::wanted(wanted)?;
        if let Some(held) = self.wanted.as_ref().map(|held| held.generation).filter(|held| *held > wanted.generation) {
            return Err(EngineError::Older { held, offered: wanted.generation });
        }
        self.write_secrets(wanted.clone()).await?;
        let bare = without_secrets(wanted);
        if self.wanted.as_deref() != Some(&bare) {
            self.save(&bare, self.notes.stopped.clone()).await?;
            self.wanted = Some(Arc::new(bare));
            // A changed set is tried at once, whatever failed before.
            self.notes.not_made.clear();
            self.attempts.clear();
            self.prune_due = true;
            self.instances.values_mut().for_each(Instance::try_again);
        }
        self.look_due = true;
        let docker = self.shared.client.docker().await?;
        match crate::network::ensure(&docker, &self.shared.options.platform, &self.cell, wanted.network.subnet).await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.note_fault(&error);
                Err(error)
            }
        }
    }

    async fn write_secrets(&self, wanted: Wanted) -> Result<(), EngineError> {
        let shared = self.shared.clone();
        crate::blocking(move || {
            let state = &shared.options.state;
            let content = |files: &[engine::SecretFile]| files.iter().map(|f| (f.path.clone(), f.content.reveal().clone())).collect::<Vec<_>>();
            let services =
                wanted.services.iter().map(|(name, s)| (SecretFolder::of_service(state, &wanted.cell, name.as_str()), content(&s.secrets), s.user));
            let gates = wanted.gates.iter().map(|g| (SecretFolder::of_gate(state, &wanted.cell, g.name.as_str()), content(&g.secrets), g.user));
            for (folder, files, user) in services.chain(gates) {
                let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
                folder.write(&files, user)?;
            }
            Ok(())
        })
        .await
    }

    async fn save(&self, wanted: &Wanted, stopped: BTreeMap<ServiceName, roll::Stopped>) -> Result<(), EngineError> {
        let record = Record::new(wanted, stopped);
        let shared = self.shared.clone();
        crate::blocking(move || record.save(&shared.options.state)).await
    }

    fn note_fault(&mut self, error: &EngineError) {
        if let EngineError::Refused { reason, message } = error {
            self.fault = Some((*reason, message.clone()));
        }
    }

    /// Decides and acts until nothing more is to be said now, then tells.
    async fn step(&mut self) {
        if let Some(words) = &self.unknown {
            self.view.send_replace(Some(Observation::Unknown(words.clone())));
            return;
        }
        let Some(wanted) = self.wanted.clone() else {
            let observed = Observed { strangers: self.strangers.clone(), ..Observed::default() };
            self.view.send_replace(Some(Observation::Known(observed)));
            return;
        };
        if !self.adopted() {
            return;
        }
        self.probe(&wanted);
        for round in 1..=ROUNDS {
            let now = self.shared.clock.now();
            let seen = self.seen(&wanted, now);
            let input = Input { wanted: &wanted, seen: &seen, notes: &self.notes, now };
            let decision = roll::decide(input);
            let mut observed = roll::report(input, &decision, &mut self.since);
            let changed = self.carry_out(&wanted, &decision, now).await;
            if !changed || round == ROUNDS {
                observed.strangers.clone_from(&self.strangers);
                observed.fault.clone_from(&self.fault);
                self.prune(&wanted, &observed).await;
                self.next = decision.next;
                self.view.send_replace(Some(Observation::Known(observed)));
                return;
            }
        }
    }

    /// Whether every instance found at the start has said whether it is ready.
    fn adopted(&mut self) -> bool {
        let Some(until) = self.adopting else { return true };
        if self.instances.values().all(Instance::known) || Instant::now() >= until {
            self.adopting = None;
            return true;
        }
        if let Some(wanted) = self.wanted.clone() {
            self.probe(&wanted);
        }
        self.look_at = self.look_at.min(until);
        false
    }

    fn seen(&self, wanted: &Wanted, now: Timestamp) -> Vec<Seen> {
        let port = |name, instance| look::asked(wanted, name, instance).map_or(0, |asked| asked.port);
        self.instances.iter().map(|(name, instance)| instance.seen(port(name, instance), now)).collect()
    }

    /// Marks and starts what was decided; true where there is something new to decide from.
    async fn carry_out(&mut self, wanted: &Arc<Wanted>, decision: &Decision, now: Timestamp) -> bool {
        let mut changed = false;
        for action in &decision.actions {
            changed |= match action {
                Action::Make { service, name } => self.make(wanted, service, name, now),
                Action::Start(name) => self.start(name),
                Action::Drain(name) => self.instances.get_mut(name).is_some_and(|instance| {
                    instance.leaving.get_or_insert(Leaving { since: now, acknowledged: false });
                    true
                }),
                Action::Retire(name) => self.retire(name),
                Action::StopRollout { service, note } => {
                    let mut stopped = self.notes.stopped.clone();
                    stopped.insert(service.clone(), note.clone());
                    self.keep_notes(wanted, stopped).await && self.halt(&note.instance)
                }
                Action::Forget(service) => {
                    let mut stopped = self.notes.stopped.clone();
                    stopped.remove(service);
                    self.keep_notes(wanted, stopped).await
                }
            };
        }
        changed
    }

    /// Notes stopped rollouts, on disk first. False: the disk refused, and nothing is done that depends on it.
    async fn keep_notes(&mut self, wanted: &Wanted, stopped: BTreeMap<ServiceName, roll::Stopped>) -> bool {
        match self.save(wanted, stopped.clone()).await {
            Ok(()) => {
                self.notes.stopped = stopped;
                true
            }
            Err(error) => {
                self.note_fault(&error);
                false
            }
        }
    }

    /// Gives an instance its address and starts making it.
    fn make(&mut self, wanted: &Arc<Wanted>, service: &ServiceName, name: &InstanceName, now: Timestamp) -> bool {
        if self.fault.is_some() {
            return false;
        }
        let place = Place { platform: &self.shared.options.platform, state: &self.shared.options.state, wanted };
        let order = if *service == gate_service() {
            let Some(gate) = wanted.gates.iter().find(|gate| gate.name.as_str() == name.as_str()) else { return false };
            place.gate(gate, name)
        } else {
            let Some(of) = wanted.services.get(service) else { return false };
            let mut taken: std::collections::BTreeSet<Ipv4Addr> = self.instances.values().filter_map(|i| i.labelled.address).collect();
            taken.extend(self.last_endpoints());
            let Some(address) = Plan::new(wanted.network.subnet).free(&taken, self.last_address) else {
                self.fault = Some((Reason::EngineRefused, format!("no address is left in {} for {name}", wanted.network.subnet)));
                return false;
            };
            self.last_address = Some(address);
            place.instance(service, of, name, address)
        };
        self.instances.insert(name.clone(), Instance::making(&order, service, now));
        let shared = self.shared.clone();
        self.begin(name, async move { act::make(&shared, order).await });
        true
    }

    /// Removes files of secrets that nobody uses any more, once a changed set has settled.
    async fn prune(&mut self, wanted: &Arc<Wanted>, observed: &Observed) {
        let settled = observed.rollouts.values().all(|rollout| rollout.reason == Reason::AsWanted);
        if !self.prune_due || !settled {
            return;
        }
        self.prune_due = false;
        let (shared, wanted) = (self.shared.clone(), wanted.clone());
        let pruned = crate::blocking(move || {
            let state = &shared.options.state;
            for (name, service) in &wanted.services {
                let paths: Vec<_> = service.secrets.iter().map(|file| file.path.as_str()).collect();
                let folder = SecretFolder::of_service(state, &wanted.cell, name.as_str());
                folder.prune(&paths).map_err(|error| crate::files::failed(state, &error))?;
            }
            Ok(())
        });
        if let Err(error) = pruned.await {
            tracing::warn!(cell = %self.cell, %error, "old files of secrets could not be removed");
        }
    }
}
