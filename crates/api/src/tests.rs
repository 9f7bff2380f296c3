#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::v1::WatchLine;
use crate::{Client, ClientError};

/// Answers one request with these bytes and closes.
fn answering(socket: &Path, answer: &'static str) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            seen.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
}

#[tokio::test]
async fn nobody_at_the_socket_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::unix(&folder.path().join("absent"), "test");
    assert!(matches!(client.about().await.unwrap_err(), ClientError::Unreachable { .. }));
}

#[tokio::test]
async fn a_fault_keeps_its_status_code_and_hint() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api");
    let body = r#"{"code":"A0201","whose":"caller","message":"no such tenant","hint":"list them"}"#;
    let answer = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    answering(&socket, Box::leak(answer.into_boxed_str()));
    let ClientError::Fault(refusal) = Client::unix(&socket, "test").about().await.unwrap_err() else { panic!("no fault") };
    assert_eq!((refusal.status.as_u16(), refusal.fault.code.to_string().as_str()), (404, "A0201"));
    assert_eq!(refusal.fault.hint.as_deref(), Some("list them"));
}

#[tokio::test]
async fn an_answer_cut_short_is_not_a_fault_and_not_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api");
    answering(&socket, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"version\":");
    assert!(matches!(Client::unix(&socket, "test").about().await.unwrap_err(), ClientError::Protocol { .. }));
}

#[tokio::test]
async fn lines_arrive_one_by_one_and_signs_of_life_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api");
    answering(&socket, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"bookmark\":3}\n\n{\"bookmark\":4}\n");
    let mut lines = Client::unix(&socket, "test").watch(model::Kind::Tenant, model::Revision(1)).await.unwrap();
    assert_eq!(lines.next().await.unwrap(), Some(WatchLine::Bookmark(model::Revision(3))));
    assert_eq!(lines.next().await.unwrap(), Some(WatchLine::Bookmark(model::Revision(4))));
    assert_eq!(lines.next().await.unwrap(), None);
}
