//! Change plans: what applying documents would do, decided before anything is written.
//!
//! A plan is an immutable value with an id made from its changes and from what they are based on. It is applied whole: a plan with a refused change
//! is not applied at all, and each change carries the revision it was decided on, to be compared when it is written.
//! Fields that commands own (a tenant's state, a cell's scheduling) keep their value where a file does not state them.
//! Entry point: [`plan_changes`].

mod diff;
mod follow;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use model::{Document, DocumentName, Fault, Kind, Metadata, Revision};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Report, Snapshot, codes};
use rules::Rules;

/// What would be done to one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It does not stand yet.
    Create,
    /// Some fields differ.
    Update,
    /// It stands as wanted.
    None,
    /// It may not be applied; see the change's fault.
    Refused,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Where: `spec.domains[0]`, `metadata.labels.team`.
    pub path: String,
    /// What stands; none: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What is wanted; none: removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// What a change was decided on: compare this when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// No such document stood.
    Absent,
    /// It stood at this revision.
    Revision(Revision),
}

/// One change of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Kind of the document.
    pub kind: Kind,
    /// Its name.
    pub name: DocumentName,
    /// What would be done.
    pub action: Action,
    /// The fields of an update.
    pub fields: Vec<FieldChange>,
    /// Why it is refused.
    pub fault: Option<Fault>,
    /// What it was decided on.
    pub base: Base,
    /// The whole set of labels to be written.
    pub labels: BTreeMap<String, String>,
    /// The whole spec to be written, with every default filled in.
    pub spec: Value,
}

/// An immutable plan.
#[must_use = "a plan changes nothing until it is applied"]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangePlan {
    /// Hash of the changes and of what they are based on.
    pub id: String,
    /// What would be done, in order of application: by kind, then by name.
    pub changes: Vec<Change>,
    /// What should be known and forbids nothing.
    pub findings: Vec<Fault>,
    /// What will follow, and why nothing happens where nothing does.
    pub report: Report,
}

impl ChangePlan {
    /// Changes that would be written.
    pub fn pending(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| matches!(change.action, Action::Create | Action::Update))
    }

    /// Changes that forbid the plan.
    pub fn refused(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.action == Action::Refused)
    }

    /// The pending changes in commits of at most `limit` documents, in order. A plan within the limit is applied all or nothing; of a larger one each
    /// commit is, and what a later one needs always stands in an earlier one.
    #[must_use]
    pub fn commits(&self, limit: usize) -> Vec<Vec<&Change>> {
        let pending: Vec<&Change> = self.pending().collect();
        pending.chunks(limit.max(1)).map(<[&Change]>::to_vec).collect()
    }

    /// The first refusal, where there is one: the fault with which an application answers.
    #[must_use]
    pub fn refusal(&self) -> Option<Fault> {
        let refused: Vec<&Change> = self.refused().collect();
        let first = refused.first()?;
        let cause = first.fault.as_ref().map_or_else(String::new, |fault| format!(": {}", fault.message));
        let more = if refused.len() > 1 { format!(", and {} more", refused.len() - 1) } else { String::new() };
        Some(codes::PLAN_REFUSED.fault(format!("{} {} is refused{cause}{more}", first.kind, first.name)))
    }
}

/// Decides what applying these documents would do. Their status and all metadata but name and labels are ignored. Cost: one pass over the snapshot.
pub fn plan_changes(snapshot: &Snapshot, wanted: Vec<Document>) -> ChangePlan {
    let mut report = Report::default();
    let mut findings = Vec::new();
    let (drafts, mut after) = drafts(snapshot, wanted, &mut report);
    // Placement and claims are decided by order of creation: what is not stored yet comes last, as it will.
    let rules = Rules::new(snapshot, &after);
    let changes: Vec<Change> = drafts.into_iter().map(|draft| rules.check(draft, &mut findings)).collect();
    for change in changes.iter().filter(|change| change.action == Action::Refused) {
        withdraw(snapshot, &mut after, change);
    }
    follow::report(snapshot, &after, &changes, &mut report);
    ChangePlan { id: identity(&changes), changes, findings, report }
}

/// A wanted document, read and compared with what stands.
struct Draft {
    change: Change,
}

