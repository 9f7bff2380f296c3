//! Destinations beyond the cell: where their names lead, asked again and again.
//!
//! Instances have no way out of their cell. What the platform allows them (its mail relay) they reach as a port of the gate, which passes octets on and nothing
//! else: it resolves the name, and dials what its state says.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::ServiceName;
use proxy::{Group, Upstream};
use routes::GateEgress;
use tokio_util::sync::CancellationToken;

use crate::known::Memory;

/// How often a name that led somewhere is asked for again.
const REFRESH: Duration = Duration::from_secs(30);
/// How soon a name that led nowhere is.
const AGAIN: Duration = Duration::from_secs(2);
/// Longest question.
const PATIENCE: Duration = Duration::from_secs(5);

/// The addresses of destinations.
#[derive(Debug, Default)]
pub(crate) struct Beyond(RwLock<BTreeMap<ServiceName, Group>>);

impl Beyond {
    /// Those of one; none while its name leads nowhere.
    pub(crate) fn addresses(&self, name: &ServiceName) -> Group {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default()
    }

    /// Takes what a name leads to. The same addresses keep what is known of them.
    fn take(&self, way: &GateEgress, found: &[std::net::SocketAddr]) {
        let before = self.addresses(&way.name);
        let member = |address: &std::net::SocketAddr| {
            let held = before.members().iter().find(|member| member.address() == *address).cloned();
            held.unwrap_or_else(|| Arc::new(Upstream::new(way.name.as_str(), *address)))
        };
        let group = Group::new(found.iter().map(member));
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(way.name.clone(), group);
    }

    fn keep_only(&self, ways: &[GateEgress]) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|name, _| ways.iter().any(|way| way.name == *name));
    }
}

/// Asks for the names of the state's destinations until the stop. While a name cannot be asked for, its last addresses stay.
pub(crate) async fn follow(memory: Arc<Memory>, stop: CancellationToken) {
    let mut changes = memory.changes();
    loop {
        changes.borrow_and_update();
        let ways = memory.known().state.egress.clone();
        memory.beyond.keep_only(&ways);
        let mut pause = REFRESH;
        for way in &ways {
            match resolve(way).await {
                Ok(found) => memory.beyond.take(way, &found),
                Err(error) => {
                    tracing::warn!(destination = %way.name, host = way.host, error, "the name leads nowhere");
                    pause = AGAIN;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause), if !ways.is_empty() => {}
        }
    }
}

async fn resolve(way: &GateEgress) -> Result<Vec<std::net::SocketAddr>, String> {
    let asked = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((way.host.as_str(), way.host_port))).await;
    let found: Vec<_> = asked.map_err(|_| format!("no answer within {PATIENCE:?}"))?.map_err(|error| error.to_string())?.collect();
    if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
}
