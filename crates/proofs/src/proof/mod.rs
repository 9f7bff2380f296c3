//! The proofs, one file each.

mod blast_radius;
mod control_down;
mod edge_cache;
mod edge_fair;
mod edge_ha;
mod edge_hold;
mod edge_routes;
mod edge_safety;
mod edge_speed;
mod edge_tls;
mod first_light;
mod outage;
mod rolling;
mod self_heal;
mod upgrade;
mod writer_loss;

use anyhow::{Result, bail};

use crate::Options;
use crate::outcome::Outcome;

/// Names and one line each.
pub const ALL: &[(&str, &str)] = &[
    ("first-light", "from nothing to four tenants serving; publish with a picture; other tenants blind; everything back after a power cut"),
    ("writer-loss", "the database's writer is killed, stopped, cut off under load: nothing acknowledged is lost"),
    ("outage", "all three nodes are killed at random moments under load: the right one bootstraps"),
    ("blast-radius", "cell A is exhausted and killed: cell B does not notice, and nothing of B is reachable from A"),
    ("control-down", "control, agent and Docker's daemon are dead for a minute under load: nothing fails, all is adopted"),
    ("edge-routes", "a million domains on two edges: memory, look-ups, changes seen by visitors, a start from disk"),
    ("self-heal", "every kind of instance is killed once and comes back"),
    ("upgrade", "a newer build replaces control, agent, edge and gates under load"),
    (
        "edge-tls",
        "certificates from a real ACME server on every edge, renewed under visitors; a hundred thousand at the start; handshakes beside HAProxy; through atoll up",
    ),
    (
        "edge-cache",
        "a crowd before a real WordPress is answered by the edge; nobody sees what is another's, a change is seen at once, a purge is obeyed",
    ),
    ("edge-fair", "a tenant floods with ten times its share: the others do not notice"),
    ("edge-ha", "two edges share a virtual address: one is lost, visitors go on at the other; programs are replaced and no request fails"),
    ("edge-hold", "a tenant changes its owner a thousand times under load: no request fails, none is served by a cell that does not own it"),
    ("edge-safety", "a table of malformed, ambiguous and slow requests and answers: none is read in two ways, none reaches the wrong one"),
    ("rolling", "a new blueprint version rolls through a cell under load; one that never gets ready stops"),
    ("edge-speed", "what a request costs at the edge, beside HAProxy and nginx with Lua, with memory, tail and the way through the gate"),
];

/// Runs the proof that the options name.
pub async fn run(options: &Options) -> Result<Outcome> {
    match options.name.as_str() {
        "first-light" => first_light::prove(options).await,
        "writer-loss" => writer_loss::prove(options).await,
        "outage" => outage::prove(options).await,
        "blast-radius" => blast_radius::prove(options).await,
        "control-down" => control_down::prove(options).await,
        "edge-routes" => edge_routes::prove(options).await,
        "self-heal" => self_heal::prove(options).await,
        "upgrade" => upgrade::prove(options).await,
        "edge-tls" => edge_tls::prove(options).await,
        "edge-cache" => edge_cache::prove(options).await,
        "edge-fair" => edge_fair::prove(options).await,
        "edge-ha" => edge_ha::prove(options).await,
        "edge-hold" => edge_hold::prove(options).await,
        "edge-safety" => edge_safety::prove(options).await,
        "rolling" => rolling::prove(options).await,
        "edge-speed" => edge_speed::prove(options).await,
        other => bail!("there is no proof {other:?}; `list` prints them"),
    }
}
