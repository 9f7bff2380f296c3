//! Operators: they ask for tenants, cells and versions as a person or a pipeline would, without patience.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use engine::fake::Behaviour;
use model::v1alpha1::{
    Blueprint, BlueprintSpec, Cell, CellSpec, HostRules, Machine, MachineSpec, Platform, PlatformSpec, Scheduling, Tenant, TenantSpec, TenantState,
    WwwRule,
};
use model::{CellName, DocumentName, DomainName, Resource, Span, TenantName, Typed};
use serde_json::json;
use store::{Compare, Key, Store as _, StoreError, Write};

use super::World;
use super::docs::Docs;
use crate::random::Random;

/// How long removed tenants' data is kept in these worlds.
pub const GRACE: Duration = Duration::from_secs(20 * 60);
/// Most cells that stand at once.
const CELLS: usize = 4;
/// Domains that tenants want; few, so that they meet.
const DOMAINS: u64 = 30;

/// Who asks.
pub struct Operator {
    random: Random,
    versions: u32,
    tenants: u32,
    cells: u32,
}

impl Operator {
    /// Writes the platform, its machine, a first blueprint and one or two cells.
    ///
    /// # Errors
    /// When the store refuses, which it has no reason to.
    pub async fn found(world: &mut World, random: Random) -> Result<Self> {
        let mut operator = Self { random, versions: 0, tenants: 0, cells: 0 };
        let platform = PlatformSpec { grace: Span(u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX)), ..PlatformSpec::default() };
        put(world, &Typed::<Platform>::new(name::<DocumentName>("sim")?, platform)).await?;
        let machine = MachineSpec { agent: "127.0.0.1:7420".parse()?, region: None };
        put(world, &Typed::<Machine>::new(name::<DocumentName>("m1")?, machine)).await?;
        operator.version(world, true).await?;
        for _ in 0..operator.random.between(1, 2) {
            operator.open(world).await?;
        }
        Ok(operator)
    }

    /// Asks for one thing. Whether anything was asked.
    ///
    /// # Errors
    /// When the store refuses, which it has no reason to.
    pub async fn ask(&mut self, world: &mut World) -> Result<bool> {
        let docs = Docs::read(&world.store)?;
        let tenants: Vec<TenantName> = docs.snapshot.tenants.keys().cloned().collect();
        let cells: Vec<CellName> = docs.snapshot.cells.keys().cloned().collect();
        match self.random.below(20) {
            0..=5 => self.add(world, &cells).await?,
            6 | 7 => {
                self.change(world, &tenants, |random, spec| {
                    spec.state = *random.pick(&[TenantState::Suspended, TenantState::Active, TenantState::Removed]).unwrap_or(&TenantState::Active)
                })
                .await?
            }
            8 => self.change(world, &tenants, |_, spec| spec.state = TenantState::Active).await?,
            9 => {
                let domains = self.domains();
                let hosts = self.hosts(&domains);
                self.change(world, &tenants, move |_, spec| (spec.domains, spec.hosts) = (domains, hosts)).await?;
            }
            10 => {
                if let Some(tenant) = self.random.pick(&tenants) {
                    delete::<Tenant>(world, &tenant.into()).await?;
                }
            }
            11 if cells.len() < CELLS => self.open(world).await?,
            12 => {
                self.turn(world, &cells, |random, spec| {
                    spec.scheduling = *random.pick(&[Scheduling::Open, Scheduling::Closed, Scheduling::Draining]).unwrap_or(&Scheduling::Open)
                })
                .await?
            }
            13 => self.turn(world, &cells, |_, spec| spec.scheduling = Scheduling::Open).await?,
            14 => {
                if let Some(cell) = self.random.pick(&cells) {
                    delete::<Cell>(world, &cell.into()).await?;
                }
            }
            15 => {
                let good = self.random.chance(700);
                self.version(world, good).await?;
            }
            16 | 17 => {
                let versions: Vec<DocumentName> = docs.snapshot.blueprints.keys().cloned().collect();
                self.turn(world, &cells, move |random, spec| {
                    if let Some(version) = random.pick(&versions) {
                        spec.blueprint = version.clone();
                    }
                })
                .await?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn domains(&mut self) -> Vec<DomainName> {
        let count = self.random.between(1, 3);
        let mut domains: Vec<DomainName> =
            (0..count).filter_map(|_| DomainName::new(format!("d{}.example", self.random.below(DOMAINS))).ok()).collect();
        domains.sort();
        domains.dedup();
        domains
    }

    /// What else leads to a tenant; most want nothing.
    fn hosts(&mut self, domains: &[DomainName]) -> HostRules {
        let mut hosts = HostRules::default();
        if self.random.chance(300) {
            hosts.aliases = self.domains();
            hosts.aliases.retain(|alias| !domains.contains(alias));
        }
        if self.random.chance(300) {
            hosts.www = WwwRule::Redirect;
        }
        if self.random.chance(300) {
            hosts.wildcards = domains.iter().take(1).chain(hosts.aliases.first()).cloned().collect();
        }
        hosts
    }

    async fn add(&mut self, world: &World, cells: &[CellName]) -> Result<()> {
        self.tenants += 1;
        // Names come again, so that a later tenant of a name meets what an earlier one left.
        let number = self.random.below(u64::from(self.tenants.min(12)) + 1);
        let tenant = name::<TenantName>(&format!("t{number}"))?;
        let pinned = if self.random.chance(200) { self.random.pick(cells).cloned() } else { None };
        let domains = self.domains();
        let spec = TenantSpec {
            blueprint: name("shop")?,
            hosts: self.hosts(&domains),
            domains,
            title: "Shop".to_owned(),
            contact: "owner@example.org".to_owned(),
            language: "en".to_owned(),
            plan: "standard".to_owned(),
            region: None,
            cell: pinned,
            group: self.random.chance(300).then(|| "chain".to_owned()),
            https: None,
            state: TenantState::Active,
        };
        let mut document = Typed::<Tenant>::new(&tenant, spec);
        document.metadata.finalizers = ["atoll.dev/tenant".to_owned()].into();
        create(world, &document).await
    }

    async fn change(&mut self, world: &World, tenants: &[TenantName], with: impl FnOnce(&mut Random, &mut TenantSpec)) -> Result<()> {
        let Some(tenant) = self.random.pick(tenants).cloned() else { return Ok(()) };
        let docs = Docs::read(&world.store)?;
        let Some(standing) = docs.snapshot.tenants.get(&tenant) else { return Ok(()) };
        let mut document = Typed::clone(standing);
        with(&mut self.random, &mut document.spec);
        replace(world, &document).await
    }

    async fn turn(&mut self, world: &World, cells: &[CellName], with: impl FnOnce(&mut Random, &mut CellSpec)) -> Result<()> {
        let Some(cell) = self.random.pick(cells).cloned() else { return Ok(()) };
        let docs = Docs::read(&world.store)?;
        let Some(standing) = docs.snapshot.cells.get(&cell) else { return Ok(()) };
        let mut document = Typed::clone(standing);
        with(&mut self.random, &mut document.spec);
        // What a plan refuses, no operator can write.
        let fits = docs.snapshot.blueprint_of(&document).is_some_and(|blueprint| plan::cells::fits(standing, blueprint));
        if fits { replace(world, &document).await } else { Ok(()) }
    }

    async fn open(&mut self, world: &mut World) -> Result<()> {
        self.cells += 1;
        let cell = name::<CellName>(&format!("c{}", self.random.below(u64::from(self.cells.min(6)) + 1)))?;
        let docs = Docs::read(&world.store)?;
        let versions: Vec<DocumentName> = docs.snapshot.blueprints.keys().cloned().collect();
        let blueprint = self.random.pick(&versions).context("a blueprint stands")?.clone();
        world.cells.insert(cell.clone());
        let spec = CellSpec { blueprint, region: None, machines: Vec::new(), scheduling: Scheduling::Open };
        create(world, &Typed::<Cell>::new(&cell, spec)).await
    }

    /// A new version, good or one that never gets ready in one of several ways.
    async fn version(&mut self, world: &World, good: bool) -> Result<()> {
        self.versions += 1;
        let version = self.versions;
        for service in ["web", "php"] {
            world.set_image(&format!("localhost/{service}:{version}"), Behaviour::Ready(Duration::from_millis(self.random.between(50, 3_000))));
        }
        if !good {
            let ways = [Behaviour::Silent, Behaviour::Ends(1), Behaviour::Hungry, Behaviour::BadCommand, Behaviour::Missing];
            let way = *self.random.pick(&ways).unwrap_or(&Behaviour::Silent);
            let service = if self.random.chance(500) { "web" } else { "php" };
            world.set_image(&format!("localhost/{service}:{version}"), way);
        }
        let capacity = self.random.between(3, 6);
        let document = Typed::<Blueprint>::new(name::<DocumentName>(&format!("shop.{version}"))?, blueprint(version, capacity)?);
        create(world, &document).await
    }
}

fn blueprint(version: u32, capacity: u64) -> Result<BlueprintSpec> {
    Ok(serde_json::from_value(json!({
        "capacity": { "tenants": capacity },
        "database": { "engine": "mariadb", "nodes": 3, "memory": "64Mi" },
        "cache": { "engine": "memcached", "memory": "16Mi" },
        "files": { "engine": "directory" },
        "services": {
            "web": { "image": format!("localhost/web:{version}"), "entry": true, "port": 8081 + version % 3, "user": 1002, "uses": ["php"], "replicas": { "min": 2, "max": 2 }, "ready": { "startWithin": "20s" }, "files": "read" },
            "php": { "image": format!("localhost/php:{version}"), "port": 9000 + version % 2, "user": 1001, "uses": ["database"], "replicas": { "min": 2, "max": 2 }, "ready": { "startWithin": "20s" }, "settings": true, "files": "write" },
        },
        "tenant": {
            "secrets": ["salt"],
            "settings": [{ "path": "settings.php", "template": format!("<?php return [{version}, {{{{ database.password | php }}}}, {{{{ domains | php }}}}, {{{{ secrets.salt | php }}}}];") }],
            "create": { "run": ["create"], "in": "php" },
            "migrate": { "run": ["migrate"], "in": "php" },
        },
    }))?)
}

fn name<N: std::str::FromStr>(text: &str) -> Result<N>
where
    N::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().with_context(|| format!("{text:?} is a name"))
}

async fn put<R: Resource>(world: &World, document: &Typed<R>) -> Result<()> {
    surely(world, Vec::new(), vec![store::spec_write(document)]).await
}

/// Only where no such document stands, as `tenant add` does.
async fn create<R: Resource>(world: &World, document: &Typed<R>) -> Result<()> {
    surely(world, vec![Compare::Absent(store::key_of(document))], vec![store::spec_write(document)]).await
}

async fn replace<R: Resource>(world: &World, document: &Typed<R>) -> Result<()> {
    let compare = Compare::Revision(store::key_of(document), document.metadata.revision);
    surely(world, vec![compare], vec![store::spec_write(document)]).await
}

async fn delete<R: Resource>(world: &World, of: &DocumentName) -> Result<()> {
    surely(world, Vec::new(), vec![Write::Delete(Key::new(R::KIND, of.clone()))]).await
}

/// Asks a few times; an operator who gets no answer gives up, and one who comes too late lets it be.
async fn surely(world: &World, compares: Vec<Compare>, writes: Vec<Write>) -> Result<()> {
    for _ in 0..10 {
        match world.store.commit(compares.clone(), writes.clone()).await {
            Ok(_) | Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => return Ok(()),
            Err(StoreError::Unknown(_) | StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(200)).await,
            Err(error) => bail!("the store refuses {writes:?}: {error}"),
        }
    }
    Ok(())
}
