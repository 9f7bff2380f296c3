//! `CellRoll`: takes a cell from one blueprint version to another: settings, then services one by one, then each tenant's migration.

use async_trait::async_trait;
use model::v1alpha1::{Cell, Tenant, Verb};
use model::{ConditionStatus, Document, DocumentName, Typed};
use operation::{Conclusion, Context, Ending, Procedure, Step, StepError, Steps};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

use super::cell_open::{name, until};
use super::ways::Place;
use super::{hook, settings, step, ways};
use crate::cells;
use crate::world::World;

/// Name of the step that replaces services.
pub const ROLL_SERVICES: &str = "services";

/// Choices of a roll.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Roll {
    /// The blueprint served before.
    pub from: DocumentName,
    /// The blueprint to be served.
    pub to: DocumentName,
}

/// The verb.
pub struct CellRoll;

#[async_trait]
impl Procedure for CellRoll {
    const VERB: Verb = Verb::CellRoll;
    type World = World;
    type Parameters = Roll;

    fn steps() -> Steps<Self> {
        Steps::new().then(Settings).then(Services).point_of_no_return().then(Migrate)
    }

    async fn conclude(cx: &Context<'_, Self>, subject: Document, ending: Ending) -> Result<Conclusion, StepError> {
        let mut cell = ways::read::<Cell>(subject)?;
        let generation = cell.metadata.generation;
        let status = &mut cell.status;
        match ending {
            Ending::Done => {
                status.serving = Some(cx.parameters.to.clone());
                status.conditions.set("Rolled", ConditionStatus::True, "AsWanted", "", generation, cx.now);
            }
            Ending::Failed | Ending::NeedsHuman => {
                let (reason, message) = ways::why(cx).await?;
                // Another blueprint may be wanted by now; then this end says nothing about it.
                if cell.spec.blueprint == cx.parameters.to {
                    status.conditions.set("Rolled", ConditionStatus::False, &reason, message, generation, cx.now);
                } else {
                    status.conditions.remove("Rolled");
                }
            }
        }
        Ok(Conclusion { status: Some(ways::status(&cell)), ..Conclusion::default() })
    }
}

/// The cell as if it were made from this blueprint.
async fn place_as(cx: &Context<'_, CellRoll>, blueprint: &DocumentName) -> Result<Place, StepError> {
    let mut place = ways::place(cx.world, &name(cx)?).await?;
    let found = cx.world.view.read(|known| known.snapshot.blueprints.get(blueprint).cloned());
    place.blueprint = found.ok_or_else(|| StepError::retry("BlueprintUnknown", format!("blueprint {blueprint} is not known")))?;
    place.blueprint_name = blueprint.clone();
    Ok(place)
}

/// The cell's tenants that have a site.
fn tenants(cx: &Context<'_, CellRoll>) -> Result<Vec<Arc<Typed<Tenant>>>, StepError> {
    let name = name(cx)?;
    Ok(cx.world.view.read(|known| {
        let here = known.by_cell.get(&name).into_iter().flatten();
        let here = here.filter_map(|tenant| known.snapshot.tenants.get(tenant).cloned());
        here.filter(|tenant| tenant.status.conditions.is_true("Installed")).collect()
    }))
}

async fn render(cx: &Context<'_, CellRoll>, blueprint: &DocumentName) -> Result<(), StepError> {
    let place = place_as(cx, blueprint).await?;
    for tenant in tenants(cx)? {
        if let Some(schema) = &tenant.status.schema {
            settings::write(cx.world, &tenant, schema, &place).await?;
        }
    }
    Ok(())
}

step!(
    /// Renders every tenant's settings from the new templates.
    Settings of CellRoll, "settings",
    act(cx) { render(cx, &cx.parameters.to).await },
    undo(cx) { render(cx, &cx.parameters.from).await }
);

step!(
    /// Replaces services; a version that never gets ready stops at its first instance, and the operation waits for another wish.
    Services of CellRoll, ROLL_SERVICES,
    act(cx) {
        let again = cx.world.options.look_busy;
        let pass = cells::pass(cx.world, &name(cx)?).await?;
        if pass.blueprint.as_ref() != Some(&cx.parameters.to) {
            return Err(StepError::wait("Rolling", "the roll is about to begin", again));
        }
        until(cx, &["ServicesReady", "GatesReady"]).await.map(drop)
    },
    undo(cx) {
        cells::pass(cx.world, &name(cx)?).await?;
        Ok(())
    }
);

/// Runs the blueprint's hook `migrate` for every tenant. Nothing is undone from here on.
pub struct Migrate;

#[async_trait]
impl Step<CellRoll> for Migrate {
    const NAME: &'static str = "migrate";
    /// Tenants whose migration failed; each says why in its condition `Migrated`.
    type Out = Vec<DocumentName>;

    async fn act(&self, cx: &Context<'_, CellRoll>) -> Result<Self::Out, StepError> {
        let place = place_as(cx, &cx.parameters.to).await?;
        let Some(migrate) = &place.blueprint.spec.tenant.migrate else { return Ok(Vec::new()) };
        let mut failed = Vec::new();
        for tenant in tenants(cx)? {
            let parameters = json!({
                "tenant": tenant.metadata.name,
                "from": cx.parameters.from,
                "to": cx.parameters.to,
                "contact": tenant.spec.contact,
                "language": tenant.spec.language,
            });
            let hash = blake3::hash(format!("{} {}", cx.operation, tenant.metadata.uid).as_bytes()).to_hex();
            match hook::run(cx.world, &place, migrate, &format!("migrate-{}", &hash[..24]), &parameters).await {
                Ok(()) => migrated(cx, &tenant, ConditionStatus::True, "AsWanted", String::new()).await?,
                Err(StepError::Fatal { reason, message }) => {
                    migrated(cx, &tenant, ConditionStatus::False, &reason, message).await?;
                    failed.push(tenant.metadata.name.clone());
                }
                Err(later) => return Err(later),
            }
        }
        Ok(failed)
    }

    async fn undo(&self, _: &Context<'_, CellRoll>) -> Result<(), StepError> {
        Ok(())
    }
}

async fn migrated(
    cx: &Context<'_, CellRoll>,
    tenant: &Typed<Tenant>,
    holds: ConditionStatus,
    reason: &str,
    message: String,
) -> Result<(), StepError> {
    let now = cx.now;
    let change = |status: &mut model::v1alpha1::TenantStatus, _: &_, metadata: &model::Metadata| {
        status.conditions.set("Migrated", holds, reason, message.clone(), metadata.generation, now);
    };
    cx.world.update_status::<Tenant>(&tenant.metadata.name, change).await?;
    Ok(())
}
