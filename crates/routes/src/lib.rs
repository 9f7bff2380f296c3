//! Routes: domain to tenant to (cell, epoch), as a value.
//!
//! Purpose: what edges hold in memory ([`Table`]), how it travels ([`Snapshot`], [`Delta`], [`Line`], served by a [`Feed`]), the header by which an edge tells
//! a gate whose request it carries ([`TenantHeader`]), the gate's refusals ([`Refusal`]) what control tells a gate ([`GateState`]) and what both tell back ([`EdgeApplied`], [`GateReport`]).
//! Invariants: no I/O, no clock, no randomness; a table never goes to an older generation; a delta that does not fit changes nothing; a bad record is
//! refused alone, never with its neighbours; the running hash does not depend on the order in which records came.
//! Entry points: [`Table::compile`], [`Table::lookup`], [`Table::apply`], [`Feed::publish`], [`TenantHeader::sign`].

mod delta;
mod feed;
mod gate_state;
mod hash;
mod header;
mod host;
mod key;
mod record;
mod refusal;
mod report;
mod snapshot;
mod table;

pub use delta::{ApplyError, Change, Delta};
pub use feed::{Catchup, Feed, Line};
pub use gate_state::{GateEgress, GateInstance, GateKey, GateProbe, GateService, GateState, GateStateError, GateTenant, GateTenantState};
pub use hash::TableHash;
pub use header::{HeaderError, TENANT_HEADER, TenantHeader};
pub use host::{HostPattern, HostPatternError};
pub use key::{CellKey, KeyError, KeyId};
pub use record::{CellEndpoint, GateEndpoint, Record, Redirect, RouteState};
pub use refusal::{REFUSAL_HEADER, Refusal};
pub use report::{EdgeApplied, GateHealth, GateInstanceReport, GateReport, GateTenantReport};
pub use snapshot::{DiskError, Snapshot};
pub use table::{Found, Reason, Refused, Route, Table};

#[cfg(test)]
mod tests;
