//! Answers that are kept, between real sockets: a visitor, an edge with a cache, and a tenant that counts how often it is asked.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cache::{Cache, Options};
use proxy::Faces;
use support::{Backend, Client, PATIENCE, Relay, field, status};
use tokio::sync::Notify;

/// A tenant's application.
#[derive(Clone, Default)]
struct Application {
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
    /// Lets one answer of `/slow` go on.
    slow: Arc<Notify>,
}

impl Application {
    fn asked(&self, path: &str) -> u32 {
        self.asked.lock().unwrap().get(path).copied().unwrap_or_default()
    }

    /// Answers one request after the other, with the number of times that its path was asked for.
    async fn serve(self, mut connection: Client) {
        while let Some((head, _)) = connection.request().await {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let number = {
                let mut asked = self.asked.lock().unwrap();
                let count = asked.entry(path.clone()).or_default();
                *count += 1;
                *count
            };
            let whole = |fields: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n{number}", number.to_string().len());
            let text = match &*path {
                "/fresh" => whole("Cache-Control: max-age=60\r\nETag: \"v1\"\r\nLink: a\r\nLink: b\r\n"),
                "/text" => {
                    assert_eq!(field(&head, "accept-encoding"), None, "what is kept is asked for without a coding");
                    let text = "all the same words, ".repeat(200);
                    format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"t\"\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n{text}",
                        text.len()
                    )
                }
                "/private" => whole("Cache-Control: private, max-age=60\r\n"),
                "/asks" if field(&head, "if-none-match").as_deref() == Some("\"v1\"") => {
                    "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n".to_owned()
                }
                "/asks" => whole("Cache-Control: no-cache\r\nETag: \"v1\"\r\n"),
                "/ripe" => whole("Cache-Control: max-age=0, stale-while-revalidate=60\r\n"),
                "/fails" if number > 1 => "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno".to_owned(),
                "/fails" => whole("Cache-Control: max-age=0, stale-if-error=60\r\n"),
                "/trailers" => {
                    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n".to_owned()
                }
                "/chunks" => {
                    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n2\r\nyz\r\n0\r\n\r\n".to_owned()
                }
                "/until-close" => "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nx".to_owned(),
                "/slow" => {
                    connection.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 8\r\n\r\nhalf").await;
                    self.slow.notified().await;
                    "half".to_owned()
                }
                _ => whole("Content-Type: text/html\r\n"),
            };
            connection.send(&text).await;
            if path == "/until-close" {
                return;
            }
        }
    }
}

async fn world() -> (Application, Backend, Relay) {
    let application = Application::default();
    let serving = application.clone();
    let backend = Backend::start(move |connection, _| serving.clone().serve(connection)).await;
    let edge = Relay::with(&[backend.address], Faces::Visitors, |options| options.cache = Some(Cache::new(Options::new(1 << 20))));
    (application, backend, edge)
}

