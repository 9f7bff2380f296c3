//! The board of a placement: cells with their room, kept in order while tenants take it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use model::v1alpha1::{Cell, Scheduling, TenantSpec};
use model::{BlueprintName, CellName, ConditionStatus, Typed};

use super::outcome::{Because, Waiting};
use crate::{Snapshot, cells::OPENING, product_of};

/// Up to so many cells with group mates are stepped over one by one; a group spread wider gets a heap of its own.
const FEW: usize = 32;

/// Position of a cell on the board. Cells stand in the order of their names, so this also breaks ties by name.
pub(super) type Index = usize;

/// How well a cell suits a tenant without mates: the smaller the better. Ends in the cell's place by name, so that ties are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fill {
    /// Taken share of the capacity, in millionths.
    share: u64,
    cell: Index,
}

/// How well a cell suits a tenant of a group: fewest mates, then [`Fill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    mates: u32,
    fill: Fill,
}

/// One cell.
struct Slot<'a> {
    name: &'a CellName,
    product: &'a str,
    region: &'a str,
    capacity: u32,
    tenants: u32,
    closed: bool,
    ready: bool,
    /// Not ready, but being opened in good time: tenants wait for it where it will suit them best.
    opening: bool,
}

/// The cells of one product, in one region or in all.
#[derive(Default)]
struct Bucket {
    cells: u32,
    closed: u32,
    not_ready: u32,
    first_not_ready: Option<Index>,
    /// Cells that can take a tenant, now or as soon as they are open.
    open: BTreeSet<Fill>,
}

/// Where the tenants of one group live.
#[derive(Default)]
struct Group {
    mates: BTreeMap<Index, u32>,
    /// Scores of the cells of a bucket, some of them out of date: keys only grow while a placement runs, so a stale one is re-queued when met.
    heaps: BTreeMap<(String, Option<String>), BinaryHeap<Reverse<Score>>>,
}

/// Cells with their room.
pub(super) struct Board<'a> {
    slots: Vec<Slot<'a>>,
    places: BTreeMap<&'a CellName, Index>,
    products: BTreeSet<&'a str>,
    /// Region `None`: all regions.
    buckets: BTreeMap<(&'a str, Option<&'a str>), Bucket>,
    groups: BTreeMap<String, Group>,
}

