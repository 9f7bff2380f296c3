//! Agent: keeps this machine's database nodes and answers control over mutual TLS.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use mariadb::Mariadb;
use tokio_util::sync::CancellationToken;

use crate::platform::Layout;

/// Runs until it is told to stop; the database nodes run on.
pub async fn run(state: &Path, docker: &Path, stop: CancellationToken) -> Result<()> {
    let layout = Layout::open(state)?;
    let options = mariadb::Options {
        platform: layout.platform.to_string(),
        state: layout.root.clone(),
        docker: docker.to_owned(),
        uids: mariadb::Uids::default(),
    };
    let data = Arc::new(Mariadb::open(options).await.context("the database nodes of this machine cannot be kept")?);
    let address = Layout::local(layout.ports.agent);
    Ok(agent::serve(data, address, &layout.identity("agent"), stop).await?)
}
