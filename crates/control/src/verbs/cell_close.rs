//! `CellClose`: removes an empty cell. Its data is put aside and deleted after the platform's grace period.

use async_trait::async_trait;
use model::v1alpha1::{Cell, Verb};
use model::{ConditionStatus, Document, Kind};
use operation::{Conclusion, Context, Ending, Procedure, StepError, Steps};
use serde::{Deserialize, Serialize};
use store::{Key, Write};

use super::cell_open::{cell, name, remove_services, retire_data};
use super::{step, ways};
use crate::world::World;
use crate::{names, secrets};

/// A closing chooses nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Close {}

/// The verb.
pub struct CellClose;

#[async_trait]
impl Procedure for CellClose {
    const VERB: Verb = Verb::CellClose;
    type World = World;
    type Parameters = Close;

    fn steps() -> Steps<Self> {
        Steps::new().point_of_no_return().then(Services).then(Data).then(Folders)
    }

    async fn conclude(cx: &Context<'_, Self>, subject: Document, ending: Ending) -> Result<Conclusion, StepError> {
        let mut cell = ways::read::<Cell>(subject)?;
        let generation = cell.metadata.generation;
        if ending != Ending::Done {
            let (reason, message) = ways::why(cx).await?;
            cell.status.conditions.set("Closing", ConditionStatus::False, &reason, message, generation, cx.now);
            return Ok(Conclusion { status: Some(ways::status(&cell)), ..Conclusion::default() });
        }
        cx.world.forget_cell(&name(cx)?);
        let key = Key::new(Kind::Cell, cx.subject.clone());
        let mut writes = secrets::deletion([names::cell_secret(&cell.metadata)]);
        let remove = [names::CELL_FINALIZER.to_owned()].into();
        writes.push(Write::Finalizers { key: key.clone(), add: Default::default(), remove });
        writes.push(Write::Delete(key));
        cell.status.allocation = None;
        Ok(Conclusion { status: Some(ways::status(&cell)), writes, ..Conclusion::default() })
    }
}

step!(
    /// Removes services and gates.
    Services of CellClose, "services",
    act(cx) { remove_services(cx.world, &name(cx)?).await },
    undo(_cx) { Ok(()) }
);

step!(
    /// Stops the database and puts its data aside.
    Data of CellClose, "data",
    act(cx) {
        let cell = cell(cx).await?;
        let machine = cell.status.allocation.as_ref().and_then(|allocation| allocation.machines.first());
        retire_data(cx.world, &name(cx)?, machine).await
    },
    undo(_cx) { Ok(()) }
);

step!(
    /// Removes the cell's folders.
    Folders of CellClose, "folders",
    act(cx) {
        cx.world.ports.files.remove_cell(&name(cx)?).await?;
        Ok(())
    },
    undo(_cx) { Ok(()) }
);
