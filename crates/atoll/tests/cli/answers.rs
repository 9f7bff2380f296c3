//! Answers in every form, and refusals.

use engine::LogLine;
use jiff::{SignedDuration, Timestamp};
use ledger::{Counts, Grain, Ledger as _, Report, Row, Span};
use model::{InstanceName, Kind, TenantName};
use serde_json::{Value, json};

use crate::house::House;

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    let since = Timestamp::now() - SignedDuration::from_secs(185);
    json!({ "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since, "observedGeneration": 1 })
}

/// A site of which one node is away.
async fn ailing() -> House {
    let house = House::with_site().await;
    let since = Timestamp::now() - SignedDuration::from_secs(185);
    let ready = |observed: u32| json!({ "conditions": [condition("Ready", "True", "AsWanted", "")], "observedGeneration": observed });
    house.status(Kind::Platform, "atoll", json!({ "conditions": [condition("Ready", "True", "AsWanted", "")] })).await;
    house.status(Kind::Machine, "local", ready(1)).await;
    let cell = json!({
        "conditions": [
            condition("DatabaseReady", "False", "NodeDown", "n2 does not answer; n1 and n3 hold the quorum"),
            condition("Ready", "False", "NodeDown", "n2 does not answer"),
            condition("ServicesReady", "True", "AsWanted", ""),
        ],
        "observedGeneration": 1, "tenants": 1, "serving": "wordpress.2026.11.1",
        "services": { "web": { "wanted": 2, "ready": 2 }, "php": { "wanted": 2, "ready": 1, "reason": "CrashLoop", "message": "ended with code 1" } },
        "gates": { "gate-1": { "address": "10.91.0.2:8080", "ready": true, "acknowledged": 7 } },
        "database": { "writer": "n1", "nodes": {
            "n1": { "state": "Synced", "since": since },
            "n2": { "state": "Down", "since": since, "reason": "NodeDown" },
        } },
    });
    house.status(Kind::Cell, "cell-a", cell).await;
    let tenant = json!({
        "conditions": [condition("Placed", "True", "Placed", "in cell-a"), condition("Ready", "True", "AsWanted", "")],
        "observedGeneration": 1, "cell": "cell-a", "epoch": 1, "schema": "t_1", "serving": "Active",
    });
    house.status(Kind::Tenant, "alpha", tenant).await;
    let operation = json!({
        "verb": "TenantCreate", "subject": { "kind": "Tenant", "name": "alpha" }, "parameters": {}, "requestedBy": "cli:ann", "idempotencyKey": "k",
    });
    house.wish(Kind::Operation, "create-alpha", operation).await;
    let began = Timestamp::now() - SignedDuration::from_secs(3);
    let steps = json!([
        { "name": "schema", "state": "Done", "attempts": 1, "beganAt": began, "endedAt": began + SignedDuration::from_millis(1_250) },
        { "name": "hook", "state": "Begun", "attempts": 2, "beganAt": began, "message": "waits for the database" },
    ]);
    house.status(Kind::Operation, "create-alpha", json!({ "state": "Running", "steps": steps, "reason": "Waiting" })).await;
    house
}

#[tokio::test]
async fn answers_for_people() {
    let house = ailing().await;
    let calls: [(&str, &[&str]); 13] = [
        ("status", &["status"]),
        ("explain-cell", &["explain", "cell", "cell-a"]),
        ("tenant-list", &["tenant", "list"]),
        ("tenant-show", &["tenant", "show", "alpha"]),
        ("cell-list", &["cell", "list"]),
        ("cell-show", &["cell", "show", "cell-a"]),
        ("operation-list", &["operation", "list", "--running"]),
        ("operation-show", &["operation", "show", "create-alpha"]),
        ("cell-drain", &["cell", "drain", "cell-a"]),
        ("explain-code", &["explain", "A0341"]),
        ("explain-reason", &["explain", "crashloop"]),
        ("explain-what", &["explain", "cell"]),
        ("not-found", &["tenant", "show", "nobody"]),
    ];
    for (name, call) in calls {
        insta::assert_snapshot!(name, house.run(call).await.text());
    }
    assert_eq!(house.run(&["status", "--check"]).await.status, 6);
}

#[tokio::test]
async fn answers_for_programs() {
    let house = ailing().await;
    insta::assert_snapshot!("tenant-list-json", house.ok(&["tenant", "list", "-o", "json"]).await);
    insta::assert_snapshot!("tenant-show-yaml", house.ok(&["tenant", "show", "alpha", "-o", "yaml"]).await);
    insta::assert_snapshot!("status-yaml", house.ok(&["-o", "yaml", "status"]).await);
    let json: Value = serde_json::from_str(&house.ok(&["cell", "show", "cell-a", "-o", "json"]).await).unwrap();
    assert_eq!(json["status"]["database"]["writer"], "n1");
    let ended = house.run(&["tenant", "show", "nobody", "-o", "json"]).await;
    let error: Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!((ended.status, ended.stdout.as_str(), &error["error"]["exit"]), (3, "", &json!(3)));
}

#[tokio::test]
async fn usage_by_tenant_and_by_time() {
    let house = House::open().await;
    insta::assert_snapshot!("usage-none", house.ok(&["usage", "--since", "2026-01-01T00:00:00Z", "--until", "2026-01-02T00:00:00Z"]).await);
    // 2026-01-01T10:00:00Z
    let begin = 1_767_261_600;
    let row = |minute: i64, tenant: &str, counts: Counts| Row {
        span: Span::at(begin + 60 * minute, Grain::Minute),
        tenant: TenantName::new(tenant).unwrap(),
        counts,
    };
    let busy = Counts { requests: 1200, answered: 1195, failed: 5, errors: 7, cut: 2, limited: 30, shed: 4, ..Counts::default() };
    let busy = Counts { bytes_in: 2_500_000, bytes_out: 81_000_000, busy_us: 36_000_000, cpu_us: 1_234_567, ..busy };
    let calm = Counts { requests: 1, answered: 1, bytes_out: 900, busy_us: 4_200, cpu_us: 80, ..Counts::default() };
    let rows = vec![row(0, "alpha", busy), row(1, "alpha", calm), row(61, "alpha", calm), row(1, "beta", calm)];
    let report = Report { incarnation: "i".to_owned(), sequence: 1, from: begin, to: begin + 3_720, rows, lost: 0 };
    // At that time, so that minutes stay minutes.
    house.ledger.take("edge", &report, begin + 4_000).unwrap();
    let day = ["--since", "2026-01-01T00:00:00Z", "--until", "2026-01-02T00:00:00Z"];
    let call = async |arguments: &[&str]| house.ok(&[&["usage"], arguments, &day].concat()).await;
    insta::assert_snapshot!("usage-tenants", call(&[]).await);
    insta::assert_snapshot!("usage-minutes", call(&["alpha"]).await);
    insta::assert_snapshot!("usage-hours", call(&["--by", "hour"]).await);
    insta::assert_snapshot!("usage-json", call(&["beta", "-o", "json"]).await);
}

#[tokio::test]
async fn plans_and_their_application() {
    let house = House::open().await;
    let site = house.path("site.yaml");
    insta::assert_snapshot!("plan-new", house.run(&["plan", "-f", &site]).await.text());
    assert_eq!(house.run(&["plan", "--check", "-f", &site]).await.status, 6);
    assert_eq!(house.spec(Kind::Tenant, "alpha").await, None, "a plan writes nothing");
    let unasked = house.run(&["apply", "-f", &site]).await;
    assert_eq!(unasked.status, 2, "without a terminal nobody can agree");
    assert_eq!(house.spec(Kind::Tenant, "alpha").await, None);
    insta::assert_snapshot!("apply", house.run(&["apply", "--yes", "--no-wait", "-f", &site]).await.text());
    insta::assert_snapshot!("apply-again", house.run(&["apply", "--yes", "--no-wait", "-f", &site]).await.text());
    assert_eq!(house.run(&["plan", "--check", "-f", &site]).await.status, 0);
    let changed = "apiVersion: atoll.dev/v1alpha1\nkind: Tenant\nmetadata: { name: alpha }\nspec: { blueprint: wordpress, domains: [alpha.localhost], contact: b@alpha.example, title: Alpha }\n";
    let taken = "apiVersion: atoll.dev/v1alpha1\nkind: Tenant\nmetadata: { name: beta }\nspec: { blueprint: nothing, domains: [beta.localhost], contact: b@beta.example }\n";
    let both = house.file("both.yaml", &format!("{changed}---\n{taken}"));
    let refused = house.run(&["apply", "--yes", "-f", &both]).await;
    assert_eq!(refused.status, 3);
    insta::assert_snapshot!("apply-refused", refused.text());
    assert_eq!(house.spec(Kind::Tenant, "alpha").await.unwrap()["contact"], "a@alpha.example", "all or nothing");
    let changed = house.file("changed.yaml", changed);
    insta::assert_snapshot!("plan-update", house.run(&["plan", "-f", &changed]).await.text());
    let json: Value = serde_json::from_str(&house.ok(&["plan", "-o", "json", "-f", &changed]).await).unwrap();
    assert_eq!(json["changes"][0]["action"], "update");
}

#[tokio::test]
async fn mistakes_in_files_are_told_with_their_place() {
    let house = House::open().await;
    let file = house.file("bad.yaml", "apiVersion: atoll.dev/v1alpha1\nkind: Tenant\nmetadata: { name: alpha }\nspec:\n  bluprint: wordpress\n");
    let ended = house.run(&["plan", "-f", &file]).await;
    assert_eq!(ended.status, 3);
    insta::assert_snapshot!("bad-file", ended.text());
}

#[tokio::test]
async fn log_lines_come_clean_and_in_order() {
    let house = House::with_site().await;
    let line = |instance: &str, second: i64, text: &str| LogLine {
        instance: InstanceName::new(instance).unwrap(),
        at: Timestamp::from_second(second).ok(),
        stderr: instance.starts_with("php"),
        text: text.to_owned(),
    };
    *house.engine.0.lock().unwrap() =
        vec![line("web-1", 1, "GET /"), line("web-1", 3, "GET /\u{1b}]0;owned\u{7}wp\u{1b}[31m"), line("php-1", 2, "PHP Notice: x")];
    insta::assert_snapshot!("logs", house.run(&["logs", "cell-a"]).await.text());
    insta::assert_snapshot!("logs-json", house.ok(&["logs", "cell-a", "web", "--tail", "5", "--since", "1h", "-o", "json"]).await);
    insta::assert_snapshot!("logs-nobody", house.run(&["logs", "cell-a", "mail"]).await.text());
}
