//! Whether a document is as wanted, and if not, why.

use model::v1alpha1::{Cell, CellStatus, Operation, Tenant, TenantState};
use model::{Condition, ConditionStatus, Conditions, Document, Fault, Generation, Kind, OperationName, Typed, Whose};

use crate::cli::faults;

/// How a document stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// As wanted.
    Ready,
    /// Not yet.
    Waiting {
        /// Reason code.
        reason: String,
        /// A sentence.
        message: String,
        /// Whether somebody must act before it goes on.
        blocked: bool,
    },
    /// It will not be.
    Failed(Fault),
}

/// Judges a document. Kinds that nothing is done for are as wanted at once.
pub fn judge(document: &Document) -> Standing {
    match document.kind {
        Kind::Tenant => Typed::<Tenant>::read(document.clone()).map_or_else(|e| waiting("NotUnderstood", &e.to_string()), |t| tenant(&t)),
        Kind::Cell => Typed::<Cell>::read(document.clone()).map_or_else(|e| waiting("NotUnderstood", &e.to_string()), |c| cell(&c)),
        _ => Standing::Ready,
    }
}

fn tenant(tenant: &Typed<Tenant>) -> Standing {
    let (wanted, status) = (tenant.spec.state, &tenant.status);
    if let Some(standing) = under_way(tenant.metadata.generation, status.observed_generation, status.operation.as_ref()) {
        return standing;
    }
    match wanted {
        TenantState::Active if status.conditions.is_true("Ready") && status.serving.is_none_or(|s| s == TenantState::Active) => Standing::Ready,
        TenantState::Suspended | TenantState::Removed if status.serving == Some(wanted) => Standing::Ready,
        // No cell ever had it: nothing serves it, and nothing is made for it until it is resumed.
        TenantState::Suspended | TenantState::Removed if status.cell.is_none() && status.serving.is_none() => Standing::Ready,
        _ => untrue(&status.conditions, &["Placed", "DomainsOwned"]),
    }
}

fn cell(cell: &Typed<Cell>) -> Standing {
    let CellStatus { conditions, serving, operation, observed_generation, .. } = &cell.status;
    if let Some(stalled) =
        conditions.get("Stalled").filter(|c| c.status == ConditionStatus::True && c.observed_generation >= cell.metadata.generation)
    {
        let text = format!("Cell {} is stalled ({}): {}", cell.metadata.name, stalled.reason, stalled.message);
        return Standing::Failed(Fault::new(faults::WORK_FAILED, Whose::State, text).next(super::explain(Kind::Cell, &cell.metadata.name)));
    }
    if let Some(standing) = under_way(cell.metadata.generation, *observed_generation, operation.as_ref()) {
        return standing;
    }
    if conditions.is_true("Ready") && serving.as_ref().is_none_or(|s| *s == cell.spec.blueprint) {
        return Standing::Ready;
    }
    untrue(conditions, &[])
}

/// What stands is not yet about what is wanted, or somebody works on it.
fn under_way(generation: Generation, observed: Generation, operation: Option<&OperationName>) -> Option<Standing> {
    match operation {
        Some(operation) => Some(waiting("Working", &format!("operation {operation} is at work"))),
        None => (observed < generation).then(|| waiting("NotYetObserved", "control has not seen the change yet")),
    }
}

/// The first condition that does not hold; one of `blocking` needs somebody to act.
fn untrue(conditions: &Conditions, blocking: &[&str]) -> Standing {
    let untrue = |c: &&Condition| c.status != ConditionStatus::True;
    let of = |names: &[&str]| conditions.iter().filter(untrue).find(|c| names.contains(&c.r#type.as_str()));
    // `Ready` repeats what the others say; `Stalled` is good when it is not true. Nobody waits for certificates, which may depend on a customer's DNS for days:
    // a tenant is ready over HTTP without them, also one that sends its visitors to HTTPS, because nobody is sent there before a certificate covers the host.
    let cause = of(blocking)
        .or_else(|| conditions.iter().filter(untrue).find(|c| !["Ready", "Stalled", "CertificatesReady"].contains(&c.r#type.as_str())))
        .or_else(|| of(&["Ready"]));
    match cause {
        Some(c) => {
            let blocked = c.status == ConditionStatus::False && blocking.contains(&c.r#type.as_str());
            Standing::Waiting { reason: c.reason.clone(), message: c.message.clone(), blocked }
        }
        None => waiting("NotYetObserved", "nothing was observed yet"),
    }
}

/// The fault of an operation that ended badly.
pub fn failed(operation: &Typed<Operation>) -> Fault {
    let (spec, status) = (&operation.spec, &operation.status);
    let reason = status.reason.clone().unwrap_or_else(|| format!("{:?}", status.state));
    let step = status.steps.iter().rev().find_map(|s| s.message.clone().map(|m| format!("{}: {m}", s.name)));
    let message = status.message.clone().or(step).unwrap_or_default();
    let text = format!("{:?} of {} {} failed ({reason}): {message}", spec.verb, spec.subject.kind, spec.subject.name);
    Fault::new(faults::WORK_FAILED, Whose::State, text).next(format!("atoll operation show {}", operation.metadata.name))
}

fn waiting(reason: &str, message: &str) -> Standing {
    Standing::Waiting { reason: reason.to_owned(), message: message.to_owned(), blocked: false }
}
