//! Control's own ports in memory, with a fault plan for gates, for simulations and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use data::SharedData;
use ipnet::Ipv4Net;
use model::v1alpha1::SealedSecret;
use model::{CellName, DocumentName, DomainName, GateName, Generation, MachineName, Sensitive, TenantName};
use routes::{GateHealth, GateInstanceReport, GateReport, GateState};

use crate::world::lock;
use crate::{CertificateFacts, Certificates, Files, GateError, GateTarget, Gates, HostRoutes, Keys, Machines, PortError};

/// What goes wrong with gates, in thousandths of the calls, drawn from a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GateFaults {
    /// Where the dice begin.
    pub seed: u64,
    /// The request never arrives.
    pub lost_request: u32,
    /// The state is taken, the answer is lost.
    pub lost_answer: u32,
    /// Longest time by which an answer is late, in milliseconds.
    pub late_ms: u64,
}

/// Gates in memory: they keep the last state, refuse older numbers, and let go of leaving instances at once.
#[derive(Default, Clone)]
pub struct FakeGates(Arc<Mutex<GateWorld>>);

#[derive(Default)]
struct GateWorld {
    faults: GateFaults,
    dice: u64,
    states: BTreeMap<(CellName, GateName), GateState>,
    down: BTreeSet<(CellName, GateName)>,
    pushes: u64,
}

impl GateWorld {
    fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && draw(&mut self.dice) % 1000 < u64::from(permille)
    }
}

/// SplitMix64.
fn draw(dice: &mut u64) -> u64 {
    *dice = dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *dice;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl FakeGates {
    /// From now on these faults happen.
    pub fn set_faults(&self, faults: GateFaults) {
        let mut world = lock(&self.0);
        world.faults = faults;
        world.dice = faults.seed;
    }

    /// A gate cannot be reached (`true`) or can again.
    pub fn set_down(&self, cell: &CellName, gate: &GateName, down: bool) {
        let key = (cell.clone(), gate.clone());
        let mut world = lock(&self.0);
        if down {
            world.down.insert(key);
        } else {
            world.down.remove(&key);
        }
    }

    /// What each gate was last told.
    #[must_use]
    pub fn states(&self) -> BTreeMap<(CellName, GateName), GateState> {
        lock(&self.0).states.clone()
    }

    /// How often a gate took something new.
    #[must_use]
    pub fn pushes(&self) -> u64 {
        lock(&self.0).pushes
    }

    async fn call<T>(&self, target: &GateTarget, work: impl FnOnce(&mut GateWorld) -> Result<T, GateError>) -> Result<T, GateError> {
        let key = (target.cell.clone(), target.gate.clone());
        let (late, lost, result) = {
            let mut world = lock(&self.0);
            let late_ms = world.faults.late_ms;
            let late = if late_ms == 0 { 0 } else { draw(&mut world.dice) % (late_ms + 1) };
            let (request, answer) = (world.faults.lost_request, world.faults.lost_answer);
            if world.down.contains(&key) || world.chance(request) {
                (late, true, None)
            } else {
                let result = work(&mut world);
                (late, world.chance(answer), Some(result))
            }
        };
        if late > 0 {
            tokio::time::sleep(Duration::from_millis(late)).await;
        }
        match result {
            Some(result) if !lost => result,
            _ => Err(GateError::Unreachable("the fault plan says so".to_owned())),
        }
    }
}

fn report(target: &GateTarget, state: &GateState) -> GateReport {
    let instances = state.services.iter().flat_map(|service| {
        service.instances.iter().map(|instance| GateInstanceReport {
            service: service.name.clone(),
            name: instance.name.clone(),
            in_flight: 0,
            health: GateHealth::Up,
            draining: instance.draining,
        })
    });
    GateReport {
        tenants: Vec::new(),
        cell: target.cell.clone(),
        gate: target.gate.clone(),
        number: state.number,
        incarnation: state.incarnation.clone(),
        ready: state.number > Generation(0),
        instances: instances.collect(),
    }
}

#[async_trait]
impl Gates for FakeGates {
    async fn push(&self, target: &GateTarget, state: &GateState) -> Result<GateReport, GateError> {
        self.call(target, |world| {
            let key = (target.cell.clone(), target.gate.clone());
            let held = world.states.entry(key).or_insert_with(|| GateState::empty(target.cell.clone()));
            if held.incarnation == state.incarnation && held.number > state.number {
                return Err(GateError::Older { held: held.number });
            }
            state.check().map_err(|error| GateError::Refused(error.to_string()))?;
            let news = held != state;
            held.clone_from(state);
            let report = report(target, held);
            world.pushes += u64::from(news);
            Ok(report)
        })
        .await
    }

    async fn report(&self, target: &GateTarget) -> Result<GateReport, GateError> {
        self.call(target, |world| {
            let key = (target.cell.clone(), target.gate.clone());
            let empty = GateState::empty(target.cell.clone());
            Ok(report(target, world.states.get(&key).unwrap_or(&empty)))
        })
        .await
    }
}

/// Keys without any secrecy, counted from a seed.
pub struct FakeKeys(Mutex<u64>);

impl FakeKeys {
    /// Keys drawn from this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Keys for FakeKeys {
    fn seal(&self, name: &DocumentName, plain: &Sensitive<String>) -> SealedSecret {
        SealedSecret { key: "fake".to_owned(), sealed: format!("{name}:{}", plain.reveal()) }
    }

    fn open(&self, name: &DocumentName, sealed: &SealedSecret) -> Result<Sensitive<String>, PortError> {
        let plain = sealed.sealed.strip_prefix(&format!("{name}:"));
        plain
            .map(|plain| Sensitive::new(plain.to_owned()))
            .ok_or_else(|| PortError::new("SecretUnreadable", format!("{name} was sealed for another")))
    }

    fn password(&self, characters: usize) -> Sensitive<String> {
        let mut dice = lock(&self.0);
        let letter = |n: u64| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::try_from(n % 32).unwrap_or_default()]);
        Sensitive::new((0..characters).map(|_| letter(draw(&mut dice))).collect())
    }

    fn token(&self, bytes: usize) -> Sensitive<String> {
        // Base64url of so many bytes: full groups of letters, and a last letter whose spare bits are zero.
        let characters = (bytes * 8).div_ceil(6);
        let spare = characters * 6 - bytes * 8;
        let mut text = self.password(characters).reveal().clone();
        if spare > 0 {
            text.pop();
            text.push('A');
        }
        Sensitive::new(text)
    }

    fn gate_identity(&self, _: &CellName, _: &GateName) -> Result<(), PortError> {
        Ok(())
    }
}

