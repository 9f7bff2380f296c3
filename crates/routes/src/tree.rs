//! The hosts of a table: a tree by hash whose leaves are packed, shared between versions.
//!
//! A change copies the branches on the way to one leaf and that leaf, never more, so a version costs nothing to keep: readers, the feed, the disk and the audit
//! each look at one of their own. What a look-up costs is memory that is in no cache, so all that is known of a host stands in one place of
//! its leaf: about two lines of one page. Where there are wildcards a host's own place and its wildcard's are asked for at once. The hash only steers, equality
//! is by name; it is fixed, of good quality and nowhere stored: names that collide on purpose make the tree deeper by a level or two, no more.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use crate::view::{HostRef, RedirectRef};
use crate::{RecordRef, RedirectStatus, Route};

/// Children of a branch.
const FAN: usize = 1 << BITS;
const BITS: u32 = 4;
/// Most hosts of a leaf above the deepest level; a leaf that grows beyond becomes sixteen.
const MOST: usize = 128;
/// A table of more hosts is built by two threads.
const LARGE: usize = 500_000;
/// The upper half of a hash steers, the lower half sorts a leaf.
const DEEPEST: u32 = 32 / BITS;

const WILDCARD: u8 = 1;
/// The record is known but bad: nobody is served.
const UNSERVED: u8 = 0x10;
/// The route is not signed: nobody is served. Kept here as well, so that a look-up needs not read the route.
const UNSIGNED: u8 = 0x20;

/// How far beside its place by guess a host usually stands, in slots.
const BESIDE: usize = 2;
/// Longest domain that stands in its slot; longer ones, and those with a target, stand in a text of the leaf's, and the slot says where. With it a slot has no gap.
const SHORT: usize = 33;

/// All hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    root: Node,
    exact: usize,
    wildcards: usize,
}

#[derive(Debug, Clone)]
enum Node {
    Branch(Arc<[Node; FAN]>),
    Leaf(Leaf),
}

/// Hosts in the order of the lower half of their hashes: where a host stands is guessed, and all that is known of it stands right there.
#[derive(Debug, Clone, Default)]
struct Leaf {
    slots: Arc<[Slot]>,
    /// Domains and targets that find no room in their slots.
    texts: Arc<[u8]>,
}

/// One host of a leaf.
#[derive(Debug)]
struct Slot {
    route: Route,
    /// Lower half.
    hash: u32,
    host: u8,
    to: u8,
    kind: u8,
    /// The domain, or where it begins in the texts; its target follows it there.
    short: [u8; SHORT],
}

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Leaf::default())
    }
}

/// One host with all that is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    pub route: &'a Route,
    pub domain: &'a str,
    pub to: &'a str,
    kind: u8,
}

/// What a bulk build begins with: texts and routes lie elsewhere, so that a million of these are quickly sorted.
#[derive(Debug)]
pub(crate) struct Row {
    pub hash: u64,
    /// Where the domain begins; the target follows it.
    pub start: usize,
    /// Number of its route.
    pub route: u32,
    pub host: u8,
    pub to: u8,
    pub kind: u8,
}

/// Where rows point to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub octets: &'a [u8],
    pub routes: &'a [Route],
}

impl Row {
    pub(crate) fn item<'a>(&self, source: Source<'a>) -> Item<'a> {
        let end = self.start + usize::from(self.host);
        // They were texts when they were put there.
        let text = |octets| std::str::from_utf8(octets).unwrap_or_default();
        Item {
            route: &source.routes[self.route as usize],
            domain: text(&source.octets[self.start..end]),
            to: text(&source.octets[end..end + usize::from(self.to)]),
            kind: self.kind,
        }
    }
}

/// Hash by which a host is found.
pub(crate) fn hash(host: HostRef<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(u8::from(host.wildcard));
    hasher.write(host.domain.as_bytes());
    hasher.finish()
}

/// The lower half.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn low(hash: u64) -> u32 {
    hash as u32
}

const fn nibble(hash: u64, depth: u32) -> usize {
    (hash >> (64 - BITS * (depth + 1))) as usize & (FAN - 1)
}

/// How a record is kept: wildcard, status of the redirect, unserved.
pub(crate) fn kind(record: RecordRef<'_>, unserved: bool) -> u8 {
    let status = record.redirect.map_or(0, |redirect| redirect.status as u8);
    (u8::from(record.host.wildcard) * WILDCARD) | (status << 1) | if unserved { UNSERVED } else { 0 }
}

