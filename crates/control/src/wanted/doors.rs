//! What a cell's gates are told, also while instances of several versions run.
//!
//! Invariants: an instance is reached and checked as the version it runs wants it; a service keeps every port by which an instance that is there may
//! know it; two services never share a port, so that the gates take the state.

use std::collections::BTreeSet;

use engine::{InstanceState, Observed, ObservedInstance, ServiceWanted};
use model::v1alpha1::{BlueprintSpec, MailSpec, ProbeKind, TenantState, TenantStatus};
use model::{Generation, ServiceName, TenantName};
use plan::settings;
use routes::{GateEgress, GateInstance, GateKey, GateProbe, GateService, GateState, GateTenant, GateTenantState};

use super::Frame;
use crate::names;

/// What runs in a cell.
pub struct Runs<'a> {
    /// What the engine said.
    pub observed: &'a Observed,
    /// Blueprints of which instances may be there beside those of the one wanted now, or soon will be.
    pub beside: Vec<&'a BlueprintSpec>,
    /// What gates were told before.
    pub told: Option<&'a GateState>,
}

/// One service as the versions know it that may run now; the wanted one first.
struct Versions(Vec<ServiceWanted>);

impl Frame<'_> {
    /// What the cell's gates are told, without a number.
    pub fn gate_state<'t>(
        &self,
        incarnation: &str,
        key: GateKey,
        tenants: impl Iterator<Item = (&'t TenantName, &'t TenantStatus)>,
        runs: &Runs<'_>,
    ) -> GateState {
        let tenants = tenants.filter_map(|(tenant, status)| {
            let state = match status.serving? {
                TenantState::Active => GateTenantState::Open,
                TenantState::Suspended | TenantState::Removed => GateTenantState::Suspended,
            };
            Some(GateTenant { tenant: tenant.clone(), epoch: status.epoch, state })
        });
        GateState {
            number: Generation(0),
            incarnation: incarnation.to_owned(),
            cell: self.cell.clone(),
            keys: vec![key],
            tenants: tenants.collect(),
            services: self.gate_services(runs),
            egress: self.egress(),
        }
    }

    /// Where a cell's instances may go beyond it: to the platform's mail relay, where it has one.
    fn egress(&self) -> Vec<GateEgress> {
        let relay = self.platform.mail.iter();
        let way = |mail: &MailSpec| GateEgress {
            name: names::service(settings::MAIL_HOST),
            port: settings::MAIL_PORT,
            host: mail.host.clone(),
            host_port: mail.port,
        };
        relay.map(way).collect()
    }

    fn gate_services(&self, runs: &Runs<'_>) -> Vec<GateService> {
        let frames: Vec<Frame<'_>> =
            std::iter::once(self.blueprint).chain(runs.beside.iter().copied()).map(|of| Frame { blueprint: of, ..*self }).collect();
        let sets: Vec<_> = frames.iter().map(Frame::services).collect();
        let entry = entry(&frames, runs.observed);
        let mut names: Vec<&ServiceName> = sets.iter().flat_map(|set| set.keys()).collect();
        // Those that are wanted come first, so that they get their ports.
        names.sort_by_key(|name| (!sets[0].contains_key(*name), *name));
        names.dedup();
        let is_entry = |name: &ServiceName| frames.iter().any(|frame| frame.blueprint.services.get(name).is_some_and(|service| service.entry));
        let mut taken: BTreeSet<u16> = sets[0].iter().filter(|(name, _)| !is_entry(name)).filter_map(|(_, wanted)| wanted.port).collect();
        let mut services = Vec::new();
        for name in names {
            let versions = Versions(sets.iter().filter_map(|set| set.get(name).cloned()).collect());
            let (wanted, entry_of_some) = (sets[0].contains_key(name), is_entry(name));
            let entry = entry == Some(name);
            // An entry beside the one that is used has no port of its own at the gates.
            if entry_of_some && !entry {
                continue;
            }
            let Some(mut service) = versions.service(name, entry, runs) else { continue };
            if !entry {
                service.also.retain(|port| !taken.contains(port));
                if !wanted && (service.instances.is_empty() || !taken.insert(service.port)) {
                    continue;
                }
                taken.extend(&service.also);
            } else {
                service.also.clear();
            }
            services.push(service);
        }
        services.sort_by(|a, b| a.name.cmp(&b.name));
        services
    }
}

/// The service at which visitors enter: the wanted one, unless only that of another version has an instance that is ready.
fn entry<'f>(frames: &'f [Frame<'_>], observed: &Observed) -> Option<&'f ServiceName> {
    let entries: Vec<&ServiceName> =
        frames.iter().filter_map(|frame| frame.blueprint.services.iter().find(|(_, service)| service.entry).map(|(name, _)| name)).collect();
    let up = |name: &&&ServiceName| observed.instances.iter().any(|i| i.service == ***name && i.state == InstanceState::Ready);
    entries.iter().find(up).or(entries.first()).copied()
}

impl Versions {
    /// The service as gates know it; none: no version of it has a port.
    fn service(&self, name: &ServiceName, entry: bool, runs: &Runs<'_>) -> Option<GateService> {
        let first = self.0.iter().find(|version| version.port.is_some())?;
        let (port, probe) = (first.port?, probe_of(first));
        let here = || runs.observed.instances.iter().filter(|instance| instance.service == *name);
        let mut instances: Vec<GateInstance> = here().filter_map(|instance| self.instance(instance, &probe)).collect();
        instances.sort_by(|a, b| a.name.cmp(&b.name));
        let observed = here().filter_map(|instance| instance.address.map(|address| address.port()));
        // Whoever has learned a port may outlive the last instance that has it.
        let mixed = runs.observed.rollouts.values().any(|rollout| rollout.old > 0);
        let told = runs.told.filter(|_| mixed).into_iter().flat_map(|told| &told.services).filter(|service| service.name == *name);
        let ports = self.0.iter().filter_map(|version| version.port).chain(observed).chain(told.flat_map(GateService::ports));
        let also: BTreeSet<u16> = ports.filter(|other| *other != port && *other != 0).collect();
        Some(GateService { name: name.clone(), port, also: also.into_iter().collect(), entry, probe, instances })
    }

    fn instance(&self, instance: &ObservedInstance, of_service: &GateProbe) -> Option<GateInstance> {
        let address = instance.address.filter(|address| address.port() != 0)?;
        let own = self.0.iter().find(|version| version.version() == instance.version).map(probe_of);
        Some(GateInstance {
            name: instance.name.clone(),
            address,
            ready: instance.state == InstanceState::Ready,
            draining: instance.state == InstanceState::Draining,
            probe: own.filter(|own| own != of_service),
        })
    }
}

fn probe_of(wanted: &ServiceWanted) -> GateProbe {
    match &wanted.ready.check {
        Some(ProbeKind::Http(path)) => GateProbe::Http(path.clone()),
        _ => GateProbe::Tcp,
    }
}
