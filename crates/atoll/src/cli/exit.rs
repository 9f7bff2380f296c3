//! How a command ends. Exit statuses are decided here and nowhere else.

use std::process::ExitCode;

use api::ClientError;
use model::{Fault, Whose};

use super::faults;

/// What an exit status means. Documented in `docs/cli.md` and under `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was tried and failed.
    Failed = 1,
    /// The command was not understood; clap ends with the same.
    Usage = 2,
    /// The request, file or present state does not allow it: nothing was changed.
    Refused = 3,
    /// Control cannot be reached: nothing was changed.
    Unreachable = 4,
    /// Waiting ended; the work may go on.
    Stopped = 5,
    /// `--check` found differences.
    Differs = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What to say; may be empty where the answer itself says it.
    pub faults: Vec<Fault>,
}

impl Failure {
    /// A failure with one fault.
    pub fn new(exit: Exit, fault: Fault) -> Self {
        Self { exit, faults: vec![fault] }
    }

    /// An exit status without words: the answer that was printed says why.
    pub const fn silent(exit: Exit) -> Self {
        Self { exit, faults: Vec::new() }
    }

    /// Something that went wrong on this machine.
    pub fn machine(error: &anyhow::Error) -> Self {
        Self::new(Exit::Failed, Fault::new(faults::MACHINE, Whose::Machine, chain(error)).next("atoll doctor"))
    }
}

/// An error with its causes, each said once.
pub fn chain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut text, cause| {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
        text
    })
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable { place, source } if place.starts_with("https://") => {
                let hint = match source.kind() {
                    std::io::ErrorKind::PermissionDenied => {
                        "certificates last 30 days: copy the operator's folder again, and see that it is of the platform that you mean"
                    }
                    _ => "the Platform must have spec.api, and its port must be reachable from here; on its machine: atoll doctor",
                };
                let fault = Fault::new(faults::UNREACHABLE, Whose::Machine, format!("control does not answer at {place}: {source}"));
                Self::new(Exit::Unreachable, fault.hint(hint))
            }
            ClientError::Unreachable { place, source } => {
                let hint = match source.kind() {
                    std::io::ErrorKind::PermissionDenied => "this user may not speak to control: use sudo",
                    std::io::ErrorKind::NotFound => "no platform runs with this state folder: start it, or name another folder with --state",
                    _ => "sites serve on without control; see why it is away",
                };
                let next = if source.kind() == std::io::ErrorKind::NotFound { "atoll up -f FOLDER" } else { "atoll doctor" };
                let message = format!("control does not answer at {place}: {source}");
                Self::new(Exit::Unreachable, Fault::new(faults::UNREACHABLE, Whose::Machine, message).hint(hint).next(next))
            }
            ClientError::Fault(refusal) => {
                let exit = match refusal.fault.whose {
                    Whose::Caller | Whose::State => Exit::Refused,
                    Whose::Machine | Whose::Atoll => Exit::Failed,
                };
                Self::new(exit, refusal.fault)
            }
            ClientError::Protocol { what, source } => {
                let message = format!("the connection to control broke while {what}: {}", chain(&anyhow::Error::from_boxed(source)));
                let fault = Fault::new(faults::LOST, Whose::Machine, message);
                Self::new(
                    Exit::Failed,
                    fault.hint("it is not known whether the request was carried out: look before asking again").next("atoll status"),
                )
            }
        }
    }
}

impl From<manifest::Faults> for Failure {
    fn from(faults: manifest::Faults) -> Self {
        let mut faults = faults.into_faults();
        // Where the rule itself says all there is to say, its page says why it is there.
        for fault in faults.iter_mut().filter(|fault| fault.hint.is_none() && fault.next.is_none()) {
            fault.next = Some(format!("atoll explain {}", fault.code));
        }
        Self { exit: Exit::Refused, faults }
    }
}
