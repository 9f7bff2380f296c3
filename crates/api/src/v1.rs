//! Version 1 of the wire: JSON bodies, JSON lines where an answer goes on.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `GET /v1/about` | - | [`About`] |
//! | `GET /v1/status` | - | [`StatusAnswer`] |
//! | `GET /v1/documents/{plural}?labels=a%3Db&limit=&page=` | - | [`DocumentList`] |
//! | `GET /v1/documents/{plural}/{name}` | - | [`model::Document`] |
//! | `GET /v1/watch/{plural}?from=REVISION` | - | lines of [`WatchLine`] |
//! | `POST /v1/plans` | [`PlanRequest`] | [`PlanAnswer`] |
//! | `GET /v1/plans/{id}` | - | [`PlanAnswer`] |
//! | `POST /v1/plans/{id}/apply` | - | [`ApplyAnswer`] |
//! | `POST /v1/tenants` | [`TenantAdd`] | [`Accepted`] |
//! | `POST /v1/tenants/{name}/{suspend,resume,remove}` | - | [`Accepted`] |
//! | `POST /v1/tenants/{name}/purge` | [`PurgeRequest`] | [`Purged`] |
//! | `POST /v1/cells` | [`CellOpen`] | [`Accepted`] |
//! | `POST /v1/cells/{name}/{drain,close}` | - | [`Accepted`] |
//! | `GET /v1/cells/{name}/logs?instance=&since=&tail=&follow=` | - | lines of [`LogLine`] |
//! | `POST /v1/operations/{name}/cancel` | - | [`Accepted`] |
//! | `POST /v1/operations/{name}/reveal` | - | [`Revealed`] |
//! | `GET /v1/ledger?tenant=&since=&until=&by=minute\|hour\|tenant` | - | [`Usage`] |
//! | `GET /v1/backup` | - | the store as one SQLite file |
//! | `GET /v1/explain/{plural}/{name}` | - | [`Explanation`] |
//!
//! A refusal has a status of 400 to 599 and a [`model::Fault`] as its body.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{
    BlueprintName, CellName, Condition, Document, DocumentName, DomainName, Fault, InstanceName, Kind, OperationName, Revision, Sensitive, TenantName,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Header that names who asks, for the operation's record: `cli:root`. The door adds the peer's user id, which is what counts.
pub const REQUESTED_BY: &str = "atoll-requested-by";

const fn is_true() -> bool {
    true
}

/// What answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Version of control.
    pub version: String,
    /// Name of the installation.
    pub platform: String,
    /// Incarnation of its store.
    pub incarnation: String,
    /// Whether this control holds the lease and works.
    pub active: bool,
    /// Whether it has looked at every cell since it works. Before, documents say how cells stood when control last ended. One of an earlier release does not
    /// say.
    #[serde(default = "is_true")]
    pub looked: bool,
}

/// A page of documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentList {
    /// Ordered by name.
    pub documents: Vec<Document>,
    /// Watch from here to miss nothing.
    pub revision: Revision,
    /// Where the next page begins; none: this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One line of a watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchLine {
    /// The document stands like this now.
    Put(Document),
    /// The document is gone; this is how it last stood.
    Gone(Document),
    /// All up to here was told.
    Bookmark(Revision),
    /// The watch ends: list anew.
    End(Fault),
}

/// Documents wanted, as read from files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanRequest {
    /// What is wanted. Status is ignored.
    pub documents: Vec<Document>,
}

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

/// One field of an update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Where: `spec.domains[0]`.
    pub path: String,
    /// What stands; none: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What is wanted; none: removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// Why it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// An immutable plan, kept for an hour under its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanAnswer {
    /// Hash of the changes and of what they are based on.
    pub id: String,
    /// What would be done, in order of application.
    pub changes: Vec<Change>,
    /// What the lint says: faults that forbid the plan stand in the changes; these are the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Fault>,
    /// What will follow, and why nothing happens where nothing does: one sentence a line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub report: Vec<String>,
    /// When the plan is forgotten.
    pub expires_at: Timestamp,
}

impl PlanAnswer {
    /// Changes that would be written.
    pub fn pending(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|c| matches!(c.action, Action::Create | Action::Update))
    }

    /// Changes that are refused; a plan with one cannot be applied.
    pub fn refused(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|c| c.action == Action::Refused)
    }
}

/// What an application of a plan did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplyAnswer {
    /// The documents written, as they stand now.
    pub written: Vec<Document>,
    /// The store's revision afterwards.
    pub revision: Revision,
}

