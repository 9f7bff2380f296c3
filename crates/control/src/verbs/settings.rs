//! A tenant's settings: rendered from the blueprint's templates and written as a whole.

use std::collections::BTreeMap;

use model::v1alpha1::Tenant;
use model::{CellName, DocumentName, Generation, TenantName, Typed};
use operation::StepError;
use plan::settings::{Account, Context, Templates};

use super::ways::{self, Place};
use crate::world::World;
use crate::{cells, names, secrets};

/// Prefix of the blueprint's own secrets in a tenant's secret.
pub const OWN: &str = "own.";

/// From what a tenant's settings are rendered, in short.
fn inputs(tenant: &Typed<Tenant>, cell: &CellName, blueprint: &DocumentName, platform: Generation) -> String {
    format!("{} {} {cell} {blueprint} {platform}", tenant.metadata.uid, tenant.metadata.generation)
}

/// Renders and writes a tenant's settings.
pub async fn write(world: &World, tenant: &Typed<Tenant>, schema: &str, place: &Place) -> Result<(), StepError> {
    let blueprint = &place.blueprint.spec;
    let Some(owner) = ways::user(blueprint, |service| service.settings) else { return Ok(()) };
    let bad = |error: plan::settings::TemplateError| StepError::fatal("SettingsFailed", error.to_string());
    let name = names::tenant_secret(&tenant.metadata);
    let values = secrets::open(world, &name).await?;
    let password = secrets::value(&values, &name, ways::PASSWORD)?.reveal().clone();
    let own = values.iter().filter_map(|(key, value)| Some((key.strip_prefix(OWN)?.to_owned(), value.reveal().clone())));
    let own: BTreeMap<String, String> = own.collect();
    let account = Account { schema: schema.to_owned(), user: schema.to_owned(), password };
    let templates = Templates::new(&blueprint.tenant.settings).map_err(bad)?;
    let files = templates.render(&Context::new(&place.platform, blueprint, &place.name, tenant, account, own)).map_err(bad)?;
    world.ports.files.write_settings(&place.name, &tenant_name(tenant)?, &files, owner).await?;
    world.note_settings(&tenant.metadata.name, Some(inputs(tenant, &place.name, &place.blueprint_name, place.platform_generation)));
    Ok(())
}

/// Removes a tenant's settings.
pub async fn remove(world: &World, tenant: &Typed<Tenant>, cell: &CellName) -> Result<(), StepError> {
    world.note_settings(&tenant.metadata.name, None);
    world.ports.files.remove_settings(cell, &tenant_name(tenant)?).await?;
    Ok(())
}

/// Writes a tenant's settings anew where what they are rendered from has changed.
pub async fn keep(world: &World, tenant: &Typed<Tenant>) -> Result<bool, StepError> {
    let (Some(cell), Some(schema)) = (&tenant.status.cell, &tenant.status.schema) else { return Ok(false) };
    let now = world.view.read(|known| {
        let (blueprint, _) = cells::effective(known, known.snapshot.cells.get(cell)?)?;
        let platform = known.snapshot.platform.as_ref().map_or(Generation(0), |platform| platform.metadata.generation);
        Some(inputs(tenant, cell, blueprint, platform))
    });
    if now.is_none_or(|now| world.settings_current(&tenant.metadata.name, &now)) {
        return Ok(false);
    }
    let place = ways::place(world, cell).await?;
    write(world, tenant, schema, &place).await?;
    Ok(true)
}

/// The tenant's name as its type.
pub fn tenant_name(tenant: &Typed<Tenant>) -> Result<TenantName, StepError> {
    TenantName::new(tenant.metadata.name.as_str()).map_err(|error| StepError::fatal("ParameterShape", error.to_string()))
}
