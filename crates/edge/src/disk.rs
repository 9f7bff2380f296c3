//! The last routes on disk, so that an edge starts without control.
//!
//! `routes-<n>.base` is a whole table, `routes-<n>.log` what changed since; a change costs its own octets. When the log has grown to a share of the base, or what
//! stands cannot be carried on, the next pair is begun; the pair before stays, for the day when a base does not read. Whoever holds the lock of `routes.lock` writes;
//! of two edges in one folder (an upgrade) the later one begins a new pair once the earlier is gone.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use fs_err::{File, OpenOptions};
use routes::disk::{LogEnd, base, frame, load, replay};
use routes::{Delta, Snapshot, Table};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::table::{Routes, Unwritten};

/// The file of an earlier release.
const EARLIER: &str = "routes.snapshot";
const LOCK: &str = "routes.lock";
/// Changes within this time are written together.
const TOGETHER: Duration = Duration::from_millis(200);
/// Pause after a write that failed, or while another edge writes.
const AGAIN: Duration = Duration::from_secs(1);
/// A log may grow to a quarter of its base, within these: beyond, reading it takes longer than it saves. The larger one holds some thirty thousand changes,
/// which take half a second at a start.
const SMALL_LOG: u64 = 4 * 1024 * 1024;
const LARGE_LOG: u64 = 16 * 1024 * 1024;

/// What was found at the start, and the hand that writes on.
pub(crate) struct Disk {
    folder: PathBuf,
    name: String,
    lock: Option<File>,
    /// Number of the newest pair.
    number: u64,
    log: Option<Log>,
}

struct Log {
    file: File,
    octets: u64,
    most: u64,
}

impl Disk {
    /// Opens a folder and reads the last routes; none where there are none or where they are of no use, which is said in the log.
    pub(crate) fn open(folder: &Path, name: &str) -> (Self, Option<Table>) {
        let mut disk = Self { folder: folder.to_owned(), name: name.to_owned(), lock: None, number: 0, log: None };
        if let Err(error) = disk.lock() {
            tracing::error!(%error, "the lock of the routes cannot be taken");
        }
        let numbers = disk.numbers();
        disk.number = numbers.last().copied().unwrap_or(0);
        for &number in numbers.iter().rev() {
            match disk.read_base(number) {
                Ok(Some((mut table, octets))) => {
                    let good = disk.read_logs(&mut table, number);
                    if let Some(good) = good.filter(|_| number == disk.number && disk.lock.is_some()) {
                        disk.log =
                            disk.open_log(good, octets).inspect_err(|error| tracing::warn!(%error, "the log of routes cannot be carried on")).ok();
                    }
                    return (disk, Some(table));
                }
                Ok(None) => {}
                Err(problem) => disk.put_aside(number, &problem),
            }
        }
        let earlier = disk.read_earlier();
        (disk, earlier)
    }

