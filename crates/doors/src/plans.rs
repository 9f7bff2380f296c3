//! Plans: shown first, kept for an hour, applied by id exactly as shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use api::v1::{Action, ApplyAnswer, Change, FieldChange, PlanAnswer, PlanRequest};
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use model::{Document, Kind, Revision};
use plan::{Base, ChangePlan};
use store::{Committed, Compare, Key, StoreError, Write};

use crate::asked::Asked;
use crate::refusal::Refusal;
use crate::wire::{Json, Name, Wanted};
use crate::{CELL_FINALIZER, Doors, TENANT_FINALIZER, codes};

/// How long a plan is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Most plans kept; the oldest goes first.
const MOST: usize = 64;
/// Documents of one commit.
const COMMIT: usize = store::MAX_COMMIT;

/// Plans by id.
#[derive(Default)]
pub(crate) struct Kept(Mutex<BTreeMap<String, (Timestamp, Arc<ChangePlan>)>>);

impl Kept {
    fn put(&self, plan: Arc<ChangePlan>, expires: Timestamp, now: Timestamp) {
        // No code that holds the lock can leave the map half changed.
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plans.retain(|_, (expires, _)| *expires > now);
        while plans.len() >= MOST {
            let Some(oldest) = plans.iter().min_by_key(|(_, (expires, _))| *expires).map(|(id, _)| id.clone()) else { break };
            plans.remove(&oldest);
        }
        plans.insert(plan.id.clone(), (expires, plan));
    }

    fn get(&self, id: &str, now: Timestamp) -> Result<(Timestamp, Arc<ChangePlan>), Refusal> {
        let plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = plans.get(id).filter(|(expires, _)| *expires > now).cloned();
        found.ok_or_else(|| plan::codes::PLAN_GONE.fault(format!("there is no plan {id}, or its hour is over")).into())
    }
}

/// `POST /v1/plans`
pub(crate) async fn make(State(doors): State<Doors>, Wanted(request): Wanted<PlanRequest>) -> Result<Json<PlanAnswer>, Refusal> {
    let plan = Arc::new(decide(&doors, request.documents).await?);
    let now = (doors.0.clock)();
    let expires = now + KEPT;
    doors.0.plans.put(plan.clone(), expires, now);
    Ok(Json(answer(&plan, expires)))
}

/// `GET /v1/plans/{id}`
pub(crate) async fn show(State(doors): State<Doors>, Name(id): Name<String>) -> Result<Json<PlanAnswer>, Refusal> {
    let (expires, plan) = doors.0.plans.get(&id, (doors.0.clock)())?;
    Ok(Json(answer(&plan, expires)))
}

/// `POST /v1/plans/{id}/apply`
pub(crate) async fn apply(State(doors): State<Doors>, asked: Asked, Name(id): Name<String>) -> Result<Json<ApplyAnswer>, Refusal> {
    let (_, plan) = doors.0.plans.get(&id, (doors.0.clock)())?;
    if let Some(fault) = plan.refusal() {
        return Err(fault.into());
    }
    let mut written = Vec::new();
    let mut revision = Revision(0);
    for part in plan.commits(COMMIT) {
        let committed = write(&doors, &asked, &part).await?;
        revision = committed.revision;
        written.extend(committed.documents.into_iter().flatten());
    }
    if written.is_empty() {
        revision = doors.0.store.list(Kind::Platform, store::ListOptions { limit: Some(1), ..Default::default() }).await?.revision;
    }
    Ok(Json(ApplyAnswer { written, revision }))
}

/// What applying these documents would do, as of now. Off the runtime, as a large platform takes a while.
pub(crate) async fn decide(doors: &Doors, documents: Vec<Document>) -> Result<ChangePlan, Refusal> {
    doors.0.mirror.fresh(&doors.0.store).await?;
    let mirror = doors.0.mirror.clone();
    let plan = tokio::task::spawn_blocking(move || plan::plan_changes(&mirror.read().snapshot, documents)).await;
    plan.map_err(|error| codes::DEFECT.refuse(format!("planning ended early: {error}")))
}

/// Writes a part of a plan, all or nothing. What stands already as wanted counts as written: the answer to an earlier try may have been lost.
pub(crate) async fn write(doors: &Doors, asked: &Asked, part: &[&plan::Change]) -> Result<Committed, Refusal> {
    let compares = part.iter().map(|change| {
        let key = Key::new(change.kind, change.name.clone());
        match change.base {
            Base::Absent => Compare::Absent(key),
            Base::Revision(revision) => Compare::Revision(key, revision),
        }
    });
    let writes = part.iter().map(|change| Write::Spec {
        key: Key::new(change.kind, change.name.clone()),
        spec: change.spec.clone(),
        labels: change.labels.clone(),
        finalizers: finalizers(change.kind),
    });
    let asked = part.iter().map(|change| asked.write(Key::new(change.kind, change.name.clone())));
    match doors.0.store.commit(compares.collect(), writes.chain(asked).collect()).await {
        Ok(mut committed) => {
            // Each stands twice in the answer: for its spec, and for who asked.
            committed.documents.truncate(part.len());
            Ok(committed)
        }
        Err(error @ (StoreError::Conflict(_) | StoreError::Unknown(_))) => match standing(doors, part).await? {
            Some(committed) => Ok(committed),
            None => Err(match error {
                StoreError::Conflict(Compare::Revision(key, _) | Compare::Absent(key)) => {
                    plan::codes::PLAN_STALE.fault(format!("{key} has changed since the plan was made")).into()
                }
                other => other.into(),
            }),
        },
        Err(error) => Err(error.into()),
    }
}

/// The documents of a part, when all of them stand as it wants them.
async fn standing(doors: &Doors, part: &[&plan::Change]) -> Result<Option<Committed>, Refusal> {
    let mut documents = Vec::new();
    for change in part {
        let document = doors.0.store.get(&Key::new(change.kind, change.name.clone())).await?;
        match document {
            Some(document) if document.spec == change.spec && document.metadata.labels == change.labels => documents.push(Some(document)),
            _ => return Ok(None),
        }
    }
    let revision = documents.iter().flatten().map(|document| document.metadata.revision).max();
    Ok(revision.map(|revision| Committed { revision, documents }))
}

/// Who must act before a document of this kind goes.
fn finalizers(kind: Kind) -> BTreeSet<String> {
    match kind {
        Kind::Tenant => BTreeSet::from([TENANT_FINALIZER.to_owned()]),
        Kind::Cell => BTreeSet::from([CELL_FINALIZER.to_owned()]),
        _ => BTreeSet::new(),
    }
}

fn answer(plan: &ChangePlan, expires_at: Timestamp) -> PlanAnswer {
    let field = |field: &plan::FieldChange| FieldChange { path: field.path.clone(), old: field.old.clone(), new: field.new.clone() };
    let change = |change: &plan::Change| Change {
        kind: change.kind,
        name: change.name.clone(),
        action: match change.action {
            plan::Action::Create => Action::Create,
            plan::Action::Update => Action::Update,
            plan::Action::None => Action::None,
            plan::Action::Refused => Action::Refused,
        },
        fields: change.fields.iter().map(field).collect(),
        fault: change.fault.clone(),
    };
    PlanAnswer {
        id: plan.id.clone(),
        changes: plan.changes.iter().map(change).collect(),
        findings: plan.findings.clone(),
        report: plan.report.sentences(),
        expires_at,
    }
}
