//! Looking: what carries the cell's label, how each container stands, who is on the network.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use engine::roll::{GATE, Leaving, Process};
use engine::{EngineError, Stranger, Wanted};
use model::InstanceName;
use tokio::time::Instant;

use super::instance::{Instance, Probing};
use super::{Keeper, LOOK_AGAIN, LOOK_EVERY, Message};
use crate::client::{absent_is_none, gone_is_fine, told};
use crate::names::{self, Asked};
use crate::network::Shown;
use crate::probe::{self, Question};

/// How long after its time a job may still be asked for, in seconds; then nobody will.
const JOB_KEPT: i64 = 3600;

impl Keeper {
    /// Looks at the engine; what it cannot tell is noted as unknown.
    pub(super) async fn look(&mut self) {
        self.look_due = false;
        match self.look_or_fail().await {
            Ok(()) => {
                self.unknown = None;
                self.look_at = Instant::now() + if self.fault.is_some() { LOOK_AGAIN } else { LOOK_EVERY };
            }
            Err(error) => {
                if self.unknown.is_none() {
                    tracing::warn!(cell = %self.cell, %error, "the engine cannot tell how the cell stands");
                }
                self.unknown = Some(error.to_string());
                self.look_at = Instant::now() + LOOK_AGAIN;
                self.shared.client.forget();
            }
        }
    }

    async fn look_or_fail(&mut self) -> Result<(), EngineError> {
        let docker = self.shared.client.docker().await?;
        let filter = names::filter(&self.shared.options.platform, &self.cell);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let listed = docker.list_containers(Some(options)).await.map_err(told)?;
        self.fault = None;
        let shown = match &self.wanted {
            Some(wanted) => match crate::network::ensure(&docker, &self.shared.options.platform, &self.cell, wanted.network.subnet).await {
                Ok(shown) => shown,
                Err(error @ EngineError::Refused { .. }) => {
                    self.note_fault(&error);
                    Shown::default()
                }
                Err(error) => return Err(error),
            },
            None => Shown::default(),
        };
        self.sort(&docker, &listed, &shown).await?;
        self.endpoints = shown.endpoints.into_values().filter_map(|(_, address)| address).collect();
        Ok(())
    }

    /// Sorts what was listed into instances, jobs and strangers.
    async fn sort(&mut self, docker: &Docker, listed: &[ContainerSummary], shown: &Shown) -> Result<(), EngineError> {
        let now = self.shared.clock.now();
        let mut strangers = Vec::new();
        let mut there: BTreeSet<InstanceName> = BTreeSet::new();
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let network = names::network(&self.shared.options.platform, &self.cell);
        for summary in listed {
            let Some(id) = summary.id.as_deref() else { continue };
            known.insert(id);
            if names::label(summary, names::DATA).is_some() {
                continue;
            }
            if names::label(summary, names::JOB).is_some() {
                forget_job(docker, summary, id).await?;
                continue;
            }
            let labelled = match names::read(&self.shared.options.platform, &self.cell, summary) {
                Ok(labelled) => labelled,
                Err(explanation) => {
                    strangers.push(Stranger { name: names::name(summary).to_owned(), explanation });
                    continue;
                }
            };
            there.insert(labelled.instance.clone());
            let instance = self.instances.entry(labelled.instance.clone()).or_insert_with(|| Instance::found(labelled.clone(), now));
            if instance.process == Process::Making || (instance.busy && instance.id.is_none()) {
                // The step that makes it tells when it is done.
                continue;
            }
            if instance.id.as_deref() != Some(id) {
                *instance = Instance::found(labelled, now);
                instance.id = Some(id.to_owned());
            }
            if !instance.dirty && instance.shown == summary.state {
                continue;
            }
            match absent_is_none(docker.inspect_container(id, None).await)? {
                Some(inspected) => {
                    instance.take(&inspected);
                    instance.shown = summary.state;
                    if !on_network(&inspected, &network) && !instance.busy {
                        // Nobody can reach it, and its address may have gone to another: it is made anew.
                        instance.leaving.get_or_insert(Leaving { since: now, acknowledged: true });
                    }
                }
                None => drop(there.remove(&instance.labelled.instance.clone())),
            }
        }
        self.instances.retain(|name, instance| there.contains(name) || instance.busy);
        for (id, (name, _)) in shown.endpoints.iter().filter(|(id, _)| !known.contains(id.as_str())) {
            // What is being made at this moment may be on the network before it was listed.
            let ours = self
                .instances
                .values()
                .any(|i| i.id.as_ref() == Some(id) || names::container(&self.shared.options.platform, &self.cell, &i.labelled.instance) == *name);
            if !ours && !name.starts_with(&names::job(&self.shared.options.platform, &self.cell, "")) {
                let explanation = "is attached to the cell's network and does not carry the cell's label".to_owned();
                strangers.push(Stranger { name: name.clone(), explanation });
            }
        }
        self.strangers = strangers;
        Ok(())
    }

