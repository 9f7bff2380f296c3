//! `CellOpen`: makes a cell whose networks and machines were chosen in the commit that begins it.

use async_trait::async_trait;
use data::DataError;
use model::v1alpha1::{Allocation, Cell, Verb};
use model::{CellName, ConditionStatus, Document};
use operation::{Conclusion, Context, Ending, Procedure, StepError, Steps};
use serde::{Deserialize, Serialize};

use super::{step, ways};
use crate::world::World;
use crate::{cells, gates, names, secrets};

/// The step from which on engine and agent are told of the cell: nothing before it takes that back.
pub const ORDER_DATABASE: &str = "database";

/// Choices of an opening.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    /// Networks and machines.
    pub allocation: Allocation,
}

/// The verb.
pub struct CellOpen;

#[async_trait]
impl Procedure for CellOpen {
    const VERB: Verb = Verb::CellOpen;
    type World = World;
    type Parameters = Open;

    fn steps() -> Steps<Self> {
        Steps::new().then(Keys).then(Database).then(Services)
    }

    async fn conclude(cx: &Context<'_, Self>, subject: Document, ending: Ending) -> Result<Conclusion, StepError> {
        let mut cell = ways::read::<Cell>(subject)?;
        let generation = cell.metadata.generation;
        let status = &mut cell.status;
        match ending {
            Ending::Done => status.conditions.set("Opened", ConditionStatus::True, "AsWanted", "", generation, cx.now),
            Ending::Failed | Ending::NeedsHuman => {
                let (reason, message) = ways::why(cx).await?;
                if ending == Ending::Failed {
                    let (tenants, conditions) = (status.tenants, std::mem::take(&mut status.conditions));
                    *status = model::v1alpha1::CellStatus { tenants, conditions, ..Default::default() };
                    for part in ["ServicesReady", "GatesReady", "DatabaseReady", "DatabaseSynced"] {
                        status.conditions.remove(part);
                    }
                }
                status.conditions.set("Opened", ConditionStatus::False, &reason, message.clone(), generation, cx.now);
                status.conditions.set("Ready", ConditionStatus::False, &reason, message, generation, cx.now);
            }
        }
        status.observed_generation = generation;
        Ok(Conclusion { status: Some(ways::status(&cell)), ..Conclusion::default() })
    }
}

/// The cell that an operation acts on, as its type of name.
pub fn name<P: Procedure<World = World>>(cx: &Context<'_, P>) -> Result<CellName, StepError> {
    CellName::new(cx.subject.as_str()).map_err(|error| StepError::fatal("ParameterShape", error.to_string()))
}

/// The cell that an operation acts on, as it stands.
pub async fn cell<P: Procedure<World = World>>(cx: &Context<'_, P>) -> Result<model::Typed<Cell>, StepError> {
    use store::TypedStore as _;
    let cell = cx.world.store().read::<Cell>(cx.subject).await?;
    cell.ok_or_else(|| StepError::fatal("CellGone", format!("cell {} does not stand any more", cx.subject)))
}

/// Looks at the cell and waits until these conditions hold.
pub async fn until<P: Procedure<World = World>>(cx: &Context<'_, P>, conditions: &[&str]) -> Result<cells::Pass, StepError> {
    let name = name(cx)?;
    let pass = cells::pass(cx.world, &name).await?;
    if let Err(error) = gates::tell(cx.world, &name).await {
        tracing::debug!(cell = %name, %error, "gates are told later");
    }
    let again = cx.world.pace(&name);
    let Some(status) = &pass.status else { return Err(StepError::wait("Starting", "the cell was not observed yet", again)) };
    for condition in conditions {
        if !status.conditions.is_true(condition) {
            let said = status.conditions.get(condition);
            let (reason, message) = said.map_or(("Starting", ""), |said| (said.reason.as_str(), said.message.as_str()));
            return Err(StepError::wait(reason, format!("{condition}: {message}"), again));
        }
    }
    Ok(pass)
}

/// Removes the cell's services and gates. Whoever looks at the cell meanwhile waits.
pub async fn remove_services(world: &World, name: &CellName) -> Result<(), StepError> {
    let desk = world.desk(name);
    let mut sent = desk.turn.lock().await;
    sent.wanted = None;
    world.ports.engine.remove(name).await.map_err(|error| StepError::retry("EngineRefused", error.to_string()))
}

/// Puts the cell's data aside; it is deleted after the platform's grace period.
pub async fn retire_data(world: &World, name: &CellName, machine: Option<&model::MachineName>) -> Result<(), StepError> {
    let Some(machine) = machine else { return Ok(()) };
    let desk = world.desk(name);
    let mut sent = desk.turn.lock().await;
    sent.order = None;
    let agent = cells::agent(world, name, Some(machine)).map_err(ways::data_error)?;
    match agent.retire(name, world.number()).await {
        Ok(()) => Ok(()),
        Err(DataError::Refused { reason, .. }) if reason == "UnknownCell" => Ok(()),
        Err(error) => Err(ways::data_error(error)),
    }
}

step!(
    /// Makes the key that signs the cell's requests.
    Keys of CellOpen, "keys",
    act(cx) {
        let cell = cell(cx).await?;
        let values = [(gates::KEY.to_owned(), cx.world.ports.keys.token(32))].into();
        secrets::ensure(cx.world, vec![(names::cell_secret(&cell.metadata), values)]).await?;
        Ok(())
    },
    undo(cx) {
        let cell = cell(cx).await?;
        cx.world.ports.files.remove_cell(&name(cx)?).await?;
        secrets::delete(cx.world, [names::cell_secret(&cell.metadata)]).await?;
        cx.world.forget_cell(&name(cx)?);
        Ok(())
    }
);

step!(
    /// Orders the database cluster and waits until it accepts commits.
    Database of CellOpen, ORDER_DATABASE,
    act(cx) { until(cx, &["DatabaseReady"]).await.map(drop) },
    undo(cx) {
        let name = name(cx)?;
        // A look at the cell tells engine and agent alike.
        remove_services(cx.world, &name).await?;
        retire_data(cx.world, &name, cx.parameters.allocation.machines.first()).await
    }
);

step!(
    /// Waits until services and gates are ready.
    Services of CellOpen, "services",
    act(cx) { until(cx, &["DatabaseReady", "ServicesReady", "GatesReady", "Ready"]).await.map(drop) },
    undo(cx) { remove_services(cx.world, &name(cx)?).await }
);