impl<'a> Board<'a> {
    /// Sets up the board. A cell's room is what both its own count and the tenants that name it leave.
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let mut slots: Vec<Slot<'a>> = snapshot.cells.iter().map(|(name, cell)| slot(snapshot, name, cell)).collect();
        let places: BTreeMap<&CellName, Index> = snapshot.cells.keys().enumerate().map(|(index, name)| (name, index)).collect();
        let mut counted = vec![0_u32; slots.len()];
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for tenant in snapshot.tenants.values() {
            let Some(index) = tenant.status.cell.as_ref().and_then(|cell| places.get(cell)).copied() else { continue };
            counted[index] += 1;
            if let Some(group) = &tenant.spec.group {
                *groups.entry(group.clone()).or_default().mates.entry(index).or_default() += 1;
            }
        }
        for (slot, counted) in slots.iter_mut().zip(counted) {
            slot.tenants = slot.tenants.max(counted);
        }
        let mut buckets: BTreeMap<(&str, Option<&str>), Bucket> = BTreeMap::new();
        for (index, slot) in slots.iter().enumerate() {
            for region in [None, Some(slot.region)] {
                buckets.entry((slot.product, region)).or_default().add(index, slot);
            }
        }
        let products = snapshot.blueprints.keys().map(product_of).collect();
        Self { slots, places, products, buckets, groups }
    }

    /// The name of a cell.
    pub(super) fn name(&self, index: Index) -> &'a CellName {
        self.slots[index].name
    }

    /// The cell that the tenant names, where it can take it.
    pub(super) fn pinned(&self, cell: &CellName, spec: &TenantSpec) -> Result<(Index, Because), Waiting> {
        let cell = cell.clone();
        let Some(&index) = self.places.get(&cell) else { return Err(Waiting::PinnedCellUnknown { cell }) };
        let slot = &self.slots[index];
        if slot.product != spec.blueprint.as_str() {
            return Err(Waiting::PinnedCellUnfit { cell, why: format!("it runs {}, the tenant wants {}", slot.product, spec.blueprint) });
        }
        if let Some(region) = spec.region.as_deref().filter(|region| *region != slot.region) {
            return Err(Waiting::PinnedCellUnfit { cell, why: format!("it lies in region {}, the tenant wants {region}", slot.region) });
        }
        if slot.closed {
            return Err(Waiting::PinnedCellClosed { cell });
        }
        if !slot.ready {
            return Err(Waiting::CellNotReady { cell, cells: 1 });
        }
        if slot.tenants >= slot.capacity {
            return Err(Waiting::PinnedCellFull { cell, capacity: slot.capacity });
        }
        Ok((index, self.because(index, spec, true)))
    }

    /// The best cell for the tenant, or what it waits for.
    pub(super) fn best(&mut self, spec: &TenantSpec) -> Result<(Index, Because), Waiting> {
        let Some(bucket) = self.buckets.get(&(spec.blueprint.as_str(), spec.region.as_deref())) else {
            return Err(self.nowhere(&spec.blueprint, spec));
        };
        if bucket.open.is_empty() {
            return Err(self.none_open(bucket, spec));
        }
        let not_ready = bucket.not_ready;
        let index = match &spec.group {
            None => bucket.open.first().map(|fill| fill.cell),
            Some(group) => self.best_for_group(group, spec),
        };
        match index {
            // Its room is taken meanwhile, so that the next one looks elsewhere.
            Some(index) if self.slots[index].opening => {
                self.take(index, spec);
                Err(Waiting::CellNotReady { cell: self.slots[index].name.clone(), cells: not_ready })
            }
            Some(index) => Ok((index, self.because(index, spec, false))),
            None => Err(self.nowhere(&spec.blueprint, spec)),
        }
    }

    /// Counts a tenant in.
    pub(super) fn take(&mut self, index: Index, spec: &TenantSpec) {
        let slot = &mut self.slots[index];
        let before = slot.fill(index);
        slot.tenants += 1;
        let (after, full, key) = (slot.fill(index), slot.tenants >= slot.capacity, (slot.product, slot.region));
        for region in [None, Some(key.1)] {
            if let Some(bucket) = self.buckets.get_mut(&(key.0, region)) {
                bucket.open.remove(&before);
                if !full {
                    bucket.open.insert(after);
                }
            }
        }
        if let Some(group) = &spec.group {
            *self.groups.entry(group.clone()).or_default().mates.entry(index).or_default() += 1;
        }
    }

    fn because(&self, index: Index, spec: &TenantSpec, pinned: bool) -> Because {
        let slot = &self.slots[index];
        let group = spec.group.as_ref().and_then(|group| self.groups.get(group));
        let group_mates = group.and_then(|group| group.mates.get(&index)).copied().unwrap_or_default();
        Because { pinned, tenants: slot.tenants, capacity: slot.capacity, group_mates }
    }

    /// The least filled cell without mates, found by stepping over the few that have some; otherwise the heap of the group.
    fn best_for_group(&mut self, name: &str, spec: &TenantSpec) -> Option<Index> {
        let bucket = self.buckets.get(&(spec.blueprint.as_str(), spec.region.as_deref()))?;
        let group = self.groups.entry(name.to_owned()).or_default();
        if group.mates.len() <= FEW {
            if let Some(fill) = bucket.open.iter().find(|fill| !group.mates.contains_key(&fill.cell)) {
                return Some(fill.cell);
            }
            return bucket.open.iter().map(|&fill| Score { mates: mates(&group.mates, fill.cell), fill }).min().map(|score| score.fill.cell);
        }
        let key = (spec.blueprint.as_str().to_owned(), spec.region.clone());
        let heap = group
            .heaps
            .entry(key)
            .or_insert_with(|| bucket.open.iter().map(|&fill| Reverse(Score { mates: mates(&group.mates, fill.cell), fill })).collect());
        while let Some(Reverse(score)) = heap.pop() {
            let slot = &self.slots[score.fill.cell];
            if slot.tenants >= slot.capacity {
                continue;
            }
            let now = Score { mates: mates(&group.mates, score.fill.cell), fill: slot.fill(score.fill.cell) };
            heap.push(Reverse(now));
            if now == score {
                return Some(now.fill.cell);
            }
        }
        None
    }

    /// Why there is no bucket: the product is unknown, has no cell, or has none in the region.
    fn nowhere(&self, product: &BlueprintName, spec: &TenantSpec) -> Waiting {
        let product = product.clone();
        let elsewhere = self.buckets.get(&(product.as_str(), None)).map_or(0, |bucket| bucket.cells);
        match &spec.region {
            _ if !self.products.contains(product.as_str()) => Waiting::BlueprintUnknown { product },
            Some(region) if elsewhere > 0 => Waiting::RegionMissing { product, region: region.clone(), elsewhere },
            _ => Waiting::NoCell { product },
        }
    }

    /// Why no cell of a bucket is open: what a person can change soonest comes first.
    fn none_open(&self, bucket: &Bucket, spec: &TenantSpec) -> Waiting {
        if let Some(first) = bucket.first_not_ready {
            return Waiting::CellNotReady { cell: self.slots[first].name.clone(), cells: bucket.not_ready };
        }
        if bucket.closed == bucket.cells {
            return Waiting::CellsClosed { closed: bucket.closed };
        }
        Waiting::CellsFull { cells: bucket.cells - bucket.closed, product: spec.blueprint.clone(), region: spec.region.clone() }
    }
}

