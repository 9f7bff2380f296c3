//! Envoy, as its Python wheel brings it: a virtual host for each domain, as a control plane would send them.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Doors, Place, Running};
use crate::world::{FIELD, domain, tenant};

/// Starts one thread of it.
pub fn start(place: &Place<'_>, at: Doors) -> Result<Running> {
    let program = place.envoy.context("envoy is not installed; `make bench-edge` fetches it where pip can, or leave it out with --peers")?;
    let file = place.folder.join("envoy.json");
    fs_err::write(&file, configuration(place, at).to_string())?;
    let arguments = ["-c", &file.display().to_string(), "--concurrency", "1", "-l", "error", "--disable-hot-restart"].map(str::to_owned);
    place.spawn(program, &arguments)
}

fn configuration(place: &Place<'_>, doors: Doors) -> Value {
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
    let filters = json!([{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }]);
    let mut listeners = vec![json!({ "name": "plain", "address": at(doors.plain), "filter_chains": [{ "filters": filters }] })];
    if let Some(secure) = doors.secure {
        let file = |path: &Path| json!({ "filename": path.display().to_string() });
        let certificate = json!({ "certificate_chain": file(&place.certificate.chain), "private_key": file(&place.certificate.key) });
        let tls = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": { "tls_certificates": [certificate], "alpn_protocols": ["h2", "http/1.1"], "tls_params": { "tls_maximum_protocol_version": "TLSv1_3" } },
        });
        let socket = json!({ "name": "envoy.transport_sockets.tls", "typed_config": tls });
        listeners.push(json!({ "name": "secure", "address": at(secure), "filter_chains": [{ "filters": filters, "transport_socket": socket }] }));
    }
    json!({ "static_resources": {
        "listeners": listeners,
        "clusters": [{ "name": "gates", "type": "STATIC", "connect_timeout": "2s", "circuit_breakers": { "thresholds": [limits] },
            "load_assignment": { "cluster_name": "gates", "endpoints": [{ "lb_endpoints": [endpoint] }] } }],
    }})
}
