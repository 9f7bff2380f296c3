//! Doors over a socket in a state folder, and the program in front of them.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use doors::{Doors, Options, Reveal};
use engine::{
    Engine, EngineError, InstanceState, Job, JobDone, LogLine, LogOptions, LogStream, Observation, Observed, ObservedInstance, Reason, Wanted,
};
use jiff::{SignedDuration, Timestamp};
use ledger_sqlite::SqliteLedger;
use model::v1alpha1::SealedSecret;
use model::{CellName, DocumentName, InstanceName, Kind, PlatformName, Sensitive, ServiceName};
use serde_json::Value;
use store::fake::FakeStore;
use store::{Key, Store as _, Write};
use tempfile::TempDir;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// A platform with one product.
pub const SITE: &str = r#"
apiVersion: atoll.dev/v1alpha1
kind: Platform
metadata: { name: atoll }
spec: { public: { port: 8080 } }
---
apiVersion: atoll.dev/v1alpha1
kind: Machine
metadata: { name: local }
spec: { agent: "127.0.0.1:7001" }
---
apiVersion: atoll.dev/v1alpha1
kind: Blueprint
metadata: { name: wordpress, version: 2026.11.1 }
spec:
  capacity: { tenants: 10 }
  services:
    web: { image: "localhost/atoll/web:1", user: 1002, port: 8080, entry: true, replicas: { min: 2, max: 4 } }
---
apiVersion: atoll.dev/v1alpha1
kind: Cell
metadata: { name: cell-a }
spec: { blueprint: wordpress.2026.11.1 }
---
apiVersion: atoll.dev/v1alpha1
kind: Tenant
metadata: { name: alpha }
spec: { blueprint: wordpress, domains: [alpha.localhost, www.alpha.localhost], contact: a@alpha.example, title: Alpha }
"#;

/// An engine that only has logs.
#[derive(Default)]
pub struct Logs(pub Mutex<Vec<LogLine>>);

