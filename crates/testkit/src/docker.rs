//! The engine's command line, as tests use it. Tests fail, never skip, where there is no engine.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

/// The `docker` command.
#[derive(Debug, Clone, Copy)]
pub struct Docker;

impl Docker {
    /// Makes sure that an engine answers and has an image.
    ///
    /// # Panics
    /// With what to install or build where it does not.
    #[must_use]
    pub fn with_image(image: &str) -> Self {
        assert!(Self.tried(["version"]).is_some_and(|o| o.status.success()), "this test needs a running Docker Engine: run scripts/setup");
        assert!(Self.tried(["image", "inspect", image]).is_some_and(|o| o.status.success()), "this test needs the image {image}: run scripts/images");
        Self
    }

    fn tried<S: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = S>) -> Option<Output> {
        Command::new("docker").args(arguments).output().ok()
    }

    /// Runs a command and gives its standard output.
    ///
    /// # Panics
    /// With the command's words when it fails.
    pub fn run<S: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = S>) -> String {
        let arguments: Vec<_> = arguments.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let Some(output) = self.tried(&arguments) else { panic!("there is no docker command: run scripts/setup") };
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {words}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a command; `None` when it fails.
    #[must_use]
    pub fn try_run<S: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = S>) -> Option<String> {
        let output = self.tried(arguments)?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Names of containers that begin with a prefix, stopped ones too.
    #[must_use]
    pub fn containers(self, prefix: &str) -> Vec<String> {
        self.named(&["ps", "-a", "--format", "{{.Names}}"], prefix)
    }

    fn named(self, list: &[&str], prefix: &str) -> Vec<String> {
        let listed = self.try_run(list).unwrap_or_default();
        listed.lines().filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
    }
}

/// Removes a test's containers and networks when it is dropped; when the test has failed, their logs are kept first.
#[derive(Debug)]
pub struct Guard {
    prefix: String,
}

impl Guard {
    /// Guards everything whose name begins with this prefix.
    ///
    /// # Panics
    /// When the prefix is not one of [`crate::prefix`].
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        assert!(prefix.starts_with("atolltest-"), "{prefix} is no prefix of a test");
        Self { prefix: prefix.to_owned() }
    }

    fn keep_logs(&self) -> Option<PathBuf> {
        let folder = std::env::temp_dir().join(&self.prefix);
        std::fs::create_dir_all(&folder).ok()?;
        for name in Docker.containers(&self.prefix) {
            for (what, arguments) in [("log", ["logs", "--timestamps", &name]), ("json", ["inspect", "--size", &name])] {
                let Some(output) = Docker.tried(arguments) else { continue };
                let text = [output.stdout, output.stderr].concat();
                std::fs::write(folder.join(format!("{name}.{what}")), text).ok()?;
            }
        }
        Some(folder)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.keep_logs()
        {
            // Tests' standard error is shown with the failure.
            #[expect(clippy::print_stderr, reason = "tells where the failed test's logs are")]
            {
                eprintln!("logs of {} are kept in {}", self.prefix, folder.display());
            }
        }
        // Twice: what the engine was still making at the first look is there at the second.
        for name in (0..2).flat_map(|_| Docker.containers(&self.prefix)) {
            let _ = Docker.tried(["rm", "--force", "--volumes", &name]);
        }
        for name in Docker.named(&["network", "ls", "--format", "{{.Name}}"], &self.prefix) {
            let _ = Docker.tried(["network", "rm", &name]);
        }
    }
}

/// A /24 under 10.92.0.0/16 that no network of the engine has now and that this process has not given out before. A test of another process may be
/// quicker; who makes the network tries again then.
///
/// # Panics
/// When the engine cannot list its networks, or no subnet is left.
#[must_use]
pub fn free_subnet() -> String {
    static GIVEN: Mutex<BTreeSet<u8>> = Mutex::new(BTreeSet::new());
    let ids = Docker.run(["network", "ls", "--quiet"]);
    let format = "{{range .IPAM.Config}}{{.Subnet}} {{end}}";
    let taken: Vec<String> = ids.lines().filter_map(|id| Docker.try_run(["network", "inspect", "--format", format, id])).collect();
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let first = rand::random::<u8>();
    for third in (0..=u8::MAX).map(|n| first.wrapping_add(n)) {
        let subnet = format!("10.92.{third}.0/24");
        if !taken.iter().any(|t| t.contains(&subnet)) && given.insert(third) {
            return subnet;
        }
    }
    panic!("no /24 is left in 10.92.0.0/16: remove networks of earlier tests (docker network prune)")
}
