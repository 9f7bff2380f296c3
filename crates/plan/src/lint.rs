//! Lint: what people write, checked against rules that the shape of a document cannot express.
//!
//! A fault forbids the document; a finding is said and does not forbid it. Every rule has a code with a page in [`crate::codes`].
//! Entry points: [`blueprint`], [`tenant`], [`platform`], [`cell`], [`machine`], [`placement`].

mod blueprint;
mod documents;
mod placement;

use model::Fault;

pub use blueprint::blueprint;
pub use documents::{cell, machine, platform, tenant};
pub use placement::{PlacementError, placement};

/// What the lint says of one document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lint {
    /// What forbids it.
    pub faults: Vec<Fault>,
    /// What should be known, and does not forbid it.
    pub findings: Vec<Fault>,
}

impl Lint {
    /// Whether nothing forbids the document.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.faults.is_empty()
    }

    /// All faults in one: the first one's code and hint, every one's sentence. None where the document passed.
    #[must_use]
    pub fn refusal(&self) -> Option<Fault> {
        let mut first = self.faults.first()?.clone();
        let more: Vec<String> = self.faults.iter().skip(1).map(|fault| format!("{} ({})", fault.message, fault.code)).collect();
        if !more.is_empty() {
            first.message = format!("{}; also: {}", first.message, more.join("; "));
        }
        Some(first)
    }

    pub(crate) fn refuse(&mut self, page: &crate::codes::FaultPage, message: impl Into<String>) {
        self.faults.push(page.fault(message));
    }

    pub(crate) fn remark(&mut self, page: &crate::codes::FaultPage, message: impl Into<String>) {
        self.findings.push(page.fault(message));
    }
}

#[cfg(test)]
mod tests;
