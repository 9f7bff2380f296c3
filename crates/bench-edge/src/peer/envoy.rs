//! Envoy, as its Python wheel brings it: a virtual host for each domain, as a control plane would send them.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Place, Running};
use crate::world::{FIELD, domain, tenant};

/// Starts one thread of it.
pub fn start(place: &Place<'_>, listen: SocketAddr) -> Result<Running> {
    let program = place.envoy.context("envoy is not installed; `make bench-edge` fetches it where pip can, or leave it out with --peers")?;
    let file = place.folder.join("envoy.json");
    fs_err::write(&file, configuration(place, listen).to_string())?;
    let arguments = ["-c", &file.display().to_string(), "--concurrency", "1", "-l", "error", "--disable-hot-restart"].map(str::to_owned);
    place.spawn(program, &arguments)
}

fn configuration(place: &Place<'_>, listen: SocketAddr) -> Value {
    let host = |n| {
        json!({
            "name": tenant(n), "domains": [domain(n)],
            "request_headers_to_add": [{ "header": { "key": FIELD, "value": tenant(n) }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" }],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "gates", "timeout": "0s" } }],
        })
    };
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "public", "use_remote_address": true, "strip_any_host_port": true,
        "upgrade_configs": [{ "upgrade_type": "websocket" }],
        "http_filters": [{ "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }],
        "route_config": { "name": "domains", "virtual_hosts": (0..place.domains).map(host).collect::<Vec<_>>() },
    });
    let at = |address: SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
    let endpoint = json!({ "endpoint": { "address": at(place.backend) } });
    let limits = json!({ "max_connections": 4000, "max_pending_requests": 4000, "max_requests": 8000 });
    json!({ "static_resources": {
        "listeners": [{ "address": at(listen), "filter_chains": [{ "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] }] }],
        "clusters": [{ "name": "gates", "type": "STATIC", "connect_timeout": "2s", "circuit_breakers": { "thresholds": [limits] },
            "load_assignment": { "cluster_name": "gates", "endpoints": [{ "lb_endpoints": [endpoint] }] } }],
    }})
}