/// Reads every wanted document, and what the platform would look like with all of them.
fn drafts(snapshot: &Snapshot, mut wanted: Vec<Document>, report: &mut Report) -> (Vec<Draft>, Snapshot) {
    wanted.sort_by(|a, b| (a.kind, &a.metadata.name).cmp(&(b.kind, &b.metadata.name)));
    let keys = |document: &Document| (document.kind, document.metadata.name.clone());
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<_> = wanted.iter().map(keys).filter(|key| !seen.insert(key.clone())).collect();
    wanted.dedup_by(|a, b| keys(a) == keys(b));
    let mut after = snapshot.clone();
    let mut drafts = Vec::with_capacity(wanted.len());
    for document in wanted {
        let stated_twice = twice.contains(&keys(&document));
        let change = draft(snapshot, document, report);
        let change = match change {
            change if stated_twice => refuse(change, codes::TWICE.fault("the documents applied state it twice")),
            change => change,
        };
        if change.action != Action::Refused {
            put(&mut after, snapshot, &change);
        }
        drafts.push(Draft { change });
    }
    (drafts, after)
}

fn draft(snapshot: &Snapshot, document: Document, report: &mut Report) -> Change {
    let Document { kind, metadata: Metadata { name, labels, .. }, spec, .. } = document;
    let standing = snapshot.document(kind, &name);
    let base = standing.as_ref().map_or(Base::Absent, |standing| Base::Revision(standing.metadata.revision));
    let mut change = Change { kind, name, action: Action::None, fields: Vec::new(), fault: None, base, labels, spec };
    if matches!(kind, Kind::Domain | Kind::Operation | Kind::Secret) {
        let message = format!("documents of kind {kind} are made by control alone");
        return refuse(change, codes::NOT_FOR_FILES.fault(message));
    }
    if let Some(standing) = &standing {
        keep_commanded(&mut change, standing, report);
    }
    match rules::canonical(kind, &change.name, change.spec.clone()) {
        Ok(spec) => change.spec = spec,
        Err(fault) => return refuse(change, fault),
    }
    let Some(standing) = standing else {
        change.action = Action::Create;
        return change;
    };
    change.fields = diff::fields(&standing, &change.spec, &change.labels);
    if change.fields.is_empty() {
        return change;
    }
    change.action = Action::Update;
    if standing.metadata.deletion_requested_at.is_some() {
        return refuse(change, codes::BEING_DELETED.fault("its removal was asked for and is not finished"));
    }
    change
}

/// Fields that commands own keep their value where the document does not state them.
fn keep_commanded(change: &mut Change, standing: &Document, report: &mut Report) {
    let (field, usual, reason, said) = match change.kind {
        Kind::Tenant => ("state", "Active", "StateKept", "the files do not state it"),
        Kind::Cell => ("scheduling", "Open", "SchedulingKept", "the files do not state it"),
        _ => return,
    };
    let Some(wanted) = change.spec.as_object_mut() else { return };
    let Some(value) = standing.spec.get(field).filter(|_| !wanted.contains_key(field)).cloned() else { return };
    if value != usual {
        let word = value.as_str().unwrap_or_default().to_owned();
        report.say(change.kind, change.name.clone(), reason, format!("{field} stays {word}: {said}"), None);
    }
    wanted.insert(field.to_owned(), value);
}

fn refuse(change: Change, fault: Fault) -> Change {
    Change { action: Action::Refused, fault: Some(fault), ..change }
}

/// Puts a wanted document where it would stand, with the metadata and status that stand.
fn put(after: &mut Snapshot, snapshot: &Snapshot, change: &Change) {
    let standing = snapshot.document(change.kind, &change.name);
    let mut document = standing.unwrap_or_else(|| Document {
        kind: change.kind,
        metadata: Metadata::named(change.name.clone()),
        spec: Value::Null,
        status: Value::Null,
    });
    document.spec = change.spec.clone();
    document.metadata.labels = change.labels.clone();
    // The spec was read as this kind a moment ago and the status stood in the snapshot, so this cannot fail.
    let _ = after.put(document);
}

/// Takes a refused change out again, so that the report speaks of what would really follow.
fn withdraw(snapshot: &Snapshot, after: &mut Snapshot, change: &Change) {
    match snapshot.document(change.kind, &change.name) {
        Some(standing) => {
            let _ = after.put(standing);
        }
        None => after.gone(change.kind, &change.name),
    }
}

fn identity(changes: &[Change]) -> String {
    let mut hasher = blake3::Hasher::new();
    for change in changes {
        let base = match change.base {
            Base::Absent => None,
            Base::Revision(revision) => Some(revision.0),
        };
        let line = serde_json::json!([change.kind, change.name, change.action, base, change.labels, change.spec]).to_string();
        hasher.update(&(line.len() as u64).to_le_bytes());
        hasher.update(line.as_bytes());
    }
    hasher.finalize().to_hex().as_str().chars().take(24).collect()
}

#[cfg(test)]
mod tests;
