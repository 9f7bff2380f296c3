//! The data port on MariaDB Galera in containers of this machine.
//!
//! Purpose: keeps each ordered cluster alive: makes it, chooses its one writer, brings lost nodes back, forms it again after a full outage.
//! Invariants: a node never starts without the position just recovered from its data; only a [`galera::Proof`] forms a cluster; facts are on disk before
//! anybody acts on them; the endpoint has one writer at most, keeps it while we are dead, and is told of another one only when that one has committed;
//! our end ends no container, and on return we adopt what runs.
//! Entry point: [`Mariadb::open`]. Inside, a cell's `keeper` runs the loop *probe, decide, act*; `decide` is the page to read first.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests say what they expect by failing"))]

mod cell;
mod check;
mod decide;
mod docker;
mod endpoint;
mod error;
mod folder;
mod keeper;
mod probe;
mod report;
mod settings;
mod sql;
mod start;
mod tenant;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use data::{ClusterOrder, ClusterReport, Data, DataError, TenantOrder, TenantReport, supersedes};
use model::{CellName, Generation};
use tokio::task::JoinHandle;

pub use error::Error;

use cell::{Cell, Platform};
use docker::Engine;
use folder::{Folder, Record};

/// Users inside of the containers, which own the data on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uids {
    /// Of database nodes.
    pub mariadb: u32,
    /// Of the single-writer endpoint.
    pub haproxy: u32,
}

impl Default for Uids {
    fn default() -> Self {
        Self { mariadb: 1003, haproxy: 1004 }
    }
}

/// Where the driver works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The platform's name: containers and networks begin with it.
    pub platform: String,
    /// The state folder, at the same path for us and for the container engine.
    pub state: PathBuf,
    /// The container engine's socket.
    pub docker: PathBuf,
    /// Users inside of the containers.
    pub uids: Uids,
}

/// The database clusters of this machine. Dropping it leaves everything running.
pub struct Mariadb {
    platform: Arc<Platform>,
    cells: Mutex<BTreeMap<CellName, Kept>>,
    reaper: JoinHandle<()>,
}

/// A cell with its keeper.
struct Kept {
    cell: Arc<Cell>,
    keeper: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        self.reaper.abort();
    }
}

impl Mariadb {
    /// Takes up all orders kept in the state folder, and works on from them.
    ///
    /// # Errors
    /// [`Error`] when the state folder cannot be read or an order or record in it is damaged.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let data = options.state.join("data");
        folder::make(&data, 0o711, None)?;
        let platform = Arc::new(Platform { engine: Engine::new(&options.docker), options });
        let reaper = tokio::spawn(reap(data.join(".retired")));
        let mariadb = Self { platform, cells: Mutex::new(BTreeMap::new()), reaper };
        for path in folder::list(&data)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(|name| CellName::new(name).ok()) else { continue };
            let folder = Folder::new(&mariadb.platform.options.state, &name);
            let Some(order) = folder.order()? else { continue };
            let retired = folder.record()?.is_some_and(|record| record.retired);
            mariadb.take_up(order)?;
            if retired && let Err(error) = mariadb.put_aside(&name).await {
                tracing::warn!(cell = %name, %error, "it stays retired and is cleared away later");
            }
        }
        Ok(mariadb)
    }

    fn cells(&self) -> MutexGuard<'_, BTreeMap<CellName, Kept>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, name: &CellName) -> Result<Arc<Cell>, DataError> {
        let found = self.cells().get(name).map(|kept| kept.cell.clone());
        found.ok_or_else(|| DataError::unknown_cell(name))
    }

    /// Ends a cell, keeps its data aside; nothing where there is none.
    async fn put_aside(&self, cell: &CellName) -> Result<(), DataError> {
        let Ok(cell) = self.cell(cell) else { return Ok(()) };
        clear(&cell).await.map_err(|error| failed(&error))?;
        self.cells().remove(&cell.name);
        Ok(())
    }

    /// Begins to keep a cell.
    fn take_up(&self, order: ClusterOrder) -> Result<(), Error> {
        let folder = Folder::new(&self.platform.options.state, &order.cell);
        let record = folder.record()?.map_or_else(|| fresh(&folder, &order), Ok)?;
        let password = folder.password(self.platform.options.uids.mariadb)?;
        let name = order.cell.clone();
        let cell = Arc::new(Cell::new(self.platform.clone(), order, record, password));
        let keeper = tokio::spawn(keeper::run(cell.clone()));
        self.cells().insert(name, Kept { cell, keeper });
        Ok(())
    }
}

/// The record of a cluster that has none: only where there is no data either.
fn fresh(folder: &Folder, order: &ClusterOrder) -> Result<Record, Error> {
    if let Some(node) = order.nodes.iter().find(|node| !folder::is_empty(&folder.data(&node.name))) {
        return Err(Error::Refused(format!(
            "{} holds data and {} has no record.json: nothing is made over it; restore the record, or move the data away",
            folder.data(&node.name).display(),
            folder.root().display()
        )));
    }
    let record = Record::default();
    folder.write_record(&record)?;
    Ok(record)
}

fn failed(error: &Error) -> DataError {
    match error {
        Error::Refused(message) => DataError::Refused { reason: "Refused".to_owned(), message: message.clone() },
        other => other.not_now("AgentFailed"),
    }
}

