//! One table of every code that a person may meet: faults (`A0320`) and reasons (`CellsFull`), each with its meaning and what to do next.
//!
//! `atoll explain CODE`, the pages under `docs/errors` and the hints of faults all come from here, so that they cannot disagree.
//! Ranges: `A01` reading files (kept by the crate `manifest`), `A02` the API, `A03` plans and their lint, `A09` the command line.

macro_rules! faults {
    ($table:ident; $($name:ident $code:literal $whose:ident, $title:literal, $meaning:literal, $fix:literal;)*) => {
        $(
            #[doc = concat!("`", $code, "`: ", $title, ".")]
            pub static $name: FaultPage = FaultPage { code: $code, whose: Whose::$whose, title: $title, meaning: $meaning, fix: $fix };
        )*

        /// The faults of this part, ordered by code.
        pub static $table: &[&FaultPage] = &[$(&$name,)*];
    };
}

macro_rules! reasons {
    ($table:ident; $($reason:ident $meaning:literal, $next:literal;)*) => {
        /// The reasons of this part.
        pub static $table: &[ReasonPage] = &[$(ReasonPage { reason: stringify!($reason), meaning: $meaning, next: $next },)*];
    };
}

mod api;
mod cli;
mod faults;
mod reasons;
mod visitors;

use model::{Fault, Whose};

pub use api::*;
pub use cli::*;
pub use faults::*;
pub use reasons::REASONS;
pub use visitors::VISITORS;

/// The page of a fault.
#[derive(Debug, PartialEq, Eq)]
pub struct FaultPage {
    /// Stable code.
    pub code: &'static str,
    /// Whose fault it is.
    pub whose: Whose,
    /// The rule, in a few words.
    pub title: &'static str,
    /// Why the rule is there.
    pub meaning: &'static str,
    /// How to fix it.
    pub fix: &'static str,
}

impl FaultPage {
    /// The fault with the sentence of this case; the hint is the page's.
    #[must_use]
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.code, self.whose, message).hint(self.fix)
    }
}

/// The page of a reason: the CamelCase code of a condition, an operation or a report.
#[derive(Debug, PartialEq, Eq)]
pub struct ReasonPage {
    /// The code.
    pub reason: &'static str,
    /// What it means, and what happens by itself.
    pub meaning: &'static str,
    /// The next command, `{kind}` and `{name}` standing for the document; empty where nothing needs to be done.
    pub next: &'static str,
}

impl ReasonPage {
    /// The next command for one document.
    #[must_use]
    pub fn next_for(&self, kind: model::Kind, name: &str) -> Option<String> {
        (!self.next.is_empty()).then(|| self.next.replace("{kind}", &kind.as_str().to_lowercase()).replace("{name}", name))
    }
}

/// The page of a fault's code.
#[must_use]
pub fn fault(code: &str) -> Option<&'static FaultPage> {
    faults().find(|page| page.code.eq_ignore_ascii_case(code))
}

/// Every fault, ordered by code.
pub fn faults() -> impl Iterator<Item = &'static FaultPage> {
    API.iter().chain(RULES).chain(COMMAND_LINE).copied()
}

/// The page of a reason.
#[must_use]
pub fn reason(reason: &str) -> Option<&'static ReasonPage> {
    REASONS.iter().chain(VISITORS).find(|page| page.reason.eq_ignore_ascii_case(reason))
}
