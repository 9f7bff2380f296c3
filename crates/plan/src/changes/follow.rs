//! What will follow from a plan, in sentences.

use std::collections::BTreeSet;

use model::v1alpha1::TenantState;
use model::{DocumentName, Kind};

use super::{Action, Change};
use crate::{Report, Snapshot, cells, place, product_of};

/// Most commits that are applied as one.
const ATOMIC: usize = 100;

/// Adds one sentence per change, then what placement would say of the tenants concerned, then which cells are due.
pub(super) fn report(before: &Snapshot, after: &Snapshot, changes: &[Change], report: &mut Report) {
    for change in changes {
        match change.action {
            Action::Create => created(after, change, report),
            Action::Update => updated(before, after, change, report),
            Action::None => report.say(change.kind, change.name.clone(), "NoChange", "stands as wanted: nothing is written", None),
            Action::Refused => {}
        }
    }
    let pending = changes.iter().filter(|change| matches!(change.action, Action::Create | Action::Update)).count();
    if let Some(first) = changes.first().filter(|_| pending > ATOMIC) {
        let message =
            format!("{pending} documents are written in parts of {ATOMIC}; each part is all or nothing, and planning again shows what is left");
        report.say(first.kind, first.name.clone(), "Parts", message, None);
    }
    placements(after, changes, report);
    report.append(cells::due_report(after));
}

fn created(after: &Snapshot, change: &Change, report: &mut Report) {
    let mut say = |reason: &str, message: String, next| report.say(change.kind, change.name.clone(), reason, message, next);
    match change.kind {
        Kind::Blueprint if !after.cells.values().any(|cell| cell.spec.blueprint == change.name) => {
            let product = product_of(&change.name);
            let older = after.cells.iter().find(|(_, cell)| product_of(&cell.spec.blueprint) == product);
            match older {
                Some((cell, _)) => say("Unused", format!("no cell runs it: set spec.blueprint of cell {cell} and others to it to roll them"), None),
                None => say("Unused", "no cell runs it yet".to_owned(), Some(format!("atoll cell open <name> --blueprint {}", change.name))),
            }
        }
        Kind::Cell => {
            let blueprint = change.spec.get("blueprint").and_then(serde_json::Value::as_str).unwrap_or_default();
            say("Opening", format!("is opened from {blueprint}: networks, database, services and gates are made"), None);
        }
        _ => say("Created", "is new".to_owned(), None),
    }
}

fn updated(before: &Snapshot, after: &Snapshot, change: &Change, report: &mut Report) {
    let mut say = |reason: &str, message: String| report.say(change.kind, change.name.clone(), reason, message, None);
    let name = change.name.as_str();
    match change.kind {
        Kind::Cell => {
            let (Some(old), Some(new)) = (before.cells.get(name), after.cells.get(name)) else { return };
            if old.spec.blueprint != new.spec.blueprint {
                let message = format!(
                    "is rolled from {} to {}, one instance at a time; its {} tenants are served on",
                    old.spec.blueprint, new.spec.blueprint, new.status.tenants
                );
                say("Rolling", message);
            }
            if old.spec.scheduling != new.spec.scheduling {
                say("Updated", format!("scheduling becomes {:?}", new.spec.scheduling));
            }
        }
        Kind::Tenant => {
            let (Some(old), Some(new)) = (before.tenants.get(name), after.tenants.get(name)) else { return };
            match (old.spec.state, new.spec.state) {
                (old, new) if old == new => say("Updated", fields(change)),
                (_, TenantState::Active) => say("Updated", "is served again".to_owned()),
                (_, TenantState::Suspended) => say("Suspended", "is suspended: visitors see that, its data is kept".to_owned()),
                (_, TenantState::Removed) => {
                    say("Removed", format!("is removed: not served, its data is deleted after {}", after.platform_spec().grace));
                }
            }
        }
        _ => say("Updated", fields(change)),
    }
}

fn fields(change: &Change) -> String {
    let paths: Vec<&str> = change.fields.iter().map(|field| field.path.as_str()).take(5).collect();
    let more = change.fields.len().saturating_sub(paths.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("changes {}{more}", paths.join(", "))
}

/// What placement would say of the tenants of this plan.
fn placements(after: &Snapshot, changes: &[Change], report: &mut Report) {
    let tenants = changes.iter().filter(|change| change.kind == Kind::Tenant && change.action != Action::Refused);
    let concerned: BTreeSet<&DocumentName> = tenants.map(|change| &change.name).collect();
    if concerned.is_empty() {
        return;
    }
    let lines = place::place(after).report().lines;
    report.lines.extend(lines.into_iter().filter(|line| concerned.contains(&line.name)));
}