/// Whether a number is one that [`kind`] gives.
pub(crate) const fn is_kind(kind: u8, has_target: bool) -> bool {
    kind & !(WILDCARD | UNSERVED | 0x0e) == 0 && (kind >> 1 & 7 <= 4) && (kind >> 1 & 7 != 0) == has_target
}

pub(crate) const fn is_wildcard(kind: u8) -> bool {
    kind & WILDCARD != 0
}

impl<'a> Item<'a> {
    pub(crate) const fn new(route: &'a Route, record: RecordRef<'a>, kind: u8) -> Self {
        let to = match record.redirect {
            Some(redirect) => redirect.to,
            None => "",
        };
        Self { route, domain: record.host.domain, to, kind }
    }

    /// As it is stored.
    pub(crate) const fn kind(&self) -> u8 {
        self.kind & !UNSIGNED
    }

    pub(crate) const fn host(&self) -> HostRef<'a> {
        HostRef { wildcard: self.kind & WILDCARD != 0, domain: self.domain }
    }

    pub(crate) const fn is_served(&self) -> bool {
        self.kind & (UNSERVED | UNSIGNED) == 0
    }

    pub(crate) fn redirect(&self) -> Option<RedirectRef<'a>> {
        let status = match self.kind >> 1 & 7 {
            1 => RedirectStatus::Moved,
            2 => RedirectStatus::Found,
            3 => RedirectStatus::Temporary,
            4 => RedirectStatus::Permanent,
            _ => return None,
        };
        Some(RedirectRef { to: self.to, status })
    }

    /// The record that this was made from.
    pub(crate) fn record(&self) -> RecordRef<'a> {
        RecordRef {
            host: self.host(),
            tenant: self.route.tenant(),
            cell: self.route.cell(),
            epoch: self.route.epoch(),
            state: self.route.state(),
            redirect: self.redirect(),
            class: self.route.class(),
            edge: self.route.edge(),
        }
    }
}

impl Tree {
    /// Builds from rows in the order of their hashes, each host once.
    pub(crate) fn build(rows: &[Row], source: Source<'_>) -> Self {
        let wildcards = rows.iter().filter(|row| row.kind & WILDCARD != 0).count();
        Self { root: build(rows, source, 0), exact: rows.len() - wildcards, wildcards }
    }

    pub(crate) const fn len(&self) -> usize {
        self.exact + self.wildcards
    }

    pub(crate) const fn has_wildcards(&self) -> bool {
        self.wildcards > 0
    }

    pub(crate) fn get(&self, host: HostRef<'_>) -> Option<Item<'_>> {
        let hash = hash(host);
        let mut way = Way { node: &self.root, hash, depth: 0 };
        while way.step() {}
        way.find(host)
    }

    /// The first of two that is there. Both ways are gone side by side: the second then costs hardly any time, since none of its memory waits for the first's.
    pub(crate) fn get_either(&self, hosts: [HostRef<'_>; 2]) -> Option<Item<'_>> {
        let [mut first, mut second] = hosts.map(|host| Way { node: &self.root, hash: hash(host), depth: 0 });
        // Not `||`: each takes its step.
        while first.step() | second.step() {}
        second.near();
        first.find(hosts[0]).or_else(|| second.find(hosts[1]))
    }

    pub(crate) fn put(&mut self, item: Item<'_>) {
        let hash = hash(item.host());
        if !put(&mut self.root, 0, hash, item) {
            *self.count(item.host()) += 1;
        }
    }

    pub(crate) fn remove(&mut self, host: HostRef<'_>) {
        if self.get(host).is_some() {
            remove(&mut self.root, 0, hash(host), host);
            *self.count(host) -= 1;
        }
    }

    const fn count(&mut self, host: HostRef<'_>) -> &mut usize {
        if host.wildcard { &mut self.wildcards } else { &mut self.exact }
    }

    /// Whether every host is served: said without a look at any route.
    pub(crate) fn is_served(&self) -> bool {
        let mut waiting = vec![&self.root];
        while let Some(node) = waiting.pop() {
            match node {
                Node::Branch(children) => waiting.extend(children.iter()),
                Node::Leaf(leaf) if leaf.slots.iter().any(|slot| slot.kind & (UNSERVED | UNSIGNED) != 0) => return false,
                Node::Leaf(_) => {}
            }
        }
        true
    }

    /// Everything, leaf by leaf.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = impl Iterator<Item = Item<'_>>> {
        let mut waiting = vec![&self.root];
        std::iter::from_fn(move || {
            loop {
                match waiting.pop()? {
                    Node::Branch(children) => waiting.extend(children.iter().rev()),
                    Node::Leaf(leaf) => return Some(leaf.slots.iter().map(move |slot| leaf.item(slot))),
                }
            }
        })
    }

    /// Everything, in the order of hashes.
    pub(crate) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.leaves().flatten()
    }

    /// Gives routes anew where `new` says so.
    pub(crate) fn map_routes(&mut self, new: &mut impl FnMut(&Item<'_>) -> Option<Route>) {
        map_routes(&mut self.root, new);
    }
}

/// A way down to a leaf.
struct Way<'t> {
    node: &'t Node,
    hash: u64,
    depth: u32,
}

impl<'t> Way<'t> {
    /// One branch down; `false` at a leaf.
    fn step(&mut self) -> bool {
        let Node::Branch(children) = self.node else { return false };
        self.node = &children[nibble(self.hash, self.depth)];
        self.depth += 1;
        true
    }

