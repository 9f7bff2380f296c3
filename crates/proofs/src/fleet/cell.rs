//! A cell of one gate and one application, as gates and edges are told of it.

use std::net::SocketAddr;

use anyhow::Result;
use model::{CellName, Epoch, GateName, Generation, InstanceName, ServiceName, TenantName};
use routes::{
    CellEndpoint, GateEndpoint, GateInstance, GateKey, GateProbe, GateService, GateState, GateTenant, GateTenantState, HostPattern, Record,
    RouteState,
};

/// A cell of one gate.
pub struct Cell {
    /// Its name.
    pub name: CellName,
    /// Its key.
    pub key: GateKey,
    pub(super) gate: GateName,
    pub(super) entry: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Cell {
    /// What edges are told of it.
    pub fn endpoint(&self) -> CellEndpoint {
        let gate = GateEndpoint { name: self.gate.clone(), address: self.entry, weight: 100, draining: false, region: None };
        CellEndpoint { cell: self.name.clone(), gates: vec![gate], key_id: self.key.id.clone(), key: self.key.key.clone() }
    }

    /// What its gate is told: these tenants, served by one application.
    pub fn state(&self, number: Generation, application: SocketAddr, tenants: Vec<GateTenant>) -> Result<GateState> {
        let instance = GateInstance { name: InstanceName::new("app-1")?, address: application, ready: true, draining: false, probe: None };
        let (name, probe) = (ServiceName::new("app")?, GateProbe::Tcp);
        let service = GateService { name, port: 8080, also: Vec::new(), entry: true, probe, instances: vec![instance] };
        Ok(GateState {
            number,
            incarnation: super::INCARNATION.to_owned(),
            cell: self.name.clone(),
            keys: vec![self.key.clone()],
            tenants,
            services: vec![service],
            egress: Vec::new(),
        })
    }

    /// The route of a host whose tenant this cell owns.
    pub fn record(&self, host: &str, tenant: &TenantName, epoch: Epoch, state: RouteState) -> Result<Record> {
        let (host, cell) = (HostPattern::Exact(host.parse()?), self.name.clone());
        Ok(Record { host, tenant: tenant.clone(), cell, epoch, state, redirect: None, class: None, edge: model::v1alpha1::EdgeSpec::default() })
    }
}

/// A tenant of the first epoch that is served.
pub const fn open(tenant: TenantName) -> GateTenant {
    GateTenant { tenant, epoch: Epoch(1), state: GateTenantState::Open }
}
