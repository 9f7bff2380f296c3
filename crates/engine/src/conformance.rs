//! The contract, case by case; every engine runs it.
//!
//! Each case is a function over a [`Fixture`] with a fresh cell and panics where a promise is broken. [`crate::conformance_tests`] makes a test of each.

#![expect(clippy::expect_used, clippy::panic, reason = "a broken promise of the contract is told by a panic; this module is only for tests")]

pub mod ensures;
pub mod faults;
pub mod jobs;
pub mod lives;
pub mod rolls;

use std::time::Duration;

use async_trait::async_trait;
use model::{CellName, Generation, InstanceName, ServiceName};
use tokio::time::Instant;

use crate::{EngineError, InstanceState, Job, Observation, Observed, ObservedInstance, Reason, ServiceWanted, SharedEngine, Wanted};

/// What a service of a case does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Is ready at once, writes `started` and then numbered lines to its log.
    Good,
    /// The same, of another version.
    Better,
    /// Becomes ready after about two seconds.
    Slow,
    /// Runs and never becomes ready; its probe gives it about two seconds.
    NeverReady,
    /// Ends at once with code 3.
    Crashes,
    /// Takes more memory than it may.
    Hungry,
    /// Its command does not exist in its image.
    BadCommand,
    /// Its image is nowhere.
    ImageMissing,
}

/// What a job of a case does. Each run is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Writes its file `/atoll/job/params.json` to its output, takes about a second, ends with 0.
    Tells,
    /// Writes `broken` and ends with code 3.
    Fails,
    /// Never ends; its time is up after a second.
    Hangs,
}

/// An engine under test with one fresh cell; dropping it cleans up.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The driver of now.
    fn engine(&self) -> SharedEngine;

    /// A new driver over the same engine, as after a crash: from now on [`Fixture::engine`] gives that.
    async fn restart(&self);

    /// Cuts the driver off its engine, or connects it again. The engine lives on meanwhile.
    async fn reach(&self, reachable: bool);

    /// A wanted set of a fresh cell: two gates that front `app`, service `app` of [`Sort::Good`] with two instances; generation 5.
    fn wanted(&self) -> Wanted;

    /// Another cell with a subnet of its own, else as [`Fixture::wanted`].
    fn other(&self) -> Wanted;

    /// A service with one instance.
    fn service(&self, sort: Sort) -> ServiceWanted;

    /// One of [`Sort::Better`] that listens on another port than the rest, and on no other.
    fn elsewhere(&self) -> ServiceWanted;

    /// A job.
    fn job(&self, key: &str, task: Task) -> Job;

    /// How often a job with this key was run.
    async fn runs(&self, cell: &CellName, key: &str) -> usize;

    /// Ends an instance's process by a signal that it cannot refuse.
    async fn end(&self, cell: &CellName, instance: &InstanceName);

    /// Removes an instance behind the driver's back.
    async fn lose(&self, cell: &CellName, instance: &InstanceName);

    /// Puts something with the cell's label on the engine that nobody wanted; gives its name.
    async fn stranger(&self, cell: &CellName) -> String;

    /// A file as an instance sees it.
    async fn read(&self, cell: &CellName, instance: &InstanceName, path: &str) -> Option<String>;

    /// Everything of the cell that is on the engine, so written that any making, starting or removing changes it.
    async fn trace(&self, cell: &CellName) -> Vec<String>;

    /// How long something may take that must come.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// Makes one test of each case. Give an async function that makes a [`Fixture`] and the attribute of a test, such as `tokio::test`.