/// A tenant to be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantAdd {
    /// Its name.
    pub name: TenantName,
    /// The product; left out: the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blueprint: Option<BlueprintName>,
    /// Domains, the first is the primary one.
    pub domains: Vec<DomainName>,
    /// Title of the site.
    pub title: String,
    /// Mail address of the administrator.
    pub contact: String,
    /// Language tag; left out: English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Region in which its data must stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The one cell it may be placed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<CellName>,
    /// Tenants of one group are spread over cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A cell to be opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CellOpen {
    /// Its name.
    pub name: CellName,
    /// Blueprint and version; left out: the newest of the only product there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blueprint: Option<DocumentName>,
    /// Region; left out: the platform's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// A wish was written down: what follows shows in the document's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The document as it stands now. Wait until its `status.observedGeneration` has reached its `metadata.generation`.
    pub document: Document,
    /// Whether anything was written; false: it was wanted like this already.
    pub changed: bool,
    /// The store's revision afterwards: watch from here to miss nothing of what follows.
    pub revision: Revision,
}

/// What edges are to forget of a tenant's answers; all of it where nothing is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PurgeRequest {
    /// What stands there: `https://HOST/PATH?QUERY`, or `/PATH?QUERY` on every domain of the tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// What carries one of these in `Cache-Tag` or `Surrogate-Key`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// The edges are told to forget. One that does not hear control forgets once it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purged {
    /// How many orders were given.
    pub orders: usize,
    /// Number of the last one; it rises by one with each.
    pub number: u64,
}

/// Secrets shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revealed {
    /// Name to value, for instance `adminUser`, `adminPassword`.
    pub values: BTreeMap<String, Sensitive<String>>,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// Whose.
    pub instance: InstanceName,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Whether it was written to standard error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stderr: bool,
    /// The line.
    pub line: String,
    /// Set on a last line: why the log ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Fault>,
}

/// Which log lines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogsQuery {
    /// Only of this instance or database node, or of all instances of this service (`database`: its nodes and endpoint); left out: all of the cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Only lines written since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only this many of the last lines of each instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// Whether to go on with new lines.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
}

/// Which counts of tenants.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UsageQuery {
    /// Only of this tenant; left out: of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// From this moment on; left out: from an hour before the end. A minute, hour or day that it falls into counts whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until before this moment; left out: now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What the rows are.
    pub by: ledger::By,
}

/// What tenants took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// From this moment on.
    pub since: Timestamp,
    /// Until before this one.
    pub until: Timestamp,
    /// Ordered by time, or by name. Times in which nobody took anything have no row.
    pub rows: Vec<UsageRow>,
}

/// What was taken in a while, or by a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// Its beginning. By tenant: of the first minute, hour or day that counts.
    pub from: Timestamp,
    /// Its end, which it does not reach.
    pub to: Timestamp,
    /// Whose it is; left out: of all that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// The sums.
    pub counts: ledger::Counts,
}

/// One row of the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusRow {
    /// Kind of the document.
    pub kind: Kind,
    /// Its name.
    pub name: DocumentName,
    /// In one word: `Ready`, `NotReady`, `Unknown`, `Suspended`, `Removed`, or the state of an operation.
    pub state: String,
    /// Whether it is as wanted.
    pub as_wanted: bool,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A sentence with the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What matters of it, for a table: `tenants` -> `2/200`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// The whole status. Counts speak of everything; rows leave out what there are too many of (see `left_out`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusAnswer {
    /// What answers.
    pub about: About,
    /// Whether everything is as wanted.
    pub as_wanted: bool,
    /// Platform, machines, cells, then tenants (those not as wanted first), then operations that have not ended.
    pub rows: Vec<StatusRow>,
    /// Count of documents by kind.
    pub counts: BTreeMap<String, u32>,
    /// Rows left out, all of them as wanted.
    pub left_out: u32,
}

/// One condition with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedCondition {
    /// The condition.
    pub condition: Condition,
    /// What the reason means, from its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
    /// The next command to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Why something is as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Kind of the document.
    pub kind: Kind,
    /// Its name.
    pub name: DocumentName,
    /// The row that `status` shows.
    pub row: StatusRow,
    /// Its conditions, the untrue ones first.
    pub conditions: Vec<ExplainedCondition>,
    /// The operation at work, or the last one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationName>,
    /// Further sentences: what it waits for, what it blocks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Commands to type next, most useful first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
}
