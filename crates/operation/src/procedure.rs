//! What an author of a verb writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use model::v1alpha1::{Operation, StepRecord, Verb};
use model::{Document, DocumentName, OperationName, Typed};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use store::{Compare, Write};

use crate::{Shape, StepError};

/// A verb: parameters, steps, conclusion.
#[async_trait]
pub trait Procedure: Send + Sync + Sized + 'static {
    /// The verb.
    const VERB: Verb;
    /// What steps work with: the ports.
    type World: Send + Sync + 'static;
    /// Parameters with all random choices already made.
    type Parameters: Serialize + DeserializeOwned + Send + Sync;

    /// The steps in order.
    fn steps() -> Steps<Self>;

    /// What is written about the subject in the commit that ends the operation. The runner itself gives back `status.operation`.
    ///
    /// # Errors
    /// Only [`StepError::Wait`] and [`StepError::Retry`] make sense; a fatal one needs a person.
    async fn conclude(cx: &Context<'_, Self>, subject: Document, ending: Ending) -> Result<Conclusion, StepError>;
}

/// One step of a verb: atomic, repeatable, undoable.
#[async_trait]
pub trait Step<P: Procedure>: Send + Sync + 'static {
    /// Its name, unique within the verb.
    const NAME: &'static str;
    /// What later steps may use of it; small, never a secret.
    type Out: Serialize + DeserializeOwned + Send;

    /// Brings its effect about. It may stand already, wholly or in part.
    ///
    /// # Errors
    /// [`StepError`].
    async fn act(&self, cx: &Context<'_, P>) -> Result<Self::Out, StepError>;

    /// Takes its effect back. It may never have been brought about, or be gone already.
    ///
    /// # Errors
    /// [`StepError`]; a fatal one needs a person.
    async fn undo(&self, cx: &Context<'_, P>) -> Result<(), StepError>;
}

/// What a step sees.
pub struct Context<'a, P: Procedure> {
    /// The operation.
    pub operation: &'a OperationName,
    /// Its parameters.
    pub parameters: &'a P::Parameters,
    /// What it acts on.
    pub subject: &'a DocumentName,
    /// The ports.
    pub world: &'a P::World,
    /// The time of this try.
    pub now: Timestamp,
    /// What earlier steps returned.
    pub outputs: Outputs<'a>,
}

impl<P: Procedure> Context<'_, P> {
    /// What an earlier step returned.
    ///
    /// # Errors
    /// Fatal when that step did not run: a defect of the procedure.
    pub fn output<S: Step<P>>(&self) -> Result<S::Out, StepError> {
        self.outputs.get::<P, S>()
    }
}

/// Recorded outputs, read by the type of their step.
#[derive(Clone, Copy)]
pub struct Outputs<'a>(pub(crate) &'a [StepRecord]);

impl Outputs<'_> {
    fn get<P: Procedure, S: Step<P>>(&self) -> Result<S::Out, StepError> {
        let record = self.0.iter().find(|r| r.name == S::NAME);
        let value = record.map(|r| r.output.clone()).ok_or_else(|| StepError::fatal("StepMissing", format!("step {} has not run", S::NAME)))?;
        serde_json::from_value(value).map_err(|e| StepError::fatal("OutputShape", format!("the output of step {} does not read: {e}", S::NAME)))
    }
}

/// How an operation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// At the goal.
    Done,
    /// Back where it began.
    Failed,
    /// In between, for a person to look at.
    NeedsHuman,
}

/// What the last commit says besides the operation's own end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conclusion {
    /// The subject's whole status; none: as it stands, but for `operation`.
    pub status: Option<Value>,
    /// More that must hold.
    pub compares: Vec<Compare>,
    /// More writes, after the subject's status.
    pub writes: Vec<Write>,
    /// Name of a sealed secret shown once to whoever asked.
    pub reveal: Option<DocumentName>,
}

/// The steps of a procedure.
pub struct Steps<P: Procedure> {
    steps: Vec<Arc<dyn ErasedStep<P>>>,
    no_return: Option<usize>,
}

impl<P: Procedure> Default for Steps<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Procedure> Steps<P> {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { steps: Vec::new(), no_return: None }
    }

    /// Then this one.
    #[must_use]
    pub fn then<S: Step<P>>(mut self, step: S) -> Self {
        debug_assert!(self.steps.iter().all(|s| s.name() != S::NAME), "step names are unique");
        self.steps.push(Arc::new(Erase(step)));
        self
    }

    /// From the next step on nothing is undone.
    #[must_use]
    pub const fn point_of_no_return(mut self) -> Self {
        self.no_return = Some(self.steps.len());
        self
    }
}

