//! `atoll backup` and `atoll restore`.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::{Fault, Whose};
use serde_json::json;
use store_sqlite::{OpenError, Summary};

use super::args::{Backup, Restore};
use super::confirm::confirm;
use super::exit::{Exit, Failure, chain};
use super::faults;
use super::output::{GREEN, styled};
use super::session::Session;
use crate::platform::Layout;

/// A copy that is not whole yet. Without [`Part::finish`] it goes, however the command ends.
struct Part {
    path: PathBuf,
    file: std::fs::File,
}

/// Copies control's store into a new file.
pub async fn backup(session: &Session, args: Backup) -> Result<(), Failure> {
    refuse_existing(&args.file)?;
    let mut copy = session.client.backup().await?;
    let mut part = Part::new(&args.file)?;
    while let Some(piece) = copy.next().await? {
        part.file.write_all(&piece).map_err(|error| unwritten(&args.file, error))?;
    }
    part.file.sync_all().map_err(|error| unwritten(&args.file, error))?;
    // What cannot be brought back is no backup.
    let summary = store_sqlite::look(&part.path).map_err(|error| unusable(&error.into()))?;
    part.finish(&args.file)?;
    let answer = json!({ "file": args.file, "takenAt": summary.taken_at, "documents": summary.documents, "revision": summary.revision });
    session.output.result(&answer, || {
        format!("{} {} holds {} documents as of revision {}\n", styled(GREEN, "ok"), args.file.display(), summary.documents, summary.revision)
    });
    session.output.note("it holds no data of tenants, and its secrets are sealed: keep control/master.key of the state folder as well, elsewhere");
    Ok(())
}

/// Puts a copy in the place of the store.
pub async fn restore(session: &Session, args: Restore) -> Result<(), Failure> {
    session.only_here("restore")?;
    let layout = Layout::open(&session.state).map_err(|error| Failure::machine(&error))?;
    let summary = store_sqlite::look(&args.file).map_err(|error| refused(&layout, error))?;
    if let Some(other) = summary.platforms.iter().find(|name| **name != layout.platform.as_str()) {
        let text = format!("{} is of platform {other}, and {} belongs to platform {}", args.file.display(), layout.root.display(), layout.platform);
        let fault = Fault::new(faults::OTHER_PLATFORM, Whose::Caller, text);
        return Err(Failure::new(Exit::Refused, fault.hint("name the state folder of that platform with --state")));
    }
    let what = described(&summary);
    confirm(args.yes, &format!("Replace what platform {} knows by {what}? Everything applied since is forgotten", layout.platform)).await?;
    let kept = store_sqlite::restore(&args.file, &layout.store()).map_err(|error| refused(&layout, error))?;
    let answer = json!({ "restored": args.file, "takenAt": summary.taken_at, "documents": summary.documents, "kept": kept });
    session.output.result(&answer, || {
        let kept = kept.iter().map(|kept| format!("  what stood there is kept: {}\n", kept.display()));
        format!("{} the store is {what}\n{}  next: atoll up -f FOLDER\n", styled(GREEN, "ok"), kept.collect::<String>())
    });
    Ok(())
}

fn described(summary: &Summary) -> String {
    let taken = summary.taken_at.map_or_else(|| "a copy".to_owned(), |at| format!("the copy of {at:.0}"));
    format!("{taken} with {} documents", summary.documents)
}

impl Part {
    fn new(file: &Path) -> Result<Self, Failure> {
        let mut name = OsString::from(file);
        name.push(".part");
        let path = PathBuf::from(name);
        let mut options = std::fs::OpenOptions::new();
        // Whoever can read it knows everything of the platform but its secrets.
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        opened.map(|file| Self { path: path.clone(), file }).map_err(|error| unwritten(&path, error))
    }

    /// Puts the copy under its name, unless something stands there by now.
    fn finish(self, file: &Path) -> Result<(), Failure> {
        match std::fs::hard_link(&self.path, file) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => refuse_existing(file),
            // Some file systems have no links; there the look and the renaming are two steps.
            Err(_) => refuse_existing(file).and_then(|()| std::fs::rename(&self.path, file).map_err(|error| unwritten(file, error))),
            Ok(()) => Ok(()),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may be under its real name by now.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn refuse_existing(file: &Path) -> Result<(), Failure> {
    match file.symlink_metadata() {
        Ok(_) => Err(unusable(&anyhow::anyhow!("{} exists; a backup is always a new file", file.display()))),
        Err(_) => Ok(()),
    }
}

fn unusable(error: &anyhow::Error) -> Failure {
    Failure::new(Exit::Refused, Fault::new(faults::BACKUP, Whose::Caller, chain(error)).hint("name another file; nothing was changed"))
}

fn unwritten(file: &Path, error: std::io::Error) -> Failure {
    Failure::machine(&anyhow::Error::new(error).context(format!("{} cannot be written", file.display())))
}

/// Why a copy is not brought back.
fn refused(layout: &Layout, error: OpenError) -> Failure {
    match error {
        OpenError::InUse { .. } => {
            let name = format!("{}-control", layout.platform);
            let fault = Fault::new(faults::STORE_IN_USE, Whose::State, "control is running, and has the store open");
            let hint = "stop control first: sites serve on without it; afterwards atoll up starts it again";
            Failure::new(Exit::Refused, fault.hint(hint).next(format!("docker stop {name}")))
        }
        error @ OpenError::Io { .. } => Failure::machine(&error.into()),
        error => unusable(&error.into()),
    }
}