    /// Addresses in use on the network at the last look.
    pub(super) fn last_endpoints(&self) -> impl Iterator<Item = Ipv4Addr> + use<'_> {
        self.endpoints.iter().copied()
    }

    /// Asks every running instance; each in a task of its own.
    pub(super) fn probe(&mut self, wanted: &Arc<Wanted>) {
        for (name, instance) in &mut self.instances {
            let Some(Asked { port, probe }) = asked(wanted, name, instance) else {
                // It leaves; nobody needs to know whether it is ready.
                instance.heard = true;
                instance.probing = None;
                continue;
            };
            let (Some(id), Process::Running) = (&instance.id, instance.process) else { continue };
            let question = Question { address: instance.labelled.address.map(|ip| SocketAddr::new(ip.into(), port)), probe };
            if instance.probing.as_ref().is_some_and(|probing| probing.question == question) {
                continue;
            }
            let (me, name, id) = (self.me.clone(), name.clone(), id.clone());
            let task = tokio::spawn(probe::run(question.clone(), async move |probed| {
                if let Some(me) = me.upgrade() {
                    let _ = me.send(Message::Probed(name.clone(), id.clone(), probed));
                }
            }));
            instance.probing = Some(Probing { question, task: task.abort_handle() });
        }
    }
}

/// How an instance is asked whether it is ready; none: nothing says how.
pub(super) fn asked(wanted: &Wanted, name: &InstanceName, instance: &Instance) -> Option<Asked> {
    let service = &instance.labelled.service;
    let gate = wanted.gates.iter().find(|gate| service.as_str() == GATE && gate.name.as_str() == name.as_str());
    let gate = gate.map(|gate| (gate.version(), Asked { port: gate.probe_port, probe: gate.ready.clone() }));
    let of = || wanted.services.get(service).map(|of| (of.version(), Asked { port: of.port.unwrap_or(0), probe: of.ready.clone() }));
    let now = gate.or_else(of);
    instance.asked(now.as_ref().map(|(version, asked)| (version.as_str(), asked.clone())))
}

/// Whether a container is set to be on a network, running or not.
fn on_network(shown: &ContainerInspectResponse, network: &str) -> bool {
    let networks = shown.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    networks.is_none_or(|networks| networks.contains_key(network))
}

/// Removes the container of a job that nobody came back for.
async fn forget_job(docker: &Docker, summary: &ContainerSummary, id: &str) -> Result<(), EngineError> {
    let deadline: i64 = names::label(summary, names::DEADLINE).and_then(|text| text.parse().ok()).unwrap_or(i64::MAX);
    if jiff::Timestamp::now().as_second() < deadline.saturating_add(JOB_KEPT) {
        return Ok(());
    }
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    gone_is_fine(docker.remove_container(id, Some(options)).await)
}
