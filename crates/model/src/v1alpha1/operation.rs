//! Operation: a durable, typed, resumable piece of work.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{DocumentName, Kind, Resource};

/// Kind `Operation`.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// Place a tenant and bring its site up.
    TenantCreate,
    /// Stop serving a tenant; data is kept.
    TenantSuspend,
    /// Serve a suspended tenant again.
    TenantResume,
    /// Stop serving a tenant and mark its data for deletion after the grace period.
    TenantRemove,
    /// Delete a removed tenant's data for good.
    TenantPurge,
    /// Make a cell.
    CellOpen,
    /// Move a cell's tenants out.
    CellDrain,
    /// Remove an empty cell.
    CellClose,
    /// Roll a cell to another blueprint version.
    CellRoll,
}

/// What an operation acts on; at most one runs per subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: DocumentName,
}

/// What was asked. Fixed before the first effect, but for `cancel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperationSpec {
    /// What is to be done.
    pub verb: Verb,
    /// What it acts on.
    pub subject: Subject,
    /// Parameters with all random choices already made; the verb's own type.
    pub parameters: Value,
    /// Who asked for what it does: `cli:ann@uid:1000`, `cli:ann@operator:admin`; `reconciler:placement` where nobody did.
    pub requested_by: String,
    /// Asking again with the same key is the same operation.
    pub idempotency_key: String,
    /// Set when somebody asks for it to be cancelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum OperationState {
    /// Not begun.
    #[default]
    Pending,
    /// Going forward.
    Running,
    /// Going back.
    Undoing,
    /// At the goal.
    Done,
    /// Back where it began.
    Failed,
    /// Neither forward nor back without a person.
    NeedsHuman,
}

impl OperationState {
    /// Whether nothing more will happen.
    #[must_use]
    pub const fn ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::NeedsHuman)
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepState {
    /// Begun; written before the effect, so that a crash is seen.
    Begun,
    /// Its effect stands.
    Done,
    /// Its effect was taken back.
    Undone,
    /// It failed for good.
    Failed,
}

/// The record of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// The step's name, unique within the verb.
    pub name: String,
    /// Where it stands.
    pub state: StepState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it began.
    #[schemars(with = "String")]
    pub began_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<Timestamp>,
    /// The step's typed output, small.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// The last failure, or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far a long step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// What is counted: `bytes`, `instances`.
    pub unit: String,
}

/// What is known of an operation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationStatus {
    /// Where it stands.
    pub state: OperationState,
    /// Its steps so far, in order.
    pub steps: Vec<StepRecord>,
    /// Progress of the present step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Reason code of waiting or of the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Shown once to whoever asked and then removed; never a secret in clear: the name of the sealed secret document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reveal: Option<DocumentName>,
    /// When the next try is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub next_try_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<Timestamp>,
}

impl Resource for Operation {
    const KIND: Kind = Kind::Operation;
    type Spec = OperationSpec;
    type Status = OperationStatus;
}