#[tokio::test]
async fn a_kept_answer_is_sent_again_as_it_was() {
    let (application, _backend, edge) = world().await;
    let mut visitor = edge.connect().await;
    let (head, body) = visitor.get("/fresh").await.unwrap();
    assert_eq!((body.as_str(), field(&head, "cache-status").as_deref()), ("1", Some("atoll; fwd=miss")), "{head}");
    let mut other = edge.connect().await;
    for client in [&mut visitor, &mut other] {
        let (head, body) = client.get("/fresh").await.unwrap();
        assert_eq!((body.as_str(), field(&head, "cache-status").as_deref()), ("1", Some("atoll; hit")), "{head}");
        assert!(head.contains("Link: a\r\nLink: b\r\n") && field(&head, "age").is_some(), "{head}");
    }
    other.send("HEAD /fresh HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    let head = other.until("\r\n\r\n").await.unwrap();
    assert_eq!((status(&head), field(&head, "content-length").as_deref()), (200, Some("1")), "{head}");
    other.send("GET /fresh HTTP/1.1\r\nHost: a.example\r\nIf-None-Match: \"v1\"\r\n\r\n").await;
    let head = other.until("\r\n\r\n").await.unwrap();
    assert_eq!((status(&head), field(&head, "content-length"), field(&head, "etag").as_deref()), (304, None, Some("\"v1\"")), "{head}");
    assert_eq!(application.asked("/fresh"), 1);
    other.send("GET /fresh HTTP/1.1\r\nHost: b.example\r\n\r\n").await;
    assert_eq!(other.answer().await.unwrap().1, "2", "another host is another site");
    other.send("GET /fresh HTTP/1.0\r\nHost: a.example\r\n\r\n").await;
    assert!(other.rest().await.ends_with("\r\n\r\n1"));
}

#[tokio::test]
async fn what_is_private_cut_or_without_an_end_is_asked_for_each_time() {
    let (application, _backend, edge) = world().await;
    for path in ["/private", "/trailers", "/until-close"] {
        for _ in 0..2 {
            let mut visitor = edge.connect().await;
            visitor.send(&format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")).await;
            visitor.rest().await;
        }
        assert_eq!(application.asked(path), 2, "{path}");
    }
    for _ in 0..2 {
        assert_eq!(edge.connect().await.get("/chunks").await.unwrap().1, "xyz");
    }
    assert_eq!(application.asked("/chunks"), 1);
    // Somebody known, or who wants a part, or asks for another protocol.
    for fields in ["Cookie: session=1\r\n", "Range: bytes=0-1\r\n", "Authorization: Basic eA==\r\n", "Connection: upgrade\r\nUpgrade: chat\r\n"] {
        let before = application.asked("/page2");
        let mut visitor = edge.connect().await;
        visitor.send(&format!("GET /page2 HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")).await;
        visitor.answer().await.unwrap();
        assert_eq!(application.asked("/page2"), before + 1, "{fields}");
    }
}

#[tokio::test]
async fn a_stale_answer_is_asked_about_and_sent_when_it_still_holds() {
    let (application, _backend, edge) = world().await;
    let mut visitor = edge.connect().await;
    assert_eq!(visitor.get("/asks").await.unwrap().1, "1");
    let (head, body) = visitor.get("/asks").await.unwrap();
    assert_eq!(
        (status(&head), body.as_str(), field(&head, "cache-status").as_deref()),
        (200, "1", Some("atoll; fwd=stale; fwd-status=304")),
        "{head}"
    );
    assert_eq!(application.asked("/asks"), 2);
    // A visitor's own condition is not the cache's.
    visitor.send("GET /asks HTTP/1.1\r\nHost: a.example\r\nIf-None-Match: \"other\"\r\n\r\n").await;
    let (head, body) = visitor.answer().await.unwrap();
    assert_eq!((status(&head), body.as_str()), (200, "1"), "{head}");
}

#[tokio::test]
async fn a_ripe_answer_is_sent_at_once_and_fetched_anew_behind_it() {
    let (application, _backend, edge) = world().await;
    let mut visitor = edge.connect().await;
    assert_eq!(visitor.get("/ripe").await.unwrap().1, "1");
    let (head, body) = visitor.get("/ripe").await.unwrap();
    assert_eq!((body.as_str(), field(&head, "cache-status").as_deref()), ("1", Some("atoll; hit; detail=refreshing")), "{head}");
    let renewed = async { while visitor.get("/ripe").await.unwrap().1 == "1" {} };
    tokio::time::timeout(PATIENCE, renewed).await.unwrap();
    assert!(application.asked("/ripe") >= 2);
}

#[tokio::test]
async fn an_old_answer_stands_in_for_an_error() {
    let (application, backend, edge) = world().await;
    let mut visitor = edge.connect().await;
    assert_eq!(visitor.get("/fails").await.unwrap().1, "1");
    let (head, body) = visitor.get("/fails").await.unwrap();
    assert_eq!(
        (status(&head), body.as_str(), field(&head, "cache-status").as_deref()),
        (200, "1", Some("atoll; fwd=stale; detail=stood-in")),
        "{head}"
    );
    assert_eq!(application.asked("/fails"), 2);
    drop(backend);
    let (head, body) = visitor.get("/fails").await.unwrap();
    assert_eq!((status(&head), body.as_str()), (200, "1"), "{head}");
    assert_ne!(status(&visitor.get("/nothing").await.unwrap().0), 200, "nothing stands in for what was never asked for");
}

#[tokio::test]
async fn a_crowd_asks_once_and_goes_on_when_the_first_leaves() {
    let (application, _backend, edge) = world().await;
    let mut first = edge.connect().await;
    first.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    first.until("half").await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..10 {
        let mut visitor = edge.connect().await;
        visitor.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        crowd.push(visitor);
    }
    let under_way = async {
        while edge.server.metrics().in_flight() < 11 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(PATIENCE, under_way).await.unwrap();
    assert_eq!(application.asked("/slow"), 1);
    // The first one leaves in the middle: another takes its place, and the rest still waits.
    drop(first);
    let again = async {
        while application.asked("/slow") < 2 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    application.slow.notify_one();
    application.slow.notify_one();
    for visitor in &mut crowd {
        assert_eq!(visitor.answer().await.unwrap().1, "halfhalf");
    }
    assert_eq!(application.asked("/slow"), 2);
}

#[tokio::test]
async fn each_visitor_gets_a_kept_answer_in_the_coding_that_he_takes() {
    let application = Application::default();
    let serving = application.clone();
    let backend = Backend::start(move |connection, _| serving.clone().serve(connection)).await;
    let edge = Relay::squeezing(&[backend.address], |options| options.cache = Some(Cache::new(Options::new(1 << 20))));
    let ask = async |fields: &str| {
        let mut visitor = edge.connect().await;
        visitor.send(&format!("GET /text HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")).await;
        visitor.until("\r\n\r\n").await.unwrap()
    };
    let first = ask("Accept-Encoding: br\r\n").await;
    assert_eq!(field(&first, "content-encoding").as_deref(), Some("br"), "{first}");
    for (takes, gets) in [("gzip", Some("gzip")), ("zstd, gzip", Some("zstd")), ("br", Some("br")), ("identity", None)] {
        let head = ask(&format!("Accept-Encoding: {takes}\r\n")).await;
        assert_eq!(field(&head, "content-encoding").as_deref(), gets, "{head}");
        let (length, vary) = (field(&head, "content-length").unwrap(), field(&head, "vary"));
        assert_eq!((length == "4000", vary.as_deref()), (gets.is_none(), Some("Accept-Encoding")), "{head}");
        assert_eq!(field(&head, "etag").as_deref(), Some(if gets.is_some() { "W/\"t\"" } else { "\"t\"" }), "{head}");
        assert_eq!(field(&head, "cache-status").as_deref(), Some("atoll; hit"), "{head}");
    }
    assert_eq!(status(&ask("Accept-Encoding: br\r\nIf-None-Match: W/\"t\"\r\n").await), 304);
    assert_eq!(application.asked("/text"), 1);
}

#[tokio::test]
async fn a_change_is_seen_at_once() {
    let (_application, _backend, edge) = world().await;
    let mut visitor = edge.connect().await;
    assert_eq!(visitor.get("/").await.unwrap().1, "1");
    assert_eq!(visitor.get("/").await.unwrap().1, "1");
    visitor.send("POST /comment HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx").await;
    visitor.answer().await.unwrap();
    assert_eq!(visitor.get("/").await.unwrap().1, "2");
}
