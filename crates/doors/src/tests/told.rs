//! What status and explanations say, from documents alone.

use api::v1::About;
use model::{Document, DocumentName, Kind, Metadata, Revision};
use serde_json::{Value, json};

use super::read;
use crate::State;
use crate::explain::explain;
use crate::status::{row, status};

fn about() -> About {
    About { version: "1".to_owned(), platform: "atoll".to_owned(), incarnation: "x".to_owned(), active: true, looked: true }
}

fn name(text: &str) -> DocumentName {
    DocumentName::new(text).unwrap()
}

fn condition(r#type: &str, status: &str, reason: &str) -> Value {
    json!({ "type": r#type, "status": status, "reason": reason, "message": format!("says {reason}"), "lastTransitionTime": "2026-01-01T00:00:00Z" })
}

/// A platform with a cell and these tenants; statuses by tenant.
fn state(tenants: &[(&str, &str, Value)]) -> State {
    let mut state = State::default();
    for document in read(super::BLUEPRINT) {
        state.put(document).unwrap();
    }
    let cell = "apiVersion: atoll.dev/v1alpha1\nkind: Cell\nmetadata: { name: a }\nspec: { blueprint: wordpress.2026.11.1 }\n";
    let mut cell = read(cell).remove(0);
    cell.status = json!({
        "conditions": [condition("Ready", "True", "Ready")], "observedGeneration": 0, "tenants": tenants.len(),
        "services": { "web": { "wanted": 2, "ready": 2 } }, "gates": { "gate-1": { "address": "10.91.0.2:8080", "ready": true, "acknowledged": 3 } },
        "database": { "writer": "n1", "nodes": { "n1": { "state": "Synced", "since": "2026-01-01T00:00:00Z" }, "n2": { "state": "Joining", "since": "2026-01-01T00:00:00Z" } } },
    });
    state.put(cell).unwrap();
    for (tenant, wanted, status) in tenants {
        let mut document = read(&super::tenant(tenant)).remove(0);
        document.spec["state"] = (*wanted).into();
        document.status = status.clone();
        state.put(document).unwrap();
    }
    state
}

fn operation(name: &str, created: &str, status: Value) -> Document {
    let mut metadata = Metadata::named(DocumentName::new(name).unwrap());
    metadata.created_at = Some(created.parse().unwrap());
    metadata.revision = Revision(1);
    let subject = json!({ "kind": "Tenant", "name": "alpha" });
    let spec = json!({ "verb": "TenantCreate", "subject": subject, "parameters": {}, "requestedBy": "t", "idempotencyKey": "k" });
    Document { kind: Kind::Operation, metadata, spec, status }
}

#[test]
fn what_is_not_as_wanted_comes_first_and_says_why() {
    let ready = json!({ "conditions": [condition("Ready", "True", "Ready")], "cell": "a", "epoch": 1, "serving": "Active" });
    let broken = json!({ "conditions": [condition("Ready", "False", "SettingsFailed")], "cell": "a", "epoch": 1 });
    let state = state(&[("alpha", "Active", ready), ("beta", "Active", broken), ("gamma", "Active", Value::Null)]);
    let answer = status(&state, about());
    let tenants: Vec<_> = answer
        .rows
        .iter()
        .filter(|r| r.kind == Kind::Tenant)
        .map(|r| (r.name.as_str(), r.state.as_str(), r.reason.as_deref(), r.as_wanted))
        .collect();
    assert_eq!(
        tenants,
        [("beta", "NotReady", Some("SettingsFailed"), false), ("gamma", "NotReady", Some("Starting"), false), ("alpha", "Ready", None, true)]
    );
    assert!(!answer.as_wanted);
    assert_eq!((answer.counts["tenants"], answer.counts["cells"], answer.left_out), (3, 1, 0));
    let cell = answer.rows.iter().find(|r| r.kind == Kind::Cell).unwrap();
    assert!(cell.as_wanted);
    assert_eq!(
        (cell.facts["tenants"].as_str(), cell.facts["services"].as_str(), cell.facts["database"].as_str()),
        ("3/10", "web 2/2", "1/2 writer n1")
    );
}

#[test]
fn trouble_with_a_certificate_is_told_and_one_on_its_way_is_none() {
    let with = |status: &str, reason: &str| json!({ "conditions": [condition("Ready", "True", "Ready"), condition("CertificatesReady", status, reason)], "cell": "a", "epoch": 1, "serving": "Active" });
    let state = state(&[("alpha", "Active", with("Unknown", "CertificatePending")), ("beta", "Active", with("False", "DomainElsewhere"))]);
    let (pending, trouble) = (row(&state, Kind::Tenant, &name("alpha")).unwrap(), row(&state, Kind::Tenant, &name("beta")).unwrap());
    assert_eq!((pending.state.as_str(), pending.as_wanted, pending.reason), ("Ready", true, None));
    assert_eq!((trouble.state.as_str(), trouble.as_wanted, trouble.reason.as_deref()), ("Ready", false, Some("DomainElsewhere")));
    let why = explain(&state, Kind::Tenant, &name("beta")).unwrap();
    assert!(why.conditions.iter().any(|c| c.condition.r#type == "CertificatesReady" && c.meaning.is_some() && c.next.is_some()));
}

#[test]
fn what_is_off_on_request_is_as_wanted_once_it_is_so() {
    let off = |serving: &str| json!({ "conditions": [condition("Ready", "False", "Suspended")], "cell": "a", "epoch": 1, "serving": serving });
    let state = state(&[("alpha", "Suspended", off("Suspended")), ("beta", "Suspended", off("Active"))]);
    let (done, under_way) = (row(&state, Kind::Tenant, &name("alpha")).unwrap(), row(&state, Kind::Tenant, &name("beta")).unwrap());
    assert_eq!((done.state.as_str(), done.as_wanted, done.reason), ("Suspended", true, None));
    assert_eq!((under_way.state.as_str(), under_way.as_wanted), ("Suspended", false));
}

#[test]
fn rows_are_bounded_and_the_count_is_not() {
    let ready = json!({ "conditions": [condition("Ready", "True", "Ready")], "cell": "a", "epoch": 1, "serving": "Active" });
    let names: Vec<String> = (0..150).map(|n| format!("t{n}")).collect();
    let tenants: Vec<_> = names.iter().map(|n| (n.as_str(), "Active", ready.clone())).collect();
    let answer = status(&state(&tenants), about());
    assert_eq!((answer.rows.iter().filter(|r| r.kind == Kind::Tenant).count(), answer.left_out, answer.counts["tenants"]), (100, 50, 150));
}

#[test]
fn a_failed_operation_shows_until_something_newer_was_tried() {
    let mut state = state(&[("alpha", "Active", Value::Null)]);
    let shown =
        |state: &State| status(state, about()).rows.iter().filter(|r| r.kind == Kind::Operation).map(|r| r.name.to_string()).collect::<Vec<_>>();
    state.put(operation("first", "2026-01-01T00:00:00Z", json!({ "state": "Failed", "reason": "HookFailed", "message": "exit code 1" }))).unwrap();
    assert_eq!(shown(&state), ["first"]);
    state.put(operation("second", "2026-01-02T00:00:00Z", json!({ "state": "Running" }))).unwrap();
    assert_eq!(shown(&state), ["second"]);
    state.put(operation("second", "2026-01-02T00:00:00Z", json!({ "state": "Done" }))).unwrap();
    assert_eq!(shown(&state), Vec::<String>::new());
}

#[test]
fn an_explanation_says_reason_meaning_operation_and_next_command() {
    let broken = json!({ "conditions": [condition("Placed", "True", "Placed"), condition("Ready", "False", "HookFailed")], "cell": "a", "epoch": 1 });
    let mut state = state(&[("alpha", "Active", broken)]);
    let steps = json!([{ "name": "schema", "state": "Done", "attempts": 1, "beganAt": "2026-01-01T00:00:00Z" },
        { "name": "hook", "state": "Begun", "attempts": 3, "beganAt": "2026-01-01T00:00:00Z", "message": "exit code 1" }]);
    state.put(operation("create-alpha", "2026-01-01T00:00:00Z", json!({ "state": "Running", "steps": steps }))).unwrap();
    let why = explain(&state, Kind::Tenant, &name("alpha")).unwrap();
    let conditions: Vec<_> = why.conditions.iter().map(|c| (c.condition.r#type.as_str(), c.meaning.is_some(), c.next.is_some())).collect();
    assert_eq!(conditions, [("Ready", true, true), ("Placed", true, false)]);
    assert_eq!(why.operation.unwrap().as_str(), "create-alpha");
    assert!(why.next.contains(&"atoll operation follow create-alpha".to_owned()), "{:?}", why.next);
    let why = explain(&state, Kind::Operation, &name("create-alpha")).unwrap();
    assert_eq!(why.notes, ["step schema: done", "step hook: under way after 3 tries: exit code 1"]);
    assert_eq!((why.row.state.as_str(), why.row.as_wanted, why.operation), ("Running", false, None));
}

#[test]
fn a_tenant_without_a_cell_is_told_why() {
    let mut state = state(&[]);
    state.gone(Kind::Cell, &name("a"));
    for document in read(super::TENANT) {
        state.put(document).unwrap();
    }
    let why = explain(&state, Kind::Tenant, &name("alpha")).unwrap();
    assert!(why.notes.iter().any(|note| note.starts_with("placement: ")), "{:?}", why.notes);
    assert!(why.next.iter().any(|next| next.starts_with("atoll cell open")), "{:?}", why.next);
    assert!(explain(&state, Kind::Tenant, &name("omega")).is_none());
}

#[test]
fn parts_of_a_cell_that_are_missing_are_named() {
    let why = explain(&state(&[]), Kind::Cell, &name("a")).unwrap();
    assert_eq!(why.notes, ["database node n2 is Joining since 2026-01-01T00:00:00Z"]);
}

#[test]
fn every_code_stands_once_and_in_order() {
    let codes: Vec<_> = crate::codes::ALL.iter().map(|door| door.page.code).collect();
    let mut sorted = codes.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(codes, sorted);
    assert!(codes.iter().all(|code| code.starts_with("A02") && plan::codes::fault(code).is_some()));
}
