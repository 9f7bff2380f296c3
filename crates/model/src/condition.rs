//! Conditions: what is true of a document, why, and since when, in the shape Kubernetes uses.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Generation;

/// Three-valued truth: `Unknown` is an answer, not a missing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It could not be observed.
    Unknown,
}

/// One statement about a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the statement is about: `Ready`, `Placed`, `DatabaseReady`.
    pub r#type: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// CamelCase code of the cause, stable across releases; `atoll explain` has a page for each.
    pub reason: String,
    /// A sentence for people, with the values that matter.
    pub message: String,
    /// When `status` last flipped.
    #[schemars(with = "String")]
    pub last_transition_time: Timestamp,
    /// The spec this statement was made about.
    #[serde(default)]
    pub observed_generation: Generation,
}

/// A document's conditions, at most one per type, ordered by type.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// The condition of this type, where there is one.
    #[must_use]
    pub fn get(&self, r#type: &str) -> Option<&Condition> {
        self.0.iter().find(|c| c.r#type == r#type)
    }

    /// Whether the condition of this type is `True`.
    #[must_use]
    pub fn is_true(&self, r#type: &str) -> bool {
        self.get(r#type).is_some_and(|c| c.status == ConditionStatus::True)
    }

    /// All of them, ordered by type.
    pub fn iter(&self) -> impl Iterator<Item = &Condition> {
        self.0.iter()
    }

    /// Sets a condition; the transition time moves only when `status` flips, so that saying the same again writes nothing.
    pub fn set(&mut self, r#type: &str, status: ConditionStatus, reason: &str, message: impl Into<String>, observed: Generation, now: Timestamp) {
        let since = self.get(r#type).filter(|c| c.status == status).map_or(now, |c| c.last_transition_time);
        self.0.retain(|c| c.r#type != r#type);
        self.0.push(Condition {
            r#type: r#type.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.into(),
            last_transition_time: since,
            observed_generation: observed,
        });
        self.0.sort_by(|a, b| a.r#type.cmp(&b.r#type));
    }

    /// Removes a condition that no longer applies.
    pub fn remove(&mut self, r#type: &str) {
        self.0.retain(|c| c.r#type != r#type);
    }
}
