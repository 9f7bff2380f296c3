//! Operators elsewhere: whoever has a copy of one of these folders may use the API over TCP.
//!
//! `operators/<name>` holds a certificate of the platform's authority, its key and a token. A folder that is made there is filled, at the latest within an
//! hour; one that is removed takes its token's right away at once. Nothing of it is ever sent to anybody by us.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use identity::{Ca, Role};
use jiff::Timestamp;
use model::Sensitive;

use super::Layout;

/// Name of the first operator.
pub const FIRST: &str = "admin";
/// The token's file.
const TOKEN: &str = "token";
/// Random bytes of a token: twice what would do.
const BYTES: usize = 32;

/// Makes the folder of the first operator, where there is no folder of operators yet, and fills what is there.
///
/// # Errors
/// When a folder cannot be written.
pub fn create(layout: &Layout, now: Timestamp) -> Result<()> {
    let folder = layout.operators();
    if !folder.exists() {
        private_folder(&folder)?;
        private_folder(&folder.join(FIRST))?;
    }
    fill(layout, now)
}

/// Gives every operator a token and a certificate that is good for ten days and more; without a folder of operators nothing is done.
///
/// # Errors
/// When a folder cannot be written.
pub fn fill(layout: &Layout, now: Timestamp) -> Result<()> {
    let folders = folders(&layout.operators())?;
    if folders.is_empty() {
        return Ok(());
    }
    let ca = Ca::create_or_open(&layout.authority(), &layout.platform, now)?;
    for (_, folder) in folders {
        ca.ensure(&folder, &Role::Operator, None, now)?;
        if identity::read_private(&folder.join(TOKEN))?.is_none() {
            identity::create_private(&folder.join(TOKEN), identity::token(BYTES).reveal())?;
        }
    }
    Ok(())
}

/// Names and tokens of those who have one. A token that others may read is left out, and said so.
pub fn tokens(operators: &Path) -> Vec<(String, Sensitive<String>)> {
    let known = match folders(operators) {
        Ok(known) => known,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "operators cannot be read; none is let in");
            return Vec::new();
        }
    };
    let token = |(name, folder): (String, PathBuf)| match token(&folder) {
        Ok(token) => token.map(|token| (name, token)),
        Err(error) => {
            tracing::error!(operator = name, error = format!("{error:#}"), "this operator's token cannot be used");
            None
        }
    };
    known.into_iter().filter_map(token).collect()
}

/// The token of an operator's folder.
///
/// # Errors
/// When others may read it, or it cannot be read.
pub fn token(folder: &Path) -> Result<Option<Sensitive<String>>> {
    Ok(identity::read_private(&folder.join(TOKEN))?.map(|token| Sensitive::new(token.trim_end().to_owned())))
}

/// Each operator's name and folder, in order of names.
fn folders(operators: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    match fs_err::read_dir(operators) {
        Ok(entries) => {
            for entry in entries {
                let path = entry?.path();
                if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_dir()) {
                    found.push((name.to_owned(), path));
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context("the folder of operators cannot be read"),
    }
    found.sort();
    Ok(found)
}

fn private_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error).with_context(|| format!("{} cannot be made", path.display())),
        _ => Ok(()),
    }
}
