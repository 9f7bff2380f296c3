//! Control as a whole: takes the lease, learns the store, runs every reconciler and operation until stopped or deposed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use model::v1alpha1::{Machine, MachineSpec};
use model::{Revision, Typed};
use reconcile::{CancellationToken, Handle, Signal};
use store::{Compare, Lease, StoreError, TypedStore};

use crate::world::{World, lock};
use crate::{LocalMachine, Options, Ports, RouteFeed, names, operations, tasks};

/// Pause before a store that does not answer is asked again.
const BREATHER: Duration = Duration::from_millis(500);

/// Why control ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another control holds the lease now, or it could not be renewed in time: this one must not act any more.
    #[error("the lease of this control is lost; another one may be at work")]
    Deposed,
    /// The store cannot be used at all.
    #[error("the store cannot be used")]
    Store(#[source] StoreError),
}

/// Control. Cheap to clone; clones share one.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    ports: Ports,
    options: Options,
    feed: Arc<RouteFeed>,
    active: AtomicBool,
    /// What it works with, while it works.
    world: Mutex<Weak<World>>,
}

impl Control {
    /// Control over these ports. Nothing happens before [`Control::run`].
    #[must_use]
    pub fn new(ports: Ports, options: Options) -> Self {
        Self(Arc::new(Inner { ports, options, feed: RouteFeed::new(), active: AtomicBool::new(false), world: Mutex::default() }))
    }

    /// The source of the route feed, to be served to edges by [`crate::router`].
    #[must_use]
    pub fn feed(&self) -> Arc<RouteFeed> {
        self.0.feed.clone()
    }

    /// Whether this control holds the lease and works.
    #[must_use]
    pub fn active(&self) -> bool {
        self.0.active.load(Ordering::Relaxed)
    }

    /// Whether every cell that stands was looked at since this control works: until then documents say what an earlier one saw.
    #[must_use]
    pub fn looked(&self) -> bool {
        let Some(world) = lock(&self.0.world).upgrade() else { return false };
        world.view.read(|known| known.snapshot.cells.iter().all(|(name, cell)| cell.status.allocation.is_none() || world.desk(name).looked()))
    }

    /// Waits for the lease, then works until stopped. On stop, running looks end first and the lease is given back.
    ///
    /// # Errors
    /// [`ControlError`]: this process must end and be started anew.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), ControlError> {
        let Inner { ports, options, feed, active, world: known } = &*self.0;
        let holder = format!("{}-{}", options.platform, ports.keys.token(9).reveal());
        let Some(lease) = take_lease(ports, options, &holder, &stop).await? else { return Ok(()) };
        let incarnation = again(&stop, || ports.store.incarnation()).await?;
        let Some(incarnation) = incarnation else { return Ok(()) };
        let world = World::new(ports.clone(), options.clone(), feed.clone(), lease.clone(), incarnation);
        *lock(known) = Arc::downgrade(&world);
        let work = stop.child_token();
        let renewing = tokio::spawn(renew(world.clone(), work.clone()));
        let result = work_until(&world, &stop, &work, active).await;
        active.store(false, Ordering::Relaxed);
        work.cancel();
        renewing.abort();
        if !world.lost.is_cancelled() {
            let _ = ports.store.release(&lease).await;
        }
        result
    }
}

/// Loads, spawns, waits.
async fn work_until(world: &Arc<World>, stop: &CancellationToken, work: &CancellationToken, active: &AtomicBool) -> Result<(), ControlError> {
    let Some(from) = again(stop, || world.view.load(world.store())).await? else { return Ok(()) };
    if let Some(local) = &world.options.local {
        let kept = again(stop, || keep_machine(world, local)).await;
        if kept?.is_none() {
            return Ok(());
        }
    }
    active.store(true, Ordering::Relaxed);
    tracing::info!(fence = world.lease.fence, incarnation = world.incarnation, "this control works");
    let supervisor = Signal::new();
    let learning = tokio::spawn(learn(world.clone(), from, supervisor.clone(), work.clone()));
    let keeping = tokio::spawn(tasks::keep_cells(world.clone(), supervisor, work.clone()));
    let driving = tokio::spawn(operations::drive_all(world.clone(), work.clone()));
    let whole = tasks::spawn_whole(world, work);
    let deposed = tokio::select! {
        () = stop.cancelled() => false,
        () = world.lost.cancelled() => true,
    };
    work.cancel();
    if deposed {
        // Nothing may be waited for: whatever still runs is refused by number and ended here.
        whole.iter().for_each(Handle::abort);
        keeping.abort();
        driving.abort();
        learning.abort();
        return Err(ControlError::Deposed);
    }
    for handle in whole {
        handle.stopped().await;
    }
    for task in [keeping, driving, learning] {
        let _ = task.await;
    }
    Ok(())
}

