//! Writers whose every acknowledged write goes into a ledger: some through the sites' HTTP, some through SQL.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::fault::run;
use crate::ledger::Ledger;
use crate::world::{Tenant, World};

/// Time for one write before its outcome counts as unknown.
const WRITE_WITHIN: Duration = Duration::from_secs(25);

/// A tenant's database account, as its application sees it.
#[derive(Debug, Clone)]
pub struct Account {
    /// Options for a connection through the single-writer endpoint.
    pub options: OptsBuilder,
}

impl Account {
    /// Reads the account that the application of a tenant uses; connects from the host to the endpoint's address on the cell's network.
    pub async fn of(world: &World, cell: &str, tenant: &str) -> Result<Self> {
        let php = world.containers(&["label=dev.atoll.service=php", &format!("label=dev.atoll.cell={cell}")]).await?;
        let php = php.first().with_context(|| format!("{cell} runs no php"))?;
        let code = format!("echo json_encode((require '/atoll/settings/{tenant}/settings.php')['database']);");
        let shown = run("docker", &["exec", php, "php", "-r", &code]).await?;
        let database: Value = serde_json::from_str(&shown).with_context(|| format!("settings of {tenant}: {shown}"))?;
        let text = |field: &str| database[field].as_str().map(str::to_owned).with_context(|| format!("settings of {tenant} have no {field}"));
        let endpoint = run(
            "docker",
            &[
                "inspect",
                "-f",
                &format!("{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}", world.container(cell)),
                &world.container(&format!("{cell}-db")),
            ],
        )
        .await?;
        let options = OptsBuilder::default()
            .ip_or_hostname(endpoint.trim().to_owned())
            .tcp_port(3306)
            .user(Some(text("user")?))
            .pass(Some(text("password")?))
            .db_name(Some(text("name")?))
            .prefer_socket(false);
        Ok(Self { options })
    }

    /// A new connection, within the time for one write.
    pub async fn connect(&self) -> Result<Conn> {
        let opts: Opts = self.options.clone().into();
        Ok(tokio::time::timeout(WRITE_WITHIN, Conn::new(opts)).await.context("no connection in time")??)
    }
}

/// Writers at work.
#[derive(Debug)]
pub struct Writers {
    stop: Arc<AtomicBool>,
    set: JoinSet<()>,
    /// What SQL writers got acknowledged.
    pub sql: Ledger,
    /// What HTTP writers got acknowledged.
    pub http: Ledger,
}

impl Writers {
    /// Starts `count` writers through SQL and as many through HTTP, spread over the tenants.
    pub async fn start(world: &World, cell: &str, tenants: &[&Tenant], sql: usize, http: usize) -> Result<Self> {
        // No two rounds write the same: what an earlier one wrote would stand for what this one lost.
        static ROUND: AtomicU64 = AtomicU64::new(1);
        let round = ROUND.fetch_add(1, Ordering::Relaxed);
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Self { stop: stop.clone(), set: JoinSet::new(), sql: Ledger::default(), http: Ledger::default() };
        for (i, tenant) in tenants.iter().cycle().take(sql.max(http)).enumerate() {
            if i < sql {
                let account = Account::of(world, cell, &tenant.site.tenant).await?;
                let mut conn = account.connect().await?;
                conn.query_drop(
                    "CREATE TABLE IF NOT EXISTS proof_ledger (id VARCHAR(64) NOT NULL PRIMARY KEY, at TIMESTAMP(6) NOT NULL) ENGINE=InnoDB",
                )
                .await?;
                writers.set.spawn(write_sql(account, format!("{}-r{round}s{i}", tenant.site.tenant), writers.sql.clone(), stop.clone()));
            }
            if i < http {
                let editor = tenant.site.log_in(&tenant.user, &tenant.password).await?;
                writers.set.spawn(write_http(editor, format!("{}r{round}h{i}", tenant.site.tenant), writers.http.clone(), stop.clone()));
            }
        }
        Ok(writers)
    }

    /// Lets every writer finish its present write.
    pub async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.set.join_next().await.is_some() {}
    }
}

/// Every id in the ledgers' tables and posts of these tenants.
pub async fn found(world: &World, cell: &str, tenants: &[&Tenant]) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for tenant in tenants {
        let mut conn = Account::of(world, cell, &tenant.site.tenant).await?.connect().await?;
        let ledger: Vec<String> = conn.query("SELECT id FROM proof_ledger").await.unwrap_or_default();
        let posts: Vec<String> = conn.query("SELECT post_title FROM wp_posts WHERE post_status = 'publish'").await?;
        all.extend(ledger);
        all.extend(posts);
    }
    Ok(all)
}

async fn write_sql(account: Account, name: String, ledger: Ledger, stop: Arc<AtomicBool>) {
    let mut conn = None;
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let id = format!("{name}-{number}");
        let mut open = match conn.take() {
            Some(open) => open,
            None => match account.connect().await {
                Ok(open) => open,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let write = open.exec_drop("INSERT INTO proof_ledger (id, at) VALUES (?, NOW(6))", (&id,));
        match tokio::time::timeout(WRITE_WITHIN, write).await {
            Ok(Ok(())) => {
                ledger.acknowledge(id);
                conn = Some(open);
            }
            _ => ledger.unknown(),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn write_http(mut editor: crate::site::Editor, name: String, ledger: Ledger, stop: Arc<AtomicBool>) {
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let id = format!("{name}n{number}");
        match editor.publish(&id, "a line in the ledger").await {
            Ok(_) => ledger.acknowledge(id),
            Err(_) => {
                ledger.unknown();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
