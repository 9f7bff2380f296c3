//! Words of the platform as types.
//!
//! Purpose: every other crate speaks in these nouns: validated names, domains, quantities, epochs, documents and their kinds.
//! Invariants: no I/O, no async, no clock, no randomness; a value of a validated type is always valid, also after deserialisation.
//! Entry points: [`Document`] (what the store keeps), [`Resource`] (a kind with typed spec and status), [`v1alpha1`] (the kinds).

mod condition;
mod document;
mod domain;
mod fault;
mod names;
mod network;
mod numbers;
mod quantity;
mod sensitive;
pub mod v1alpha1;

pub use condition::{Condition, ConditionStatus, Conditions};
pub use document::{API_VERSION, Document, Kind, Metadata, Resource, ShapeError, Typed};
pub use domain::{DomainError, DomainName};
pub use fault::{Fault, FaultCode, Whose};
pub use names::{
    BlueprintName, CellName, DocumentName, GateName, InstanceName, MachineName, NameError, NodeName, OperationName, PlatformName, ServiceName,
    TenantName,
};
pub use network::Network;
pub use numbers::{Epoch, Generation, Revision};
pub use quantity::{Cpu, Memory, Percent, QuantityError, Span};
pub use sensitive::Sensitive;

#[cfg(test)]
mod tests;
