//! Whether a served tenant is ready follows its cell.

use std::sync::Arc;

use model::v1alpha1::{Cell, Tenant, TenantState};
use model::{CellName, Condition, ConditionStatus, Typed};
use store::StoreError;

use super::tell;
use crate::world::World;

/// What is said of a tenant whose cell is not ready.
const CELL_NOT_READY: &str = "CellNotReady";
/// What is said of one that is served as wanted.
const AS_WANTED: &str = "AsWanted";

/// Says of every tenant that is served whether its cell serves. Gives how many were changed.
pub async fn follow(world: &World) -> Result<usize, StoreError> {
    let now = world.now();
    let mut changed: Vec<Typed<Tenant>> = Vec::new();
    world.view.read(|known| {
        for (name, tenants) in &known.by_cell {
            let Some(cell) = known.snapshot.cells.get(name) else { continue };
            let (status, reason, message) = verdict(name, cell);
            let here = tenants.iter().filter_map(|tenant| known.snapshot.tenants.get(tenant));
            for tenant in here.filter(|tenant| due(tenant, status, &message)) {
                let mut tenant = Typed::clone(tenant);
                let generation = tenant.status.observed_generation;
                tenant.status.conditions.set("Ready", status, reason, message.clone(), generation, now);
                changed.push(tenant);
            }
        }
    });
    tell(world, &changed).await?;
    Ok(changed.len())
}

/// What the cell's word means for its tenants. Its own message is left to it: that changes often, and stands there.
fn verdict(name: &CellName, cell: &Typed<Cell>) -> (ConditionStatus, &'static str, String) {
    let words = |said: &Condition| format!("its cell {name} is not ready: {}", said.reason);
    match cell.status.conditions.get("Ready") {
        Some(said) if said.status == ConditionStatus::True => (ConditionStatus::True, AS_WANTED, String::new()),
        Some(said) => (said.status, CELL_NOT_READY, words(said)),
        None => (ConditionStatus::Unknown, CELL_NOT_READY, format!("nothing is known of its cell {name}")),
    }
}

/// Whether this is news of the tenant. What an operation said of it for another cause stays.
fn due(tenant: &Arc<Typed<Tenant>>, status: ConditionStatus, message: &str) -> bool {
    let served = tenant.status.serving == Some(TenantState::Active) && tenant.status.operation.is_none();
    let said = tenant.status.conditions.get("Ready").filter(|said| [AS_WANTED, CELL_NOT_READY].contains(&said.reason.as_str()));
    served && said.is_some_and(|said| said.status != status || said.message != message)
}
