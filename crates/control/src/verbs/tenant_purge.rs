//! `TenantPurge`: deletes what a removed tenant left, after its grace period. Nothing of it is taken back once it has begun.

use async_trait::async_trait;
use data::TenantAccess;
use model::v1alpha1::{Tenant, Verb};
use model::{CellName, ConditionStatus, Document, Kind};
use operation::{Conclusion, Context, Ending, Procedure, StepError, Steps};
use serde::{Deserialize, Serialize};
use store::{Key, Write};

use super::{settings, step, ways};
use crate::world::World;
use crate::{names, secrets};

/// What is deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purge {
    /// The tenant's cell.
    pub cell: CellName,
    /// Its schema.
    pub schema: String,
}

/// The verb.
pub struct TenantPurge;

#[async_trait]
impl Procedure for TenantPurge {
    const VERB: Verb = Verb::TenantPurge;
    type World = World;
    type Parameters = Purge;

    fn steps() -> Steps<Self> {
        Steps::new().point_of_no_return().then(Close).then(Drop).then(Files)
    }

    async fn conclude(cx: &Context<'_, Self>, subject: Document, ending: Ending) -> Result<Conclusion, StepError> {
        let mut tenant = ways::read::<Tenant>(subject)?;
        let generation = tenant.metadata.generation;
        if ending != Ending::Done {
            let (reason, message) = ways::why(cx).await?;
            tenant.status.conditions.set("Ready", ConditionStatus::False, &reason, message, generation, cx.now);
            return Ok(Conclusion { status: Some(ways::status(&tenant)), ..Conclusion::default() });
        }
        let (compares, mut writes) = ways::give_back(cx.world, &tenant, &cx.parameters.cell).await?;
        writes.extend(secrets::deletion([names::tenant_secret(&tenant.metadata)]));
        let key = Key::new(Kind::Tenant, cx.subject.clone());
        let remove = [names::TENANT_FINALIZER.to_owned()].into();
        writes.push(Write::Finalizers { key: key.clone(), add: Default::default(), remove });
        writes.push(Write::Delete(key));
        let status = &mut tenant.status;
        (status.cell, status.schema, status.serving, status.purge_at) = (None, None, None, None);
        status.conditions.set("Ready", ConditionStatus::False, "Removed", "its data is deleted", generation, cx.now);
        Ok(Conclusion { status: Some(ways::status(&tenant)), compares, writes, reveal: None })
    }
}

step!(
    /// Forgets it at routes and gates.
    Close of TenantPurge, "close",
    act(cx) { ways::withdraw(cx.world, cx.subject, &cx.parameters.cell, None).await },
    undo(_cx) { Ok(()) }
);

step!(
    /// Drops schema and account.
    Drop of TenantPurge, "drop",
    act(cx) {
        let tenant = ways::tenant(cx).await?;
        ways::account(cx.world, &tenant, &cx.parameters.cell, &cx.parameters.schema, TenantAccess::Gone).await
    },
    undo(_cx) { Ok(()) }
);

step!(
    /// Removes settings and files.
    Files of TenantPurge, "files",
    act(cx) {
        let tenant = ways::tenant(cx).await?;
        settings::remove(cx.world, &tenant, &cx.parameters.cell).await?;
        cx.world.ports.files.remove_tenant(&cx.parameters.cell, &settings::tenant_name(&tenant)?).await?;
        Ok(())
    },
    undo(_cx) { Ok(()) }
);
