//! A real control in a state folder of its own, without an engine: it decides, keeps and tells, and starts nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long something may take that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A state folder with a control that runs, or not.
pub struct Real {
    folder: TempDir,
    control: Option<Child>,
}

impl Real {
    /// A folder as `atoll up` leaves it, and control at work in it.
    pub async fn start() -> Self {
        let mut real = Self::stopped();
        real.start_control().await;
        real
    }

    /// A machine on which nothing was ever started: there is no state folder.
    pub fn bare() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), control: None }
    }

    /// A folder as `atoll up` leaves it.
    pub fn stopped() -> Self {
        let Self { folder, .. } = Self::bare();
        let state = folder.path().join("state");
        std::fs::create_dir_all(state.join("control")).unwrap();
        let ports = json!({ "feed": free_port(), "agent": free_port(), "edgeAdmin": free_port() });
        std::fs::write(state.join("platform.json"), json!({ "format": 1, "platform": "atoll", "ports": ports }).to_string()).unwrap();
        Self { folder, control: None }
    }

    /// Starts control and waits until it answers.
    pub async fn start_control(&mut self) {
        let log = std::fs::File::create(self.path("control.log")).unwrap();
        let mut command = self.command(&["control", "--docker", "/nonexistent/docker.sock"]);
        self.control = Some(command.stderr(log).stdout(Stdio::null()).spawn().unwrap());
        self.until("control answers", async || self.run(&["status"]).await.status == 0).await;
    }

    /// Asks control to stop and waits for it.
    pub async fn stop_control(&mut self) {
        let mut control = self.control.take().unwrap();
        let pid = rustix::process::Pid::from_raw(control.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = tokio::time::timeout(PATIENCE, control.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{ended}: {}", self.log());
    }

    /// A file beside the state folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the state folder.
    pub fn state(&self, name: &str) -> PathBuf {
        self.folder.path().join("state").join(name)
    }

    /// Writes a file beside the state folder; its path as an argument.
    pub fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    /// What control logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("control.log")).unwrap_or_default()
    }

    /// The program with arguments, ready to start.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
        command.arg("--state").arg(self.folder.path().join("state")).args(arguments);
        command.env_clear().env("USER", "ann").kill_on_drop(true);
        command
    }

    /// Runs the program.
    pub async fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().await.unwrap())
    }

    /// Runs it and expects success; its answer as JSON.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["-o", "json"]].concat()).await;
        assert_eq!(said.status, 0, "{arguments:?}: {}\n{}", said.stderr, self.log());
        serde_json::from_str(&said.stdout).unwrap()
    }

    /// Polls until something holds.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Said {
    /// Exit status.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Takes an ended process.
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Expects this exit status and code, a hint or a next command, and these words.
    #[track_caller]
    pub fn refused(&self, status: i32, code: &str, words: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.stderr.contains(&format!("error {code}: ")), "not {code}: {}", self.stderr);
        assert!(self.stderr.contains("  hint: ") || self.stderr.contains("  next: "), "nothing to do is named: {}", self.stderr);
        assert!(self.stderr.contains(words), "{words:?} is not in: {}", self.stderr);
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The bits of a file's or folder's mode.
pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
