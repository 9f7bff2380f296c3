//! Waiting for what follows a wish, by watch. Control may be away meanwhile; the work goes on without whoever waits.

mod judge;
pub mod pump;

use std::collections::BTreeMap;
use std::time::Duration;

use api::v1::WatchLine;
use model::v1alpha1::{Operation, OperationState};
use model::{Document, DocumentName, Fault, Kind, Revision, Typed, Whose};
use tokio::time::Instant;

pub use judge::{Standing, judge};

use super::age;
use super::args::Waiting;
use super::exit::{Exit, Failure};
use super::faults;
use super::session::Session;

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// The document is as wanted.
    Ready,
    /// The document is gone.
    Gone,
}

/// One document that is waited for.
#[derive(Debug, Clone)]
struct Goal {
    until: Until,
    standing: Standing,
    document: Document,
    /// The operation at work on it, or the last one.
    operation: Option<DocumentName>,
    /// Since when it is blocked.
    blocked: Option<Instant>,
    /// What was last said of it.
    said: Option<String>,
}

/// Documents that are waited for together.
pub struct Wait<'s> {
    session: &'s Session,
    goals: BTreeMap<(Kind, DocumentName), Goal>,
    began: Instant,
    deadline: Instant,
    timeout: Duration,
    blocked_at_most: Duration,
}

/// What a wait ended with: documents as they stand, and the operation that was seen at work on each.
pub type Arrived = BTreeMap<(Kind, DocumentName), (Document, Option<DocumentName>)>;

impl<'s> Wait<'s> {
    /// Waits for nothing yet.
    pub fn new(session: &'s Session, waiting: &Waiting) -> Self {
        let (began, timeout) = (Instant::now(), waiting.timeout.duration());
        Self { session, goals: BTreeMap::new(), began, deadline: began + timeout, timeout, blocked_at_most: timeout }
    }

    /// A document that cannot get any further by itself fails after this time.
    #[must_use]
    pub const fn blocked_at_most(mut self, time: Duration) -> Self {
        self.blocked_at_most = time;
        self
    }

    /// Also waits for this document.
    #[must_use]
    pub fn and(mut self, document: Document, until: Until) -> Self {
        let key = (document.kind, document.metadata.name.clone());
        let operation = running(&document);
        let standing = stands(&document, &until);
        self.goals.insert(key, Goal { until, standing, document, operation, blocked: None, said: None });
        self
    }

    /// Waits until every document has arrived; fails with those that cannot or do not in time.
    pub async fn run(mut self, from: Revision) -> Result<Arrived, Failure> {
        let mut kinds: Vec<Kind> = self.goals.keys().map(|(kind, _)| *kind).collect();
        kinds.dedup();
        let mut pump = pump::Pump::start(&self.session.client, kinds.into_iter().chain([Kind::Operation]), from);
        while !self.arrived() {
            self.show();
            let tick = (Instant::now() + Duration::from_secs(1)).min(self.deadline);
            match tokio::time::timeout_at(tick, pump.next()).await {
                Ok(pump::Told::Line(line)) => self.take(line),
                Ok(pump::Told::All(kind, names)) => {
                    let gone: Vec<_> = self.goals.keys().filter(|(k, name)| *k == kind && !names.contains(name)).cloned().collect();
                    gone.iter().for_each(|key| self.gone(key));
                }
                Ok(pump::Told::Away(why)) => self.session.output.live(format!("control does not answer ({why}); trying again")),
                Err(_) if Instant::now() >= self.deadline => return Err(self.too_late()),
                Err(_) => {}
            }
            self.give_up_blocked();
        }
        self.session.output.still();
        self.end()
    }

    fn take(&mut self, line: WatchLine) {
        match line {
            WatchLine::Put(document) if document.kind == Kind::Operation => self.operation(document),
            WatchLine::Put(document) => {
                let key = (document.kind, document.metadata.name.clone());
                let Some(goal) = self.goals.get_mut(&key) else { return };
                if matches!(goal.standing, Standing::Failed(_)) {
                    return;
                }
                goal.operation = running(&document).or_else(|| goal.operation.take());
                goal.standing = stands(&document, &goal.until);
                goal.document = document;
                if goal.standing == Standing::Ready {
                    self.say(&key, &format!("is as wanted after {}", age::seconds_text(self.began.elapsed().as_secs())));
                }
            }
            WatchLine::Gone(document) => self.gone(&(document.kind, document.metadata.name)),
            WatchLine::Bookmark(_) | WatchLine::End(_) => {}
        }
    }

    fn gone(&mut self, key: &(Kind, DocumentName)) {
        let Some(goal) = self.goals.get_mut(key) else { return };
        goal.standing = match goal.until {
            Until::Gone => Standing::Ready,
            Until::Ready => Standing::Failed(Fault::new(faults::WORK_FAILED, Whose::State, format!("{} {} was removed", key.0, key.1))),
        };
        self.say(key, "is gone");
    }

