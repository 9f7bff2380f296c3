//! User-facing faults: a code, a sentence, a hint and the next command.

use serde::{Deserialize, Serialize};

/// Whose fault it is, which decides exit codes and status codes at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// The request or file is wrong: fix it and ask again.
    Caller,
    /// The state does not allow it now: wait or act first.
    State,
    /// The machine lacks something: a tool, a port, space.
    Machine,
    /// A defect of ours.
    Atoll,
}

/// A stable code such as `A0102`, with a page in `docs/errors/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FaultCode(pub std::borrow::Cow<'static, str>);

impl std::fmt::Display for FaultCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A fault as users see it, on the wire and on the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Stable code.
    pub code: FaultCode,
    /// Whose fault it is.
    pub whose: Whose,
    /// What happened, with the offending value.
    pub message: String,
    /// How to fix it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The next command to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Fault {
    /// A fault with a code and a sentence.
    #[must_use]
    pub fn new(code: &'static str, whose: Whose, message: impl Into<String>) -> Self {
        Self { code: FaultCode(code.into()), whose, message: message.into(), hint: None, next: None }
    }

    /// Adds how to fix it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the next command to type.
    #[must_use]
    pub fn next(mut self, command: impl Into<String>) -> Self {
        self.next = Some(command.into());
        self
    }
}
