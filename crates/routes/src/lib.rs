//! Routes: domain to tenant to (cell, epoch), as a value.
//!
//! Purpose: what edges hold in memory ([`Table`]), how it travels ([`Snapshot`], [`Delta`], [`Line`], served by a [`Feed`]), the header by which an edge tells
//! a gate whose request it carries ([`TenantHeader`]), the gate's refusals ([`Refusal`]) what control tells a gate ([`GateState`]) and what both tell back ([`EdgeApplied`], [`GateReport`]).
//! Invariants: no I/O, no clock, no randomness; a table never goes to an older generation; a delta that does not fit changes nothing; a bad record is
//! refused alone, never with its neighbours, and never sent; a change goes to one edge before it goes to the others; the running hash does not depend on the order in which records came.
//! Entry points: [`Table::compile`], [`Table::lookup`], [`Table::apply`], [`Feed::publish_changes`], [`Canary`], [`disk`], [`TenantHeader::sign`].

mod build;
mod canary;
mod delta;
pub mod disk;
mod feed;
mod gate_state;
mod hash;
mod header;
mod host;
mod key;
mod record;
mod refusal;
mod report;
mod route;
mod snapshot;
mod table;
mod tree;
mod view;

pub use canary::{Canary, Verdict};
pub use delta::{ApplyError, Change, Delta};
pub use feed::{Begin, Catchup, Feed, Line, Published, Sent};
pub use gate_state::{GateEgress, GateInstance, GateKey, GateProbe, GateService, GateState, GateStateError, GateTenant, GateTenantState};
pub use hash::TableHash;
pub use header::{HeaderError, TENANT_HEADER, TenantHeader};
pub use host::{HostPattern, HostPatternError};
pub use key::{CellKey, KeyError, KeyId};
pub use record::{CellEndpoint, GateEndpoint, Record, Redirect, RedirectStatus, RouteState};
pub use refusal::{REFUSAL_HEADER, Refusal};
pub use report::{EdgeApplied, GateHealth, GateInstanceReport, GateReport, GateTenantReport};
pub use route::Route;
pub use snapshot::{DiskError, Snapshot};
pub use table::{Assembly, Found, Reason, Refused, Table};
pub use view::{HostRef, RecordRef, RedirectRef};

#[cfg(test)]
mod tests;
