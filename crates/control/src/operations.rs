//! Beginning operations, and driving each until it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::v1alpha1::{Operation, OperationSpec, Subject, Verb};
use model::{Kind, OperationName, Resource, Typed};
use operation::{Drove, Procedures, RunError, Runner};
use reconcile::Report;
use store::{Compare, Key, StoreError, Write};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::world::World;
use crate::{names, verbs};

/// Pause after a run that the store interrupted.
const BREATHER: Duration = Duration::from_millis(500);
/// Longest sleep between two looks at an operation that waits.
const LOOK: Duration = Duration::from_secs(20);

/// An operation to be begun on a document.
pub struct Begin {
    /// What is to be done.
    pub verb: Verb,
    /// With every choice made.
    pub parameters: serde_json::Value,
    /// Who asked.
    pub requested_by: String,
    /// What else must hold.
    pub compares: Vec<Compare>,
    /// What else is written.
    pub writes: Vec<Write>,
}

/// Begins an operation in one commit that also takes its subject, as it was read.
pub async fn begin<R: Resource>(
    world: &World,
    mut subject: Typed<R>,
    begin: Begin,
    take: impl FnOnce(&mut R::Status, OperationName),
) -> Result<(), StoreError> {
    let name = names::operation_name(begin.verb, &subject.metadata);
    take(&mut subject.status, name.clone());
    let spec = OperationSpec {
        verb: begin.verb,
        subject: Subject { kind: R::KIND, name: subject.metadata.name.clone() },
        parameters: begin.parameters,
        requested_by: begin.requested_by,
        idempotency_key: name.as_str().to_owned(),
        cancel: false,
    };
    let (absent, write) = operation::create(&name, &spec);
    let mut compares = vec![Compare::Revision(store::key_of(&subject), subject.metadata.revision), absent];
    compares.extend(begin.compares);
    let mut writes = vec![store::status_write(&subject), write];
    writes.extend(begin.writes);
    world.commit(compares, writes).await?;
    tracing::info!(operation = %name, verb = ?begin.verb, subject = %subject.metadata.name, "operation begins");
    Ok(())
}

/// Every verb.
pub fn procedures() -> Procedures<World> {
    Procedures::new()
        .with::<verbs::TenantCreate>()
        .with::<verbs::TenantSuspend>()
        .with::<verbs::TenantResume>()
        .with::<verbs::TenantRemove>()
        .with::<verbs::TenantPurge>()
        .with::<verbs::CellOpen>()
        .with::<verbs::CellRoll>()
        .with::<verbs::CellDrain>()
        .with::<verbs::CellClose>()
}

/// Drives every operation that has not ended, each in a task of its own, until stopped.
pub async fn drive_all(world: Arc<World>, stop: CancellationToken) {
    let procedures = Arc::new(procedures());
    let clock = world.ports.clock.clone();
    let runner = Arc::new(Runner::new(world.ports.store.clone(), world.lease.clone(), world.clone(), procedures, clock));
    let signal = world.view.wakes().operations.clone();
    let mut driven: BTreeMap<OperationName, tokio::task::AbortHandle> = BTreeMap::new();
    let mut tasks: JoinSet<OperationName> = JoinSet::new();
    loop {
        let due: Vec<OperationName> = world.view.read(|known| {
            let open = known.operations.iter().filter(|(_, operation)| !operation.status.state.ended());
            open.map(|(name, _)| name.clone()).filter(|name| !driven.contains_key(name)).collect()
        });
        for name in due {
            let handle = tasks.spawn(drive(world.clone(), runner.clone(), name.clone(), stop.clone()));
            driven.insert(name, handle);
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = signal.woken() => {}
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => match ended {
                Ok(name) => { driven.remove(&name); }
                Err(error) => {
                    tracing::error!(%error, "an operation's task ended by itself");
                    driven.retain(|_, handle| !handle.is_finished());
                }
            },
        }
    }
    tasks.shutdown().await;
}

/// Drives one operation to its end.
async fn drive(world: Arc<World>, runner: Arc<Runner<World>>, name: OperationName, stop: CancellationToken) -> OperationName {
    let mut news = world.view.wakes().steps.follow();
    while !stop.is_cancelled() {
        news.borrow_and_update();
        let pause = match runner.drive(&name).await {
            Ok(Drove::Ended(_) | Drove::Gone) => {
                refresh(&world, &name).await;
                break;
            }
            Ok(Drove::Until(at)) => Duration::try_from(at.duration_since(world.now())).unwrap_or_default().min(LOOK),
            Err(RunError::Fenced) => {
                world.lost.cancel();
                break;
            }
            Err(error) => {
                tracing::warn!(operation = %name, %error, source = ?std::error::Error::source(&error), "an operation was interrupted");
                BREATHER
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
            _ = news.changed(), if runner.waits(&name) => {}
        }
    }
    name
}

/// Learns an operation's end before it is forgotten here, so that it is not taken up again.
async fn refresh(world: &World, name: &OperationName) {
    let key = Key::new(Kind::Operation, name);
    if let Ok(Some(document)) = world.store().get(&key).await {
        world.view.event(store::Event::Put(document));
    }
}

/// Deletes operations that ended long ago. Secrets that were never asked for go with them.
pub async fn clean(world: &World) -> Result<Report, StoreError> {
    let keep = jiff::SignedDuration::try_from(world.options.keep_operations).unwrap_or(jiff::SignedDuration::MAX);
    let before = world.now().saturating_sub(keep).unwrap_or(jiff::Timestamp::MIN);
    let old: Vec<Arc<Typed<Operation>>> = world.view.read(|known| {
        let ended = known.operations.values().filter(|operation| operation.status.ended_at.is_some_and(|at| at < before));
        ended.take(40).cloned().collect()
    });
    let writes = old.iter().flat_map(|operation| {
        let reveal = operation.status.reveal.clone().map(|name| Write::Delete(Key::new(Kind::Secret, name)));
        std::iter::once(Write::Delete(store::key_of(operation))).chain(reveal)
    });
    let writes: Vec<Write> = writes.collect();
    if writes.is_empty() {
        return Ok(Report::new("nothing ended long ago"));
    }
    world.commit(Vec::new(), writes).await?;
    Ok(Report::new(format!("{} operations forgotten", old.len())).again(Duration::ZERO))
}
