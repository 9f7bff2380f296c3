//! Lint of a decision: a placement checked once more by plain counting, independent of how it was found.

use std::collections::BTreeMap;

use model::v1alpha1::{Cell, Scheduling};
use model::{CellName, TenantName, Typed};

use crate::place::Placement;
use crate::{Snapshot, product_of};

/// A placement that must not be committed: a defect of ours, told apart by what it would break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// The tenant already has a cell, or is not known.
    #[error("tenant {0} is not waiting for a cell")]
    NotWaiting(TenantName),
    /// The cell is not known, not ready, or takes no tenants.
    #[error("cell {0} takes no tenants")]
    Closed(CellName),
    /// The cell runs another product or lies in another region, or the tenant names another cell.
    #[error("cell {cell} does not fit tenant {tenant}")]
    Unfit {
        /// The tenant.
        tenant: TenantName,
        /// The cell.
        cell: CellName,
    },
    /// More tenants than there is room.
    #[error("cell {cell} would have {tenants} tenants of {capacity}")]
    Overfull {
        /// The cell.
        cell: CellName,
        /// Tenants it would have.
        tenants: u32,
        /// Its capacity.
        capacity: u32,
    },
}

/// Checks a placement against the snapshot that it was made from.
///
/// # Errors
/// The first [`PlacementError`]; nothing of the placement may then be committed.
pub fn placement(snapshot: &Snapshot, placement: &Placement) -> Result<(), PlacementError> {
    let mut added: BTreeMap<&CellName, u32> = BTreeMap::new();
    for (name, cell_name) in placement.placed() {
        let waiting = snapshot.tenants.get(name).filter(|tenant| tenant.status.cell.is_none());
        let Some(tenant) = waiting else { return Err(PlacementError::NotWaiting(name.clone())) };
        let stands = |cell: &Typed<Cell>| ["Ready", "Opened"].iter().all(|condition| cell.status.conditions.is_true(condition));
        let open = snapshot.cells.get(cell_name).filter(|cell| cell.spec.scheduling == Scheduling::Open && stands(cell));
        let Some(cell) = open else { return Err(PlacementError::Closed(cell_name.clone())) };
        let spec = &tenant.spec;
        let product = product_of(&cell.spec.blueprint) == spec.blueprint.as_str();
        let region = spec.region.as_deref().is_none_or(|region| region == snapshot.region_of(cell));
        let pinned = spec.cell.as_ref().is_none_or(|pinned| pinned == cell_name);
        if !(product && region && pinned) {
            return Err(PlacementError::Unfit { tenant: name.clone(), cell: cell_name.clone() });
        }
        let capacity = snapshot.blueprint_of(cell).map_or(0, |blueprint| blueprint.capacity.tenants);
        let added = added.entry(cell_name).or_default();
        *added += 1;
        let tenants = cell.status.tenants.saturating_add(*added);
        if tenants > capacity {
            return Err(PlacementError::Overfull { cell: cell_name.clone(), tenants, capacity });
        }
    }
    Ok(())
}