/// Settings of a tenant: path to content.
pub type Settings = BTreeMap<String, String>;

/// Folders in memory.
#[derive(Default, Clone)]
pub struct FakeFiles(Arc<Mutex<FileWorld>>);

#[derive(Default)]
struct FileWorld {
    folders: BTreeSet<(CellName, TenantName)>,
    settings: BTreeMap<(CellName, TenantName), Settings>,
}

impl FakeFiles {
    /// Tenants that have a folder for files.
    #[must_use]
    pub fn folders(&self) -> BTreeSet<(CellName, TenantName)> {
        lock(&self.0).folders.clone()
    }

    /// Every tenant's settings.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<(CellName, TenantName), Settings> {
        lock(&self.0).settings.clone()
    }
}

#[async_trait]
impl Files for FakeFiles {
    async fn make_tenant(&self, cell: &CellName, tenant: &TenantName, _: u32) -> Result<(), PortError> {
        lock(&self.0).folders.insert((cell.clone(), tenant.clone()));
        Ok(())
    }

    async fn write_settings(&self, cell: &CellName, tenant: &TenantName, files: &BTreeMap<String, String>, _: u32) -> Result<(), PortError> {
        lock(&self.0).settings.insert((cell.clone(), tenant.clone()), files.clone());
        Ok(())
    }

    async fn remove_settings(&self, cell: &CellName, tenant: &TenantName) -> Result<(), PortError> {
        lock(&self.0).settings.remove(&(cell.clone(), tenant.clone()));
        Ok(())
    }

    async fn remove_tenant(&self, cell: &CellName, tenant: &TenantName) -> Result<(), PortError> {
        lock(&self.0).folders.remove(&(cell.clone(), tenant.clone()));
        Ok(())
    }

    async fn remove_cell(&self, cell: &CellName) -> Result<(), PortError> {
        let mut world = lock(&self.0);
        world.folders.retain(|(of, _)| of != cell);
        world.settings.retain(|(of, _), _| of != cell);
        Ok(())
    }
}

/// Certificates as they are said to stand; nothing is known of others.
#[derive(Default, Clone)]
pub struct FakeCertificates(Arc<Mutex<BTreeMap<String, CertificateFacts>>>);

impl FakeCertificates {
    /// So a domain stands from now on.
    pub fn set(&self, domain: &str, facts: CertificateFacts) {
        lock(&self.0).insert(domain.to_owned(), facts);
    }
}

impl Certificates for FakeCertificates {
    fn facts(&self, domain: &DomainName) -> Option<CertificateFacts> {
        lock(&self.0).get(domain.as_str()).cloned()
    }
}

/// A host with these routes and no others.
#[derive(Debug, Clone, Default)]
pub struct FakeHost(pub Vec<Ipv4Net>);

impl HostRoutes for FakeHost {
    fn in_use(&self) -> Result<Vec<Ipv4Net>, PortError> {
        Ok(self.0.clone())
    }
}

/// One agent for every machine.
#[derive(Clone)]
pub struct OneAgent(pub SharedData);

impl Machines for OneAgent {
    fn data(&self, _: &MachineName, _: SocketAddr) -> SharedData {
        self.0.clone()
    }
}
