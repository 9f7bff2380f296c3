//! Private files: made for their owner only, replaced whole, refused when others may read them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::IdentityError;

/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| IdentityError::File { action, path, source }
}

/// Reads a file that everybody may read; none where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("cannot read", path)(error)),
    }
}

/// Reads a private file; none where there is none.
pub fn read_private(path: &Path) -> Result<Option<String>, IdentityError> {
    match fs::metadata(path) {
        Ok(meta) if meta.mode() & OTHERS != 0 => Err(IdentityError::Mode { path: path.to_owned(), mode: meta.mode() & 0o7777 }),
        Ok(_) => read(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("cannot read", path)(error)),
    }
}

/// Replaces a file whole: written beside, synced, renamed. Readers see the old one or the new one, also after a power cut.
pub(crate) fn replace(path: &Path, text: &str, mode: u32, owner: Option<u32>) -> Result<(), IdentityError> {
    let beside = beside(path)?;
    write_new(&beside, text, mode, owner).and_then(|()| fs::rename(&beside, path).map_err(failed("cannot replace", path))).inspect_err(|_| {
        // Best effort: the name is random, so a left-over disturbs nobody.
        let _ = fs::remove_file(&beside);
    })?;
    sync_folder(path)
}

/// Creates a private file if there is none; whoever comes second gets what the first one wrote.
pub fn create_private(path: &Path, text: &str) -> Result<String, IdentityError> {
    let beside = beside(path)?;
    write_new(&beside, text, 0o600, None)?;
    let linked = fs::hard_link(&beside, path);
    let _ = fs::remove_file(&beside);
    match linked {
        Ok(()) => sync_folder(path).map(|()| text.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            read_private(path)?.ok_or_else(|| IdentityError::content(path, "it vanished while it was read"))
        }
        Err(error) => Err(failed("cannot create", path)(error)),
    }
}

/// Makes a folder, with those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), IdentityError> {
    fs::create_dir_all(path).map_err(failed("cannot make", path))
}

fn beside(path: &Path) -> Result<PathBuf, IdentityError> {
    let mut name = path.file_name().ok_or_else(|| IdentityError::content(path, "it has no file name"))?.to_owned();
    name.push(format!(".{}.new", crate::alphanumeric(8).reveal()));
    Ok(path.with_file_name(name))
}

fn write_new(path: &Path, text: &str, mode: u32, owner: Option<u32>) -> Result<(), IdentityError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        // The umask may have taken bits away.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        if let Some(owner) = owner {
            std::os::unix::fs::fchown(&file, Some(owner), Some(owner))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(failed("cannot write", path))
}

fn sync_folder(path: &Path) -> Result<(), IdentityError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed("cannot sync", folder))
}
