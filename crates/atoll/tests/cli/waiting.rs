//! Commands that wait: for tenants and cells that a stand-in for control brings to their goal, or does not.

use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use model::Kind;
use serde_json::{Value, json};
use store::{Event, ListOptions, Store as _};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinHandle;

use crate::house::House;

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": reason, "message": format!("it is {reason}"), "lastTransitionTime": Timestamp::now(), "observedGeneration": 9 })
}

/// How the stand-in ends what is wanted.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Done,
    Failed,
    Unplaced,
    Never,
}

/// Brings every tenant that is wished for to an end.
fn control(house: &std::sync::Arc<House>, end: End) -> JoinHandle<()> {
    let house = house.clone();
    tokio::spawn(async move {
        let from = house.store.list(Kind::Tenant, ListOptions::default()).await.unwrap().revision;
        let mut watch = house.store.watch(Some(Kind::Tenant), from).await.unwrap();
        let mut seen = std::collections::BTreeMap::new();
        while let Ok(event) = watch.next().await {
            let Event::Put(tenant) = event else { continue };
            let (name, generation) = (tenant.metadata.name.to_string(), tenant.metadata.generation.0);
            if seen.insert(name.clone(), generation) != Some(generation) {
                let state = tenant.spec["state"].as_str().unwrap_or("Active").to_owned();
                act(&house, &name, generation, &state, end).await;
            }
        }
    })
}

async fn act(house: &House, name: &str, generation: u64, state: &str, end: End) {
    let operation = format!("op-{name}-{generation}");
    let working = json!({ "operation": operation, "conditions": [condition("Placed", "True", "Placed")], "observedGeneration": generation });
    match end {
        End::Never => return house.status(Kind::Tenant, name, working).await,
        End::Unplaced => {
            let status = json!({ "conditions": [condition("Placed", "False", "NoRoom")], "observedGeneration": generation });
            return house.status(Kind::Tenant, name, status).await;
        }
        End::Done | End::Failed => {}
    }
    let verb = if generation == 1 { "TenantCreate" } else { "TenantSuspend" };
    let subject = json!({ "kind": "Tenant", "name": name });
    let spec = json!({ "verb": verb, "subject": subject, "parameters": {}, "requestedBy": "x", "idempotencyKey": operation });
    house.wish(Kind::Operation, &operation, spec).await;
    house.status(Kind::Tenant, name, working).await;
    let step = |state: &str| json!([{ "name": "schema", "state": state, "attempts": 1, "beganAt": Timestamp::now() }]);
    house.status(Kind::Operation, &operation, json!({ "state": "Running", "steps": step("Begun") })).await;
    if end == End::Failed {
        let failed = json!({ "state": "Failed", "steps": step("Failed"), "reason": "HookFailed", "message": "wp core install ended with code 1" });
        return house.status(Kind::Operation, &operation, failed).await;
    }
    let sealed: String = r#"{"adminUser":"admin","adminPassword":"pa55"}"#.chars().rev().collect();
    house.wish(Kind::Secret, &format!("secret-{operation}"), json!({ "key": "k", "sealed": sealed })).await;
    let done = json!({ "state": "Done", "steps": step("Done"), "reveal": format!("secret-{operation}") });
    house.status(Kind::Operation, &operation, done).await;
    let ready = json!({
        "conditions": [condition("Placed", "True", "Placed"), condition("Ready", "True", "AsWanted")],
        "observedGeneration": generation, "cell": "cell-a", "epoch": 1, "serving": state,
    });
    house.status(Kind::Tenant, name, ready).await;
}

const ADD: [&str; 11] =
    ["tenant", "add", "nova", "--domain", "nova.localhost", "--domain", "www.nova.localhost", "--contact", "a@nova.example", "--title", "Nova"];

async fn house(end: End) -> (std::sync::Arc<House>, JoinHandle<()>) {
    let house = std::sync::Arc::new(House::with_site().await);
    let control = control(&house, end);
    tokio::task::yield_now().await;
    (house, control)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_added_and_its_password_shown_once() {
    let (house, control) = house(End::Done).await;
    let json: Value = serde_json::from_str(&house.ok(&[&ADD[..], &["-o", "json"]].concat()).await).unwrap();
    assert_eq!(json["url"], "http://nova.localhost:8080");
    assert_eq!((&json["adminUser"], &json["adminPassword"], &json["cell"]), (&json!("admin"), &json!("pa55"), &json!("cell-a")));
    let again = house.run(&ADD).await;
    insta::assert_snapshot!("tenant-add-again", again.text());
    let other = house.ok(&["tenant", "add", "vega", "--domain", "vega.localhost", "--contact", "a@vega.example", "-q"]).await;
    insta::assert_snapshot!("tenant-add", other);
    insta::assert_snapshot!("tenant-suspend", house.run(&["tenant", "suspend", "nova", "-q"]).await.text());
    insta::assert_snapshot!("tenant-remove", house.run(&["tenant", "remove", "nova", "--yes", "-q"]).await.text());
    insta::assert_snapshot!("operation-follow", house.run(&["operation", "follow", "op-nova-1", "-q"]).await.text());
    control.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_operation_is_a_failed_command() {
    let (house, control) = house(End::Failed).await;
    let ended = house.run(&[&ADD[..], &["-q"]].concat()).await;
    assert_eq!(ended.status, 1);
    insta::assert_snapshot!("tenant-add-failed", ended.text());
    assert_eq!(house.run(&["operation", "follow", "op-nova-1"]).await.status, 1);
    control.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_ends_in_time() {
    let (house, control) = house(End::Never).await;
    let ended = house.run(&[&ADD[..], &["--timeout", "1s"]].concat()).await;
    assert_eq!(ended.status, 5);
    insta::assert_snapshot!("tenant-add-late", ended.text());
    control.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_without_room_is_told_early() {
    let (house, control) = house(End::Unplaced).await;
    let ended = house.run(&[&ADD[..], &["--timeout", "5m"]].concat()).await;
    assert_eq!(ended.status, 1);
    insta::assert_snapshot!("tenant-add-unplaced", ended.text());
    control.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interruption_says_how_to_go_on() {
    let (house, control) = house(End::Never).await;
    let mut child = house.command(&[&ADD[..], &["--timeout", "5m"]].concat()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The wish stands as soon as the stand-in works on it.
    let working = async {
        while house
            .store
            .get(&store::Key::new(Kind::Tenant, model::DocumentName::new("nova").unwrap()))
            .await
            .unwrap()
            .is_none_or(|d| d.status.is_null())
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), working).await.unwrap();
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut text = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        text += &format!("{line}\n");
    }
    assert_eq!(child.wait().await.unwrap().code(), Some(5));
    insta::assert_snapshot!("interrupted", text);
    control.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applying_waits_for_what_the_files_state() {
    let (house, control) = house(End::Done).await;
    let file = house.file(
        "more.yaml",
        "apiVersion: atoll.dev/v1alpha1\nkind: Tenant\nmetadata: { name: rigel }\nspec: { blueprint: wordpress, domains: [rigel.localhost], contact: a@rigel.example }\n",
    );
    let ended = house.run(&["apply", "--yes", "-f", &file, "-o", "json"]).await;
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["ready"], json!([{ "kind": "Tenant", "name": "rigel" }]));
    control.abort();
}
