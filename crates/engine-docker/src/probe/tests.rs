#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what they expect by failing")]

use model::Span;
use model::v1alpha1::{Probe, ProbeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Question, run, status};

#[test]
fn a_status_line_is_read_strictly() {
    assert_eq!(status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
    assert_eq!(status(b"HTTP/1.0 503\r\nX: y"), Some(503));
    for odd in ["", "HTTP/2 200 OK", "220 mail.example ESMTP", "HTTP/1.1 2", "HTTP/1.1"] {
        assert_eq!(status(odd.as_bytes()), None, "{odd}");
    }
}

#[tokio::test]
async fn ready_after_the_first_good_answer_and_not_after_failures_in_a_row() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (answers, mut to_give) = mpsc::channel::<&str>(16);
    tokio::spawn(async move {
        while let Some(answer) = to_give.recv().await {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.unwrap();
        }
    });
    let probe = Probe { check: Some(ProbeKind::Http("/ready".to_owned())), every: Span(50), within: Span(500), failures: 2, ..Probe::default() };
    let (tell, mut told) = mpsc::channel(16);
    for answer in ["503 x", "200 OK", "500 x", "204 x", "500 x", "500 x"] {
        answers.send(answer).await.unwrap();
    }
    let asking = tokio::spawn(run(Question { address: Some(address), probe }, async move |probed| tell.send(probed).await.unwrap()));
    let first = told.recv().await.unwrap();
    assert!(first.ready && first.ever_ready);
    let mut last = first;
    while last.ready {
        last = told.recv().await.unwrap();
    }
    assert!(last.ever_ready && last.words.contains("500"), "{last:?}");
    asking.abort();
}
