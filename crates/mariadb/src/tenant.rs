//! A tenant's schema and account.
//!
//! Invariants: an account has rights on its own schema only; a locked account is locked on every node that runs, and has no session left on any of them;
//! passwords reach the servers as hashes, in no argument and no statement; orders about one tenant are followed one after the other, and a late one is
//! refused before it touches anything.

use std::net::Ipv4Addr;
use std::time::Duration;

use data::{ClusterState, DataError, SQL_PORT, TenantAccess, TenantOrder, TenantReport};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::time::Instant;

use crate::cell::{Cell, Endpoint};
use crate::{Error, report, sql};

/// Most time for one statement; a change of schema waits for the whole cluster.
const STATEMENT: Duration = Duration::from_secs(15);
/// Most time until no session is left.
const SESSIONS: Duration = Duration::from_secs(10);

/// What an account may do, in its own schema.
const RIGHTS: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER, REFERENCES, CREATE TEMPORARY TABLES, LOCK TABLES, CREATE VIEW, \
    SHOW VIEW, TRIGGER, CREATE ROUTINE, ALTER ROUTINE, EXECUTE";

/// Makes it so.
pub(crate) async fn ensure(cell: &Cell, order: &TenantOrder) -> Result<TenantReport, DataError> {
    order.check()?;
    let _turn = cell.turn(&order.schema).await;
    let nodes = ready(cell, order.access)?;
    let mut taken = Ok(());
    let noted = cell.remember(|record| taken = record.tenants.take(order));
    taken?;
    noted.map_err(|error| error.not_now("AgentFailed"))?;
    let failed = |error: Error| error.not_now("NodeFailed");
    let mut conn = sql::connect(nodes.writer, &cell.password, STATEMENT).await.map_err(failed)?;
    let sessions = match order.access {
        TenantAccess::Open => open(&mut conn, order).await.map(|()| None).map_err(failed)?,
        TenantAccess::Locked => {
            // A lock of what is not there makes it first, so that the lock holds when it is opened later.
            make(&mut conn, order).await.map_err(failed)?;
            lock(&mut conn, &order.schema).await.map_err(failed)?;
            Some(end_sessions(cell, &nodes, &order.schema).await.map_err(failed)?)
        }
        TenantAccess::Gone => {
            lock(&mut conn, &order.schema).await.map_err(failed)?;
            let left = end_sessions(cell, &nodes, &order.schema).await.map_err(failed)?;
            drop_all(&mut conn, &order.schema).await.map_err(failed)?;
            Some(left)
        }
    };
    let sessions = match sessions {
        Some(left) => left,
        None => count(&mut conn, &order.schema).await.map_err(failed)?,
    };
    Ok(TenantReport { host: crate::endpoint::ALIAS.to_owned(), port: SQL_PORT, sessions })
}

/// Nodes to speak to.
struct Nodes {
    writer: Ipv4Addr,
    all: Vec<Ipv4Addr>,
}

fn ready(cell: &Cell, access: TenantAccess) -> Result<Nodes, DataError> {
    let known = cell.known();
    let not = |reason: &str, message: String| Err(DataError::NotNow { reason: reason.to_owned(), message });
    let state = report::cluster_state(&known);
    let Some((_, writer)) = known.writer_address().filter(|_| matches!(state, ClusterState::Synced | ClusterState::Degraded)) else {
        return not("NoWriter", format!("the cluster of {} takes no writes now ({state:?})", cell.name));
    };
    if let (TenantAccess::Open, Endpoint::Not { reason: "WaitingForNetwork", message }) = (access, &known.endpoint) {
        return not("WaitingForNetwork", message.clone());
    }
    // Who runs may hold sessions. One that does not answer is evicted or comes back soon; until then nothing can be proved of it.
    let unsure = known.nodes.iter().find(|(_, node)| !node.down() && node.settled && node.answers().is_none());
    if let (TenantAccess::Locked | TenantAccess::Gone, Some((name, _))) = (access, unsure) {
        return not("NodeSilent", format!("{name} runs and does not answer, so its sessions are not known"));
    }
    let all = known.nodes.values().filter(|node| node.answers().is_some_and(|status| status.primary && status.ready)).map(|node| node.address);
    Ok(Nodes { writer, all: all.collect() })
}

/// What stands of an account.
struct Account {
    hash: String,
    connections: u32,
    locked: bool,
}

