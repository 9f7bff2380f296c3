//! Domains and tenants, the same for everybody.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use model::{CellName, Epoch, GateName, Generation, InstanceName, PlatformName, ServiceName, TenantName};
use routes::{
    CellEndpoint, CellKey, GateEndpoint, GateInstance, GateKey, GateProbe, GateService, GateState, GateTenant, GateTenantState, HostPattern, KeyId,
    Record, RouteState, Table,
};

/// The field by which a proxy tells whose request it is.
pub const FIELD: &str = "Atoll-Tenant";
/// Domains of a usual run.
pub const DOMAINS: usize = 100_000;

/// Numbers that look random and are the same in every run.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// The next one (splitmix64).
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// What the domains are below.
pub const PARENTS: [&str; 4] = ["web.example", "shop.example", "sites.example", "co.example"];

/// The nth domain: a name of 10 to 21 letters below one of four parents.
pub fn domain(n: usize) -> String {
    let mut random = Random::new(n as u64);
    let length = 4 + random.next() % 12;
    let name: String = (0..length).map(|_| char::from(b'a' + u8::try_from(random.next() % 26).unwrap_or_default())).collect();
    format!("{name}-{n:x}.{}", PARENTS[n % 4])
}

/// The nth domain's tenant.
pub fn tenant(n: usize) -> String {
    format!("t{n:06}")
}

fn cell() -> Result<CellName> {
    Ok(CellName::new("a")?)
}

fn key() -> Result<(KeyId, CellKey)> {
    Ok((KeyId::new("k1")?, CellKey::new([7; 32])))
}

/// Certificates for an edge and a gate, each in the folder of its name.
pub fn identities(folder: &Path) -> Result<()> {
    let now = Timestamp::now();
    let ca = identity::Ca::create_or_open(&folder.join("ca"), &PlatformName::new("bench")?, now)?;
    ca.ensure(&folder.join("edge-identity"), &identity::Role::Edge("edge".parse()?), None, now)?;
    ca.ensure(&folder.join("gate-identity"), &identity::Role::Gate(cell()?, GateName::new("gate-1")?), None, now)?;
    Ok(())
}

/// What an edge has on disk: every domain leads to one gate.
pub fn edge_state(folder: &Path, domains: usize, gate: SocketAddr) -> Result<()> {
    let (key_id, key) = key()?;
    let gates = vec![GateEndpoint { name: GateName::new("gate-1")?, address: gate, weight: 100, draining: false, region: None }];
    let endpoint = CellEndpoint { cell: cell()?, gates, key_id, key };
    let record = |n| -> Result<Record> {
        Ok(Record {
            host: HostPattern::new(&domain(n))?,
            tenant: TenantName::new(tenant(n))?,
            cell: cell()?,
            epoch: Epoch(1),
            state: RouteState::Open,
            redirect: None,
            class: None,
            edge: model::v1alpha1::EdgeSpec::default(),
        })
    };
    let records = (0..domains).map(record).collect::<Result<Vec<_>>>()?;
    let (table, refused) = Table::compile("bench", Generation(1), [endpoint], records);
    anyhow::ensure!(refused.is_empty(), "refused: {:?}", refused.first());
    fs_err::create_dir_all(folder)?;
    fs_err::write(folder.join("routes.snapshot"), table.snapshot().to_disk()?)?;
    Ok(())
}

/// What a gate has on disk: every tenant, and one instance.
pub fn gate_state(folder: &Path, domains: usize, instance: SocketAddr) -> Result<()> {
    let (id, key) = key()?;
    let tenant = |n| Ok(GateTenant { tenant: TenantName::new(tenant(n))?, epoch: Epoch(1), state: GateTenantState::Open });
    let service = GateService {
        name: ServiceName::new("web")?,
        port: instance.port(),
        also: Vec::new(),
        entry: true,
        probe: GateProbe::Tcp,
        instances: vec![GateInstance { name: InstanceName::new("web-1")?, address: instance, ready: true, draining: false, probe: None }],
    };
    let state = GateState {
        egress: Vec::new(),
        number: Generation(1),
        incarnation: "bench".to_owned(),
        cell: cell()?,
        keys: vec![GateKey { id, key }],
        tenants: (0..domains).map(tenant).collect::<Result<_>>()?,
        services: vec![service],
    };
    fs_err::create_dir_all(folder)?;
    fs_err::write(folder.join("gate.state"), state.to_disk()?)?;
    Ok(())
}

/// `domain tenant`, a line each: a map as HAProxy reads it.
pub fn map(path: &Path, domains: usize) -> Result<()> {
    let lines: String = (0..domains).map(|n| format!("{} {}\n", domain(n), tenant(n))).collect();
    Ok(fs_err::write(path, lines)?)
}