    /// What an operation says of the document that it acts on.
    fn operation(&mut self, document: Document) {
        // One that this release does not understand tells nothing; the document itself will.
        let Ok(operation) = Typed::<Operation>::read(document) else { return };
        let key = (operation.spec.subject.kind, operation.spec.subject.name.clone());
        let alone = self.goals.len() == 1;
        let Some(goal) = self.goals.get_mut(&key) else { return };
        goal.operation = Some(operation.metadata.name.clone());
        let status = &operation.status;
        match status.state {
            OperationState::Failed | OperationState::NeedsHuman if goal.standing != Standing::Ready => {
                goal.standing = Standing::Failed(judge::failed(&operation));
            }
            _ => {
                if let Some(step) = status.steps.last() {
                    let text = match &step.message {
                        Some(message) => format!("{}: {message}", step.name),
                        None => step.name.clone(),
                    };
                    self.session.output.live(format!("{} {}: {text}", key.0.as_str().to_lowercase(), key.1));
                    if alone {
                        self.say(&key, &format!("step {}", step.name));
                    }
                }
            }
        }
    }

    /// Says something of a document, once.
    fn say(&mut self, key: &(Kind, DocumentName), what: &str) {
        let Some(goal) = self.goals.get_mut(key) else { return };
        if goal.said.as_deref() != Some(what) {
            self.session.output.note(format!("{} {}: {what}", key.0.as_str().to_lowercase(), key.1));
            goal.said = Some(what.to_owned());
        }
    }

    /// The line that moves: how many there are, and what the first of the others waits for.
    fn show(&self) {
        let ready = self.goals.values().filter(|g| g.standing == Standing::Ready).count();
        if let Some(((kind, name), Goal { standing: Standing::Waiting { reason, message, .. }, .. })) =
            self.goals.iter().find(|(_, g)| matches!(g.standing, Standing::Waiting { .. }))
        {
            let of = if self.goals.len() > 1 { format!("{ready} of {} as wanted; ", self.goals.len()) } else { String::new() };
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            self.session.output.live(format!("{of}{} {name} {reason}{message}", kind.as_str().to_lowercase()));
        }
    }

    fn arrived(&self) -> bool {
        self.goals.values().all(|g| !matches!(g.standing, Standing::Waiting { .. }))
    }

    /// Lets those fail that wait for somebody to act.
    fn give_up_blocked(&mut self) {
        for ((kind, name), goal) in &mut self.goals {
            let Standing::Waiting { reason, message, blocked: true } = &goal.standing else {
                goal.blocked = None;
                continue;
            };
            if goal.blocked.get_or_insert_with(Instant::now).elapsed() >= self.blocked_at_most {
                let fault = Fault::new(faults::WORK_FAILED, Whose::State, format!("{kind} {name} is not as wanted ({reason}): {message}"));
                let fault = fault.hint("the wish is kept and goes on as soon as it can").next(explain(*kind, name));
                goal.standing = Standing::Failed(fault);
            }
        }
    }

    fn too_late(&self) -> Failure {
        let waiting = self.goals.iter().filter_map(|((kind, name), goal)| match &goal.standing {
            Standing::Waiting { reason, message, .. } => {
                let text = format!("{kind} {name} is not as wanted after {} ({reason}): {message}", age::seconds_text(self.timeout.as_secs()));
                Some(Fault::new(faults::TIMED_OUT, Whose::State, text).hint("the work goes on without this command").next(explain(*kind, name)))
            }
            Standing::Failed(fault) => Some(fault.clone()),
            Standing::Ready => None,
        });
        Failure { exit: Exit::Stopped, faults: waiting.collect() }
    }

    fn end(self) -> Result<Arrived, Failure> {
        let faults: Vec<Fault> =
            self.goals.values().filter_map(|g| if let Standing::Failed(fault) = &g.standing { Some(fault.clone()) } else { None }).collect();
        if !faults.is_empty() {
            return Err(Failure { exit: Exit::Failed, faults });
        }
        Ok(self.goals.into_iter().map(|(key, goal)| (key, (goal.document, goal.operation))).collect())
    }
}

/// The command that tells more of a document.
pub fn explain(kind: Kind, name: &DocumentName) -> String {
    format!("atoll explain {} {name}", kind.as_str().to_lowercase())
}

fn stands(document: &Document, until: &Until) -> Standing {
    match until {
        Until::Ready => judge(document),
        Until::Gone => Standing::Waiting { reason: "Closing".to_owned(), message: String::new(), blocked: false },
    }
}

/// The operation at work on a document.
fn running(document: &Document) -> Option<DocumentName> {
    document.status["operation"].as_str().and_then(|name| DocumentName::new(name).ok())
}