#[async_trait]
trait ErasedStep<P: Procedure>: Send + Sync {
    fn name(&self) -> &'static str;
    async fn act(&self, cx: &Context<'_, P>) -> Result<Value, StepError>;
    async fn undo(&self, cx: &Context<'_, P>) -> Result<(), StepError>;
}

struct Erase<S>(S);

#[async_trait]
impl<P: Procedure, S: Step<P>> ErasedStep<P> for Erase<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }
    async fn act(&self, cx: &Context<'_, P>) -> Result<Value, StepError> {
        let out = self.0.act(cx).await?;
        serde_json::to_value(out).map_err(|e| StepError::fatal("OutputShape", format!("the output of step {} does not write: {e}", S::NAME)))
    }
    async fn undo(&self, cx: &Context<'_, P>) -> Result<(), StepError> {
        self.0.undo(cx).await
    }
}

/// A procedure behind its verb, its types put aside.
#[async_trait]
pub(crate) trait Erased<W>: Send + Sync {
    fn shape(&self) -> &Shape;
    async fn act(&self, world: &W, operation: &Typed<Operation>, index: usize, now: Timestamp) -> Result<Value, StepError>;
    async fn undo(&self, world: &W, operation: &Typed<Operation>, index: usize, now: Timestamp) -> Result<(), StepError>;
    async fn conclude(
        &self,
        world: &W,
        operation: &Typed<Operation>,
        subject: Document,
        ending: Ending,
        now: Timestamp,
    ) -> Result<Conclusion, StepError>;
}

struct Whole<P: Procedure> {
    steps: Steps<P>,
    shape: Shape,
}

impl<P: Procedure> Whole<P> {
    fn read(operation: &Typed<Operation>) -> Result<(OperationName, P::Parameters), StepError> {
        let name = OperationName::new(operation.metadata.name.as_str()).map_err(|e| StepError::fatal("BadName", e.to_string()))?;
        let parameters = serde_json::from_value(operation.spec.parameters.clone())
            .map_err(|e| StepError::fatal("ParameterShape", format!("the parameters do not have the shape of this release: {e}")))?;
        Ok((name, parameters))
    }
}

macro_rules! context {
    ($cx:ident, $world:expr, $operation:expr, $now:expr) => {
        let (name, parameters) = Self::read($operation)?;
        let $cx = Context::<P> {
            operation: &name,
            parameters: &parameters,
            subject: &$operation.spec.subject.name,
            world: $world,
            now: $now,
            outputs: Outputs(&$operation.status.steps),
        };
    };
}

#[async_trait]
impl<P: Procedure> Erased<P::World> for Whole<P> {
    fn shape(&self) -> &Shape {
        &self.shape
    }
    async fn act(&self, world: &P::World, operation: &Typed<Operation>, index: usize, now: Timestamp) -> Result<Value, StepError> {
        context!(cx, world, operation, now);
        self.steps.steps[index].act(&cx).await
    }
    async fn undo(&self, world: &P::World, operation: &Typed<Operation>, index: usize, now: Timestamp) -> Result<(), StepError> {
        context!(cx, world, operation, now);
        self.steps.steps[index].undo(&cx).await
    }
    async fn conclude(
        &self,
        world: &P::World,
        operation: &Typed<Operation>,
        subject: Document,
        ending: Ending,
        now: Timestamp,
    ) -> Result<Conclusion, StepError> {
        context!(cx, world, operation, now);
        P::conclude(&cx, subject, ending).await
    }
}

/// The procedures that a runner knows, by verb.
pub struct Procedures<W>(BTreeMap<Verb, Arc<dyn Erased<W>>>);

impl<W: Send + Sync + 'static> Default for Procedures<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Send + Sync + 'static> Procedures<W> {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// And this one.
    #[must_use]
    pub fn with<P: Procedure<World = W>>(mut self) -> Self {
        let steps = P::steps();
        let shape = Shape { steps: steps.steps.iter().map(|s| s.name()).collect(), no_return: steps.no_return };
        self.0.insert(P::VERB, Arc::new(Whole::<P> { steps, shape }));
        self
    }

    /// The steps of a verb.
    #[must_use]
    pub fn shape(&self, verb: Verb) -> Option<&Shape> {
        self.0.get(&verb).map(|p| p.shape())
    }

    pub(crate) fn get(&self, verb: Verb) -> Option<Arc<dyn Erased<W>>> {
        self.0.get(&verb).cloned()
    }
}
