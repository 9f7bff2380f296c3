//! Settings of a node and of the endpoint, as text. Pure.
//!
//! Invariants: durability is never traded (`innodb_flush_log_at_trx_commit=1`, `sync_binlog=1`, on every node); exactly one server of the endpoint takes
//! connections by default, so that it is right after a restart without us.

use data::{ClusterOrder, SQL_PORT};
use model::NodeName;

/// The port on which a node takes our own connections, also when the tenants' are used up.
pub(crate) const ADMIN_PORT: u16 = 3307;
/// The port on the data network's gateway on which we say whether a node takes writes.
pub(crate) const CHECK_PORT: u16 = 9300;
/// Connections kept for ourselves.
const ADMIN_CONNECTIONS: u32 = 12;

/// Silence after which the others suspect a node. A loss then stalls commits for this and about one second more; shorter ones evict healthy nodes
/// of a machine that is short of processors.
const SUSPECT_MS: u64 = 1500;

/// A node's `my.cnf`. Donors are named in order of preference; any other may serve when none of them can.
pub(crate) fn node(order: &ClusterOrder, cluster: &str, index: usize, donors: &[&NodeName]) -> String {
    let name = &order.nodes[index].name;
    let address = order.node_address(index);
    let all = (0..order.nodes.len()).map(|i| order.node_address(i).to_string()).collect::<Vec<_>>().join(",");
    let donors: String = donors.iter().map(|donor| format!("{donor},")).collect();
    let number = u64::try_from(index).unwrap_or_default();
    let server = u64::from(order.gtid_domain) * 4 + number + 1;
    let pool = order.memory.0;
    let log = (pool / 2).clamp(32 << 20, 1 << 30);
    let gcache = (pool * 4).clamp(128 << 20, 2 << 30);
    let (suspect, late) = (seconds(SUSPECT_MS), seconds(SUSPECT_MS * 3));
    format!(
        "# Rendered by the agent at each start of the node; changes are overwritten.
[mysqld]
bind_address = 0.0.0.0
port = {SQL_PORT}
extra_port = {ADMIN_PORT}
extra_max_connections = {ADMIN_CONNECTIONS}
max_connections = {connections}
max_connect_errors = 4294967295
skip_name_resolve
socket = /run/mysqld/mysqld.sock
pid_file = /run/mysqld/mysqld.pid
character_set_server = utf8mb4
collation_server = utf8mb4_unicode_ci
default_storage_engine = InnoDB
performance_schema = OFF
local_infile = OFF
# Room for many schemas of few tables, within the node's memory.
table_open_cache = 2000
table_definition_cache = 4000
innodb_open_files = 2000
innodb_buffer_pool_size = {pool}
innodb_log_file_size = {log}
innodb_autoinc_lock_mode = 2
# An acknowledged commit is on disk; with anything less, crashes close together lose it.
innodb_flush_log_at_trx_commit = 1
innodb_doublewrite = ON
sync_binlog = 1
innodb_snapshot_isolation = ON
binlog_format = ROW
log_bin = bl
relay_log = rl
log_slave_updates = ON
skip_slave_start
binlog_expire_logs_seconds = 259200
max_binlog_size = 67108864
server_id = {server}
gtid_domain_id = {local_domain}
wsrep_on = ON
wsrep_provider = /usr/lib/galera/libgalera_smm.so
wsrep_cluster_name = {cluster}
wsrep_cluster_address = gcomm://{all}
wsrep_node_name = {name}
wsrep_node_address = {address}
wsrep_slave_threads = 4
wsrep_retry_autocommit = 4
wsrep_gtid_mode = ON
wsrep_gtid_domain_id = {domain}
wsrep_sst_method = mariabackup
wsrep_sst_auth = mysql:
wsrep_sst_donor = {donors}
# Every session is on the one writer, and a successor has committed after all that came before it: no read needs to wait.
wsrep_sync_wait = 0
wsrep_provider_options = \"gcache.size={gcache};gcache.recover=yes;gcs.fc_limit=64;evs.keepalive_period=PT0.3S;evs.inactive_check_period=PT0.2S;\
evs.suspect_timeout={suspect};evs.inactive_timeout={late};evs.install_timeout={late};pc.recovery=FALSE\"

[sst]
# The sender tries again until the receiver listens.
sockopt = retry=60,interval=0.5
",
        connections = order.connections + ADMIN_CONNECTIONS,
        local_domain = 1_000_000_000 + server,
        domain = order.gtid_domain,
    )
}

/// The endpoint's `haproxy.cfg` with this writer.
///
/// All servers but the writer are `backup`, so that a restart without us keeps the writer. While we live, our word (`agent-check`) marks all but the
/// writer down; without our word nothing changes.
pub(crate) fn endpoint(order: &ClusterOrder, writer: &NodeName) -> String {
    let servers: String = order
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            let backup = if node.name == *writer { "" } else { " backup" };
            format!("  server {name} {address}:{SQL_PORT} agent-send \"{name}\\n\"{backup}\n", name = node.name, address = order.node_address(index))
        })
        .collect();
    format!(
        "# Rendered by the agent; changes are overwritten.
global
  maxconn {most}
  nbthread 1
  hard-stop-after 30s
  spread-checks 0

defaults
  mode tcp
  maxconn {most}
  timeout connect 1s
  timeout client 8h
  timeout server 8h
  # A connection made while the writer changes waits for the next one instead of failing.
  retries 12
  option redispatch 1
  option clitcpka
  option srvtcpka

listen db
  bind *:{SQL_PORT}
  default-server agent-check agent-addr {agent} agent-port {CHECK_PORT} agent-inter 150ms on-marked-down shutdown-sessions
{servers}",
        most = order.connections + ADMIN_CONNECTIONS,
        agent = order.agent_address(),
    )
}

fn seconds(millis: u64) -> String {
    format!("PT{}.{}S", millis / 1000, millis % 1000 / 100)
}

/// Memory of a node's container: its buffer pool, and what the server, its sessions and a transfer need beside it.
pub(crate) fn memory(order: &ClusterOrder) -> u64 {
    order.memory.0 * 3 / 2 + (384 << 20) + u64::from(order.connections) * (1 << 20)
}
