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

/// Each instance is asked, and told to be reached, at the port of the version that it runs: while one version follows another, and when a driver that
/// was started meanwhile has found them.
pub async fn port_may_change_in_a_roll(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    let port = |of: &Wanted| of.services[&app()].port;
    let ports = |observed: &crate::Observed, version: &str| {
        let here = of(observed, &app()).into_iter().filter(|instance| instance.version == version);
        here.filter_map(|instance| instance.address.map(|address| address.port())).collect::<std::collections::BTreeSet<u16>>()
    };
    settle(fixture, &wanted).await;
    let changed = with(next(&wanted), two(fixture.elsewhere()));
    assert_ne!(port(&wanted), port(&changed), "or this case says nothing");
    let (old, new) = (wanted.services[&app()].version(), changed.services[&app()].version());
    ensure(fixture, &changed).await;
    let both = |o: &crate::Observed| {
        assert!(ready(o, &app()) >= 2, "{} ready, 2 must be: {o:#?}", ready(o, &app()));
        let at = |version: &str| of(o, &app()).iter().filter(|i| i.version == version && i.state == InstanceState::Ready).count();
        at(&old) >= 1 && at(&new) >= 1
    };
    let observed = until(fixture, &wanted.cell, "served by both versions", both).await;
    let each = |of: &Wanted| port(of).into_iter().collect();
    assert_eq!((ports(&observed, &old), ports(&observed, &new)), (each(&wanted), each(&changed)), "{observed:#?}");
    fixture.restart().await;
    let observed = until(fixture, &wanted.cell, "served by both versions after a restart", both).await;
    assert_eq!((ports(&observed, &old), ports(&observed, &new)), (each(&wanted), each(&changed)), "{observed:#?}");
    roll(fixture, &changed, &app(), 2).await;
    assert_eq!(ports(&known(fixture, &wanted.cell).await, &new), each(&changed));
}

/// A service that a new set names no more stays until what the set names stands: older instances may still use it.
pub async fn what_is_named_no_more_goes_last(fixture: &impl Fixture) {
    let extra = super::name("extra");
    let mut wanted = fixture.wanted();
    wanted.services.insert(extra.clone(), fixture.service(Sort::Good));
    settle(fixture, &wanted).await;
    let mut changed = with(next(&wanted), two(fixture.service(Sort::Better)));
    changed.services.remove(&extra);
    let version = changed.services[&app()].version();
    ensure(fixture, &changed).await;
    let deadline = Instant::now() + fixture.patience();
    loop {
        let observed = known(fixture, &wanted.cell).await;
        if settled(&observed, &changed) {
            return;
        }
        let old = of(&observed, &app()).iter().any(|instance| instance.version != version);
        assert!(!old || ready(&observed, &extra) == 1, "it went while an older instance was there: {observed:#?}");
        assert!(Instant::now() < deadline, "not as wanted within {:?}: {observed:#?}", fixture.patience());
        acknowledge(fixture, &wanted.cell).await;
        tokio::time::sleep(super::PAUSE).await;
    }
}
