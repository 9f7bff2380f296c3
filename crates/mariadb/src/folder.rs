//! Where a cell's data, settings, orders and facts lie on this machine, and how they are written.
//!
//! ```text
//! S/data/<cell>/order.json         the last good order (0600)
//!              /record.json        facts that decisions after a crash rest on (0600)
//!              /secrets/agent      password of our own account in the nodes (0400, the nodes' user)
//!              /n1/{data,conf,tmp} a node
//!              /db                 settings of the single-writer endpoint
//! S/data/.retired/<cell>.<deleted after, unix seconds>
//!                /newest.json     the newest number under which a cluster was retired
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data::{ClusterOrder, TenantNumbers};
use galera::Position;
use model::{CellName, Generation, NodeName};
use rand::Rng as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;

/// What a cell's keeper must still know after any crash. Each change is on disk before anybody acts on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Record {
    /// The history that the nodes were seeded with; none until every node's seed is complete.
    pub(crate) history: Option<Position>,
    /// Members of the last primary view seen; empty when the cluster never formed.
    pub(crate) members: BTreeSet<NodeName>,
    /// The node that was last told to take writes.
    pub(crate) writer: Option<NodeName>,
    /// Position of a commit that the writer acknowledged.
    pub(crate) recorded: Option<Position>,
    /// Nodes that were started to join and were not seen in sync since.
    pub(crate) joining: BTreeSet<NodeName>,
    /// Stopped by order.
    pub(crate) stopped: bool,
    /// Retired by order; what is left is to clear away.
    pub(crate) retired: bool,
    /// The newest orders about tenants.
    pub(crate) tenants: TenantNumbers,
}

/// A cell's folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder of a cell under a state folder.
    pub(crate) fn new(state: &Path, cell: &CellName) -> Self {
        Self { root: state.join("data").join(cell.as_str()) }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn node(&self, node: &NodeName) -> PathBuf {
        self.root.join(node.as_str())
    }

    pub(crate) fn data(&self, node: &NodeName) -> PathBuf {
        self.node(node).join("data")
    }

    pub(crate) fn endpoint(&self) -> PathBuf {
        self.root.join("db")
    }

    pub(crate) fn secret(&self) -> PathBuf {
        self.root.join("secrets").join("agent")
    }

    pub(crate) fn order(&self) -> Result<Option<ClusterOrder>, Error> {
        read_json(&self.root.join("order.json"))
    }

    pub(crate) fn write_order(&self, order: &ClusterOrder) -> Result<(), Error> {
        make(&self.root, 0o711, None)?;
        write_json(&self.root.join("order.json"), order)
    }

    pub(crate) fn record(&self) -> Result<Option<Record>, Error> {
        read_json(&self.root.join("record.json"))
    }

    pub(crate) fn write_record(&self, record: &Record) -> Result<(), Error> {
        write_json(&self.root.join("record.json"), record)
    }

    /// Makes a node's folders.
    pub(crate) fn make_node(&self, node: &NodeName, uid: u32) -> Result<(), Error> {
        make(&self.node(node), 0o711, None)?;
        for part in ["data", "tmp", "conf"] {
            make(&self.node(node).join(part), 0o700, Some(uid))?;
        }
        Ok(())
    }

    /// The password of our own account in the nodes, made once. Only the nodes' user and root can read it.
    pub(crate) fn password(&self, uid: u32) -> Result<String, Error> {
        let path = self.secret();
        match fs::read_to_string(&path) {
            Ok(text) if !text.is_empty() => return Ok(text),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file("cannot read", &path)(error)),
        }
        let secrets = self.root.join("secrets");
        make(&secrets, 0o711, None)?;
        let password: String = rand::rng().sample_iter(rand::distr::Alphanumeric).take(40).map(char::from).collect();
        replace(&path, password.as_bytes(), 0o400, Some(uid))?;
        Ok(password)
    }

    /// Renames a node's data aside; it is deleted once the node is in sync again.
    pub(crate) fn set_aside(&self, node: &NodeName) -> Result<PathBuf, Error> {
        let from = self.data(node);
        let to = self.node(node).join(format!("aside.{}", jiff::Timestamp::now().as_millisecond()));
        fs::rename(&from, &to).map_err(Error::file("cannot put aside", &from))?;
        sync(&self.node(node))?;
        Ok(to)
    }

    /// Deletes what was put aside of a node.
    pub(crate) fn clear_aside(&self, node: &NodeName) -> Result<(), Error> {
        for entry in list(&self.node(node))? {
            if entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with("aside.")) {
                fs::remove_dir_all(&entry).map_err(Error::file("cannot delete", &entry))?;
            }
        }
        Ok(())
    }
}

