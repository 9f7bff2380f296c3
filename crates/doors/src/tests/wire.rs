//! The socket, the streams and everything that is not understood.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use api::Client;
use api::v1::{LogsQuery, WatchLine};
use engine::{InstanceState, LogLine, Observation, Observed, ObservedInstance, Reason};
use jiff::Timestamp;
use model::{DocumentName, Kind, Revision};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::{BLUEPRINT, Backwards, House, TENANT, Told, refusal, tenant};
use crate::{Doors, Options, ServeError, serve};

/// Sends raw bytes, reads all of the answer.
async fn raw(house: &House, request: &str) -> String {
    let mut stream = UnixStream::connect(&house.socket).await.unwrap();
    // A refusal may come, and the connection end, before the whole request was taken.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn ask(house: &House, method: &str, path: &str, body: &str) -> String {
    raw(house, &format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await
}

#[tokio::test]
async fn every_mistake_is_a_fault_with_its_status() {
    let house = House::open().await;
    for (method, path, body, status, code, words) in [
        ("GET", "/", "", 404, "A0202", "there is no GET /"),
        ("DELETE", "/v1/status", "", 404, "A0202", "there is no DELETE /v1/status"),
        ("GET", "/v1/ledger?by=week", "", 400, "A0201", "week"),
        ("GET", "/v1/ledger?tenant=Alpha", "", 400, "A0201", "tenant"),
        ("GET", "/v1/documents/ships", "", 400, "A0201", "unknown kind"),
        ("GET", "/v1/documents/tenants/Alpha", "", 400, "A0201", "Alpha"),
        ("GET", "/v1/documents/tenants/alpha", "", 404, "A0203", "there is no tenant alpha"),
        ("GET", "/v1/documents/secrets", "", 403, "A0213", "not shown"),
        ("GET", "/v1/documents/secrets/a", "", 403, "A0213", "not shown"),
        ("GET", "/v1/watch/secrets?from=0", "", 403, "A0213", "not shown"),
        ("GET", "/v1/explain/secrets/a", "", 403, "A0213", "not shown"),
        ("GET", "/v1/documents/tenants?page=x", "", 400, "A0201", "page=x"),
        ("GET", "/v1/documents/tenants?labels=x", "", 400, "A0201", "key=value"),
        ("GET", "/v1/documents/tenants?limits=1", "", 400, "A0201", "query"),
        ("GET", "/v1/watch/tenants", "", 400, "A0201", "query"),
        ("GET", "/v1/watch/tenants?from=999", "", 410, "A0214", "999"),
        ("GET", "/v1/plans/none", "", 404, "A0351", "there is no plan none"),
        ("POST", "/v1/tenants", "{", 400, "A0201", "the body is not as documented"),
        ("POST", "/v1/tenants", "{\"name\":\"Alpha\"}", 400, "A0201", "name: "),
        ("POST", "/v1/tenants/a/suspend", "", 404, "A0203", "there is no tenant a"),
        ("POST", "/v1/operations/a/reveal", "", 404, "A0203", "there is no operation a"),
    ] {
        let answer = ask(&house, method, path, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")) && answer.contains(words), "{method} {path}: {answer}");
    }
    let large = format!("{{\"name\":\"{}\"}}", "a".repeat(2 << 20));
    let answer = ask(&house, "POST", "/v1/tenants", &large).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("A0215"), "{answer}");
}

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_has_one_server() {
    let house = House::open().await;
    assert_eq!(std::fs::metadata(&house.socket).unwrap().permissions().mode() & 0o777, 0o660);
    let doors = |house: &House| Doors::new(house.store.shared(), Arc::new(Told::default()), Arc::new(Backwards), "atoll".parse().unwrap());
    let options = Options { socket: house.socket.clone() };
    assert!(matches!(serve(options.clone(), doors(&house), CancellationToken::new()).await, Err(ServeError::InUse { .. })));
    assert!(house.client.about().await.unwrap().active, "the first one is not disturbed");
    house.stop.cancel();
    house.serving.await.unwrap().unwrap();
    assert!(house.socket.exists(), "what a killed control would leave behind");
    let stop = CancellationToken::new();
    let passive = Doors::new(house.store.shared(), Arc::new(Told::default()), Arc::new(Backwards), "atoll".parse().unwrap()).active(|| false);
    let again = tokio::spawn(serve(options, passive, stop.clone()));
    let about = loop {
        match house.client.about().await {
            Ok(about) => break about,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!((about.platform.as_str(), about.active), ("atoll", false));
    stop.cancel();
    again.await.unwrap().unwrap();
}

#[tokio::test]
async fn lists_come_in_pages_and_by_label() {
    let house = House::open().await;
    house.apply(BLUEPRINT).await;
    let tenants: Vec<_> = (0..7).map(|n| tenant(&format!("t{n}")).replace("name: t0 ", "name: t0, labels: { team: a } ")).collect();
    house.apply(&tenants.join("---")).await;
    let answer = ask(&house, "GET", "/v1/documents/tenants?limit=3", "").await;
    assert!(answer.contains(":t2\"") && !answer.contains("t3.localhost"), "{answer}");
    let all = house.client.documents(Kind::Tenant, "").await.unwrap();
    assert_eq!((all.documents.len(), all.revision), (7, house.store.head()));
    let labelled = house.client.documents(Kind::Tenant, "team=a").await.unwrap();
    assert_eq!(labelled.documents.iter().map(|d| d.metadata.name.as_str()).collect::<Vec<_>>(), ["t0"]);
}

#[tokio::test]
async fn a_watch_tells_every_change_and_ends_with_the_door() {
    let house = House::open().await;
    house.apply(&format!("{BLUEPRINT}---{TENANT}")).await;
    let mut watch = house.client.watch(Kind::Tenant, Revision(0)).await.unwrap();
    let Some(WatchLine::Put(document)) = watch.next().await.unwrap() else { panic!("no put") };
    assert_eq!(document.metadata.name.as_str(), "alpha");
    house.client.tenant_suspend(&"alpha".parse().unwrap()).await.unwrap();
    let line = loop {
        match watch.next().await.unwrap() {
            Some(WatchLine::Bookmark(_)) => {}
            line => break line,
        }
    };
    assert!(matches!(&line, Some(WatchLine::Put(document)) if document.spec["state"] == "Suspended"), "{line:?}");
    let begun = std::time::Instant::now();
    house.stop.cancel();
    while watch.next().await.is_ok_and(|line| line.is_some()) {}
    house.serving.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "an open watch does not hold up the stop");
}

fn instance(name: &str, service: &str) -> ObservedInstance {
    ObservedInstance {
        name: name.parse().unwrap(),
        service: service.parse().unwrap(),
        address: None,
        version: "v".to_owned(),
        state: InstanceState::Ready,
        since: Timestamp::UNIX_EPOCH,
        restarts: 0,
        last_exit: None,
        reason: Reason::AsWanted,
        message: String::new(),
    }
}

fn line(name: &str, second: i64, text: &str) -> LogLine {
    LogLine { instance: name.parse().unwrap(), at: Some(Timestamp::from_second(second).unwrap()), stderr: false, text: text.to_owned() }
}

async fn texts(client: &Client, query: LogsQuery) -> Vec<String> {
    let mut lines = client.logs(&"a".parse().unwrap(), &query).await.unwrap();
    let mut texts = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        texts.push(line.line);
    }
    texts
}

#[tokio::test]
async fn logs_of_several_instances_are_one_log() {
    let house = House::open().await;
    house.apply(BLUEPRINT).await;
    assert_eq!(refusal(house.client.logs(&"a".parse().unwrap(), &LogsQuery::default()).await).1, "A0203");
    let open = api::v1::CellOpen { name: "a".parse().unwrap(), blueprint: None, region: None };
    house.client.cell_open(&open).await.unwrap();
    assert_eq!(refusal(house.client.logs(&"a".parse().unwrap(), &LogsQuery::default()).await).1, "A0209", "unknown is not empty");
    let instances = vec![instance("web-1", "web"), instance("web-2", "web"), instance("php-1", "php")];
    *house.engine.observation.lock().unwrap() = Some(Observation::Known(Observed { instances, ..Observed::default() }));
    *house.engine.lines.lock().unwrap() =
        vec![line("web-1", 1, "one"), line("web-1", 4, "four"), line("web-2", 2, "two"), line("web-2", 3, "three"), line("php-1", 9, "nine")];
    assert_eq!(texts(&house.client, LogsQuery::default()).await, ["one", "two", "three", "four", "nine"]);
    let of = |instance: &str| LogsQuery { instance: Some(instance.to_owned()), ..LogsQuery::default() };
    assert_eq!(texts(&house.client, of("web")).await, ["one", "two", "three", "four"]);
    assert_eq!(texts(&house.client, of("web-2")).await, ["two", "three"]);
    let (_, code, message) = refusal(house.client.logs(&"a".parse().unwrap(), &of("db")).await);
    assert_eq!(code, "A0203");
    assert!(message.contains("there are web-1, web-2, php-1"), "{message}");
    let mut following = house.client.logs(&"a".parse().unwrap(), &LogsQuery { follow: true, ..of("web-2") }).await.unwrap();
    assert_eq!(following.next().await.unwrap().unwrap().line, "two");
    house.stop.cancel();
    house.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn logs_of_a_database_s_nodes_and_endpoint_stand_beside_those_of_instances() {
    let house = House::open().await;
    house.apply(&BLUEPRINT.replace("  services:", "  database: { engine: mariadb, nodes: 3, memory: 512Mi }\n  services:")).await;
    house.client.cell_open(&api::v1::CellOpen { name: "a".parse().unwrap(), blueprint: None, region: None }).await.unwrap();
    let instances = vec![instance("web-1", "web")];
    *house.engine.observation.lock().unwrap() = Some(Observation::Known(Observed { instances, ..Observed::default() }));
    *house.engine.lines.lock().unwrap() = vec![line("web-1", 1, "one"), line("n1", 2, "two"), line("n3", 3, "three"), line("db", 4, "four")];
    let of = |instance: &str| LogsQuery { instance: Some(instance.to_owned()), ..LogsQuery::default() };
    assert_eq!(texts(&house.client, LogsQuery::default()).await, ["one", "two", "three", "four"]);
    assert_eq!(texts(&house.client, of("database")).await, ["two", "three", "four"]);
    assert_eq!(texts(&house.client, of("n3")).await, ["three"]);
    assert_eq!(texts(&house.client, of("db")).await, ["four"]);
    *house.engine.absent.lock().unwrap() = vec!["n2", "n3"];
    assert_eq!(texts(&house.client, of("database")).await, ["two", "four"], "a node without a container has nothing to say");
    let (_, code, message) = refusal(house.client.logs(&"a".parse().unwrap(), &of("n3")).await);
    assert!(code == "A0203" && message.contains("no container of n3"), "{code} {message}");
    let (_, _, message) = refusal(house.client.logs(&"a".parse().unwrap(), &of("mail")).await);
    assert!(message.contains("there are web-1, db, n1, n2, n3"), "{message}");
}

#[tokio::test]
async fn who_asked_is_kept_with_what_was_asked_for() {
    let house = House::open().await;
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(house.socket.parent().unwrap()).unwrap());
    let by = async |kind: Kind, name: &str| {
        let document = house.client.document(kind, &DocumentName::new(name).unwrap()).await.unwrap();
        document.metadata.asked_by.unwrap_or_default()
    };
    house.apply(&format!("{BLUEPRINT}---{TENANT}")).await;
    assert_eq!(by(Kind::Tenant, "alpha").await, format!("test:doors@uid:{uid}"));
    let other = Client::unix(&house.socket, "cli:bob@operator:admin");
    other.tenant_suspend(&"alpha".parse().unwrap()).await.unwrap();
    assert_eq!(by(Kind::Tenant, "alpha").await, format!("cli:boboperator:admin@uid:{uid}"), "nobody can say what only a proof may say");
    let head = house.store.head();
    Client::unix(&house.socket, "cli:eve").tenant_suspend(&"alpha".parse().unwrap()).await.unwrap();
    assert_eq!(house.store.head(), head, "who asks for what stands already has changed nothing");
    house.client.cell_open(&api::v1::CellOpen { name: "a".parse().unwrap(), blueprint: None, region: None }).await.unwrap();
    house.status(Kind::Cell, "a", serde_json::json!({ "tenants": 0 })).await;
    other.cell_close(&"a".parse().unwrap()).await.unwrap();
    assert_eq!(by(Kind::Cell, "a").await, format!("cli:boboperator:admin@uid:{uid}"), "also of what goes");
}

#[tokio::test]
async fn status_and_explanations_are_as_fresh_as_the_last_write() {
    let house = House::open().await;
    house.apply(&format!("{BLUEPRINT}---{TENANT}")).await;
    for round in 0..20 {
        let alpha = "alpha".parse().unwrap();
        let wanted = if round % 2 == 0 {
            house.client.tenant_suspend(&alpha).await.map(|_| "Suspended")
        } else {
            house.client.tenant_resume(&alpha).await.map(|_| "NotReady")
        };
        let status = house.client.status().await.unwrap();
        let row = status.rows.iter().find(|row| row.kind == Kind::Tenant).unwrap();
        assert_eq!(row.state, wanted.unwrap(), "round {round}");
    }
    let why = house.client.explain(Kind::Tenant, &DocumentName::new("alpha").unwrap()).await.unwrap();
    assert!(why.notes.iter().any(|note| note.starts_with("placement: ")), "{why:?}");
    house.store.set_down(Some("by the test"));
    let (status, code, _) = refusal(house.client.status().await);
    assert_eq!((status, code.as_str()), (503, "A0208"));
}
