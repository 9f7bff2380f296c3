//! Control: the store, the engine, agents and gates tied to the service that decides; its servers, for people (unix socket,
//! and mutual TLS where the Platform wants it) and for edges (mutual TLS).

mod certificates;
mod copies;
mod gates;
mod host;
mod keys;
mod machines;
mod remote;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use control::{Control, Folders, Ports};
use doors::Doors;
use engine_docker::DockerEngine;
use identity::{Ca, Role, Sealer};
use jiff::Timestamp;
use ledger_sqlite::SqliteLedger;
use model::MachineName;
use store_sqlite::SqliteStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::platform::{Layout, identities, operators};

/// How often certificates are looked at; they are renewed days before they end.
const RENEW_EVERY: Duration = Duration::from_secs(3600);

/// Runs until it is told to stop, or until another control took over.
pub async fn run(state: &Path, docker: &Path, stop: CancellationToken) -> Result<()> {
    let layout = Layout::open(state)?;
    identities::ensure(&layout, Timestamp::now())?;
    let sqlite = SqliteStore::open(layout.store())?;
    let copies = Arc::new(copies::Copied::new(sqlite.clone(), &layout)?);
    let store: store::SharedStore = Arc::new(sqlite);
    let engine = engine_docker::Options { platform: layout.platform.clone(), state: layout.root.clone(), socket: docker.to_owned() };
    let engine: engine::SharedEngine = Arc::new(DockerEngine::connect(engine).await?);
    let sealer = Sealer::create_or_open(&layout.master_key())?;
    let ca = Ca::create_or_open(&layout.authority(), &layout.platform, Timestamp::now())?;
    let own = layout.identity("control");
    let keys = Arc::new(keys::Keys { sealer, ca, state: layout.root.clone() });
    let told = Arc::new(certificates::Told::default());
    let ports = Ports {
        store: store.clone(),
        engine: engine.clone(),
        machines: Arc::new(machines::Agents::new(&own)?),
        gates: Arc::new(gates::Gates::new(&own)?),
        keys: keys.clone(),
        files: Arc::new(Folders::new(&layout.root)),
        hosts: Arc::new(host::KernelRoutes),
        certificates: told.clone(),
        clock: Arc::new(Timestamp::now),
    };
    let machine = MachineName::new(identities::MACHINE).context("the machine's name")?;
    let options = control::Options::new(layout.platform.clone(), &layout.root).on(machine, Layout::local(layout.ports.agent));
    let control = Arc::new(Control::new(ports, options));
    let active = control.clone();
    let certificates = certificates::Certificates::open(&layout, store.clone(), told, move || active.active())?;
    let orders = Arc::new(cache::orders::Orders::new(format!("{:x}", Timestamp::now().as_nanosecond())));
    let ledger: Arc<dyn ledger::Ledger> = Arc::new(SqliteLedger::open(&layout.ledger())?);
    let feeds = control::router(control.feed()).merge(certificates.router()).merge(control::purges::router(orders.clone()));
    let feeds = feeds.merge(control::facts::router(ledger.clone()));
    let feed = tokio::spawn(serve_feed(layout.clone(), feeds, stop.clone()));
    let issuing = tokio::spawn(certificates.run(stop.clone()));
    let (active, looked) = (control.clone(), control.clone());
    let people = Doors::new(store.clone(), engine, keys, layout.platform.clone()).copies(copies).orders(orders).ledger(ledger);
    let people = people.active(move || active.active()).looked(move || looked.looked());
    let doors = tokio::spawn(doors::serve(doors::Options { socket: layout.api_socket() }, people.clone(), stop.clone()));
    let remote = tokio::spawn(remote::keep(store, layout.clone(), people, stop.clone()));
    let renewal = tokio::spawn(renew(layout, stop.clone()));
    let ended = control.run(stop.clone()).await;
    stop.cancel();
    feed.await.context("the route feed's server")??;
    doors.await.context("the API's server")??;
    remote.await.context("the API's server for operators elsewhere")?;
    renewal.await.context("the renewal of certificates")?;
    issuing.await.context("the issuer")?;
    Ok(ended?)
}

/// The feeds of routes and certificates, for edges only.
async fn serve_feed(layout: Layout, router: axum::Router, stop: CancellationToken) -> Result<()> {
    let address = Layout::local(layout.ports.feed);
    let listener = TcpListener::bind(address).await.with_context(|| format!("the route feed cannot listen on {address}"))?;
    let tls = identity::tls::server_config(&layout.identity("control"))?;
    identity::serve(listener, tls, router, |role| matches!(role, Role::Edge(_)), stop).await;
    Ok(())
}

/// Renews certificates of our parts; gates' are renewed by their reconciler.
async fn renew(layout: Layout, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(RENEW_EVERY)).await.is_some() {
        let now = Timestamp::now();
        match operators::fill(&layout, now).and_then(|()| identities::ensure(&layout, now)) {
            Ok(0) => {}
            Ok(written) => tracing::info!(written, "certificates were renewed"),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "certificates could not be renewed"),
        }
    }
}
