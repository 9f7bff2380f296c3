//! What is decided for a tenant, with its evidence.

use model::{BlueprintName, CellName, DomainName, TenantName};

/// The decision for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes there.
    Placed {
        /// The cell.
        cell: CellName,
        /// Why there.
        because: Because,
    },
    /// It would be placed, were it not for this.
    Waiting(Waiting),
    /// Nobody wants it served: it is suspended or removed before it ever had a cell.
    NotWanted {
        /// `Suspended` or `Removed`.
        reason: &'static str,
    },
}

/// Why a cell was chosen: how it stood before the tenant came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Because {
    /// Whether the tenant named the cell itself.
    pub pinned: bool,
    /// Tenants there.
    pub tenants: u32,
    /// Most tenants there.
    pub capacity: u32,
    /// Tenants of the same group there.
    pub group_mates: u32,
}

/// What a tenant waits for. Each names what would change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// No blueprint of this product was ever applied.
    BlueprintUnknown {
        /// The product.
        product: BlueprintName,
    },
    /// No cell of this product stands.
    NoCell {
        /// The product.
        product: BlueprintName,
    },
    /// Cells of this product stand, none in this region.
    RegionMissing {
        /// The product.
        product: BlueprintName,
        /// The region.
        region: String,
        /// Cells of the product elsewhere.
        elsewhere: u32,
    },
    /// Every cell that could take it is closed to new tenants.
    CellsClosed {
        /// How many.
        closed: u32,
    },
    /// A cell that could take it is not ready.
    CellNotReady {
        /// The first of them.
        cell: CellName,
        /// How many.
        cells: u32,
    },
    /// Every ready cell that could take it is full.
    CellsFull {
        /// How many.
        cells: u32,
        /// The product.
        product: BlueprintName,
        /// The region, where the tenant names one.
        region: Option<String>,
    },
    /// The cell it names does not stand.
    PinnedCellUnknown {
        /// The cell.
        cell: CellName,
    },
    /// The cell it names runs another product or lies in another region.
    PinnedCellUnfit {
        /// The cell.
        cell: CellName,
        /// What does not fit.
        why: String,
    },
    /// The cell it names takes no new tenants.
    PinnedCellClosed {
        /// The cell.
        cell: CellName,
    },
    /// The cell it names is full.
    PinnedCellFull {
        /// The cell.
        cell: CellName,
        /// Its capacity.
        capacity: u32,
    },
    /// One of its domains belongs to another tenant.
    DomainTaken {
        /// The domain.
        domain: DomainName,
        /// Its owner.
        by: TenantName,
    },
}

impl Outcome {
    /// CamelCase code for the condition `Placed` and the report.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "Placed",
            Self::Waiting(waiting) => waiting.reason(),
            Self::NotWanted { reason } => reason,
        }
    }

    /// A sentence for people.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Placed { cell, because } => format!("goes to cell {cell}: {because}"),
            Self::Waiting(waiting) => waiting.to_string(),
            Self::NotWanted { reason } => format!("gets no cell while its state is {reason}"),
        }
    }

    /// The next command to type.
    #[must_use]
    pub fn next(&self, tenant: &TenantName) -> Option<String> {
        match self {
            Self::Placed { .. } => None,
            Self::Waiting(waiting) => Some(waiting.next(tenant)),
            Self::NotWanted { .. } => Some(format!("atoll tenant resume {tenant}")),
        }
    }
}

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pinned, tenants, capacity, group_mates } = self;
        if *pinned {
            return write!(f, "the tenant names it, and it has room ({tenants} of {capacity} taken)");
        }
        write!(f, "most room free ({tenants} of {capacity} taken)")?;
        if *group_mates > 0 {
            write!(f, ", fewest of its group ({group_mates})")?;
        }
        Ok(())
    }
}

impl Waiting {
    /// CamelCase code for the condition `Placed` and the report.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::BlueprintUnknown { .. } => "BlueprintUnknown",
            Self::NoCell { .. } => "NoCell",
            Self::RegionMissing { .. } => "RegionMissing",
            Self::CellsClosed { .. } => "CellsClosed",
            Self::CellNotReady { .. } => "CellNotReady",
            Self::CellsFull { .. } => "CellsFull",
            Self::PinnedCellUnknown { .. } => "PinnedCellUnknown",
            Self::PinnedCellUnfit { .. } => "PinnedCellUnfit",
            Self::PinnedCellClosed { .. } => "PinnedCellClosed",
            Self::PinnedCellFull { .. } => "PinnedCellFull",
            Self::DomainTaken { .. } => "DomainTaken",
        }
    }

    /// The next command to type.
    #[must_use]
    pub fn next(&self, tenant: &TenantName) -> String {
        match self {
            Self::BlueprintUnknown { .. } => "atoll apply <folder of the blueprint>".to_owned(),
            Self::NoCell { product } => format!("atoll cell open <name> --blueprint {product}"),
            Self::RegionMissing { product, region, .. } => format!("atoll cell open <name> --blueprint {product} --region {region}"),
            Self::CellsFull { product, region: Some(region), .. } => format!("atoll cell open <name> --blueprint {product} --region {region}"),
            Self::CellsFull { product, region: None, .. } => format!("atoll cell open <name> --blueprint {product}"),
            Self::CellsClosed { .. } | Self::PinnedCellUnknown { .. } => "atoll cell list".to_owned(),
            Self::CellNotReady { cell, .. } | Self::PinnedCellClosed { cell } | Self::PinnedCellFull { cell, .. } => {
                format!("atoll explain cell {cell}")
            }
            Self::PinnedCellUnfit { .. } => format!("atoll tenant show {tenant}"),
            Self::DomainTaken { by, .. } => format!("atoll tenant show {by}"),
        }
    }
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BlueprintUnknown { product } => write!(f, "waits: no version of blueprint {product} is known"),
            Self::NoCell { product } => write!(f, "waits: no cell of {product} stands"),
            Self::RegionMissing { product, region, elsewhere } => {
                write!(f, "waits: no cell of {product} stands in region {region} ({elsewhere} elsewhere)")
            }
            Self::CellsClosed { closed } => write!(f, "waits: all cells that fit ({closed}) take no new tenants"),
            Self::CellNotReady { cell, cells: 1 } => write!(f, "waits: cell {cell} is not ready, or not yet open"),
            Self::CellNotReady { cell, cells } => write!(f, "waits: {cells} cells that fit are not ready, or not yet open, {cell} among them"),
            Self::CellsFull { cells, .. } => write!(f, "waits: all ready cells that fit ({cells}) are full"),
            Self::PinnedCellUnknown { cell } => write!(f, "waits: the cell it names, {cell}, does not stand"),
            Self::PinnedCellUnfit { cell, why } => write!(f, "waits: the cell it names, {cell}, does not fit: {why}"),
            Self::PinnedCellClosed { cell } => write!(f, "waits: the cell it names, {cell}, takes no new tenants"),
            Self::PinnedCellFull { cell, capacity } => write!(f, "waits: the cell it names, {cell}, is full ({capacity} tenants)"),
            Self::DomainTaken { domain, by } => write!(f, "waits: domain {domain} belongs to tenant {by}"),
        }
    }
}
