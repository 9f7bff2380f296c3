//! What `ensure` and `remove` promise.

use std::collections::BTreeSet;

use model::{Generation, InstanceName, Sensitive};
use tokio::time::Instant;

use super::{Fixture, Sort, acknowledge, app, ensure, known, must, name, next, of, ready, settle, settled, until, until_always, with};
use crate::roll::gate_service;
use crate::{EngineError, InstanceState, LogOptions, Observed, Reason, SecretFile};

/// Everything wanted is there, ready, with addresses of its own, under fixed names.
pub async fn makes_what_is_wanted(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    let began = Instant::now();
    ensure(fixture, &wanted).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "ensure waited {:?}", began.elapsed());
    let observed = settle(fixture, &wanted).await;
    let names: BTreeSet<_> = observed.instances.iter().map(|i| i.name.as_str().to_owned()).collect();
    let expected: BTreeSet<_> = ["app-1", "app-2", "gate-1", "gate-2"].map(str::to_owned).into();
    assert_eq!(names, expected);
    let addresses: BTreeSet<_> = observed.instances.iter().filter_map(|i| i.address).collect();
    assert_eq!(addresses.len(), 4, "four instances have four addresses: {addresses:?}");
    for instance in &observed.instances {
        let address = instance.address.map(|a| a.ip());
        match wanted.gates.iter().find(|gate| gate.name.as_str() == instance.name.as_str()) {
            Some(gate) => {
                assert_eq!(address, Some(gate.address.into()), "a gate has its fixed address");
                assert_eq!(instance.version, gate.version());
            }
            None => {
                assert!(address.is_some_and(|ip| matches!(ip, std::net::IpAddr::V4(ip) if wanted.network.subnet.contains(&ip))), "{address:?}");
                assert_eq!(instance.version, wanted.services[&app()].version());
            }
        }
        assert_eq!(instance.reason, Reason::AsWanted);
    }
    assert_eq!(observed.rollouts.keys().cloned().collect::<Vec<_>>(), [app(), gate_service()]);
    assert_eq!((observed.fault, observed.strangers), (None, Vec::new()));
}

/// The same set again, or a newer generation of the same set, makes, starts and removes nothing.
pub async fn ensured_twice_writes_nothing(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    let before = fixture.trace(&wanted.cell).await;
    settle(fixture, &wanted).await;
    let newer = next(&wanted);
    let observed = settle(fixture, &newer).await;
    assert_eq!(observed.generation, Some(newer.generation));
    assert_eq!(fixture.trace(&wanted.cell).await, before);
}

/// An older set is refused and changes nothing.
pub async fn older_generation_is_refused(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    ensure(fixture, &wanted).await;
    let older = crate::Wanted { generation: Generation(wanted.generation.0 - 1), ..with(wanted.clone(), fixture.service(Sort::Better)) };
    let answer = fixture.engine().ensure(&older).await;
    assert_eq!(answer, Err(EngineError::Older { held: wanted.generation, offered: older.generation }));
    settle(fixture, &wanted).await;
}

/// A cell that was never ordered is known to have nothing.
pub async fn unknown_cell_is_empty(fixture: &impl Fixture) {
    let cell = fixture.wanted().cell;
    assert_eq!(known(fixture, &cell).await, Observed::default());
    let instance = InstanceName::new("app-1").unwrap_or_else(|error| panic!("{error}"));
    must(fixture.engine().drained(&cell, &instance).await, "drained of what is not there");
    must(fixture.engine().remove(&cell).await, "remove of what is not there");
    match fixture.engine().logs(&cell, &instance, LogOptions::default()).await {
        Err(EngineError::Refused { reason: Reason::NoSuchInstance, .. }) => {}
        other => panic!("expected NoSuchInstance, got {other:?}"),
    }
}

/// More instances come beside those that are there; fewer leave without touching those that stay.
pub async fn number_of_instances_changes(fixture: &impl Fixture) {
    let mut wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    let before = fixture.trace(&wanted.cell).await;
    wanted = next(&wanted);
    if let Some(service) = wanted.services.get_mut(&app()) {
        service.replicas = 3;
    }
    settle(fixture, &wanted).await;
    let after = fixture.trace(&wanted.cell).await;
    assert!(before.iter().all(|line| after.contains(line)), "what was there is untouched: {before:?} {after:?}");
    wanted = next(&wanted);
    if let Some(service) = wanted.services.get_mut(&app()) {
        service.replicas = 2;
    }
    ensure(fixture, &wanted).await;
    let draining = until(fixture, &wanted.cell, "draining", |o| o.instances.iter().any(|i| i.state == InstanceState::Draining)).await;
    assert_eq!(ready(&draining, &app()), 2);
    acknowledge(fixture, &wanted.cell).await;
    until(fixture, &wanted.cell, "as wanted", |observed| settled(observed, &wanted)).await;
    assert_eq!(fixture.trace(&wanted.cell).await, before, "the youngest leaves");
}

