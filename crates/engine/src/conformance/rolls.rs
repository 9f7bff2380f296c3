//! What a change of a service or a gate promises.

use tokio::time::Instant;

use super::{Fixture, Sort, acknowledge, app, ensure, known, next, of, ready, settle, settled, until, with};
use crate::roll::{DRAIN_BOUND, gate_service};
use crate::{InstanceState, Reason, ServiceWanted, Wanted};

fn two(service: ServiceWanted) -> ServiceWanted {
    ServiceWanted { replicas: 2, ..service }
}

/// Follows a roll, acknowledging drains, until it is over; `least` instances of the service are ready at every look.
async fn roll(fixture: &impl Fixture, wanted: &Wanted, service: &model::ServiceName, least: usize) -> bool {
    ensure(fixture, wanted).await;
    let deadline = Instant::now() + fixture.patience();
    let mut drained = false;
    loop {
        let observed = known(fixture, &wanted.cell).await;
        assert!(ready(&observed, service) >= least, "{} ready, at least {least} must be: {observed:#?}", ready(&observed, service));
        drained |= of(&observed, service).iter().any(|instance| instance.state == InstanceState::Draining);
        if settled(&observed, wanted) {
            return drained;
        }
        assert!(Instant::now() < deadline, "not as wanted within {:?}: {observed:#?}", fixture.patience());
        acknowledge(fixture, &wanted.cell).await;
        tokio::time::sleep(super::PAUSE).await;
    }
}

/// As many instances as wanted are ready at every moment of a roll, and who leaves is first reported as draining.
pub async fn new_comes_before_old_goes(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    let changed = with(next(&wanted), two(fixture.service(Sort::Better)));
    assert!(roll(fixture, &changed, &app(), 2).await, "a drain was reported");
    let version = changed.services[&app()].version();
    assert!(of(&known(fixture, &wanted.cell).await, &app()).iter().all(|instance| instance.version == version));
}

/// A drain that nobody acknowledges ends by itself, and not before its time.
pub async fn drain_is_bounded(fixture: &impl Fixture) {
    let wanted = with(fixture.wanted(), fixture.service(Sort::Good));
    settle(fixture, &wanted).await;
    let changed = with(next(&wanted), fixture.service(Sort::Better));
    ensure(fixture, &changed).await;
    let drains = |o: &crate::Observed| o.instances.iter().any(|i| i.state == InstanceState::Draining);
    until(fixture, &wanted.cell, "draining", drains).await;
    let began = Instant::now();
    until(fixture, &wanted.cell, "over the drain", |o| !drains(o)).await;
    assert!(began.elapsed() + std::time::Duration::from_secs(1) >= DRAIN_BOUND.duration(), "the drain ended after {:?}", began.elapsed());
    until(fixture, &wanted.cell, "as wanted", |observed| settled(observed, &changed)).await;
}

/// A version that never gets ready stops at its first instance: the old ones serve on untouched, also over a restart of the driver; a good version
/// then replaces both.
pub async fn broken_version_stops_and_is_replaced(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    let old = wanted.services[&app()].version();
    let broken = with(next(&wanted), two(fixture.service(Sort::NeverReady)));
    ensure(fixture, &broken).await;
    let stopped = |o: &crate::Observed| o.rollouts.get(&app()).is_some_and(|rollout| rollout.reason == Reason::RolloutStopped);
    let observed = until(fixture, &wanted.cell, "stopped", stopped).await;
    assert!(observed.rollouts[&app()].message.contains("NeverReady"), "{:?}", observed.rollouts[&app()]);
    let serving = |o: &crate::Observed| of(o, &app()).iter().filter(|i| i.version == old && i.state == InstanceState::Ready).count();
    assert_eq!(serving(&observed), 2, "the old set serves on: {observed:#?}");
    let quiet = |o: &crate::Observed| of(o, &app()).iter().any(|i| i.version != old && i.state == InstanceState::Stopped);
    until(fixture, &wanted.cell, "keeping the failed one for its logs", quiet).await;
    fixture.restart().await;
    ensure(fixture, &broken).await;
    let observed = until(fixture, &wanted.cell, "still stopped", |o| stopped(o) && serving(o) == 2).await;
    assert_eq!(of(&observed, &app()).len(), 3, "nobody tries the same version again: {observed:#?}");
    let good = with(next(&broken), two(fixture.service(Sort::Better)));
    roll(fixture, &good, &app(), 2).await;
}

/// A changed gate is replaced while every other one is ready.
pub async fn gates_go_one_by_one(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    let mut changed = next(&wanted);
    for gate in &mut changed.gates {
        gate.limits.pids += 1;
    }
    assert!(roll(fixture, &changed, &gate_service(), 1).await, "a drain was reported");
}
