//! `CellDrain`: empties a cell. Tenants cannot move between cells in this release, so it is refused while any lives there, and says which.

use async_trait::async_trait;
use model::v1alpha1::{Cell, Verb};
use model::{ConditionStatus, Document};
use operation::{Conclusion, Context, Ending, Procedure, StepError, Steps};
use serde::{Deserialize, Serialize};

use super::cell_open::{cell, name};
use super::{step, ways};
use crate::world::World;

/// A drain chooses nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Drain {}

/// The verb.
pub struct CellDrain;

#[async_trait]
impl Procedure for CellDrain {
    const VERB: Verb = Verb::CellDrain;
    type World = World;
    type Parameters = Drain;

    fn steps() -> Steps<Self> {
        Steps::new().then(Leave)
    }

    async fn conclude(cx: &Context<'_, Self>, subject: Document, ending: Ending) -> Result<Conclusion, StepError> {
        let mut cell = ways::read::<Cell>(subject)?;
        let generation = cell.metadata.generation;
        match ending {
            Ending::Done => cell.status.conditions.set("DrainAsked", ConditionStatus::True, "AsWanted", "", generation, cx.now),
            Ending::Failed | Ending::NeedsHuman => {
                let (reason, message) = ways::why(cx).await?;
                cell.status.conditions.set("DrainAsked", ConditionStatus::False, &reason, message, generation, cx.now);
            }
        }
        Ok(Conclusion { status: Some(ways::status(&cell)), ..Conclusion::default() })
    }
}

step!(
    /// Sees that no tenant is left.
    Leave of CellDrain, "leave",
    act(cx) {
        let cell = cell(cx).await?;
        if cell.status.tenants == 0 {
            return Ok(());
        }
        let name = name(cx)?;
        let some: Vec<_> = cx.world.view.read(|known| known.by_cell.get(&name).into_iter().flatten().take(5).cloned().collect());
        Err(StepError::fatal("TenantsStay", crate::cells::cannot_leave(&name, cell.status.tenants, &some)))
    },
    undo(_cx) { Ok(()) }
);
