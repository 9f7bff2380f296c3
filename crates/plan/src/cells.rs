//! Cells: their networks and machines, what one takes of a machine, when the next one is due, and whether one may be emptied.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use model::v1alpha1::{Allocation, BlueprintSpec, Cell, Machine, Scheduling, TenantState};
use model::{BlueprintName, CellName, ConditionStatus, Cpu, DocumentName, Kind, MachineName, Memory, TenantName, Typed};

use crate::{Report, Snapshot, product_of};

/// Prefix of each of a cell's two networks: 256 addresses.
pub const NETWORK_PREFIX: u8 = 24;
/// Reason of condition `Opened` while a cell is made: its tenants wait for it, even where another cell could take them.
pub const OPENING: &str = "Opening";
/// The same once that takes so long that tenants go elsewhere.
pub const OPENING_SLOWLY: &str = "OpeningSlowly";
/// What a database node takes beside its buffer pool: dictionary, connections, write-set cache, transfers.
const NODE_OVERHEAD: Memory = Memory::mebi(192);
/// What the database's endpoint takes.
const ENDPOINT_MEMORY: Memory = Memory::mebi(64);
/// What the cache takes beside its items.
const CACHE_OVERHEAD: Memory = Memory::mebi(16);

/// Why a cell gets no networks or machines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// No two free networks are left.
    #[error("the pool {pool} has no two networks of 256 addresses left that clash neither with another cell nor with a network of the host")]
    NoNetwork {
        /// The pool.
        pool: Ipv4Net,
    },
    /// No machine can hold its data.
    #[error("no machine can hold the data of cell {cell}: {why}")]
    NoMachine {
        /// The cell.
        cell: CellName,
        /// What is missing.
        why: String,
    },
}

impl AllocationError {
    /// CamelCase code for the cell's condition.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoNetwork { .. } => "NoNetwork",
            Self::NoMachine { .. } => "NoMachine",
        }
    }
}

/// Chooses networks and machines of a cell that has none yet; a cell that has them keeps them. Store the choice before acting on it.
///
/// `host_routes` are the networks that the host already knows (a default route is ignored). The choice is the lowest that is free, so that it can
/// be repeated; two cells decided at once are told apart by the store's compares.
///
/// # Errors
/// [`AllocationError`] when the pool or the machines do not suffice.
pub fn allocate(snapshot: &Snapshot, cell: &CellName, host_routes: &[Ipv4Net]) -> Result<Allocation, AllocationError> {
    let standing = snapshot.cells.get(cell);
    if let Some(allocation) = standing.and_then(|standing| standing.status.allocation.clone()) {
        return Ok(allocation);
    }
    let pool = snapshot.platform_spec().network.pool;
    let mut free = free_networks(snapshot, pool, host_routes);
    let (Some(app_network), Some(data_network)) = (free.next(), free.next()) else { return Err(AllocationError::NoNetwork { pool }) };
    drop(free);
    let blueprint = standing.and_then(|standing| snapshot.blueprint_of(standing));
    let nodes = blueprint.and_then(|blueprint| blueprint.database.as_ref()).map_or(0, |database| database.nodes);
    let machines = choose_machines(snapshot, cell, nodes.max(1) as usize)?;
    Ok(Allocation { app_network, data_network, machines })
}

/// Networks of the pool that nobody has, lowest first.
fn free_networks<'a>(snapshot: &'a Snapshot, pool: Ipv4Net, host_routes: &'a [Ipv4Net]) -> impl Iterator<Item = Ipv4Net> + 'a {
    let allocations = snapshot.cells.values().filter_map(|cell| cell.status.allocation.as_ref());
    let taken: Vec<Ipv4Net> = allocations.flat_map(|allocation| [allocation.app_network, allocation.data_network]).collect();
    let (small, large): (Vec<Ipv4Net>, Vec<Ipv4Net>) =
        taken.into_iter().chain(host_routes.iter().copied()).filter(|net| net.prefix_len() > 0).partition(|net| net.prefix_len() >= NETWORK_PREFIX);
    // The /24 around each small network; few large ones are compared one by one.
    let small: BTreeSet<std::net::Ipv4Addr> =
        small.into_iter().filter_map(|net| Ipv4Net::new(net.network(), NETWORK_PREFIX).ok()).map(|net| net.network()).collect();
    let subnets = pool.subnets(NETWORK_PREFIX).into_iter().flatten();
    subnets.filter(move |net| !small.contains(&net.network()) && !large.iter().any(|taken| taken.contains(net)))
}