#[macro_export]
macro_rules! conformance_tests {
    ($make:path, $(#[$test:meta])+) => {
        $crate::conformance_tests!(@cases $make, [$(#[$test])+];
            ensures: makes_what_is_wanted ensured_twice_writes_nothing older_generation_is_refused unknown_cell_is_empty number_of_instances_changes
                what_is_named_no_more_goes uses_come_first secrets_change_under_a_running_instance cells_share_no_subnet strangers_are_told_and_left
                remove_is_repeatable;
            rolls: new_comes_before_old_goes drain_is_bounded broken_version_stops_and_is_replaced gates_go_one_by_one port_may_change_in_a_roll
                what_is_named_no_more_goes_last;
            faults: each_fault_has_its_reason ended_process_is_started_again;
            lives: engine_out_of_reach_is_unknown new_driver_adopts_and_heals log_is_read_and_followed;
            jobs: job_runs_once failed_job_starts_clean job_is_ended_when_its_time_is_up interrupted_job_goes_on job_of_an_unknown_cell_is_refused;
        );
    };
    (@cases $make:path, $tests:tt; $($module:ident: $($case:ident)+;)+) => {
        $($crate::conformance_tests!(@module $make, $tests, $module, $($case)+);)+
    };
    (@module $make:path, $tests:tt, $module:ident, $($case:ident)+) => {
        $($crate::conformance_tests!(@case $make, $tests, $module, $case);)+
    };
    (@case $make:path, [$($test:tt)+], $module:ident, $case:ident) => {
        $($test)+
        async fn $case() {
            let fixture = $make().await;
            $crate::conformance::$module::$case(&fixture).await;
        }
    };
}

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a name")
}

fn app() -> ServiceName {
    name("app")
}

fn must<T>(answer: Result<T, EngineError>, what: &str) -> T {
    match answer {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

/// The set with one service in place of `app`.
fn with(mut wanted: Wanted, service: ServiceWanted) -> Wanted {
    wanted.services.insert(app(), service);
    wanted
}

/// The next generation of a set.
fn next(wanted: &Wanted) -> Wanted {
    Wanted { generation: Generation(wanted.generation.0 + 1), ..wanted.clone() }
}

async fn known(fixture: &impl Fixture, cell: &CellName) -> Observed {
    match fixture.engine().observe(cell).await {
        Observation::Known(observed) => observed,
        Observation::Unknown(words) => panic!("the engine is in reach, observe says unknown: {words}"),
    }
}

/// Looks until the cell stands as it must; every look is also given to `always`.
async fn until_always(
    fixture: &impl Fixture,
    cell: &CellName,
    what: &str,
    mut always: impl FnMut(&Observed),
    good: impl Fn(&Observed) -> bool,
) -> Observed {
    let deadline = Instant::now() + fixture.patience();
    loop {
        let observed = known(fixture, cell).await;
        always(&observed);
        if good(&observed) {
            return observed;
        }
        assert!(Instant::now() < deadline, "not {what} within {:?}: {observed:#?}", fixture.patience());
        tokio::time::sleep(PAUSE).await;
    }
}

async fn until(fixture: &impl Fixture, cell: &CellName, what: &str, good: impl Fn(&Observed) -> bool) -> Observed {
    until_always(fixture, cell, what, |_| {}, good).await
}

/// Whether everything is as wanted and nothing older is left.
fn settled(observed: &Observed, wanted: &Wanted) -> bool {
    let wanted_instances = wanted.gates.len() + wanted.services.values().map(|s| s.replicas as usize).sum::<usize>();
    observed.generation == Some(wanted.generation)
        && observed.rollouts.values().all(|rollout| rollout.reason == Reason::AsWanted && rollout.old == 0)
        && observed.instances.len() == wanted_instances
        && observed.instances.iter().all(|instance| instance.state == InstanceState::Ready)
}

async fn ensure(fixture: &impl Fixture, wanted: &Wanted) {
    must(fixture.engine().ensure(wanted).await, "ensure");
}

async fn settle(fixture: &impl Fixture, wanted: &Wanted) -> Observed {
    ensure(fixture, wanted).await;
    until(fixture, &wanted.cell, "as wanted", |observed| settled(observed, wanted)).await
}

fn of<'a>(observed: &'a Observed, service: &ServiceName) -> Vec<&'a ObservedInstance> {
    observed.instances.iter().filter(|instance| instance.service == *service).collect()
}

fn ready(observed: &Observed, service: &ServiceName) -> usize {
    of(observed, service).iter().filter(|instance| instance.state == InstanceState::Ready).count()
}

/// Acknowledges every drain that is reported.
async fn acknowledge(fixture: &impl Fixture, cell: &CellName) {
    let observed = known(fixture, cell).await;
    for instance in observed.instances.iter().filter(|instance| instance.state == InstanceState::Draining) {
        must(fixture.engine().drained(cell, &instance.name).await, "drained");
    }
}
