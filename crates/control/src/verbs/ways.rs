//! What several verbs do: reading the subject and its place, ordering accounts, opening and withdrawing.

use std::sync::Arc;
use std::time::Duration;

use data::{DataError, TenantAccess, TenantOrder};
use model::v1alpha1::{Blueprint, BlueprintSpec, Cell, Domain, Operation, PlatformSpec, Service, Tenant, TenantState};
use model::{CellName, Document, DocumentName, Generation, Kind, Sensitive, TenantName, Typed};
use operation::{Context, Procedure, StepError};
use routes::RouteState;
use store::{Compare, Key, TypedStore, Write};

use crate::wanted::Frame;
use crate::world::World;
use crate::{cells, gates, names, routing, secrets};

/// Pause before an agent that says "not now" is asked again.
const AGAIN: Duration = Duration::from_millis(200);
/// Name of the account's password in a tenant's secret.
pub const PASSWORD: &str = "database";

/// The tenant that an operation acts on, as it stands.
pub async fn tenant<P: Procedure<World = World>>(cx: &Context<'_, P>) -> Result<Typed<Tenant>, StepError> {
    let tenant = cx.world.store().read::<Tenant>(cx.subject).await?;
    tenant.ok_or_else(|| StepError::fatal("TenantGone", format!("tenant {} does not stand any more", cx.subject)))
}

/// Where a tenant lives.
pub struct Place {
    /// The cell's name.
    pub name: CellName,
    /// The cell.
    pub cell: Typed<Cell>,
    /// Name of the blueprint that it is made from now.
    pub blueprint_name: DocumentName,
    /// That blueprint.
    pub blueprint: Arc<Typed<Blueprint>>,
    /// The installation.
    pub platform: PlatformSpec,
    /// Number of the installation's spec.
    pub platform_generation: Generation,
}

impl Place {
    /// The frame of the cell's parts.
    pub fn frame<'a>(&'a self, world: &'a World) -> Result<Frame<'a>, StepError> {
        let allocation = self.cell.status.allocation.as_ref();
        let allocation = allocation.ok_or_else(|| StepError::retry("CellNotReady", format!("cell {} has no networks yet", self.name)))?;
        Ok(Frame { cell: &self.name, allocation, blueprint: &self.blueprint.spec, platform: &self.platform, state: &world.options.state })
    }
}

/// Reads a cell with what it is made from.
pub async fn place(world: &World, name: &CellName) -> Result<Place, StepError> {
    let cell = world.store().read::<Cell>(&name.into()).await?;
    let cell = cell.ok_or_else(|| StepError::fatal("CellGone", format!("cell {name} does not stand any more")))?;
    world.view.read(|known| {
        let (blueprint_name, blueprint) = cells::effective(known, &cell)
            .ok_or_else(|| StepError::retry("BlueprintUnknown", format!("the blueprint of cell {name} is not known")))?;
        Ok(Place {
            name: name.clone(),
            blueprint_name: blueprint_name.clone(),
            blueprint: blueprint.clone(),
            platform: known.snapshot.platform_spec(),
            platform_generation: known.snapshot.platform.as_ref().map_or(Generation(0), |platform| platform.metadata.generation),
            cell,
        })
    })
}

/// User of the first service for which this holds; nobody's where there is none.
pub fn user(blueprint: &BlueprintSpec, holds: impl Fn(&Service) -> bool) -> Option<u32> {
    blueprint.services.values().find(|service| holds(service)).map(|service| service.user)
}

/// How an agent's refusal is taken.
pub fn data_error(error: DataError) -> StepError {
    match error {
        DataError::NotNow { reason, message } => StepError::wait(reason, message, AGAIN),
        DataError::Refused { reason, message } if matches!(reason.as_str(), "BadOrder" | "BadTenantOrder") => StepError::fatal(reason, message),
        DataError::Refused { reason, message } => StepError::retry(reason, message),
        DataError::Unreachable(_) => StepError::retry("AgentUnreachable", error.to_string()),
        DataError::Older { .. } => StepError::retry("AgentHoldsNewer", error.to_string()),
    }
}

/// Brings a tenant's schema and account into this state; nothing where the blueprint has no database.
pub async fn account(world: &World, tenant: &Typed<Tenant>, cell: &CellName, schema: &str, access: TenantAccess) -> Result<(), StepError> {
    let place = place(world, cell).await?;
    let Some(database) = &place.blueprint.spec.database else { return Ok(()) };
    let name = names::tenant_secret(&tenant.metadata);
    let password = match secrets::open(world, &name).await {
        Ok(values) => secrets::value(&values, &name, PASSWORD)?,
        // Nobody can log in to what is gone.
        Err(_) if access == TenantAccess::Gone => Sensitive::new("gone".to_owned()),
        Err(error) => return Err(error),
    };
    let connections = database.tenant_connections;
    let order = TenantOrder { schema: schema.to_owned(), password, connections, access, generation: world.number() };
    let agent = cells::agent_of(world, cell, &place.cell).map_err(data_error)?;
    let report = agent.tenant(cell, &order).await.map_err(data_error)?;
    if access == TenantAccess::Locked && report.sessions > 0 {
        return Err(StepError::wait("SessionsLeft", format!("{} sessions of {schema} are still there", report.sessions), AGAIN));
    }
    Ok(())
}

