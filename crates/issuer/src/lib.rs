//! The issuer: visitors' certificates, from the wish to every edge.
//!
//! Purpose: for each domain of an active tenant that points here a certificate is obtained and renewed; certificates that people lay into a folder are taken as they
//! are; ticket keys are rotated; all of it stands in one numbered book that edges follow.
//! Invariants: one issuer works, the one whose control holds the lease; nothing is asked of an authority before a domain was seen to reach an edge; what an authority
//! wants to see is shown by every edge before it is told to look; tries pause longer and longer, also across restarts; no authority is asked more often than its
//! limit; a certificate is replaced only by one that was obtained and fits its key.
//! Entry points: [`Issuer::run`], [`router`]; the decisions are in `decide`.

mod answers;
mod attempts;
mod decide;
mod feed;
mod folder;
mod probe;
mod run;
mod stand;
mod tickets;

pub use attempts::{Attempt, Cause};
pub use decide::{Authorities, Limits, is_public, pause, renew_at};
pub use feed::{CertificateFeed, router};
pub use probe::{Pointing, Probe};
pub use run::{Issuer, Options, Wish, Wishes};
pub use stand::Stand;
