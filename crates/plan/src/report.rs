//! The report of a decision: what will follow, and why nothing happens where nothing does.

use model::{DocumentName, Kind};
use serde::{Deserialize, Serialize};

/// One statement about one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Kind of the document.
    pub kind: Kind,
    /// Its name.
    pub name: DocumentName,
    /// CamelCase code, as in conditions: `Placed`, `CellsFull`, `NoChange`.
    pub reason: String,
    /// A sentence for people, with the values that matter.
    pub message: String,
    /// The next command to type, where one helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.kind.as_str().to_lowercase(), self.name, self.message)?;
        match &self.next {
            Some(next) => write!(f, " (try: {next})"),
            None => Ok(()),
        }
    }
}

/// What a decision says of itself, in the order of kinds and names.
#[must_use = "a report says why nothing happens; show it or keep it"]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Report {
    /// The statements.
    pub lines: Vec<Line>,
}

impl Report {
    /// Adds a statement.
    pub fn say(&mut self, kind: Kind, name: impl Into<DocumentName>, reason: &str, message: impl Into<String>, next: Option<String>) {
        self.lines.push(Line { kind, name: name.into(), reason: reason.to_owned(), message: message.into(), next });
    }

    /// Takes over the statements of another report.
    pub fn append(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// The statements about one document.
    pub fn about(&self, kind: Kind, name: &str) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.kind == kind && line.name.as_str() == name)
    }

    /// Each statement as one sentence.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        self.lines.iter().map(ToString::to_string).collect()
    }
}
