//! Codes of the command line's own faults; each has a page in `plan::codes`.

/// Control cannot be reached.
pub const UNREACHABLE: &str = "A0901";
/// The connection broke before the answer.
pub const LOST: &str = "A0902";
/// Waiting ended before the work did.
pub const TIMED_OUT: &str = "A0903";
/// Interrupted by the user.
pub const INTERRUPTED: &str = "A0904";
/// The user must agree, and cannot be asked.
pub const NOT_AGREED: &str = "A0905";
/// The plan holds refused changes.
pub const PLAN_REFUSED: &str = "A0906";
/// The work ended in failure.
pub const WORK_FAILED: &str = "A0907";
/// This machine lacks something.
pub const MACHINE: &str = "A0908";
/// Files and arguments name different platforms.
pub const OTHER_PLATFORM: &str = "A0909";
/// The password was shown before.
pub const SHOWN_BEFORE: &str = "A0910";
/// Control sent a document that this version does not understand.
pub const NOT_UNDERSTOOD: &str = "A0911";
/// A process of the platform was asked for where it cannot run.
pub const NOT_HERE: &str = "A0912";
/// The arguments do not go together.
pub const USAGE: &str = "A0913";
/// The file of a backup cannot be used.
pub const BACKUP: &str = "A0914";
/// The store is in use.
pub const STORE_IN_USE: &str = "A0915";
/// The folder of an operator cannot be used.
pub const CREDENTIALS: &str = "A0916";

/// No edge answers on this machine.
pub const NO_EDGE: &str = "A0917";

/// Every code of this file.
#[cfg(test)]
pub const ALL: [&str; 17] = [
    UNREACHABLE,
    LOST,
    TIMED_OUT,
    INTERRUPTED,
    NOT_AGREED,
    PLAN_REFUSED,
    WORK_FAILED,
    MACHINE,
    OTHER_PLATFORM,
    SHOWN_BEFORE,
    NOT_UNDERSTOOD,
    NOT_HERE,
    USAGE,
    BACKUP,
    STORE_IN_USE,
    CREDENTIALS,
    NO_EDGE,
];
