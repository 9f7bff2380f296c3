//! Removing a cell: everything that carries its label but what the machine's agent keeps.

use bollard::query_parameters::ListContainersOptionsBuilder;
use engine::EngineError;
use futures::future::try_join_all;

use super::{Keeper, act};
use crate::client::told;
use crate::files::{cell_folder, remove_folder};
use crate::record::Record;
use crate::{jobs, names, network};

impl Keeper {
    /// The record goes first, so that a removal broken off is not undone by healing; asked again it continues.
    pub(super) async fn remove(&mut self) -> Result<(), EngineError> {
        self.tasks.shutdown().await;
        self.running.clear();
        self.wanted = None;
        self.instances.clear();
        self.look_due = true;
        let (shared, cell) = (self.shared.clone(), self.cell.clone());
        crate::blocking(move || Record::forget(&shared.options.state, &cell)).await?;
        let docker = self.shared.client.docker().await?;
        let options = ListContainersOptionsBuilder::default().all(true).filters(&names::filter(&self.shared.options.platform, &self.cell)).build();
        let listed = docker.list_containers(Some(options)).await.map_err(told)?;
        let ours = listed.iter().filter(|summary| names::label(summary, names::DATA).is_none()).filter_map(|summary| summary.id.as_deref());
        try_join_all(ours.map(|id| act::stop_and_remove(&self.shared, id))).await?;
        network::remove(&docker, &self.shared.options.platform, &self.cell).await?;
        let (shared, cell) = (self.shared.clone(), self.cell.clone());
        crate::blocking(move || {
            remove_folder(&cell_folder(&shared.options.state, &cell))?;
            jobs::forget_all(&shared.options.state, &cell)
        })
        .await
    }
}
