//! Hooks: commands of the blueprint, run to their end beside a service.

use engine::{EngineError, FileMount, Job, Reason};
use model::Sensitive;
use model::v1alpha1::Hook;
use operation::StepError;

use super::ways::Place;
use crate::names;
use crate::world::World;

/// How often a hook is run before it counts as failed.
const TRIES: u32 = 5;
/// Most characters of a hook's output in a message.
const TAIL: usize = 400;

/// Runs a hook with these parameters. `key` names the run: asked again after a crash it is the same one; a failed run is followed by another.
pub async fn run(world: &World, place: &Place, hook: &Hook, key: &str, parameters: &serde_json::Value) -> Result<(), StepError> {
    let services = place.frame(world)?.services();
    let service = services.get(&hook.r#in).cloned();
    let service = service.ok_or_else(|| StepError::fatal("HookInvalid", format!("the blueprint has no service {}", hook.r#in)))?;
    let tries = world.hook_tries(key);
    let content = Sensitive::new(parameters.to_string());
    let job = Job {
        key: format!("{key}-{}", tries + 1),
        service,
        run: hook.run.clone(),
        files: vec![FileMount { path: names::JOB_PARAMETERS.to_owned(), content }],
        within: hook.within,
    };
    let desk = world.desk(&place.name);
    let _turn = desk.hooks.acquire().await.map_err(|_| StepError::retry("Working", "control stops"))?;
    let done = world.ports.engine.run(&place.name, &job).await.map_err(engine_error)?;
    if done.code == Some(0) {
        return Ok(());
    }
    let why = match (done.timed_out, done.code) {
        (true, _) => format!("did not end within {} s", hook.within.duration().as_secs()),
        (_, Some(code)) => format!("ended with code {code}"),
        (_, None) => "was ended from outside".to_owned(),
    };
    let tail = done.tail.trim_end();
    let from = tail.char_indices().rev().nth(TAIL).map_or(0, |(at, _)| at);
    let message = format!("hook {:?} {why}: {}", hook.run.join(" "), &tail[from..]);
    let reason = if done.timed_out { "HookTimedOut" } else { "HookFailed" };
    world.note_hook(key, tries + 1);
    if tries + 1 >= TRIES {
        return Err(StepError::fatal(reason, format!("{message} (tried {TRIES} times)")));
    }
    Err(StepError::retry(reason, message))
}

fn engine_error(error: EngineError) -> StepError {
    match error {
        EngineError::Refused { reason: reason @ (Reason::ImageMissing | Reason::BadCommand), message } => StepError::fatal(reason.as_str(), message),
        EngineError::Refused { reason, message } => StepError::retry(reason.as_str(), message),
        EngineError::Older { .. } => StepError::retry("EngineHoldsNewer", error.to_string()),
        EngineError::Unreachable(_) => StepError::retry("EngineUnreachable", error.to_string()),
    }
}
