//! The operators' door, on the loopback address: health, metrics, routes. No key and no header ever stands in an answer.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use cache::Cache;
use proxy::{Health, Metrics, Text};
use routes::Route;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::certificates::Shaking;
use crate::client::Took;
use crate::deliver::Deliver;
use crate::feed::Feed;
use crate::table::{Lookup, Routes};

/// Most refused hosts that are listed.
const MOST_LISTED: usize = 1000;

/// What the admin door looks at.
#[derive(Debug)]
pub(crate) struct Admin {
    pub routes: Arc<Routes>,
    pub deliver: Arc<Deliver>,
    pub feed: Arc<Feed>,
    pub shaking: Option<Arc<Shaking>>,
    pub kept: Option<Arc<Cache>>,
    pub metrics: Arc<Metrics>,
    pub stopping: CancellationToken,
}

/// The admin door's routes.
pub(crate) fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/routes", get(routes))
        .route("/tenants", get(tenants))
        .route("/certificates", get(certificates))
        .with_state(admin)
}

async fn healthz(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    let table = admin.routes.table();
    let (loaded, generation) = (!table.incarnation().is_empty(), table.generation());
    match (admin.stopping.is_cancelled(), loaded) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned()),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "no routes yet\n".to_owned()),
        (false, true) => (StatusCode::OK, format!("serving generation {generation}\n")),
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> String {
    let mut text = Text::new("atoll_edge");
    let table = admin.routes.table();
    let (generation, hosts, refused) = (table.generation().0, table.len(), table.refused_count());
    let gates = admin.routes.gates();
    let up = gates.iter().flat_map(|(_, group)| group.members()).filter(|gate| gate.health() != Health::Down).count();
    let standing = admin.feed.standing();
    let silence = standing.heard.map_or(f64::INFINITY, |heard| heard.elapsed().as_secs_f64());
    let ((held, turned_away), (streams, told)) = (admin.deliver.queue.counts(), admin.routes.streams());
    let mut gauge = |name, help, value: f64| {
        text.head(name, "gauge", help);
        text.line(name, "", value);
    };
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats in Prometheus")]
    {
        gauge("routes_generation", "Generation of the routes in use.", generation as f64);
        gauge("routes_hosts", "Hosts and wildcards known.", hosts as f64);
        gauge("routes_refused", "Hosts known but not served.", refused as f64);
        gauge("routes_unwritten", "1 while the disk does not take the routes in use.", u8::from(admin.routes.is_unsaved()).into());
        gauge("gates_up", "Gates that are not down.", up as f64);
        gauge("requests_held", "Requests that wait for their tenant.", held as f64);
        gauge("streams_open", "WebSockets and event streams under way.", streams as f64);
    }
    if let Some(kept) = &admin.kept {
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats in Prometheus")]
        gauge("cache_bytes", "Octets of answers that are kept.", kept.octets() as f64);
    }
    gauge("feed_silence_seconds", "Time since control was last heard.", silence);
    let mut total = |name, help, value: u64| {
        text.head(name, "counter", help);
        text.line(name, "", value);
    };
    total("requests_held_refused_total", "Requests that found no place to wait for their tenant.", turned_away);
    total("streams_told_total", "WebSockets and event streams that were told to end and come again.", told);
    if let Some(shaking) = &admin.shaking {
        handshakes(&mut text, shaking);
    }
    admin.metrics.text("atoll_edge") + &text.finish()
}

fn handshakes(text: &mut Text, shaking: &Shaking) {
    text.head("certificates", "gauge", "Certificates known.");
    text.line("certificates", "", shaking.book().certificates());
    text.head("certificates_with_problems", "gauge", "Certificates that have ended or cannot be used; /certificates names them.");
    text.line("certificates_with_problems", "", shaking.book().problems().len());
    text.head("handshakes_total", "counter", "Handshakes of visitors.");
    for (kind, count) in shaking.counts() {
        text.line("handshakes_total", &format!("{{result=\"{kind}\"}}"), count);
    }
}

