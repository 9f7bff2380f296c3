//! `TenantSuspend`, `TenantResume`, `TenantRemove`: whether a tenant is served. None of them touches its data.

use async_trait::async_trait;
use data::TenantAccess;
use jiff::Timestamp;
use model::v1alpha1::{Tenant, TenantState, TenantStatus, Verb};
use model::{CellName, ConditionStatus, Document};
use operation::{Conclusion, Context, Ending, Procedure, StepError, Steps};
use routes::RouteState;
use serde::{Deserialize, Serialize};

use super::{step, ways};
use crate::world::World;

/// Choices of a suspension or a resumption.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Serve {
    /// The tenant's cell.
    pub cell: CellName,
    /// Its schema.
    pub schema: String,
    /// How it was served before.
    pub from: TenantState,
}

/// Choices of a removal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remove {
    /// The tenant's cell.
    pub cell: CellName,
    /// Its schema.
    pub schema: String,
    /// How it was served before.
    pub from: TenantState,
    /// When its data is to be deleted for good.
    pub purge_at: Timestamp,
}

/// The verb.
pub struct TenantSuspend;
/// The verb.
pub struct TenantResume;
/// The verb.
pub struct TenantRemove;

/// Conclusion of all three.
async fn conclude<P: Procedure<World = World>>(
    cx: &Context<'_, P>,
    subject: Document,
    ending: Ending,
    done: impl FnOnce(&mut TenantStatus),
) -> Result<Conclusion, StepError> {
    let mut tenant = ways::read::<Tenant>(subject)?;
    let generation = tenant.metadata.generation;
    match ending {
        Ending::Done => {
            done(&mut tenant.status);
            let (holds, reason, message) = match tenant.status.serving {
                Some(TenantState::Suspended) => {
                    (ConditionStatus::False, "Suspended", "visitors see that it is suspended; its data is kept".to_owned())
                }
                Some(TenantState::Removed) => {
                    let until = tenant.status.purge_at.map(|at| format!(" until {at}")).unwrap_or_default();
                    (ConditionStatus::False, "Removed", format!("not served; its data is kept{until}"))
                }
                _ => (ConditionStatus::True, "AsWanted", String::new()),
            };
            tenant.status.conditions.set("Ready", holds, reason, message, generation, cx.now);
            tenant.status.conditions.remove("ServedAsWanted");
        }
        Ending::Failed | Ending::NeedsHuman => {
            let (reason, message) = ways::why(cx).await?;
            tenant.status.conditions.set("ServedAsWanted", ConditionStatus::False, &reason, message, generation, cx.now);
        }
    }
    tenant.status.observed_generation = generation;
    Ok(Conclusion { status: Some(ways::status(&tenant)), ..Conclusion::default() })
}

#[async_trait]
impl Procedure for TenantSuspend {
    const VERB: Verb = Verb::TenantSuspend;
    type World = World;
    type Parameters = Serve;
    fn steps() -> Steps<Self> {
        Steps::new().then(Suspend).then(UnlockSuspended)
    }
    async fn conclude(cx: &Context<'_, Self>, subject: Document, ending: Ending) -> Result<Conclusion, StepError> {
        conclude(cx, subject, ending, |status| status.purge_at = None).await
    }
}

step!(
    /// Shows visitors that it is suspended.
    Suspend of TenantSuspend, "suspend",
    act(cx) { ways::withdraw(cx.world, cx.subject, &cx.parameters.cell, Some(TenantState::Suspended)).await },
    undo(cx) { ways::back(cx.world, cx.subject, &cx.parameters.cell, cx.parameters.from).await }
);

step!(
    /// A removal locked its account. One that is suspended works on: it is migrated with the others of its cell.
    UnlockSuspended of TenantSuspend, "unlock",
    act(cx) {
        if cx.parameters.from != TenantState::Removed {
            return Ok(());
        }
        let tenant = ways::tenant(cx).await?;
        ways::account(cx.world, &tenant, &cx.parameters.cell, &cx.parameters.schema, TenantAccess::Open).await
    },
    undo(cx) {
        if cx.parameters.from != TenantState::Removed {
            return Ok(());
        }
        let tenant = ways::tenant(cx).await?;
        ways::account(cx.world, &tenant, &cx.parameters.cell, &cx.parameters.schema, TenantAccess::Locked).await
    }
);

#[async_trait]
impl Procedure for TenantResume {
    const VERB: Verb = Verb::TenantResume;
    type World = World;
    type Parameters = Serve;
    fn steps() -> Steps<Self> {
        Steps::new().then(Unlock).then(Open).then(Publish)
    }
    async fn conclude(cx: &Context<'_, Self>, subject: Document, ending: Ending) -> Result<Conclusion, StepError> {
        conclude(cx, subject, ending, |status| status.purge_at = None).await
    }
}

step!(
    /// Lets the tenant's account work again.
    Unlock of TenantResume, "unlock",
    act(cx) {
        let tenant = ways::tenant(cx).await?;
        ways::account(cx.world, &tenant, &cx.parameters.cell, &cx.parameters.schema, TenantAccess::Open).await
    },
    undo(cx) {
        if cx.parameters.from != TenantState::Removed {
            return Ok(());
        }
        let tenant = ways::tenant(cx).await?;
        ways::account(cx.world, &tenant, &cx.parameters.cell, &cx.parameters.schema, TenantAccess::Locked).await
    }
);

step!(
    /// Opens the tenant at its gates.
    Open of TenantResume, "gates",
    act(cx) { ways::open(cx.world, cx.subject, &cx.parameters.cell).await },
    undo(cx) { ways::back(cx.world, cx.subject, &cx.parameters.cell, cx.parameters.from).await }
);

step!(
    /// Publishes its routes, and waits until edges have them.
    Publish of TenantResume, "routes",
    act(cx) { ways::publish(cx.world, cx.subject, Some(RouteState::Open)).await },
    // Nothing of its own: going back to how it was served takes the routes along.
    undo(_cx) { Ok(()) }
);

#[async_trait]
impl Procedure for TenantRemove {
    const VERB: Verb = Verb::TenantRemove;
    type World = World;
    type Parameters = Remove;
    fn steps() -> Steps<Self> {
        Steps::new().then(Withdraw).then(Lock)
    }
    async fn conclude(cx: &Context<'_, Self>, subject: Document, ending: Ending) -> Result<Conclusion, StepError> {
        conclude(cx, subject, ending, |status| status.purge_at = Some(cx.parameters.purge_at)).await
    }
}

step!(
    /// Withdraws its routes and closes it at its gates.
    Withdraw of TenantRemove, "withdraw",
    act(cx) { ways::withdraw(cx.world, cx.subject, &cx.parameters.cell, Some(TenantState::Removed)).await },
    undo(cx) { ways::back(cx.world, cx.subject, &cx.parameters.cell, cx.parameters.from).await }
);

step!(
    /// Locks its account and ends its sessions.
    Lock of TenantRemove, "lock",
    act(cx) {
        let tenant = ways::tenant(cx).await?;
        ways::account(cx.world, &tenant, &cx.parameters.cell, &cx.parameters.schema, TenantAccess::Locked).await
    },
    undo(cx) {
        let tenant = ways::tenant(cx).await?;
        ways::account(cx.world, &tenant, &cx.parameters.cell, &cx.parameters.schema, TenantAccess::Open).await
    }
);
