//! `TenantCreate`: brings the site of a tenant up that was just placed. The commit that begins it took its room and its domains.

use async_trait::async_trait;
use data::TenantAccess;
use model::v1alpha1::{Tenant, Verb};
use model::{CellName, ConditionStatus, Document, Epoch};
use operation::{Conclusion, Context, Ending, Procedure, StepError, Steps};
use routes::RouteState;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{hook, settings, step, ways};
use crate::tenants::again;
use crate::world::World;
use crate::{names, secrets};

/// Name of the site's first administrator.
const ADMIN: &str = "admin";
/// Names in the secret that is shown once.
const ADMIN_USER: &str = "adminUser";
/// As above.
const ADMIN_PASSWORD: &str = "adminPassword";

/// Choices of a creation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// Where it was placed.
    pub cell: CellName,
    /// Number of that ownership.
    pub epoch: Epoch,
    /// Its database schema.
    pub schema: String,
}

/// The verb.
pub struct TenantCreate;

#[async_trait]
impl Procedure for TenantCreate {
    const VERB: Verb = Verb::TenantCreate;
    type World = World;
    type Parameters = Create;

    fn steps() -> Steps<Self> {
        Steps::new().then(Secrets).then(Account).then(Folder).then(Settings).then(Install).then(Open).then(Publish)
    }

    async fn conclude(cx: &Context<'_, Self>, subject: Document, ending: Ending) -> Result<Conclusion, StepError> {
        let mut tenant = ways::read::<Tenant>(subject)?;
        let generation = tenant.metadata.generation;
        let mut conclusion = Conclusion::default();
        match ending {
            Ending::Done => {
                let conditions = &mut tenant.status.conditions;
                conditions.set("Installed", ConditionStatus::True, "AsWanted", "", generation, cx.now);
                conditions.set("Ready", ConditionStatus::True, "AsWanted", "", generation, cx.now);
                tenant.status.creation = None;
                conclusion.reveal = Some(names::reveal_secret(cx.operation));
            }
            Ending::Failed => {
                let (reason, message) = ways::why(cx).await?;
                (conclusion.compares, conclusion.writes) = ways::give_back(cx.world, &tenant, &cx.parameters.cell).await?;
                let status = &mut tenant.status;
                (status.cell, status.schema, status.serving) = (None, None, None);
                let creation = again::failed(status.creation, generation, reason == "Cancelled", cx.now);
                status.creation = Some(creation);
                let message = format!("{message}; {}", again::words(&creation));
                status.conditions.set("Installed", ConditionStatus::False, &reason, message.clone(), generation, cx.now);
                status.conditions.set("Placed", ConditionStatus::False, &reason, "given back after its creation failed", generation, cx.now);
                status.conditions.set("Ready", ConditionStatus::False, &reason, message, generation, cx.now);
            }
            Ending::NeedsHuman => {
                let (reason, message) = ways::why(cx).await?;
                tenant.status.conditions.set("Ready", ConditionStatus::False, &reason, message, generation, cx.now);
            }
        }
        tenant.status.observed_generation = generation;
        conclusion.status = Some(ways::status(&tenant));
        Ok(conclusion)
    }
}

step!(
    /// Makes the tenant's secrets and those that are shown once.
    Secrets of TenantCreate, "secrets",
    act(cx) {
        let tenant = ways::tenant(cx).await?;
        let keys = &cx.world.ports.keys;
        let place = ways::place(cx.world, &cx.parameters.cell).await?;
        let own = place.blueprint.spec.tenant.secrets.iter().map(|name| (format!("{}{name}", settings::OWN), keys.token(48)));
        let values = own.chain([(ways::PASSWORD.to_owned(), keys.password(32))]).collect();
        let user = model::Sensitive::new(ADMIN.to_owned());
        let shown = [(ADMIN_USER.to_owned(), user), (ADMIN_PASSWORD.to_owned(), keys.password(20))].into();
        let wanted = vec![(names::tenant_secret(&tenant.metadata), values), (names::reveal_secret(cx.operation), shown)];
        secrets::ensure(cx.world, wanted).await?;
        Ok(())
    },
    undo(cx) {
        let tenant = ways::tenant(cx).await?;
        secrets::delete(cx.world, [names::tenant_secret(&tenant.metadata), names::reveal_secret(cx.operation)]).await?;
        Ok(())
    }
);

