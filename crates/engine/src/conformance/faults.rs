//! The same fault gives the same reason on every engine.

use super::{Fixture, Sort, app, ensure, name, of, settle, until};
use crate::{InstanceState, Reason};

/// What goes wrong at a first start is told by its reason, for each service by itself.
pub async fn each_fault_has_its_reason(fixture: &impl Fixture) {
    let faults = [
        ("no-image", Sort::ImageMissing, Reason::ImageMissing),
        ("no-command", Sort::BadCommand, Reason::BadCommand),
        ("crashes", Sort::Crashes, Reason::CrashLoop),
        ("hungry", Sort::Hungry, Reason::OutOfMemory),
        ("silent", Sort::NeverReady, Reason::NeverReady),
    ];
    let mut wanted = fixture.wanted();
    for (service, sort, _) in faults {
        wanted.services.insert(name(service), fixture.service(sort));
    }
    ensure(fixture, &wanted).await;
    for (service, _, reason) in faults {
        let told = |o: &crate::Observed| o.rollouts.get(&name(service)).is_some_and(|rollout| rollout.reason == reason);
        let observed = until(fixture, &wanted.cell, &format!("telling {reason:?} of {service}"), told).await;
        assert!(!observed.rollouts[&name(service)].message.is_empty(), "a reason has evidence");
    }
    let well = |o: &crate::Observed| o.rollouts.get(&app()).is_some_and(|rollout| rollout.reason == Reason::AsWanted);
    until(fixture, &wanted.cell, "well where nothing is wrong", well).await;
}

/// A process that ends is started again under the same name and address, and its end is told.
pub async fn ended_process_is_started_again(fixture: &impl Fixture) {
    let wanted = fixture.wanted();
    let observed = settle(fixture, &wanted).await;
    let victim = of(&observed, &app())[0].clone();
    fixture.end(&wanted.cell, &victim.name).await;
    let back = |o: &crate::Observed| o.instances.iter().any(|i| i.name == victim.name && i.state == InstanceState::Ready && i.last_exit.is_some());
    let observed = until(fixture, &wanted.cell, "back", back).await;
    let Some(now) = observed.instances.iter().find(|i| i.name == victim.name) else { panic!("it was there a moment ago") };
    assert_eq!(now.last_exit.as_ref().map(|exit| (exit.code, exit.out_of_memory)), Some((137, false)));
    assert_eq!((now.address, now.restarts), (victim.address, victim.restarts + 1));
}