/// The newest number under which a cluster was retired under this state folder.
pub(crate) fn newest_retired(state: &Path) -> Result<Generation, Error> {
    Ok(read_json(&state.join("data").join(".retired").join("newest.json"))?.unwrap_or(Generation(0)))
}

/// Notes the number under which a cluster is retired, before it is.
pub(crate) fn note_retired(state: &Path, number: Generation) -> Result<(), Error> {
    if number <= newest_retired(state)? {
        return Ok(());
    }
    let aside = state.join("data").join(".retired");
    make(&aside, 0o700, None)?;
    write_json(&aside.join("newest.json"), &number)
}

/// Whether a state transfer into this data began and did not end, by the marks that the transfer itself leaves.
pub(crate) fn half_transferred(data: &Path) -> bool {
    data.join("sst_in_progress").exists() || data.join(".sst").exists()
}

/// Whether this data is the seed itself: stopped cleanly at this position and never started since, for a start takes the number out of the file.
pub(crate) fn untouched(data: &Path, seed: &Position) -> bool {
    let Ok(text) = fs::read_to_string(data.join("grastate.dat")) else { return false };
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    value("uuid:") == Some(seed.uuid.as_str()) && value("seqno:") == Some(seed.seqno.to_string().as_str())
}

/// Whether nothing of a database is here.
pub(crate) fn is_empty(data: &Path) -> bool {
    !data.join("ibdata1").exists() && !data.join("grastate.dat").exists()
}

/// Bytes under a folder; files that vanish meanwhile count nothing.
pub(crate) fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            // Blocks that are there, not the length: files made large in advance must not look like progress made.
            Ok(meta) => meta.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Empties a folder.
pub(crate) fn empty(folder: &Path) -> Result<(), Error> {
    for entry in list(folder)? {
        let gone = if entry.is_dir() && !entry.is_symlink() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
        gone.map_err(Error::file("cannot delete", &entry))?;
    }
    Ok(())
}

/// Copies a folder's content with owners and modes, and makes it durable.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    for source in list(from)? {
        let Some(name) = source.file_name() else { continue };
        let target = to.join(name);
        let meta = fs::metadata(&source).map_err(Error::file("cannot read", &source))?;
        if meta.is_dir() {
            make(&target, meta.mode() & 0o7777, Some(meta.uid()))?;
            copy(&source, &target)?;
        } else {
            let copied = fs::copy(&source, &target).and_then(|_| {
                std::os::unix::fs::chown(&target, Some(meta.uid()), Some(meta.gid()))?;
                File::open(&target)?.sync_all()
            });
            copied.map_err(Error::file("cannot copy to", &target))?;
        }
    }
    sync(to)
}

/// Makes a folder with this mode and owner, if it is not there.
pub(crate) fn make(path: &Path, mode: u32, owner: Option<u32>) -> Result<(), Error> {
    let made = fs::create_dir_all(path).and_then(|()| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        if let Some(owner) = owner {
            std::os::unix::fs::chown(path, Some(owner), Some(owner))?;
        }
        Ok(())
    });
    made.map_err(Error::file("cannot make", path))
}

/// Replaces a file whole: written beside, synced, renamed.
pub(crate) fn replace(path: &Path, text: &[u8], mode: u32, owner: Option<u32>) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let written = || -> io::Result<()> {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        if let Some(owner) = owner {
            std::os::unix::fs::fchown(&file, Some(owner), Some(owner))?;
        }
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().map_err(Error::file("cannot write", path))?;
    path.parent().map_or(Ok(()), sync)
}

/// Makes a folder's entries durable.
pub(crate) fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(Error::file("cannot sync", folder))
}

/// Paths of a folder's entries; none where there is no folder.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("cannot read", folder)(error)),
    };
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>().map_err(Error::file("cannot read", folder))?;
    paths.sort();
    Ok(paths)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("cannot read", path)(error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|source| Error::Content { path: path.to_owned(), source })
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).map_err(|source| Error::Content { path: path.to_owned(), source })?;
    replace(path, &text, 0o600, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_started_seed_is_not_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let seed = Position { uuid: "dc7cb716-e8db-11f1-81f1-6eac56098a80".to_owned(), seqno: 2 };
        assert!(!untouched(folder.path(), &seed));
        let write = |seqno: &str| {
            let text = format!("# GALERA saved state\nversion: 2.1\nuuid:    {}\nseqno:   {seqno}\nsafe_to_bootstrap: 0\n", seed.uuid);
            fs::write(folder.path().join("grastate.dat"), text).unwrap();
        };
        write("2");
        assert!(untouched(folder.path(), &seed));
        for other in ["-1", "3"] {
            write(other);
            assert!(!untouched(folder.path(), &seed), "{other}");
        }
    }
}
