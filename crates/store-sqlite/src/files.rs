//! The files of a store: the lock beside it, files that stand whole or not at all.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Held while a process has a store open; the system gives it up with the process, however that ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, never used")] File);

impl Lock {
    /// Takes the lock of a store; none: another process has it.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = private().create(true).truncate(false).write(true).open(beside(path, ".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// A file's name with something behind it.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Makes an empty file that only its owner may read; SQLite gives the same mode to the files it puts beside.
pub fn empty(path: &Path) -> io::Result<()> {
    private().create(true).truncate(true).write(true).open(path).map(drop)
}

/// Puts a whole and flushed file under its name.
pub fn put(from: &Path, to: &Path) -> io::Result<()> {
    File::open(from)?.sync_all()?;
    std::fs::rename(from, to)?;
    sync_folder(to)
}

/// Flushes the folder that holds a file, so that its name survives a loss of power.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}