async fn account(conn: &mut Conn, user: &str) -> Result<Option<Account>, Error> {
    const ASK: &str = "SELECT IFNULL(JSON_VALUE(Priv,'$.authentication_string'),''), IFNULL(JSON_VALUE(Priv,'$.max_user_connections'),'0'), \
        IFNULL(JSON_VALUE(Priv,'$.account_locked'),'0') FROM mysql.global_priv WHERE User = ? AND Host = '%'";
    let row: Option<(String, String, String)> = sql::bounded("the writer", STATEMENT, conn.exec_first(ASK, (user,))).await?;
    Ok(row.map(|(hash, connections, locked)| Account {
        hash,
        connections: connections.parse().unwrap_or(0),
        locked: matches!(locked.as_str(), "1" | "true"),
    }))
}

async fn run(conn: &mut Conn, statement: String) -> Result<(), Error> {
    sql::bounded("the writer", STATEMENT, conn.query_drop(statement)).await
}

/// Schema, account and rights stand. The name was checked: `t_` and `a-z 0-9 _`, so it needs no quoting but that of `_` in a pattern.
async fn make(conn: &mut Conn, order: &TenantOrder) -> Result<(), Error> {
    let name = &order.schema;
    let pattern = name.replace('_', "\\_");
    let hash: Option<String> = sql::bounded("the writer", STATEMENT, conn.exec_first("SELECT PASSWORD(?)", (order.password.reveal(),))).await?;
    let hash = hash.filter(|hash| hash.len() == 41).ok_or_else(|| Error::sql("the writer", "it made no hash of a password"))?;
    let there: Option<u8> =
        sql::bounded("the writer", STATEMENT, conn.exec_first("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?", (name,))).await?;
    if there.is_none() {
        run(conn, format!("CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")).await?;
    }
    let connections = order.connections;
    match account(conn, name).await? {
        None => {
            let with = format!("IDENTIFIED VIA mysql_native_password USING '{hash}' WITH MAX_USER_CONNECTIONS {connections}");
            run(conn, format!("CREATE USER IF NOT EXISTS '{name}'@'%' {with}")).await?;
        }
        Some(account) if account.hash != hash || account.connections != connections => {
            let with = format!("IDENTIFIED VIA mysql_native_password USING '{hash}' WITH MAX_USER_CONNECTIONS {connections}");
            run(conn, format!("ALTER USER '{name}'@'%' {with}")).await?;
        }
        Some(_) => {}
    }
    let granted: Option<u8> =
        sql::bounded("the writer", STATEMENT, conn.exec_first("SELECT 1 FROM mysql.db WHERE User = ? AND Host = '%' AND Db = ?", (name, &pattern)))
            .await?;
    if granted.is_none() {
        run(conn, format!("GRANT {RIGHTS} ON `{pattern}`.* TO '{name}'@'%'")).await?;
    }
    Ok(())
}

async fn open(conn: &mut Conn, order: &TenantOrder) -> Result<(), Error> {
    make(conn, order).await?;
    if account(conn, &order.schema).await?.is_some_and(|account| account.locked) {
        run(conn, format!("ALTER USER '{}'@'%' ACCOUNT UNLOCK", order.schema)).await?;
    }
    Ok(())
}

async fn lock(conn: &mut Conn, name: &str) -> Result<(), Error> {
    if account(conn, name).await?.is_some_and(|account| !account.locked) {
        run(conn, format!("ALTER USER '{name}'@'%' ACCOUNT LOCK")).await?;
    }
    Ok(())
}

async fn drop_all(conn: &mut Conn, name: &str) -> Result<(), Error> {
    if account(conn, name).await?.is_some() {
        run(conn, format!("DROP USER IF EXISTS '{name}'@'%'")).await?;
    }
    run(conn, format!("DROP DATABASE IF EXISTS `{name}`")).await
}

async fn count(conn: &mut Conn, name: &str) -> Result<u32, Error> {
    let ask = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = ?";
    Ok(sql::bounded("a node", STATEMENT, conn.exec_first(ask, (name,))).await?.unwrap_or(0))
}

/// Ends all sessions of an account on every node, and gives how many are left: 0, or the time was up.
async fn end_sessions(cell: &Cell, nodes: &Nodes, name: &str) -> Result<u32, Error> {
    let deadline = Instant::now() + SESSIONS;
    for address in &nodes.all {
        let mut conn = sql::connect(*address, &cell.password, STATEMENT).await?;
        // The lock is in force here once a read that waits for all before it sees it; before that, a new session could still begin.
        sql::bounded(address, STATEMENT, conn.query_drop("SET SESSION wsrep_sync_wait = 1")).await?;
        if account(&mut conn, name).await?.is_some_and(|account| !account.locked) {
            return Err(Error::sql(address, "the lock of the account did not arrive"));
        }
        loop {
            run(&mut conn, format!("KILL USER '{name}'")).await?;
            let left = count(&mut conn, name).await?;
            if left == 0 {
                break;
            }
            if Instant::now() > deadline {
                return Err(Error::sql(address, format!("{left} sessions of {name} do not end")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(0)
}
