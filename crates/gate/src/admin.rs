//! Control's door: the numbered state in, the report out; metrics.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use model::GateName;
use proxy::tcp::TcpMetrics;
use proxy::{Metrics, Text};
use routes::{GateReport, GateState};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::disk;
use crate::known::{Memory, Refused};

/// Largest state that is read.
const MOST: usize = 64 * 1024 * 1024;

/// What the admin door works on.
#[derive(Debug)]
pub(crate) struct Admin {
    pub name: GateName,
    pub folder: PathBuf,
    pub own_ports: [u16; 2],
    pub memory: Arc<Memory>,
    pub entry: Arc<Metrics>,
    pub tcp: Arc<TcpMetrics>,
    pub stopping: CancellationToken,
    /// One push at a time, so that disk and memory agree.
    pub pushing: Mutex<()>,
}

/// The admin door's routes.
pub(crate) fn router(admin: Arc<Admin>) -> Router {
    let state = get(report).put(push);
    Router::new().route("/v1/state", state).route("/metrics", get(metrics)).layer(DefaultBodyLimit::max(MOST)).with_state(admin)
}

async fn report(State(admin): State<Arc<Admin>>) -> Response {
    json(StatusCode::OK, &admin.report())
}

async fn push(State(admin): State<Arc<Admin>>, body: Bytes) -> Response {
    let state: GateState = match serde_json::from_slice(&body) {
        Ok(state) => state,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("the state does not parse: {error}\n")).into_response(),
    };
    let _one = admin.pushing.lock().await;
    match admin.memory.may_take(&state, admin.own_ports) {
        Ok(()) => {}
        // Whoever has lost its number learns from the report which one to go above.
        Err(Refused::Older) => return json(StatusCode::CONFLICT, &admin.report()),
        Err(refused @ (Refused::OtherCell | Refused::Backwards(_))) => {
            return (StatusCode::PRECONDITION_FAILED, format!("{refused}\n")).into_response();
        }
        Err(refused) => return (StatusCode::UNPROCESSABLE_ENTITY, format!("{refused}\n")).into_response(),
    }
    if admin.memory.known().state == state {
        return json(StatusCode::OK, &admin.report());
    }
    // On disk first: what was acknowledged must survive a restart.
    let (folder, kept) = (admin.folder.clone(), state.clone());
    let written = tokio::task::spawn_blocking(move || disk::write(&folder, &kept)).await;
    if let Err(error) = written.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        tracing::error!(%error, "the state cannot be written and is not taken");
        return (StatusCode::INSUFFICIENT_STORAGE, format!("the state cannot be written: {error}\n")).into_response();
    }
    tracing::info!(number = state.number.0, tenants = state.tenants.len(), "a new state");
    admin.memory.take(state);
    json(StatusCode::OK, &admin.report())
}

async fn metrics(State(admin): State<Arc<Admin>>) -> String {
    let mut text = Text::new("atoll_gate");
    text.head("state_number", "gauge", "Number of the state in use.");
    text.line("state_number", "", admin.memory.known().state.number.0);
    text.one("tcp_connections_total", "counter", "Connections to inner services.", &admin.tcp.connections);
    text.one("tcp_unserved_total", "counter", "Connections to inner services for which no instance was found.", &admin.tcp.unserved);
    text.one("tcp_connect_failures_total", "counter", "Connections to instances of inner services that failed.", &admin.tcp.connect_failures);
    text.head("instance_up", "gauge", "Whether an instance passes the gate's own probe.");
    let report = admin.report();
    for instance in &report.instances {
        let labels = format!("{{service=\"{}\",instance=\"{}\"}}", instance.service, instance.name);
        text.line("instance_up", &labels, u8::from(instance.health == routes::GateHealth::Up));
    }
    admin.entry.text("atoll_gate") + &text.finish()
}

impl Admin {
    fn report(&self) -> GateReport {
        self.memory.report(&self.name, self.stopping.is_cancelled())
    }
}

fn json(status: StatusCode, report: &GateReport) -> Response {
    match serde_json::to_vec(report) {
        Ok(body) => (status, [("content-type", "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
