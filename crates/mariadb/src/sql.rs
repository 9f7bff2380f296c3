//! SQL to one node, over the data network, as our own account. Everything is bounded in time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use galera::Position;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};

use crate::Error;
use crate::settings::ADMIN_PORT;

/// Our account in the nodes; it works from the data network's gateway only.
const ACCOUNT: &str = "atoll_agent";

/// A node's own words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Status {
    /// It is in a primary view.
    pub(crate) primary: bool,
    /// It takes statements.
    pub(crate) ready: bool,
    /// `wsrep_local_state`: 1 joining, 2 donor, 3 joined, 4 synced.
    pub(crate) local_state: u8,
    /// Number of the view.
    pub(crate) view: u64,
    /// Where it stands.
    pub(crate) position: Position,
    /// Addresses of the view's members.
    pub(crate) members: BTreeSet<Ipv4Addr>,
    /// Write sets received and not yet applied.
    pub(crate) queue: u64,
    /// Share of time paused by flow control, in thousandths.
    pub(crate) paused_permille: u32,
}

impl Status {
    pub(crate) fn synced(&self) -> bool {
        self.primary && self.ready && self.local_state == 4
    }

    pub(crate) fn donor(&self) -> bool {
        self.primary && self.ready && self.local_state == 2
    }
}

/// Opens a connection.
pub(crate) async fn connect(address: Ipv4Addr, password: &str, within: Duration) -> Result<Conn, Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname(address.to_string())
        .tcp_port(ADMIN_PORT)
        .user(Some(ACCOUNT))
        .pass(Some(password))
        .prefer_socket(false)
        // Said here, they are not asked for: a node outside of a primary view refuses to answer.
        .max_allowed_packet(Some(16 << 20))
        .wait_timeout(Some(28_800));
    bounded(address, within, Conn::new(options)).await
}

/// Runs something on a connection within a time.
pub(crate) async fn bounded<T>(node: impl ToString, within: Duration, work: impl Future<Output = Result<T, mysql_async::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(within, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::sql(node, error)),
        Err(_) => Err(Error::sql(node, format!("no answer within {within:?}"))),
    }
}

/// Asks a node how it stands; it answers this in any state.
pub(crate) async fn status(conn: &mut Conn) -> Result<Status, mysql_async::Error> {
    const ASK: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready','wsrep_cluster_status','wsrep_local_state','wsrep_cluster_conf_id',\
        'wsrep_cluster_state_uuid','wsrep_last_committed','wsrep_incoming_addresses','wsrep_local_recv_queue','wsrep_flow_control_paused')";
    let rows: Vec<(String, String)> = conn.query(ASK).await?;
    Ok(read_status(&rows.into_iter().collect()))
}

fn read_status(values: &BTreeMap<String, String>) -> Status {
    let text = |name: &str| values.get(name).map(String::as_str).unwrap_or_default();
    let members = text("wsrep_incoming_addresses").split(',').filter_map(|at| at.split(':').next()?.trim().parse().ok()).collect();
    let paused = text("wsrep_flow_control_paused").parse::<f64>().unwrap_or(0.0).clamp(0.0, 1.0) * 1000.0;
    Status {
        primary: text("wsrep_cluster_status") == "Primary",
        ready: text("wsrep_ready") == "ON",
        local_state: text("wsrep_local_state").parse().unwrap_or(0),
        // Outside of a primary view the number is all ones.
        view: text("wsrep_cluster_conf_id").parse().ok().filter(|view| *view != u64::MAX).unwrap_or(0),
        position: Position { uuid: text("wsrep_cluster_state_uuid").to_owned(), seqno: text("wsrep_last_committed").parse().unwrap_or(-1) },
        members,
        queue: text("wsrep_local_recv_queue").parse().unwrap_or(0),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 1000")]
        paused_permille: paused as u32,
    }
}

/// Commits once, and gives a position that is committed: all that came before it in the cluster's order is committed on this node too.
pub(crate) async fn commit(conn: &mut Conn) -> Result<Position, mysql_async::Error> {
    conn.query_drop("INSERT INTO atoll.probe (id, beat) VALUES (1, 1) ON DUPLICATE KEY UPDATE beat = beat + 1").await?;
    Ok(status(conn).await?.position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_node_outside_of_a_view() {
        let values = [
            ("wsrep_ready", "OFF"),
            ("wsrep_cluster_status", "non-Primary"),
            ("wsrep_cluster_conf_id", "18446744073709551615"),
            ("wsrep_incoming_addresses", "10.91.0.11:0,10.91.0.13:3306"),
            ("wsrep_flow_control_paused", "0.25"),
        ];
        let status = read_status(&values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
        assert!(!status.primary && !status.synced());
        assert_eq!(status.view, 0);
        assert_eq!(status.members, ["10.91.0.11".parse().unwrap(), "10.91.0.13".parse().unwrap()].into());
        assert_eq!(status.paused_permille, 250);
        assert!(!status.position.is_evidence());
    }
}