/// Writes down how a tenant is to be served, which routes and gates follow.
pub async fn serve(world: &World, tenant: &DocumentName, serving: Option<TenantState>) -> Result<(), StepError> {
    world.update_status::<Tenant>(tenant, |status, _, _| status.serving = serving).await?;
    Ok(())
}

/// Opens a tenant: its gates first.
pub async fn open(world: &World, tenant: &DocumentName, cell: &CellName) -> Result<(), StepError> {
    serve(world, tenant, Some(TenantState::Active)).await?;
    gates::tell(world, cell).await
}

/// Withdraws a tenant: its routes first. Gates that cannot be told now are told by their own tasks.
pub async fn withdraw(world: &World, tenant: &DocumentName, cell: &CellName, to: Option<TenantState>) -> Result<(), StepError> {
    serve(world, tenant, to).await?;
    let route = match to {
        Some(TenantState::Suspended) => Some(RouteState::Suspended),
        _ => None,
    };
    publish(world, tenant, route).await?;
    gates::tell(world, cell).await
}

/// Publishes and waits until edges have it.
pub async fn publish(world: &World, tenant: &DocumentName, wanted: Option<RouteState>) -> Result<(), StepError> {
    let name = TenantName::new(tenant.as_str()).map_err(|error| StepError::fatal("ParameterShape", error.to_string()))?;
    if !routing::published(world, &name, wanted) {
        return Err(StepError::wait("WaitingForGates", format!("the gates do not know {tenant} yet"), world.options.look_busy));
    }
    let mut reports = world.feed.reports();
    let generation = routing::publish(world).await;
    let generation =
        generation.ok_or_else(|| StepError::retry("RoutesNotPublished", "routes cannot be published: the key of a cell cannot be read"))?;
    let settled = async {
        while !world.feed.settled(generation) {
            reports.borrow_and_update();
            // An edge's report, or time that passes, changes the answer.
            let _ = tokio::time::timeout(AGAIN, reports.changed()).await;
        }
    };
    // Bounded by the feed's own patience with edges.
    settled.await;
    Ok(())
}

/// Why an operation turned back, as its record says.
pub async fn why<P: Procedure<World = World>>(cx: &Context<'_, P>) -> Result<(String, String), StepError> {
    let operation = cx.world.store().read::<Operation>(&cx.operation.into()).await?;
    let status = operation.map(|operation| operation.status).unwrap_or_default();
    Ok((status.reason.unwrap_or_else(|| "Failed".to_owned()), status.message.unwrap_or_default()))
}

/// Reads the subject of a conclusion.
pub fn read<R: model::Resource>(subject: Document) -> Result<Typed<R>, StepError> {
    Typed::read(subject).map_err(|error| StepError::fatal("ParameterShape", error.to_string()))
}

/// A status as the store takes it.
pub fn status<R: model::Resource>(document: &Typed<R>) -> serde_json::Value {
    document.document().status
}

/// Gives a tenant's room and domains back: what a conclusion commits with the tenant's own status.
pub async fn give_back(world: &World, tenant: &Typed<Tenant>, cell: &CellName) -> Result<(Vec<Compare>, Vec<Write>), StepError> {
    let mut compares = Vec::new();
    let mut writes = Vec::new();
    if let Some(mut cell) = world.store().read::<Cell>(&cell.into()).await? {
        compares.push(Compare::Revision(store::key_of(&cell), cell.metadata.revision));
        cell.status.tenants = cell.status.tenants.saturating_sub(1);
        writes.push(store::status_write(&cell));
    }
    let claims: Vec<DocumentName> = world.view.read(|known| {
        let own = known.snapshot.domains.values().filter(|claim| claim.spec.tenant_uid == tenant.metadata.uid);
        own.map(|claim| claim.metadata.name.clone()).collect()
    });
    let wanted = tenant.spec.wanted_domains();
    for name in claims.into_iter().chain(wanted.iter().map(|(domain, _)| domain.document_name())) {
        let key = Key::new(Kind::Domain, name.clone());
        let claim = world.store().read::<Domain>(&name).await?;
        if let Some(claim) = claim.filter(|claim| claim.spec.tenant_uid == tenant.metadata.uid)
            && !writes.contains(&Write::Delete(key.clone()))
        {
            compares.push(Compare::Revision(key.clone(), claim.metadata.revision));
            writes.push(Write::Delete(key));
        }
    }
    Ok((compares, writes))
}

/// Goes back to how a tenant was served before.
pub async fn back(world: &World, tenant: &DocumentName, cell: &CellName, to: TenantState) -> Result<(), StepError> {
    serve(world, tenant, Some(to)).await?;
    gates::tell(world, cell).await?;
    // Edges follow by themselves: what they are told now is what they were told before.
    routing::publish(world).await;
    Ok(())
}
