//! What comes next in an operation: pure.

use jiff::Timestamp;
use model::v1alpha1::{OperationSpec, OperationState, OperationStatus, StepState};

/// The steps of a procedure as the decision sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Names in order.
    pub steps: Vec<&'static str>,
    /// Once this step has begun nothing is undone any more; none: everything can be.
    pub no_return: Option<usize>,
}

/// What happens to the operation's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The first step begins.
    Start,
    /// The last step is done.
    Finished,
    /// A step failed for good, or somebody cancelled.
    TurnBack,
    /// Everything begun is undone.
    BackAtStart,
    /// Neither forward nor back.
    Stuck,
}

/// A transition that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to an operation that is {state:?}")]
pub struct Illegal {
    /// Where it stands.
    pub state: OperationState,
    /// What was to happen.
    pub event: Event,
}

/// Every transition there is.
///
/// # Errors
/// [`Illegal`] for all others.
pub const fn next_state(state: OperationState, event: Event) -> Result<OperationState, Illegal> {
    use OperationState as S;
    Ok(match (state, event) {
        (S::Pending, Event::Start) => S::Running,
        (S::Pending, Event::TurnBack) | (S::Undoing, Event::BackAtStart) => S::Failed,
        (S::Running, Event::Finished) => S::Done,
        (S::Running, Event::TurnBack) => S::Undoing,
        (S::Pending | S::Running | S::Undoing, Event::Stuck) => S::NeedsHuman,
        _ => return Err(Illegal { state, event }),
    })
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It has ended.
    Nothing,
    /// The next try is not due.
    Wait(Timestamp),
    /// Record this step as begun.
    Begin(usize),
    /// Do this step, which is recorded as begun.
    Act(usize),
    /// Turn back: somebody cancelled in time.
    Cancel,
    /// Undo this step.
    Undo(usize),
    /// Conclude in this way.
    End(Event),
}

/// What comes next, from what is recorded alone.
#[must_use]
pub fn decide(shape: &Shape, spec: &OperationSpec, status: &OperationStatus, now: Timestamp) -> Next {
    let cancellable = spec.cancel && !past_return(shape, status);
    let due = status.next_try_at.filter(|at| *at > now);
    match status.state {
        state if state.ended() => Next::Nothing,
        OperationState::Pending if spec.cancel => Next::End(Event::TurnBack),
        OperationState::Pending => Next::Begin(0),
        OperationState::Running if cancellable => Next::Cancel,
        OperationState::Running => match status.steps.last() {
            None => Next::Begin(0),
            Some(record) if record.state == StepState::Begun => due.map_or(Next::Act(status.steps.len() - 1), Next::Wait),
            Some(_) if status.steps.len() == shape.steps.len() => Next::End(Event::Finished),
            Some(_) => Next::Begin(status.steps.len()),
        },
        _ => match (due, status.steps.iter().rposition(|r| r.state != StepState::Undone)) {
            (Some(at), Some(_)) => Next::Wait(at),
            (None, Some(index)) => Next::Undo(index),
            (_, None) => Next::End(Event::BackAtStart),
        },
    }
}

/// Whether the point of no return was passed.
#[must_use]
pub fn past_return(shape: &Shape, status: &OperationStatus) -> bool {
    shape.no_return.is_some_and(|index| status.steps.len() > index)
}