/// Machines of the nodes, in the order of the nodes: those the cell names, else those of its region with the fewest nodes. Nodes share machines only
/// where there are fewer machines than nodes.
fn choose_machines(snapshot: &Snapshot, cell: &CellName, nodes: usize) -> Result<Vec<MachineName>, AllocationError> {
    let fail = |why: String| AllocationError::NoMachine { cell: cell.clone(), why };
    let standing = snapshot.cells.get(cell);
    let named = standing.map(|standing| standing.spec.machines.as_slice()).unwrap_or_default();
    if let Some(unknown) = named.iter().find(|name| !snapshot.machines.contains_key(*name)) {
        return Err(fail(format!("machine {unknown}, which it names, is not known")));
    }
    let region = standing.map_or_else(|| snapshot.default_region(), |standing| snapshot.region_of(standing));
    let candidates: Vec<MachineName> = if named.is_empty() {
        let mut load: BTreeMap<&MachineName, usize> = BTreeMap::new();
        for allocation in snapshot.cells.values().filter_map(|cell| cell.status.allocation.as_ref()) {
            for machine in &allocation.machines {
                *load.entry(machine).or_default() += 1;
            }
        }
        let fits = |machine: &Typed<Machine>| {
            let here = machine.spec.region.as_deref().unwrap_or_else(|| snapshot.default_region()) == region;
            let lost = machine.status.conditions.get("Ready").is_some_and(|ready| ready.status == ConditionStatus::False);
            here && !lost && machine.metadata.deletion_requested_at.is_none()
        };
        let mut fitting: Vec<&MachineName> = snapshot.machines.iter().filter(|(_, machine)| fits(machine)).map(|(name, _)| name).collect();
        fitting.sort_by_key(|name| (load.get(name).copied().unwrap_or_default(), *name));
        fitting.into_iter().cloned().collect()
    } else {
        named.to_vec()
    };
    if candidates.is_empty() {
        return Err(fail(format!("none in region {region} is ready")));
    }
    Ok(candidates.into_iter().cycle().take(nodes).collect())
}

/// What one cell may take of its machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Sum of memory limits, with as many instances as are always there.
    pub memory: Memory,
    /// The same with as many instances as there may be.
    pub memory_max: Memory,
    /// Sum of processor limits, with as many instances as are always there.
    pub cpu: Cpu,
    /// Addresses that instances may take at once, one more of each service while it is rolled.
    pub addresses: u32,
}

/// Sums up a blueprint.
#[must_use]
pub fn footprint(blueprint: &BlueprintSpec) -> Footprint {
    let mut sum = Sum::default();
    let gates = &blueprint.gates;
    sum.add(gates.replicas, gates.replicas, gates.limits.memory, gates.limits.cpu);
    for service in blueprint.services.values() {
        sum.add(service.replicas.min, service.replicas.max, service.limits.memory, service.limits.cpu);
    }
    if let Some(cache) = &blueprint.cache {
        sum.add(1, 1, Memory(cache.memory.0.saturating_add(CACHE_OVERHEAD.0)), Cpu(250));
    }
    if let Some(database) = &blueprint.database {
        sum.add(database.nodes, database.nodes, Memory(database.memory.0.saturating_add(NODE_OVERHEAD.0)), database.cpu);
        sum.add(1, 1, ENDPOINT_MEMORY, Cpu(250));
    }
    let services = blueprint.services.values().map(|service| service.replicas.max.saturating_add(1));
    let addresses = services.chain(blueprint.cache.iter().map(|_| 2)).fold(0, u32::saturating_add);
    Footprint { memory: Memory(sum.memory), memory_max: Memory(sum.memory_max), cpu: Cpu(sum.cpu), addresses }
}

