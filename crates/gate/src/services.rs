//! The ports of inner services and of destinations beyond the cell: opened, closed and moved as the state says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use model::ServiceName;
use proxy::Group;
use proxy::tcp::{TcpMetrics, TcpOptions, relay};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::known::Memory;
use crate::run::bind;

/// How soon a port that could not be opened is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Relays every inner service until the stop, then until connections under way have ended or their time is over.
pub(crate) async fn relay_all(memory: Arc<Memory>, address: IpAddr, options: TcpOptions, metrics: Arc<TcpMetrics>, stop: CancellationToken) {
    let mut open: BTreeMap<(ServiceName, u16), CancellationToken> = BTreeMap::new();
    let relays = TaskTracker::new();
    let mut changes = memory.changes();
    loop {
        changes.borrow_and_update();
        let known = memory.known();
        let inner = known.services.iter().flat_map(|(name, s)| s.ports.iter().map(|port| (name.clone(), *port)));
        let outer = known.state.egress.iter().map(|way| (way.name.clone(), way.port));
        let wanted: BTreeSet<_> = inner.chain(outer).collect();
        drop(known);
        open.retain(|door, end| {
            let stays = wanted.contains(door) && !end.is_cancelled();
            if !stays {
                end.cancel();
            }
            stays
        });
        let mut missing = false;
        for (name, port) in wanted {
            if open.contains_key(&(name.clone(), port)) {
                continue;
            }
            let listener = match bind(SocketAddr::new(address, port)) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::warn!(service = %name, port, %error, "the service's port cannot be opened yet");
                    missing = true;
                    continue;
                }
            };
            let end = stop.child_token();
            let group = group_of(memory.clone(), name.clone());
            let (options, metrics, service, ended) = (options.clone(), metrics.clone(), name.clone(), end.clone());
            relays.spawn(async move {
                if let Err(error) = relay(listener, group, options, metrics, ended.clone()).await {
                    tracing::error!(%service, %error, "the service's port failed");
                }
                ended.cancel();
            });
            open.insert((name, port), end);
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = changes.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(AGAIN), if missing => {}
        }
    }
    relays.close();
    relays.wait().await;
}

/// The instances of a service, or the addresses of a destination beyond the cell, as they are when a connection comes.
fn group_of(memory: Arc<Memory>, name: ServiceName) -> impl Fn() -> Group + Clone + Send + Sync + 'static {
    move || {
        let service = memory.known().services.get(&name).map(|service| service.group.clone());
        service.unwrap_or_else(|| memory.beyond.addresses(&name))
    }
}