    /// Whether the lock is held, now or already.
    fn lock(&mut self) -> std::io::Result<bool> {
        if self.lock.is_none() {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.folder.join(LOCK))?;
            match file.file().try_lock() {
                Ok(()) => self.lock = Some(file),
                Err(std::fs::TryLockError::WouldBlock) => {}
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(self.lock.is_some())
    }

    /// Numbers of the pairs that are there, lowest first.
    fn numbers(&self) -> Vec<u64> {
        let files = fs_err::read_dir(&self.folder).into_iter().flatten().flatten();
        let number = |name: &str| name.strip_prefix("routes-")?.strip_suffix(".base")?.parse().ok();
        let mut numbers: Vec<u64> = files.filter_map(|file| number(file.file_name().to_str()?)).collect();
        numbers.sort_unstable();
        numbers
    }

    fn path(&self, number: u64, kind: &str) -> PathBuf {
        self.folder.join(format!("routes-{number}.{kind}"))
    }

    /// A base and its length; none where it vanished meanwhile.
    fn read_base(&self, number: u64) -> Result<Option<(Table, u64)>, String> {
        match fs_err::read(self.path(number, "base")) {
            Ok(octets) => load(&octets).map(|table| Some((table, octets.len() as u64))).map_err(|error| error.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Follows the logs from a base onward. The good octets of its own log, where that can be carried on.
    fn read_logs(&self, table: &mut Table, first: u64) -> Option<u64> {
        let mut good = Some(0);
        for number in first..=self.number {
            let path = self.path(number, "log");
            let Ok(octets) = fs_err::read(&path) else { continue };
            let replayed = replay(table, &octets);
            match replayed.end {
                LogEnd::Clean => {}
                LogEnd::Torn => {
                    tracing::info!(path = %path.display(), applied = replayed.applied, "the last change was not written whole; control sends it again")
                }
                LogEnd::Corrupt | LogEnd::Gap => {
                    let why = if replayed.end == LogEnd::Gap { "a change is missing" } else { "its octets are not what was written" };
                    tracing::error!(path = %path.display(), applied = replayed.applied, why, "the log of routes is followed no further; the edge starts from the routes before");
                }
            }
            good = matches!(replayed.end, LogEnd::Clean | LogEnd::Torn).then_some(replayed.good as u64);
            if good.is_none() {
                break;
            }
        }
        good
    }

    fn open_log(&self, good: u64, base: u64) -> std::io::Result<Log> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.path(self.number, "log"))?;
        file.set_len(good)?;
        Ok(Log { file, octets: good, most: (base / 4).clamp(SMALL_LOG, LARGE_LOG) })
    }

    fn put_aside(&self, number: u64, problem: &str) {
        let (path, beside) = (self.path(number, "base"), self.path(number, "unusable"));
        tracing::error!(path = %path.display(), problem, kept_as = %beside.display(), "the last routes are of no use; the edge starts from those before");
        if let Err(error) = fs_err::rename(&path, &beside) {
            tracing::error!(%error, "they could not be put aside");
        }
    }

    fn read_earlier(&self) -> Option<Table> {
        let octets = fs_err::read(self.folder.join(EARLIER)).ok()?;
        let snapshot = Snapshot::from_disk(&octets).map_err(|error| error.to_string());
        match snapshot.and_then(|snapshot| snapshot.compile().map_err(|error| error.to_string())) {
            Ok((table, _)) => Some(table),
            Err(problem) => {
                tracing::error!(problem, "the routes of an earlier release are of no use; the edge waits for control");
                None
            }
        }
    }

    /// Writes what changed. False: another edge writes here.
    fn write(&mut self, routes: &Routes) -> std::io::Result<bool> {
        if !self.lock()? {
            return Ok(false);
        }
        let unwritten = routes.unwritten();
        let done = match (&unwritten, &mut self.log) {
            (Unwritten::Changes(changes), Some(log)) if log.octets < log.most => log.append(changes),
            _ => self.begin(&routes.table()),
        };
        if done.is_err() {
            // Whatever was written of it, it is not carried on.
            self.log = None;
        }
        done.map(|()| true)
    }

    /// Begins a new pair: written beside, flushed, renamed into place. Of the pairs before only the last stays.
    fn begin(&mut self, table: &Table) -> std::io::Result<()> {
        self.log = None;
        let before = self.numbers();
        // The edge before wrote on after this one had looked.
        let number = before.last().copied().unwrap_or(0).max(self.number) + 1;
        let beside = self.folder.join(format!("routes.new.{}", self.name));
        let mut octets = 0;
        {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            for piece in base(table).map_err(std::io::Error::other)? {
                octets += piece.len() as u64;
                file.write_all(&piece)?;
            }
            file.sync_all()?;
        }
        fs_err::rename(&beside, self.path(number, "base"))?;
        File::open(&self.folder)?.sync_all()?;
        self.number = number;
        self.log = Some(self.open_log(0, octets)?);
        let kept = before.last().copied();
        for old in before.into_iter().filter(|old| Some(*old) != kept) {
            for kind in ["base", "log"] {
                remove(&self.path(old, kind));
            }
        }
        remove(&self.folder.join(EARLIER));
        Ok(())
    }
}

impl Log {
    fn append(&mut self, changes: &[Delta]) -> std::io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut octets = Vec::new();
        for change in changes {
            octets.extend(frame(change).map_err(std::io::Error::other)?);
        }
        self.file.write_all(&octets)?;
        self.octets += octets.len() as u64;
        self.file.file().sync_data()
    }
}

fn remove(path: &Path) {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => tracing::warn!(%error, "an old file of routes stays"),
        _ => {}
    }
}

/// Writes the routes whenever they change, until the stop. `changes` was subscribed to before anybody could change them.
pub(crate) async fn keep(routes: Arc<Routes>, mut changes: watch::Receiver<u64>, disk: Disk, stop: CancellationToken) {
    let disk = Arc::new(std::sync::Mutex::new(disk));
    let mut owed = false;
    loop {
        tokio::select! {
            biased;
            changed = changes.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
            () = tokio::time::sleep(AGAIN), if owed => {}
        }
        // Told to stop, it writes at once.
        stop.run_until_cancelled(tokio::time::sleep(TOGETHER)).await;
        changes.borrow_and_update();
        let (using, disk) = (routes.clone(), disk.clone());
        // The task below is the only one that locks it; a panic there is reported as an error here.
        let write = move || disk.lock().map_err(|_| std::io::Error::other("an earlier write panicked")).and_then(|mut disk| disk.write(&using));
        let written = tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        routes.note_unsaved(written.is_err());
        owed = match written {
            Ok(written) => !written,
            Err(error) => {
                tracing::error!(%error, "the routes cannot be written; the edge serves on, but would start from older ones");
                true
            }
        };
    }
}