impl Slot<'_> {
    fn fill(&self, cell: Index) -> Fill {
        Fill { share: u64::from(self.tenants) * 1_000_000 / u64::from(self.capacity.max(1)), cell }
    }
}

impl Bucket {
    fn add(&mut self, index: Index, slot: &Slot<'_>) {
        self.cells += 1;
        if slot.closed {
            self.closed += 1;
        } else if !slot.ready {
            self.not_ready += 1;
            self.first_not_ready.get_or_insert(index);
        }
        if !slot.closed && (slot.ready || slot.opening) && slot.tenants < slot.capacity {
            self.open.insert(slot.fill(index));
        }
    }
}

fn mates(mates: &BTreeMap<Index, u32>, cell: Index) -> u32 {
    mates.get(&cell).copied().unwrap_or_default()
}

/// A cell whose blueprint is not known counts as not ready: its capacity is not known either.
fn slot<'a>(snapshot: &'a Snapshot, name: &'a CellName, cell: &'a Typed<Cell>) -> Slot<'a> {
    let blueprint = snapshot.blueprint_of(cell);
    let conditions = &cell.status.conditions;
    Slot {
        name,
        product: product_of(&cell.spec.blueprint),
        region: snapshot.region_of(cell),
        capacity: blueprint.map_or(0, |blueprint| blueprint.capacity.tenants),
        tenants: cell.status.tenants,
        closed: cell.spec.scheduling != Scheduling::Open || cell.metadata.deletion_requested_at.is_some(),
        // While it is still being opened, its making may yet be taken back, with whoever lives there.
        ready: blueprint.is_some() && conditions.is_true("Ready") && conditions.is_true("Opened"),
        opening: blueprint.is_some() && conditions.get("Opened").is_some_and(|said| said.status == ConditionStatus::False && said.reason == OPENING),
    }
}