/// A service that the set names no more is drained and removed.
pub async fn what_is_named_no_more_goes(fixture: &impl Fixture) {
    let mut wanted = fixture.wanted();
    wanted.services.insert(name("extra"), fixture.service(Sort::Good));
    settle(fixture, &wanted).await;
    wanted = next(&wanted);
    wanted.services.remove(&name("extra"));
    ensure(fixture, &wanted).await;
    until(fixture, &wanted.cell, "draining", |o| of(o, &name("extra")).iter().all(|i| i.state == InstanceState::Draining)).await;
    acknowledge(fixture, &wanted.cell).await;
    until(fixture, &wanted.cell, "as wanted", |observed| settled(observed, &wanted)).await;
}

/// A service is not started before those it uses have a ready instance; afterwards it does not fall with them.
pub async fn uses_come_first(fixture: &impl Fixture) {
    let mut late = fixture.service(Sort::Good);
    late.after = vec![app()];
    let mut wanted = with(fixture.wanted(), fixture.service(Sort::Slow));
    wanted.services.insert(name("late"), late);
    ensure(fixture, &wanted).await;
    let mut waited = false;
    let check = |observed: &Observed| {
        if ready(observed, &app()) == 0 && !waited {
            assert!(of(observed, &name("late")).is_empty(), "started before what it uses: {observed:#?}");
        }
        waited |= observed.rollouts.get(&name("late")).is_some_and(|rollout| rollout.reason == Reason::WaitingForUses);
    };
    until_always(fixture, &wanted.cell, "as wanted", check, |observed| settled(observed, &wanted)).await;
    assert!(waited, "the waiting was reported");
}

/// New content of a secret reaches a running instance.
pub async fn secrets_change_under_a_running_instance(fixture: &impl Fixture) {
    const PATH: &str = "/atoll/secrets/key";
    let secret = |content: &str| vec![SecretFile { path: PATH.to_owned(), content: Sensitive::new(content.to_owned()) }];
    let mut wanted = with(fixture.wanted(), fixture.service(Sort::Good));
    if let Some(service) = wanted.services.get_mut(&app()) {
        service.secrets = secret("first-s3cret");
    }
    let observed = settle(fixture, &wanted).await;
    let instance = of(&observed, &app())[0].name.clone();
    assert_eq!(fixture.read(&wanted.cell, &instance, PATH).await.as_deref(), Some("first-s3cret"));
    let before = fixture.trace(&wanted.cell).await;
    wanted = next(&wanted);
    if let Some(service) = wanted.services.get_mut(&app()) {
        service.secrets = secret("second-s3cret");
    }
    settle(fixture, &wanted).await;
    assert_eq!(fixture.read(&wanted.cell, &instance, PATH).await.as_deref(), Some("second-s3cret"));
    assert_eq!(fixture.trace(&wanted.cell).await, before);
}

/// A second cell on a subnet in use is refused with the reason, which also stands in what is observed; the first one lives on.
pub async fn cells_share_no_subnet(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    let mut other = fixture.other();
    for (gate, held) in other.gates.iter_mut().zip(&wanted.gates) {
        gate.address = held.address;
    }
    other.network = wanted.network.clone();
    match fixture.engine().ensure(&other).await {
        Err(EngineError::Refused { reason: Reason::SubnetClash, .. }) => {}
        answer => panic!("expected SubnetClash, got {answer:?}"),
    }
    let observed = known(fixture, &other.cell).await;
    assert_eq!(observed.fault.map(|(reason, _)| reason), Some(Reason::SubnetClash));
    assert!(observed.instances.is_empty());
    let repaired = next(&fixture.other());
    settle(fixture, &repaired).await;
    settle(fixture, &wanted).await;
    must(fixture.engine().remove(&other.cell).await, "remove");
}

/// What carries the cell's label and was not made for it is told, and neither stopped nor counted.
pub async fn strangers_are_told_and_left(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    let stranger = fixture.stranger(&wanted.cell).await;
    let observed = until(fixture, &wanted.cell, "telling of the stranger", |o| !o.strangers.is_empty()).await;
    assert_eq!(observed.strangers.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), [stranger.as_str()]);
    let newer = next(&wanted);
    ensure(fixture, &newer).await;
    until(fixture, &wanted.cell, "as wanted", |observed| settled(observed, &newer)).await;
    assert_eq!(known(fixture, &wanted.cell).await.strangers, observed.strangers, "it is still there");
}

/// Removing leaves nothing; again: nothing happens; the same cell can be made anew, from any generation.
pub async fn remove_is_repeatable(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    settle(fixture, &wanted).await;
    for _ in 0..2 {
        must(fixture.engine().remove(&wanted.cell).await, "remove");
        assert_eq!(known(fixture, &wanted.cell).await, Observed::default());
        assert_eq!(fixture.trace(&wanted.cell).await, Vec::<String>::new());
    }
    let anew = crate::Wanted { generation: Generation(1), ..wanted };
    settle(fixture, &anew).await;
    must(fixture.engine().remove(&anew.cell).await, "remove");
}