/// Takes the lease as soon as nobody else holds it. `None`: stopped first.
async fn take_lease(ports: &Ports, options: &Options, holder: &str, stop: &CancellationToken) -> Result<Option<Lease>, ControlError> {
    let mut told = false;
    loop {
        match ports.store.lease(names::LEASE, holder, options.lease).await {
            Ok(lease) => return Ok(Some(lease)),
            Err(StoreError::Held { holder, .. }) if !told => {
                tracing::info!(holder, "another control holds the lease; waiting");
                told = true;
            }
            Err(StoreError::Refused(why)) => return Err(ControlError::Store(StoreError::Refused(why))),
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(BREATHER) => {}
        }
    }
}

/// Renews the lease; when that fails for as long as it is good, control is deposed.
async fn renew(world: Arc<World>, stop: CancellationToken) {
    let every = world.options.lease / 3;
    let mut good_until = tokio::time::Instant::now() + world.options.lease;
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let asked = tokio::time::Instant::now();
        let call = world.ports.store.lease(names::LEASE, &world.lease.holder, world.options.lease);
        match tokio::time::timeout_at(good_until, call).await {
            Ok(Ok(lease)) if lease.fence == world.lease.fence => good_until = asked + world.options.lease,
            Ok(Ok(_) | Err(StoreError::Held { .. })) => break,
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
            Err(_) => break,
        }
        if tokio::time::Instant::now() >= good_until {
            break;
        }
    }
    if !stop.is_cancelled() {
        tracing::error!("the lease is lost; this control stops");
        world.lost.cancel();
    }
}

/// Follows the store; a reader too far behind lists anew.
async fn learn(world: Arc<World>, mut from: Revision, supervisor: Signal, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let mut watch = match world.store().watch(None, from).await {
            Ok(watch) => watch,
            Err(error) => {
                tracing::debug!(%error, "the store is listed anew");
                match world.view.load(world.store()).await {
                    Ok(revision) => from = revision,
                    Err(_) => tokio::time::sleep(BREATHER).await,
                }
                supervisor.wake();
                continue;
            }
        };
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = watch.next() => event,
            };
            match event {
                Ok(event) => {
                    let (revision, cells) = match &event {
                        store::Event::Put(document) | store::Event::Gone(document) => {
                            (document.metadata.revision, matches!(document.kind, model::Kind::Cell | model::Kind::Blueprint))
                        }
                        store::Event::Bookmark(revision) => (*revision, false),
                    };
                    from = revision;
                    world.view.event(event);
                    if cells {
                        supervisor.wake();
                    }
                }
                Err(StoreError::TooOld(_)) => {
                    match world.view.load(world.store()).await {
                        Ok(revision) => from = revision,
                        Err(_) => tokio::time::sleep(BREATHER).await,
                    }
                    supervisor.wake();
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "the store's watch broke off");
                    tokio::time::sleep(BREATHER).await;
                    break;
                }
            }
        }
    }
}

/// Makes sure that the machine on which control stands is known, where its agent is now.
async fn keep_machine(world: &World, local: &LocalMachine) -> Result<(), StoreError> {
    let spec = MachineSpec { agent: local.agent, region: None };
    let mut machine = Typed::<Machine>::new(&local.name, spec);
    let key = store::key_of(&machine);
    let compare = match world.store().read::<Machine>(&machine.metadata.name).await? {
        Some(standing) if standing.spec.agent == local.agent => return Ok(()),
        Some(standing) => {
            machine.spec.region = standing.spec.region;
            machine.metadata.labels = standing.metadata.labels;
            Compare::Revision(key, standing.metadata.revision)
        }
        None => Compare::Absent(key),
    };
    world.commit(vec![compare], vec![store::spec_write(&machine)]).await.map(drop)
}

/// Asks again until there is an answer. `None`: stopped first.
async fn again<T, F: Future<Output = Result<T, StoreError>>>(stop: &CancellationToken, ask: impl Fn() -> F) -> Result<Option<T>, ControlError> {
    loop {
        match ask().await {
            Ok(answer) => return Ok(Some(answer)),
            Err(StoreError::Refused(why)) => return Err(ControlError::Store(StoreError::Refused(why))),
            Err(StoreError::Conflict(Compare::Fence(_))) => return Err(ControlError::Deposed),
            Err(error) => tracing::warn!(%error, "the store does not answer"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(BREATHER) => {}
        }
    }
}
