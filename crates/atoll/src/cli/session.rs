//! What a command has at hand: control's client, the output, the state folder.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use api::Client;
use model::v1alpha1::{Platform, PlatformSpec};
use model::{Fault, Kind, PlatformName, Typed, Whose};

use super::args::Global;
use super::exit::{Exit, Failure};
use super::faults;
use super::output::Output;
use super::remote;
use crate::platform::{layout, operators};

/// What a command has at hand.
pub struct Session {
    /// Speaks to control.
    pub client: Client,
    /// Prints.
    pub output: Output,
    /// The state folder.
    pub state: PathBuf,
    /// The platform's name, where it was given.
    pub platform: Option<PlatformName>,
    /// Whether control was named with --control.
    elsewhere: bool,
    /// How to go on after an interruption.
    resume: Mutex<Option<String>>,
}

impl Session {
    /// Connects to nothing yet.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let by = format!("cli:{}", user());
        let client = match &global.control {
            None => Client::unix(&socket(&global.state), &by),
            Some(url) => {
                let admin = || layout::operators(&global.state).join(operators::FIRST);
                remote::client(url, &global.credentials.clone().unwrap_or_else(admin), &by)?
            }
        };
        let (state, platform) = (global.state.clone(), global.platform.clone());
        Ok(Self { client, output: Output::new(global), state, platform, elsewhere: global.control.is_some(), resume: Mutex::new(None) })
    }

    /// Refuses a command that works on the platform's own machine where control of another one was named.
    pub fn only_here(&self, command: &str) -> Result<(), Failure> {
        if !self.elsewhere {
            return Ok(());
        }
        let fault = Fault::new(faults::USAGE, Whose::Caller, format!("atoll {command} works on the platform's own machine, not through --control"));
        Err(Failure::new(Exit::Usage, fault.hint("type it on that machine; --control and ATOLL_CONTROL must not be set then")))
    }

    /// From now on, whoever interrupts is told to type this.
    pub fn resume_with(&self, command: impl Into<String>) {
        *self.resume.lock().unwrap_or_else(PoisonError::into_inner) = Some(command.into());
    }

    /// Ends when the user interrupts.
    pub async fn interrupted(&self) -> Failure {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler the system's own way ends the process.
            std::future::pending::<()>().await;
        }
        let resume = self.resume.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fault = Fault::new(faults::INTERRUPTED, Whose::Caller, "interrupted");
        let fault = match resume {
            Some(command) => fault.hint("what was asked for goes on without this command").next(command),
            None => fault,
        };
        Failure::new(Exit::Stopped, fault)
    }

    /// The platform's wishes as control has them; the defaults where none are stored.
    pub async fn platform_spec(&self) -> Result<PlatformSpec, Failure> {
        let found = self.client.documents(Kind::Platform, "").await?.documents.into_iter().next();
        found.map_or_else(|| Ok(PlatformSpec::default()), |document| read::<Platform>(document).map(|platform| platform.spec))
    }
}

/// Reads a document that control sent.
pub fn read<R: model::Resource>(document: model::Document) -> Result<Typed<R>, Failure> {
    Typed::read(document).map_err(|error| {
        let fault = Fault::new(faults::NOT_UNDERSTOOD, Whose::Atoll, format!("{:#}", anyhow::Error::new(error)));
        Failure::new(Exit::Failed, fault.hint("this program and control are of different releases: use the same one").next("atoll doctor"))
    })
}

/// Where a site is reached, as visitors type it.
pub fn url(spec: &PlatformSpec, domain: &str) -> String {
    let (scheme, port) = (&spec.public.scheme, spec.public.link_port());
    match (scheme.as_str(), port) {
        ("http", 80) | ("https", 443) => format!("{scheme}://{domain}"),
        _ => format!("{scheme}://{domain}:{port}"),
    }
}

/// Control's socket in a state folder.
pub fn socket(state: &Path) -> PathBuf {
    state.join("control").join("api.sock")
}

/// Who asks, for the record; the door sees the user's id by itself.
fn user() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