step!(
    /// Makes schema and account.
    Account of TenantCreate, "account",
    act(cx) {
        let tenant = ways::tenant(cx).await?;
        ways::account(cx.world, &tenant, &cx.parameters.cell, &cx.parameters.schema, TenantAccess::Open).await
    },
    undo(cx) {
        let tenant = ways::tenant(cx).await?;
        ways::account(cx.world, &tenant, &cx.parameters.cell, &cx.parameters.schema, TenantAccess::Gone).await
    }
);

step!(
    /// Makes the folder for the tenant's files.
    Folder of TenantCreate, "folder",
    act(cx) {
        let tenant = ways::tenant(cx).await?;
        let place = ways::place(cx.world, &cx.parameters.cell).await?;
        let writes = |service: &model::v1alpha1::Service| service.files == model::v1alpha1::FilesAccess::Write;
        if let Some(owner) = ways::user(&place.blueprint.spec, writes) {
            cx.world.ports.files.make_tenant(&cx.parameters.cell, &settings::tenant_name(&tenant)?, owner).await?;
        }
        Ok(())
    },
    undo(cx) {
        let tenant = ways::tenant(cx).await?;
        cx.world.ports.files.remove_tenant(&cx.parameters.cell, &settings::tenant_name(&tenant)?).await?;
        Ok(())
    }
);

step!(
    /// Renders the tenant's settings.
    Settings of TenantCreate, "settings",
    act(cx) {
        let tenant = ways::tenant(cx).await?;
        let place = ways::place(cx.world, &cx.parameters.cell).await?;
        settings::write(cx.world, &tenant, &cx.parameters.schema, &place).await
    },
    undo(cx) {
        let tenant = ways::tenant(cx).await?;
        settings::remove(cx.world, &tenant, &cx.parameters.cell).await
    }
);

step!(
    /// Runs the blueprint's hook `create`.
    Install of TenantCreate, "install",
    act(cx) {
        let tenant = ways::tenant(cx).await?;
        let place = ways::place(cx.world, &cx.parameters.cell).await?;
        let Some(hook) = &place.blueprint.spec.tenant.create else { return Ok(()) };
        let shown = names::reveal_secret(cx.operation);
        let values = secrets::open(cx.world, &shown).await?;
        let spec = &tenant.spec;
        let url = plan::settings::public_url(&place.platform, spec.domains.first().map_or("", model::DomainName::as_str));
        let parameters = json!({
            "tenant": tenant.metadata.name,
            "title": spec.title,
            "contact": spec.contact,
            "language": spec.language,
            "plan": spec.plan,
            "url": url,
            ADMIN_USER: secrets::value(&values, &shown, ADMIN_USER)?,
            ADMIN_PASSWORD: secrets::value(&values, &shown, ADMIN_PASSWORD)?,
        });
        hook::run(cx.world, &place, hook, cx.operation.as_str(), &parameters).await
    },
    // What the hook made lies in schema and files, which the steps before it take back.
    undo(_cx) { Ok(()) }
);

step!(
    /// Opens the tenant at its gates.
    Open of TenantCreate, "gates",
    act(cx) { ways::open(cx.world, cx.subject, &cx.parameters.cell).await },
    undo(cx) { ways::withdraw(cx.world, cx.subject, &cx.parameters.cell, None).await }
);

step!(
    /// Publishes its routes, and waits until edges have them.
    Publish of TenantCreate, "routes",
    act(cx) { ways::publish(cx.world, cx.subject, Some(RouteState::Open)).await },
    // Withdrawn together with the gates.
    undo(_cx) { Ok(()) }
);