#[derive(Default)]
struct Sum {
    memory: u64,
    memory_max: u64,
    cpu: u32,
}

impl Sum {
    fn add(&mut self, min: u32, max: u32, memory: Memory, cpu: Cpu) {
        self.memory = self.memory.saturating_add(memory.0.saturating_mul(min.into()));
        self.memory_max = self.memory_max.saturating_add(memory.0.saturating_mul(max.into()));
        self.cpu = self.cpu.saturating_add(cpu.0.saturating_mul(min));
    }
}

/// A product in a region whose next cell is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The product.
    pub product: BlueprintName,
    /// The region.
    pub region: String,
    /// Tenants in cells that take new ones.
    pub tenants: u32,
    /// Their capacity.
    pub capacity: u32,
    /// Tenants at which the next cell is due.
    pub at: u32,
    /// The newest of the cells' blueprints: what the next cell would be made from.
    pub blueprint: DocumentName,
}

impl Due {
    /// The next command to type.
    #[must_use]
    pub fn next(&self) -> String {
        format!("atoll cell open <name> --blueprint {} --region {}", self.blueprint, self.region)
    }
}

impl std::fmt::Display for Due {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { product, region, tenants, capacity, at, .. } = self;
        write!(f, "the next cell of {product} in region {region} is due: {tenants} of {capacity} places are taken, due at {at}")
    }
}

/// Products and regions whose open cells are filled up to the share that their blueprint states. Cells that were never ready count too: they are
/// the next cell that was asked for.
#[must_use]
pub fn due(snapshot: &Snapshot) -> Vec<Due> {
    let mut groups: BTreeMap<(&str, &str), Due> = BTreeMap::new();
    for cell in snapshot.cells.values().filter(|cell| cell.spec.scheduling == Scheduling::Open && cell.metadata.deletion_requested_at.is_none()) {
        let Some(blueprint) = snapshot.blueprint_of(cell) else { continue };
        let product = product_of(&cell.spec.blueprint);
        let Ok(product_name) = BlueprintName::new(product) else { continue };
        let region = snapshot.region_of(cell);
        let due = groups.entry((product, region)).or_insert_with(|| Due {
            product: product_name,
            region: region.to_owned(),
            tenants: 0,
            capacity: 0,
            at: 0,
            blueprint: cell.spec.blueprint.clone(),
        });
        due.tenants = due.tenants.saturating_add(cell.status.tenants);
        due.capacity = due.capacity.saturating_add(blueprint.capacity.tenants);
        due.at = due.at.saturating_add(blueprint.capacity.open_next_at.of(blueprint.capacity.tenants));
        if crate::version::newer(&cell.spec.blueprint, &due.blueprint) {
            due.blueprint = cell.spec.blueprint.clone();
        }
    }
    groups.into_values().filter(|due| due.tenants >= due.at).collect()
}

/// The same in sentences.
pub fn due_report(snapshot: &Snapshot) -> Report {
    let mut report = Report::default();
    for due in due(snapshot) {
        report.say(Kind::Blueprint, due.blueprint.clone(), "NextCellDue", due.to_string(), Some(due.next()));
    }
    report
}

/// The tenants that keep a cell from being emptied, with the reason each cannot leave. Empty: the cell may be closed.
#[must_use]
pub fn stays(snapshot: &Snapshot, cell: &CellName) -> BTreeMap<TenantName, &'static str> {
    let here = snapshot.tenants.iter().filter(|(_, tenant)| tenant.status.cell.as_ref() == Some(cell));
    here.map(|(name, tenant)| {
        let why = match tenant.spec.state {
            TenantState::Removed => "it was removed, and its data is kept until the grace period ends",
            TenantState::Active | TenantState::Suspended => "tenants cannot move between cells in this release; remove it first",
        };
        (name.clone(), why)
    })
    .collect()
}

/// Whether a cell's tenants fit a blueprint that it is to be rolled to.
#[must_use]
pub fn fits(cell: &Typed<Cell>, blueprint: &BlueprintSpec) -> bool {
    cell.status.tenants <= blueprint.capacity.tenants
}

#[cfg(test)]
mod tests;