/// How many certificates there are, and what is wrong with which.
async fn certificates(State(admin): State<Arc<Admin>>) -> Response {
    let Some(shaking) = &admin.shaking else { return (StatusCode::NOT_FOUND, "this edge has no door under TLS\n").into_response() };
    let book = shaking.book();
    let problems: std::collections::BTreeMap<_, _> = book.problems().into_iter().map(|problem| (problem.name, problem.reason)).collect();
    Json(serde_json::json!({ "number": book.number(), "certificates": book.certificates(), "problems": problems })).into_response()
}

async fn tenants(State(admin): State<Arc<Admin>>) -> Json<Vec<Took>> {
    Json(admin.deliver.fair.facts().into_iter().map(|(tenant, facts)| Took { tenant: tenant.to_string(), facts }).collect())
}

/// Which host to explain.
#[derive(Debug, Deserialize)]
struct Which {
    host: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    incarnation: String,
    generation: u64,
    hash: routes::TableHash,
    hosts: usize,
    refused: Vec<Unserved>,
    cells: Vec<Cell>,
    feed: Heard,
}

#[derive(Debug, Serialize)]
struct Unserved {
    host: String,
    tenant: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Cell {
    cell: String,
    gates: Vec<Gate>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Gate {
    name: String,
    address: String,
    health: &'static str,
    draining: bool,
    in_flight: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Heard {
    silent_seconds: Option<u64>,
    problem: Option<String>,
    halted: Option<String>,
}

#[derive(Debug, Serialize)]
struct Explained {
    host: String,
    tenant: String,
    cell: String,
    epoch: u64,
    state: routes::RouteState,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect: Option<String>,
    gates: Vec<Gate>,
}

async fn routes(State(admin): State<Arc<Admin>>, Query(which): Query<Which>) -> Response {
    let Some(host) = which.host else { return Json(summary(&admin)).into_response() };
    let explained = |route: &Route, redirect, gates| Explained {
        host: host.clone(),
        tenant: route.tenant().to_owned(),
        cell: route.cell().to_owned(),
        epoch: route.epoch().0,
        state: route.state(),
        redirect,
        gates,
    };
    match admin.routes.lookup(&host.to_ascii_lowercase()) {
        Lookup::Found(route, group) => Json(explained(&route, None, gates(&group))).into_response(),
        Lookup::Elsewhere(route, elsewhere) => {
            Json(explained(&route, Some(format!("{} {}", elsewhere.status, elsewhere.to)), Vec::new())).into_response()
        }
        Lookup::Unknown | Lookup::NoTable => (StatusCode::NOT_FOUND, format!("no tenant has the host {host}\n")).into_response(),
    }
}

fn summary(admin: &Admin) -> Summary {
    let standing = admin.feed.standing();
    let feed = Heard { silent_seconds: standing.heard.map(|heard| heard.elapsed().as_secs()), problem: standing.problem, halted: standing.halted };
    let cells = admin.routes.gates().into_iter().map(|(cell, group)| Cell { cell: cell.to_string(), gates: gates(&group) }).collect();
    let table = admin.routes.table();
    let unserved = |one: routes::Refused| Unserved { host: one.host.to_string(), tenant: one.tenant.to_string(), reason: one.reason.to_string() };
    Summary {
        incarnation: table.incarnation().to_owned(),
        generation: table.generation().0,
        hash: table.hash(),
        hosts: table.len(),
        refused: table.refused().into_iter().take(MOST_LISTED).map(unserved).collect(),
        cells,
        feed,
    }
}

fn gates(group: &proxy::Group) -> Vec<Gate> {
    let gate = |gate: &Arc<proxy::Upstream>| Gate {
        name: gate.name().to_owned(),
        address: gate.address().to_string(),
        health: match gate.health() {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        },
        draining: gate.is_draining(),
        in_flight: gate.in_flight(),
    };
    group.members().iter().map(gate).collect()
}
