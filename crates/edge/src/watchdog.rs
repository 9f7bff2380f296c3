//! The watchdog: an edge of which a thread is stuck ends itself, so that whoever supervises it starts another. A proxy that is alive and deaf is worse than one
//! that is gone.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use proxy::Pulses;

/// Exit status of an edge that ended itself.
const STATUS: i32 = 70;
/// A thread that has been silent for longer is stuck; busy machines make threads late by a second or two.
const STUCK: Duration = Duration::from_secs(15);
const EVERY: Duration = Duration::from_secs(1);
/// Time for the last words, which may be what is stuck.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Watches until it is dropped.
pub(crate) struct Watchdog {
    _stop: mpsc::Sender<()>,
}

impl Watchdog {
    /// Watches threads; the reason of an end stands in the file `reason`.
    pub(crate) fn start(pulses: Pulses, reason: PathBuf) -> std::io::Result<Self> {
        Self::with(pulses, STUCK, move |why| {
            // The file first: the log's other end may be why everything stands still.
            let _ = fs_err::write(&reason, format!("{why}\n"));
            let (said, done) = mpsc::channel();
            let why = why.to_owned();
            let say = move || {
                tracing::error!(why, status = STATUS, "the edge ends itself");
                let _ = said.send(());
            };
            if std::thread::Builder::new().spawn(say).is_ok() {
                let _ = done.recv_timeout(LAST_WORDS);
            }
            #[expect(clippy::disallowed_methods, reason = "the thread that would return to main is stuck")]
            std::process::exit(STATUS);
        })
    }

    fn with(pulses: Pulses, stuck: Duration, bite: impl FnOnce(&str) + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let watch = move || {
            let mut looked = Instant::now();
            // A machine, or a process, that was stopped as a whole has no stuck threads; they get their time again.
            let mut counts_from = Instant::now();
            while stopped.recv_timeout(EVERY.min(stuck / 2)) == Err(mpsc::RecvTimeoutError::Timeout) {
                if looked.elapsed() > stuck / 2 + EVERY {
                    counts_from = Instant::now();
                }
                looked = Instant::now();
                if let Some((thread, silence)) = pulses.longest_silence().filter(|(_, silence)| (*silence).min(counts_from.elapsed()) > stuck) {
                    return bite(&format!("thread {thread} has been stuck for {} s", silence.as_secs_f32().round()));
                }
            }
        };
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch)?;
        Ok(Self { _stop: stop })
    }
}

/// What the watchdog of the edge before wrote, once.
pub(crate) fn last_end(reason: &std::path::Path) -> Option<String> {
    let text = fs_err::read_to_string(reason).ok()?;
    if let Err(error) = fs_err::remove_file(reason) {
        tracing::warn!(%error, "the reason of the last end stays");
    }
    Some(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const SHORT: Duration = Duration::from_millis(1200);

    /// A thread that beats until it is told to be stuck.
    fn thread(pulses: Pulses) -> mpsc::Sender<mpsc::Receiver<()>> {
        let (stick, stuck) = mpsc::channel::<mpsc::Receiver<()>>();
        let (ready, is_ready) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.spawn(pulses.beat("w-0".to_owned()));
            runtime.block_on(async move {
                tokio::task::yield_now().await;
                ready.send(()).unwrap();
                loop {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    match stuck.try_recv() {
                        // Blocks the whole runtime, as a deadlock would.
                        Ok(until) => drop(until.recv()),
                        Err(mpsc::TryRecvError::Disconnected) => return,
                        Err(mpsc::TryRecvError::Empty) => {}
                    }
                }
            });
        });
        is_ready.recv().unwrap();
        stick
    }

    #[test]
    fn a_stuck_thread_is_found_and_a_living_one_is_left_alone() {
        let pulses = Pulses::default();
        let (bitten, bites) = mpsc::channel();
        let stick = thread(pulses.clone());
        let _dog = Watchdog::with(pulses, SHORT, move |why| bitten.send(why.to_owned()).unwrap()).unwrap();
        assert!(bites.recv_timeout(SHORT * 2).is_err(), "it lives");
        let (_hold, until) = mpsc::channel();
        stick.send(until).unwrap();
        let why = bites.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(why.starts_with("thread w-0 has been stuck for "), "{why}");
    }

    /// Runs itself again as a process that gets stuck: a status can only be seen from outside.
    #[test]
    fn a_stuck_edge_ends_with_its_status_and_reason() {
        if let Some(reason) = std::env::var_os("ATOLL_TEST_REASON") {
            get_stuck(reason.into());
        }
        let folder = tempfile::tempdir().unwrap();
        let reason = folder.path().join("reason");
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "watchdog::tests::a_stuck_edge_ends_with_its_status_and_reason"]).env("ATOLL_TEST_REASON", &reason);
        assert_eq!(child.output().unwrap().status.code(), Some(STATUS));
        assert!(last_end(&reason).unwrap().contains("thread w-0"));
        assert_eq!(last_end(&reason), None, "it is said once");
    }

    fn get_stuck(reason: PathBuf) -> ! {
        let pulses = Pulses::default();
        let stick = thread(pulses.clone());
        let _dog = Watchdog::start(pulses, reason).unwrap();
        let (_hold, until) = mpsc::channel();
        stick.send(until).unwrap();
        // Far longer than the watchdog needs; the parent sees its status and not this end.
        let (_never, wait) = mpsc::channel::<()>();
        panic!("the watchdog did not bite: {:?}", wait.recv_timeout(Duration::from_secs(90)));
    }
}
