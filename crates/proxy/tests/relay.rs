//! The relay between real sockets.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use proxy::Faces;
use support::{Backend, Client, PATIENCE, Relay, field, status};

#[tokio::test]
async fn one_connection_carries_many_requests_to_one_upstream_connection() {
    let backend = Backend::start(|mut connection, number| async move {
        while let Some((head, _)) = connection.request().await {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            connection.send(&format!("HTTP/1.1 200 OK\r\nX-Connection: {number}\r\nContent-Length: {}\r\n\r\n{path}", path.len())).await;
        }
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    for n in 0..5 {
        let (head, body) = client.get(&format!("/{n}")).await.unwrap();
        assert_eq!((status(&head), body), (200, format!("/{n}")));
        assert_eq!(field(&head, "x-connection").as_deref(), Some("0"));
    }
}

#[tokio::test]
async fn ours_is_set_and_what_a_visitor_says_of_itself_is_not_believed() {
    let backend = Backend::echo().await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    let lies = "atoll-tenant: forged\r\nAtoll_Tenant: forged\r\nX-Atoll-Tenant: forged\r\nX_Atoll.Tenant: forged\r\nX-Forwarded-For: 6.6.6.6\r\n\
                Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX_Forwarded_Host: evil\r\nContent_Length: 9\r\nProxy: evil\r\nTE: trailers\r\n\
                Connection: keep-alive, X-Drop\r\nX-Drop: 1\r\nKeep-Alive: 9\r\nX-Keep: yes\r\n";
    client.send(&format!("GET /p?q=1 HTTP/1.1\r\nhost: A.Example.:80\r\n{lies}\r\n")).await;
    let (_, seen) = client.answer().await.unwrap();
    let lower = seen.to_lowercase();
    assert!(seen.starts_with("GET /p?q=1 HTTP/1.1\r\nHost: A.Example.:80\r\n"), "{seen}");
    for gone in ["forged", "6.6.6.6", "evil", "content_length", "te:", "x-drop", "keep-alive"] {
        assert!(!lower.contains(gone), "{gone} in {seen}");
    }
    assert_eq!(field(&seen, "atoll-tenant").as_deref(), Some("signed"));
    assert_eq!(field(&seen, "x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(field(&seen, "x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(field(&seen, "x-keep").as_deref(), Some("yes"));
}

#[tokio::test]
async fn a_trace_goes_on_through_edge_and_gate_a_span_each() {
    const BEGUN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let backend = Backend::echo().await;
    let gate = Relay::with(&[backend.address], Faces::Edges, |_| {});
    let edge = Relay::start(&[gate.address]);
    let mut client = edge.connect().await;
    let mut seen = Vec::new();
    for told in [BEGUN, "00-0-0-01"] {
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.example\r\ntraceparent: {told}\r\ntracestate: vendor=1\r\n\r\n")).await;
        let (_, head) = client.answer().await.unwrap();
        assert_eq!(head.to_lowercase().matches("traceparent:").count(), 1, "{head}");
        seen.push((field(&head, "traceparent").unwrap(), field(&head, "tracestate")));
    }
    assert!(seen[0].0.starts_with(&BEGUN[..36]) && seen[0].0.ends_with("-01") && !seen[0].0.contains(&BEGUN[36..52]), "{seen:?}");
    assert_eq!(seen[0].1.as_deref(), Some("vendor=1"));
    // One that is malformed, and what was noted about it, do not travel.
    assert!(seen[1].0.len() == BEGUN.len() && !seen[1].0.contains("0af765") && seen[1].1.is_none(), "{seen:?}");
}

#[tokio::test]
async fn what_the_edge_lets_through_the_gate_takes_and_the_other_way_round() {
    // As many fields as come from outside, and nearly as many octets.
    let (many, long): (String, _) = ((0..98).map(|n| format!("X-{n}: 1\r\n")).collect(), "x".repeat(31_000));
    let backend = Backend::start(move |mut connection, _| async move {
        while let Some((head, _)) = connection.request().await {
            let many: String = (0..99).map(|n| format!("X-{n}: 1\r\n")).collect();
            let length = head.len();
            connection.send(&format!("HTTP/1.1 200 OK\r\n{many}Content-Length: {}\r\n\r\n{length}", length.to_string().len())).await;
        }
    })
    .await;
    let gate = Relay::with(&[backend.address], Faces::Edges, |_| {});
    let edge = Relay::start(&[gate.address]);
    let mut client = edge.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.example\r\n{many}X-Long: {long}\r\n\r\n")).await;
    let (head, body) = client.answer().await.unwrap();
    assert_eq!(status(&head), 200, "{head}");
    assert!(body.parse::<usize>().unwrap() > 31_000);
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n{many}X-Y: 1\r\n\r\n")).await;
    let (head, _) = client.answer().await.unwrap();
    assert_eq!((status(&head), field(&head, "atoll-reason").as_deref()), (431, Some("HeadTooLarge")));
}

#[tokio::test]
async fn an_edge_is_believed_by_a_gate_but_an_instance_is_not() {
    let backend = Backend::start(|mut connection, _| async move {
        let (head, _) = connection.request().await.unwrap();
        let forwarded = field(&head, "x-forwarded-for").unwrap_or_default();
        connection
            .send(&format!("HTTP/1.1 200 OK\r\nAtoll-Refusal: moved;e=9\r\nAtoll-Reason: Lie\r\nX-Seen: {forwarded}\r\nContent-Length: 0\r\n\r\n"))
            .await;
    })
    .await;
    let relay = Relay::with(&[backend.address], Faces::Edges, |_| {});
    let mut client = relay.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n").await;
    let (head, _) = client.answer().await.unwrap();
    assert!(!head.to_lowercase().contains("atoll-"), "{head}");
    assert_eq!(field(&head, "x-seen").as_deref(), Some("192.0.2.1"));
}

#[tokio::test]
async fn bodies_stream_both_ways_in_either_framing() {
    let backend = Backend::echo().await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    let long = "x".repeat(300_000);
    client.send(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{long}", long.len())).await;
    let (_, seen) = client.answer().await.unwrap();
    assert!(seen.ends_with(&long) && field(&seen, "content-length").as_deref() == Some("300000"));
    // A body whose last octets fill what is sent at once is not waited for any longer than it takes.
    for length in [16_384, 32_768 - 60, 32_768, 65_536, 131_072] {
        let body = "y".repeat(length);
        client.send(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")).await;
        let (head, seen) = client.answer().await.unwrap();
        assert!(seen.ends_with(&body) && field(&head, "connection").is_none(), "{head}");
    }
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    client.send("00006\r\n world\r\n0\r\nX-Trailer: 1\r\nAtoll-Tenant: forged\r\n\r\n").await;
    let (_, seen) = client.answer().await.unwrap();
    assert!(seen.ends_with("hello world") && !seen.contains("Trailer:"), "{seen}");
    assert_eq!(field(&seen, "transfer-encoding").as_deref(), Some("chunked"));
}

#[tokio::test]
async fn events_are_passed_on_as_they_come_and_the_visitors_leave_ends_the_stream() {
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel::<&str>();
    let backend = Backend::start(move |mut connection, _| {
        let told = told.clone();
        async move {
            connection.request().await.unwrap();
            connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            connection.send("9\r\ndata: 1\n\n\r\n").await;
            told.send("sent").unwrap();
            while connection.more().await {}
            told.send("gone").unwrap();
        }
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.until("data: 1\n\n").await.expect("the first event, while the stream is open");
    assert_eq!(tell.recv().await, Some("sent"));
    drop(client);
    assert_eq!(tokio::time::timeout(PATIENCE, tell.recv()).await.unwrap(), Some("gone"));
}

#[tokio::test]
async fn expect_continue_waits_for_the_upstreams_word() {
    let backend = Backend::start(|mut connection, _| async move {
        let head = connection.until("\r\n\r\n").await.unwrap();
        assert_eq!(field(&head, "expect").as_deref(), Some("100-continue"));
        connection.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        let body = connection.exactly(4).await.unwrap();
        connection.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{body}")).await;
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    assert!(client.until("\r\n\r\n").await.unwrap().starts_with("HTTP/1.1 100 "));
    client.send("body").await;
    assert_eq!(client.answer().await.unwrap().1, "body");
}

#[tokio::test]
async fn an_early_answer_reaches_a_visitor_who_still_sends() {
    let backend = Backend::start(|mut connection, _| async move {
        connection.until("\r\n\r\n").await.unwrap();
        connection.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").await;
        // Long enough that the relay meets a closed connection in the middle of the body.
        connection.exactly(100_000).await;
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n").await;
    client.send(&"x".repeat(200_000)).await;
    let (head, body) = client.answer().await.unwrap();
    assert_eq!((status(&head), body.as_str()), (413, "big"));
    assert_eq!(field(&head, "connection").as_deref(), Some("close"));
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_in_step() {
    let backend = Backend::start(|mut connection, _| async move {
        while let Some((head, _)) = connection.request().await {
            let answer = match head.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            connection.send(answer).await;
        }
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    for (line, wanted) in [("GET /204", 204), ("GET /304", 304), ("HEAD /head", 200)] {
        client.send(&format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let head = client.until("\r\n\r\n").await.unwrap();
        assert_eq!(status(&head), wanted);
        assert_eq!(field(&head, "content-length").as_deref(), (wanted != 204).then_some("10"));
        assert_eq!(client.get("/").await.unwrap().1, "ok");
    }
    client.send("HEAD /page HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&client.until("\r\n\r\n").await.unwrap()), 404);
    assert_eq!(client.answer().await.unwrap().1, "ok", "pipelined behind a page for HEAD");
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_gets_chunks_or_a_close() {
    let backend = Backend::start(|mut connection, _| async move {
        connection.request().await.unwrap();
        connection.send("HTTP/1.0 200 OK\r\n\r\nall of it").await;
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    let (head, body) = client.get("/").await.unwrap();
    assert_eq!((field(&head, "transfer-encoding").as_deref(), body.as_str()), (Some("chunked"), "all of it"));
    let mut old = relay.connect().await;
    old.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let text = old.rest().await;
    assert!(text.ends_with("\r\n\r\nall of it") && !text.contains("chunked"), "{text}");
}

#[tokio::test]
async fn an_answer_cut_short_is_never_made_whole() {
    let backend = Backend::start(|mut connection, _| async move {
        let (head, _) = connection.request().await.unwrap();
        let framing = if head.contains("/chunks") { "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" } else { "Content-Length: 10\r\n\r\nhello" };
        connection.send(&format!("HTTP/1.1 200 OK\r\n{framing}")).await;
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    for path in ["/length", "/chunks"] {
        let mut client = relay.connect().await;
        assert!(client.get(path).await.is_none(), "{path}");
    }
}

#[tokio::test]
async fn another_protocol_passes_both_ways_with_what_came_early() {
    let backend = Backend::start(|mut connection, _| async move {
        let head = connection.until("\r\n\r\n").await.unwrap();
        assert_eq!(field(&head, "upgrade").as_deref(), Some("websocket"));
        connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly").await;
        let word = connection.exactly(4).await.unwrap();
        connection.send(&word.to_uppercase()).await;
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    client.send("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let head = client.until("\r\n\r\n").await.unwrap();
    assert_eq!((status(&head), field(&head, "upgrade").as_deref()), (101, Some("websocket")));
    assert_eq!(client.exactly(5).await.unwrap(), "early");
    client.send("ping").await;
    assert_eq!(client.rest().await, "PING");
}

#[tokio::test]
async fn a_tunnel_ends_when_both_sides_are_silent_and_not_while_one_speaks() {
    let idle = Duration::from_millis(400);
    let backend = Backend::start(|mut connection, _| async move {
        connection.until("\r\n\r\n").await.unwrap();
        connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n").await;
        // One side alone speaks, for longer than both may be silent.
        for _ in 0..30 {
            connection.send(".").await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        while connection.more().await {}
    })
    .await;
    let relay = Relay::with(&[backend.address], Faces::Visitors, |options| options.times.tunnel = idle);
    let mut client = relay.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
    assert_eq!(status(&client.until("\r\n\r\n").await.unwrap()), 101);
    let spoken = client.exactly(30).await;
    assert_eq!(spoken, Some(".".repeat(30)), "nothing is cut while one side speaks");
    assert_eq!(client.rest().await, "", "silence ends it");
}

#[tokio::test]
async fn a_refused_connection_goes_to_the_next_and_nobody_is_a_503() {
    let backend = Backend::echo().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let relay = Relay::start(&[closed, backend.address]);
    for _ in 0..4 {
        let mut client = relay.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(status(&client.answer().await.unwrap().0), 200);
    }
    let nobody = Relay::start(&[closed]);
    let (head, _) = nobody.connect().await.get("/").await.unwrap();
    assert_eq!((status(&head), field(&head, "atoll-reason").as_deref()), (503, Some("UpstreamUnreachable")));
    let none = Relay::start(&[]);
    let (head, _) = none.connect().await.get("/").await.unwrap();
    assert_eq!(
        (status(&head), field(&head, "atoll-reason").as_deref(), field(&head, "retry-after").as_deref()),
        (503, Some("NoReadyInstance"), Some("2"))
    );
}

/// Closes each connection after the request, `times` times, and counts requests.
async fn dying(times: usize, seen: Arc<AtomicUsize>) -> Backend {
    Backend::start(move |mut connection, _| {
        let seen = seen.clone();
        async move {
            while let Some((head, body)) = connection.request().await {
                if seen.fetch_add(1, Relaxed) < times {
                    return;
                }
                let text = head.split(' ').next().unwrap().to_owned() + &body;
                connection.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn only_what_is_safe_is_sent_again() {
    let cases = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, 2),
        ("DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", 200, 2),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", 502, 1),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 502, 1),
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", 502, 1),
    ];
    for (request, wanted, requests) in cases {
        let (first, second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let backends = [dying(1, first.clone()).await, dying(0, second.clone()).await];
        let relay = Relay::start(&[backends[0].address, backends[1].address]);
        let mut client = relay.connect().await;
        client.send(request).await;
        assert_eq!(status(&client.answer().await.unwrap().0), wanted, "{request}");
        assert_eq!(first.load(Relaxed) + second.load(Relaxed), requests, "{request}");
    }
}

#[tokio::test]
async fn a_pooled_connection_that_closed_is_not_used() {
    let backend = Backend::start(|mut connection, _| async move {
        connection.request().await.unwrap();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        // Closed without a word, as servers do with idle connections.
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    for _ in 0..20 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(status(&client.answer().await.unwrap().0), 200);
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_refusal_before_processing_is_sent_again_with_its_body() {
    let backend = Backend::start(|mut connection, number| async move {
        let (_, body) = connection.request().await.unwrap();
        let again = if number == 0 { "Again: 1\r\n" } else { "" };
        connection.send(&format!("HTTP/1.1 200 OK\r\n{again}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n").await;
    let (head, body) = client.answer().await.unwrap();
    assert_eq!((status(&head), body.as_str()), (200, "body"));
}

#[tokio::test]
async fn octets_nobody_asked_for_end_an_upstream_connection() {
    let backend = Backend::start(|mut connection, _| async move {
        while connection.request().await.is_some() {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison").await;
        }
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    for _ in 0..5 {
        assert_eq!(relay.connect().await.get("/").await.unwrap().1, "ok");
    }
}

#[tokio::test]
async fn an_answer_nobody_asked_for_is_not_the_next_ones() {
    let (told, sent) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
    let (tell, wait) = (told.clone(), sent.clone());
    let backend = Backend::start(move |mut connection, _| {
        let (told, sent) = (told.clone(), sent.clone());
        async move {
            while connection.request().await.is_some() {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                told.acquire().await.unwrap().forget();
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison").await;
                sent.add_permits(1);
            }
        }
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    let mut client = relay.connect().await;
    for round in 0..20 {
        assert_eq!(client.get("/").await.unwrap().1, "ok", "round {round}");
        tell.add_permits(1);
        wait.acquire().await.unwrap().forget();
    }
}

#[tokio::test]
async fn interim_answers_have_an_end() {
    for (count, wanted) in [(32, 200), (33, 502)] {
        let backend = Backend::start(move |mut connection, _| async move {
            while connection.request().await.is_some() {
                connection.send(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(count)).await;
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        })
        .await;
        let relay = Relay::start(&[backend.address]);
        let mut client = relay.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n").await;
        let mut head = client.until("\r\n\r\n").await.unwrap();
        while status(&head) == 102 {
            head = client.until("\r\n\r\n").await.unwrap();
        }
        assert_eq!(status(&head), wanted, "{count} interim answers");
    }
}

#[tokio::test]
async fn malformed_answers_are_a_502() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "hello\r\n\r\n",
    ];
    for answer in answers {
        let backend = Backend::start(move |mut connection, _| async move {
            connection.request().await.unwrap();
            connection.send(answer).await;
            connection.more().await;
        })
        .await;
        let relay = Relay::start(&[backend.address]);
        let (head, _) = relay.connect().await.get("/").await.unwrap();
        assert_eq!((status(&head), field(&head, "atoll-reason").as_deref()), (502, Some("UpstreamMalformed")), "{answer:?}");
    }
}

#[tokio::test]
async fn more_than_is_served_at_once_is_refused_at_once() {
    let backend = Backend::start(|mut connection, _| async move {
        connection.request().await.unwrap();
        connection.more().await;
    })
    .await;
    let relay = Relay::with(&[backend.address], Faces::Visitors, |options| options.limits.requests = 2);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = relay.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        waiting.push(client);
    }
    while relay.server.metrics().in_flight() < 2 {
        tokio::task::yield_now().await;
    }
    let (head, _) = relay.connect().await.get("/").await.unwrap();
    assert_eq!((status(&head), field(&head, "atoll-reason").as_deref()), (503, Some("Overloaded")));
}

#[tokio::test]
async fn patience_ends() {
    let backend = Backend::start(|mut connection, _| async move {
        connection.request().await;
        connection.more().await;
    })
    .await;
    let relay = Relay::with(&[backend.address], Faces::Visitors, |options| {
        let soon = Duration::from_millis(100);
        (options.times.head, options.times.body, options.times.answer) = (soon, soon, soon);
    });
    for (request, wanted) in [
        ("GET / HTTP/1.1\r\nHo", 408),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf", 408),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 504),
    ] {
        let mut client = relay.connect().await;
        client.send(request).await;
        assert_eq!(status(&client.answer().await.unwrap().0), wanted, "{request}");
    }
}

#[tokio::test]
async fn a_stop_fails_nothing_under_way() {
    let backend = Backend::start(|mut connection, _| async move {
        while let Some((head, _)) = connection.request().await {
            if head.contains("/slow") {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let relay = Relay::start(&[backend.address]);
    let (mut slow, mut idle) = (relay.connect().await, relay.connect().await);
    assert_eq!(idle.get("/").await.unwrap().1, "ok");
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while relay.server.metrics().in_flight() < 1 {
        tokio::task::yield_now().await;
    }
    relay.stop.cancel();
    let (head, body) = slow.answer().await.unwrap();
    assert_eq!((body.as_str(), field(&head, "connection").as_deref()), ("ok", Some("close")));
    let (head, body) = idle.get("/").await.expect("one more request on a connection that was idle");
    assert_eq!((body.as_str(), field(&head, "connection").as_deref()), ("ok", Some("close")));
    assert_eq!(idle.rest().await, "");
    let mut relay = relay;
    tokio::time::timeout(PATIENCE, &mut relay.ended).await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(relay.address).await.is_err());
}

#[tokio::test]
async fn least_busy_first() {
    let busy = Backend::start(|mut connection, _| async move {
        connection.request().await;
        connection.more().await;
    })
    .await;
    let free = Backend::echo().await;
    let relay = Relay::start(&[busy.address, free.address]);
    // One of the two is caught by the busy one; from then on all go to the other.
    let mut caught = Vec::new();
    for _ in 0..2 {
        let mut client: Client = relay.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        caught.push(client);
    }
    while relay.server.metrics().answers() < 1 {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        assert_eq!(status(&relay.connect().await.get("/").await.unwrap().0), 200);
    }
}