    /// Asks for where a host would stand.
    fn near(&self) {
        if let Node::Leaf(leaf) = self.node {
            leaf.near(leaf.guess(low(self.hash)));
        }
    }

    /// Finds a host once the leaf is reached.
    fn find(&self, host: HostRef<'_>) -> Option<Item<'t>> {
        let Node::Leaf(leaf) = self.node else { return None };
        leaf.find(low(self.hash), host).map(|at| leaf.item(&leaf.slots[at]))
    }
}

fn build(rows: &[Row], source: Source<'_>, depth: u32) -> Node {
    if rows.len() <= MOST || depth == DEEPEST {
        let mut items: Vec<_> = rows.iter().map(|row| (low(row.hash), row.item(source))).collect();
        items.sort_by_key(|(hash, _)| *hash);
        return Node::Leaf(Leaf::build(&items));
    }
    let mut rest = rows;
    let children: [&[Row]; FAN] = std::array::from_fn(|child| {
        let (these, others) = rest.split_at(rest.partition_point(|row| nibble(row.hash, depth) <= child));
        rest = others;
        these
    });
    let part = |rows: &[Row]| build(rows, source, depth + 1);
    if rows.len() < LARGE {
        return Node::Branch(Arc::new(children.map(part)));
    }
    // An edge that starts waits for this, and has nothing else to do.
    let (first, second) = children.split_at(FAN / 2);
    let nodes = std::thread::scope(|threads| {
        let second = threads.spawn(|| second.iter().map(|rows| part(rows)).collect::<Vec<_>>());
        let mut nodes: Vec<_> = first.iter().map(|rows| part(rows)).collect();
        // A panic of that thread is one of this.
        nodes.extend(second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        nodes
    });
    let mut nodes = nodes.into_iter();
    Node::Branch(Arc::new(std::array::from_fn(|_| nodes.next().unwrap_or_default())))
}

/// Whether it replaced one.
fn put(node: &mut Node, depth: u32, hash: u64, item: Item<'_>) -> bool {
    match node {
        Node::Branch(children) => put(&mut Arc::make_mut(children)[nibble(hash, depth)], depth + 1, hash, item),
        Node::Leaf(leaf) => {
            let at = leaf.find(low(hash), item.host());
            let mut items = leaf.items();
            match at {
                Some(at) => items[at].1 = item,
                None => items.insert(items.partition_point(|(have, _)| *have < low(hash)), (low(hash), item)),
            }
            let new = if items.len() > MOST && depth < DEEPEST { split(&items, depth) } else { Node::Leaf(Leaf::build(&items)) };
            *node = new;
            at.is_some()
        }
    }
}

/// A leaf that grew too large becomes a branch of small ones.
fn split(items: &[(u32, Item<'_>)], depth: u32) -> Node {
    let mut children: [Vec<(u32, Item<'_>)>; FAN] = std::array::from_fn(|_| Vec::new());
    for (low, item) in items {
        children[nibble(hash(item.host()), depth)].push((*low, *item));
    }
    Node::Branch(Arc::new(children.map(|items| Node::Leaf(Leaf::build(&items)))))
}

fn remove(node: &mut Node, depth: u32, hash: u64, host: HostRef<'_>) {
    match node {
        Node::Branch(children) => remove(&mut Arc::make_mut(children)[nibble(hash, depth)], depth + 1, hash, host),
        Node::Leaf(leaf) => {
            if let Some(at) = leaf.find(low(hash), host) {
                let mut items = leaf.items();
                items.remove(at);
                *leaf = Leaf::build(&items);
            }
        }
    }
}

fn map_routes(node: &mut Node, new: &mut impl FnMut(&Item<'_>) -> Option<Route>) {
    match node {
        Node::Branch(children) => Arc::make_mut(children).iter_mut().for_each(|child| map_routes(child, new)),
        Node::Leaf(leaf) => {
            let routes: Vec<_> = leaf.slots.iter().map(|slot| new(&leaf.item(slot))).collect();
            if routes.iter().any(Option::is_some) {
                let mut items = leaf.items();
                for ((_, item), new) in items.iter_mut().zip(&routes) {
                    item.route = new.as_ref().unwrap_or(item.route);
                }
                *leaf = Leaf::build(&items);
            }
        }
    }
}

impl Slot {
    fn new(hash: u32, item: &Item<'_>, texts: &mut Vec<u8>) -> Self {
        let mut short = [0; SHORT];
        if item.to.is_empty() && item.domain.len() <= SHORT {
            short[..item.domain.len()].copy_from_slice(item.domain.as_bytes());
        } else {
            // A domain has at most 253 octets; a leaf of the deepest level would need eight million hosts of one hash to pass four gigabytes.
            #[expect(clippy::cast_possible_truncation, reason = "see above")]
            short[..4].copy_from_slice(&(texts.len() as u32).to_le_bytes());
            texts.extend_from_slice(item.domain.as_bytes());
            texts.extend_from_slice(item.to.as_bytes());
        }
        let unsigned = if item.route.is_signed() { 0 } else { UNSIGNED };
        #[expect(clippy::cast_possible_truncation, reason = "a domain has at most 253 octets")]
        let (host, to) = (item.domain.len() as u8, item.to.len() as u8);
        Self { route: item.route.clone(), hash, host, to, kind: item.kind & !UNSIGNED | unsigned, short }
    }

    /// Domain and target.
    fn said<'a>(&'a self, texts: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let (host, to) = (usize::from(self.host), usize::from(self.to));
        if to == 0 && host <= SHORT {
            return (&self.short[..host], &[]);
        }
        let [a, b, c, d, ..] = self.short;
        texts[u32::from_le_bytes([a, b, c, d]) as usize..][..host + to].split_at(host)
    }
}

impl Leaf {
    /// From items in the order of their lower halves.
    fn build(items: &[(u32, Item<'_>)]) -> Self {
        let mut texts = Vec::new();
        let slots = items.iter().map(|(hash, item)| Slot::new(*hash, item, &mut texts)).collect();
        // What is empty is one and the same, and takes no memory.
        Self { slots, texts: if texts.is_empty() { Arc::default() } else { texts.into() } }
    }

    fn item<'a>(&'a self, slot: &'a Slot) -> Item<'a> {
        let (domain, to) = slot.said(&self.texts);
        // They came as texts.
        let text = |octets| std::str::from_utf8(octets).unwrap_or_default();
        Item { route: &slot.route, domain: text(domain), to: text(to), kind: slot.kind }
    }

    fn items(&self) -> Vec<(u32, Item<'_>)> {
        let mut items = Vec::with_capacity(self.slots.len() + 1);
        items.extend(self.slots.iter().map(|slot| (slot.hash, self.item(slot))));
        items
    }

    /// Asks for what stands around a place. No cache holds it, mostly; lines that are asked for at once take the time of one, while those that a search comes to
    /// one by one take each their own.
    fn near(&self, at: usize) {
        let slots = self.slots.get(at.saturating_sub(BESIDE)..).unwrap_or_default();
        std::hint::black_box([0, 1, 2, 3, 4].map(|n| slots.get(n).map(|slot| slot.hash)));
    }

    /// Where a host may stand: hashes are spread evenly.
    fn guess(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.slots.len() as u64) >> 32) as usize
    }

    /// The place is guessed from the hash and found a few steps beside.
    fn find(&self, hash: u32, host: HostRef<'_>) -> Option<usize> {
        let (slots, count) = (&*self.slots, self.slots.len());
        let mut at = self.guess(hash);
        self.near(at);
        while at > 0 && slots[at - 1].hash >= hash {
            at -= 1;
        }
        while at < count && slots[at].hash < hash {
            at += 1;
        }
        while at < count && slots[at].hash == hash {
            let slot = &slots[at];
            if slot.said(&self.texts).0 == host.domain.as_bytes() && (slot.kind & WILDCARD != 0) == host.wildcard {
                return Some(at);
            }
            at += 1;
        }
        None
    }
}