#[async_trait]
impl Engine for Logs {
    async fn ensure(&self, _: &Wanted) -> Result<(), EngineError> {
        Err(EngineError::Unreachable("doors order nothing".to_owned()))
    }
    async fn observe(&self, _: &CellName) -> Observation {
        let lines = self.0.lock().unwrap();
        let mut names: Vec<&InstanceName> = lines.iter().map(|l| &l.instance).collect();
        names.sort();
        names.dedup();
        Observation::Known(Observed { instances: names.into_iter().map(instance).collect(), ..Observed::default() })
    }
    async fn run(&self, _: &CellName, _: &Job) -> Result<JobDone, EngineError> {
        Err(EngineError::Unreachable("doors order nothing".to_owned()))
    }
    async fn logs(&self, _: &CellName, instance: &InstanceName, _: LogOptions) -> Result<LogStream, EngineError> {
        let (sender, receiver) = tokio::sync::mpsc::channel(100);
        for line in self.0.lock().unwrap().iter().filter(|line| line.instance == *instance) {
            sender.try_send(line.clone()).unwrap();
        }
        Ok(receiver)
    }
    async fn drained(&self, _: &CellName, _: &InstanceName) -> Result<(), EngineError> {
        Ok(())
    }
    async fn remove(&self, _: &CellName) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Sealed is what was written backwards.
struct Backwards;

impl Reveal for Backwards {
    fn open(&self, _: &DocumentName, sealed: &SealedSecret) -> Result<Sensitive<String>, String> {
        Ok(Sensitive::new(sealed.sealed.chars().rev().collect()))
    }
}

/// Everything behind the socket at hand.
pub struct House {
    /// The state folder.
    pub folder: TempDir,
    /// What the doors stand in front of.
    pub store: FakeStore,
    /// Its logs.
    pub engine: Arc<Logs>,
    /// What tenants took.
    pub ledger: Arc<SqliteLedger>,
    stop: CancellationToken,
}

impl House {
    /// Opens the doors. The store's clock goes three minutes late, so that ages read `3m` for the length of a test.
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("control")).unwrap();
        std::fs::write(folder.path().join("site.yaml"), SITE).unwrap();
        let store = FakeStore::new(|| Timestamp::now() - SignedDuration::from_secs(185));
        let engine = Arc::new(Logs::default());
        let doors = Doors::new(store.shared(), engine.clone(), Arc::new(Backwards), PlatformName::new("atoll").unwrap());
        let ledger = Arc::new(SqliteLedger::open(&folder.path().join("control/ledger.db")).unwrap());
        let doors = doors.ledger(ledger.clone());
        let stop = CancellationToken::new();
        let socket = folder.path().join("control/api.sock");
        tokio::spawn(doors::serve(Options { socket: socket.clone() }, doors, stop.clone()));
        let house = Self { folder, store, engine, ledger, stop };
        let reached = async {
            while tokio::net::UnixStream::connect(&socket).await.is_err() {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), reached).await.unwrap();
        house
    }

    /// The same with the site applied.
    pub async fn with_site() -> Self {
        let house = Self::open().await;
        let site = house.path("site.yaml");
        house.ok(&["apply", "--yes", "--no-wait", "-f", &site]).await;
        house
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Writes a file.
    pub fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self.path(name)
    }

    /// The program with arguments, ready to start.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
        command.args(["--state".as_ref(), self.folder.path().as_os_str()]).args(arguments);
        command.env_clear().env("USER", "ann").kill_on_drop(true);
        command
    }

    /// Runs the program.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().await.unwrap(), self)
    }

    /// Runs it and expects success; its standard output.
    pub async fn ok(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(ended.status, 0, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        ended.stdout
    }

    /// A document as it stands.
    pub async fn spec(&self, kind: Kind, name: &str) -> Option<Value> {
        self.store.get(&Key::new(kind, DocumentName::new(name).unwrap())).await.unwrap().map(|d| d.spec)
    }

    /// Writes a status.
    pub async fn status(&self, kind: Kind, name: &str, status: Value) {
        let key = Key::new(kind, DocumentName::new(name).unwrap());
        self.store.commit(Vec::new(), vec![Write::Status { key, status }]).await.unwrap();
    }

    /// Writes a spec.
    pub async fn wish(&self, kind: Kind, name: &str, spec: Value) {
        let key = Key::new(kind, DocumentName::new(name).unwrap());
        let write = Write::Spec { key, spec, labels: BTreeMap::new(), finalizers: std::collections::BTreeSet::new() };
        self.store.commit(Vec::new(), vec![write]).await.unwrap();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How a run ended, without what differs from run to run.
#[derive(Debug)]
pub struct Ended {
    /// Exit status.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Takes an ended process.
    pub fn of(output: Output, house: &House) -> Self {
        let text = |bytes: &[u8]| steady(&String::from_utf8_lossy(bytes), &house.folder.path().display().to_string());
        Self { status: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Everything in one text.
    pub fn text(&self) -> String {
        let part = |name: &str, text: &str| if text.is_empty() { String::new() } else { format!("--- {name}\n{text}") };
        format!("exit status {}\n{}{}", self.status, part("stdout", &self.stdout), part("stderr", &self.stderr))
    }
}

/// Folders, times, users and hashes differ from run to run.
pub fn steady(text: &str, folder: &str) -> String {
    let text = text.replace(folder, "STATE");
    let mut out = String::new();
    let mut word = String::new();
    let flush = |word: &mut String, out: &mut String| {
        let bare = word.trim_end_matches(['.', ':']);
        let time = bare.len() >= 20 && bare.starts_with("20") && bare.contains('T') && bare.ends_with('Z');
        let hash = bare.len() >= 12 && bare.bytes().all(|b| b.is_ascii_hexdigit()) && bare.bytes().any(|b| b.is_ascii_digit());
        let user = bare.strip_prefix("uid:").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
        out.push_str(if time {
            "TIME"
        } else if user {
            "uid:N"
        } else if hash {
            "HASH"
        } else {
            bare
        });
        out.push_str(&word[bare.len()..]);
        word.clear();
    };
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.') {
            word.push(c);
            continue;
        }
        flush(&mut word, &mut out);
        out.push(c);
    }
    flush(&mut word, &mut out);
    out
}

fn instance(name: &InstanceName) -> ObservedInstance {
    let service = name.as_str().split('-').next().unwrap_or_default();
    ObservedInstance {
        name: name.clone(),
        service: ServiceName::new(service).unwrap(),
        address: None,
        version: "1".to_owned(),
        state: InstanceState::Ready,
        since: Timestamp::UNIX_EPOCH,
        restarts: 0,
        last_exit: None,
        reason: Reason::AsWanted,
        message: String::new(),
    }
}
