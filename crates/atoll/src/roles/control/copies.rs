//! Copies of the store, made beside it for whoever asks.

use std::path::PathBuf;

use anyhow::Result;
use async_trait::async_trait;
use store_sqlite::SqliteStore;

use crate::platform::Layout;

/// Implements the doors' port.
pub struct Copied {
    store: SqliteStore,
    folder: PathBuf,
}

impl Copied {
    /// Copies of this store, in a folder that is emptied now of what an earlier life may have left.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(store: SqliteStore, layout: &Layout) -> Result<Self> {
        let folder = layout.root.join("control").join("copies");
        match fs_err::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => fs_err::create_dir(&folder)?,
        }
        Ok(Self { store, folder })
    }
}

#[async_trait]
impl doors::Copies for Copied {
    async fn copy(&self) -> Result<PathBuf, String> {
        let path = self.folder.join(identity::alphanumeric(16).reveal());
        let copied = self.store.backup(&path).await;
        copied.map(|()| path).map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }
}