#[async_trait]
impl Data for Mariadb {
    async fn ensure(&self, order: &ClusterOrder) -> Result<(), DataError> {
        order.check()?;
        let Ok(cell) = self.cell(&order.cell) else {
            let held = folder::newest_retired(&self.platform.options.state).map_err(|error| failed(&error))?;
            if order.generation <= held {
                return Err(DataError::Older { held, offered: order.generation });
            }
            Folder::new(&self.platform.options.state, &order.cell).write_order(order).map_err(|error| failed(&error))?;
            return self.take_up(order.clone()).map_err(|error| failed(&error));
        };
        let (held, stopped) = {
            let known = cell.known();
            (known.order.clone(), known.record.stopped)
        };
        supersedes(&held, order)?;
        if held != *order {
            fits(&held, order)?;
            cell.folder.write_order(order).map_err(|error| failed(&error))?;
            let mut known = cell.known();
            known.order = order.clone();
            known.take_nodes();
        }
        if stopped {
            cell.remember(|record| record.stopped = false).map_err(|error| failed(&error))?;
        }
        cell.wake.notify_one();
        Ok(())
    }

    async fn observe(&self, cell: &CellName) -> Result<ClusterReport, DataError> {
        let cell = self.cell(cell)?;
        let report = report::cluster(&cell.known());
        Ok(report)
    }

    async fn tenant(&self, cell: &CellName, order: &TenantOrder) -> Result<TenantReport, DataError> {
        let (cell, order) = (self.cell(cell)?, order.clone());
        // In a task of its own: a caller who gives up must not leave a statement behind that is still on its way when the next order is followed.
        let work = tokio::spawn(async move { tenant::ensure(&cell, &order).await });
        work.await.unwrap_or_else(|error| Err(DataError::NotNow { reason: "AgentFailed".to_owned(), message: error.to_string() }))
    }

    async fn stop(&self, cell: &CellName) -> Result<(), DataError> {
        let cell = self.cell(cell)?;
        cell.remember(|record| record.stopped = true).map_err(|error| failed(&error))?;
        cell.wake.notify_one();
        Ok(())
    }

    async fn retire(&self, cell: &CellName, number: Generation) -> Result<(), DataError> {
        if let Ok(cell) = self.cell(cell) {
            let held = cell.known().order.generation;
            if held > number {
                return Err(DataError::Older { held, offered: number });
            }
        }
        // Before anything is ended, and also where nothing stands: an order under an older number may still be on its way.
        folder::note_retired(&self.platform.options.state, number).map_err(|error| failed(&error))?;
        self.put_aside(cell).await
    }
}

/// What cannot be changed in a cluster that stands: its nodes and networks.
fn fits(held: &ClusterOrder, offered: &ClusterOrder) -> Result<(), DataError> {
    let same = held.nodes == offered.nodes && held.data_network == offered.data_network && held.app_network == offered.app_network;
    if same && held.gtid_domain == offered.gtid_domain {
        return Ok(());
    }
    let message = format!("nodes, networks and transaction domain of {} are fixed once it stands; open another cell and move its tenants", held.cell);
    Err(DataError::Refused { reason: "FixedAtCreation".to_owned(), message })
}

/// Ends a cell's containers, removes its network, and renames its data aside.
async fn clear(cell: &Arc<Cell>) -> Result<(), Error> {
    cell.remember(|record| record.retired = true)?;
    endpoint::stop(cell).await?;
    let mut nodes = cell.known().names();
    let writer = cell.known().record.writer.clone();
    nodes.sort_by_key(|node| Some(node) == writer.as_ref());
    // An action under way sees that it is retired and begins no other; its container is removed with the rest.
    for node in nodes {
        cell.engine().stop(&cell.container(&node), Duration::from_secs(8)).await?;
        for part in ["", "-init", "-recover"] {
            let name = cell.container(format!("{node}{part}"));
            cell.engine().remove(&name).await?;
        }
    }
    cell.engine().remove_network(&cell.data_network()).await?;
    let until = jiff::Timestamp::now().as_second() + i64::try_from(cell.known().order.grace.duration().as_secs()).unwrap_or(i64::MAX / 2);
    let aside = cell.platform.options.state.join("data").join(".retired");
    folder::make(&aside, 0o700, None)?;
    let root = cell.folder.root();
    let mut target = aside.join(format!("{}.{until}", cell.name));
    let mut number = 0;
    while target.exists() {
        number += 1;
        target = aside.join(format!("{}-{number}.{until}", cell.name));
    }
    std::fs::rename(root, &target).map_err(Error::file("cannot put aside", root))?;
    tracing::info!(cell = %cell.name, aside = %target.display(), "the cluster is retired");
    folder::sync(&aside)
}

/// Deletes retired data whose grace is over.
async fn reap(aside: PathBuf) {
    loop {
        let now = jiff::Timestamp::now().as_second();
        for path in folder::list(&aside).unwrap_or_default() {
            let until = path.extension().and_then(|end| end.to_str()).and_then(|end| end.parse::<i64>().ok());
            if until.is_some_and(|until| until < now) {
                tracing::info!(path = %path.display(), "the grace of retired data is over; it is deleted");
                let gone = path.clone();
                let deleted = start::blocking(move || std::fs::remove_dir_all(&gone).map_err(Error::file("cannot delete", &gone))).await;
                if let Err(error) = deleted {
                    tracing::warn!(error = error.chain(), "retired data stays");
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
}

#[cfg(test)]
mod tests;
