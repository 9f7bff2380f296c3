//! WebSockets and event streams when their tenant is held or their edge leaves, and after.

use super::*;

/// A gate with WebSockets that echo, and event streams that tell the time; it notes the close frames that it hears.
async fn lasting_gate() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, closes) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let heard = closes.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(lasting(stream, heard.clone()));
        }
    });
    (address, closes)
}

async fn lasting(mut stream: TcpStream, closes: Arc<AtomicUsize>) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        if head.starts_with(b"GET /socket ") {
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").await?;
            loop {
                let (opcode, text) = frame(&mut stream).await?;
                if opcode == 8 {
                    closes.fetch_add(usize::from(text.starts_with(&[0x03, 0xf4])), Relaxed);
                    return Ok(());
                }
                stream.write_all(&[&[0x81, u8::try_from(text.len()).unwrap()], &text[..]].concat()).await?;
            }
        }
        if head.starts_with(b"GET /events ") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
            loop {
                // An event in two parts, so that the stream is mostly within one.
                stream.write_all(b"8\r\ndata: 1\n\r\n").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.write_all(b"1\r\n\n\r\n").await?;
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    }
}

/// A frame of up to 125 octets, without its mask.
async fn frame(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let (first, length) = (stream.read_u8().await?, stream.read_u8().await?);
    let mut mask = [0; 4];
    if length > 127 {
        stream.read_exact(&mut mask).await?;
    }
    let mut text = vec![0; usize::from(length & 127)];
    stream.read_exact(&mut text).await?;
    text.iter_mut().zip(mask.iter().cycle()).for_each(|(octet, mask)| *octet ^= mask);
    Ok((first & 15, text))
}

fn masked(opcode: u8, text: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0], text].concat()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap()
}

impl World {
    async fn open(&self, host: &str, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect((self.at, 8080)).await.unwrap();
        ask_on(&mut stream, host, path).await;
        stream
    }

    /// A socket at whoever listens now. One that came while an edge still took the last of its connections is sent away once more.
    async fn comes_again(&self, host: &str) -> TcpStream {
        let again = async {
            loop {
                let mut socket = self.open(host, "/socket").await;
                socket.write_all(&masked(1, b"again")).await.unwrap();
                if frame(&mut socket).await.is_ok_and(|(opcode, _)| opcode == 1) {
                    return socket;
                }
            }
        };
        soon(again).await
    }
}

async fn ask_on(stream: &mut TcpStream, host: &str, path: &str) {
    let upgrade = if path == "/socket" { "Connection: Upgrade\r\nUpgrade: websocket\r\n" } else { "" };
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.unwrap());
    }
    let status = if path == "/socket" { "HTTP/1.1 101 " } else { "HTTP/1.1 200 " };
    assert!(head.starts_with(status.as_bytes()), "{}", String::from_utf8_lossy(&head));
}

async fn echoes(socket: &mut TcpStream, word: &str) {
    socket.write_all(&masked(1, word.as_bytes())).await.unwrap();
    assert_eq!(soon(frame(socket)).await.unwrap(), (1, word.as_bytes().to_vec()));
}

/// The next chunk of a body; an empty one is its end.
async fn piece(events: &mut TcpStream) -> Vec<u8> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(soon(events.read_u8()).await.expect("the body ends in order"));
    }
    let mut part = vec![0; usize::from_str_radix(String::from_utf8(line).unwrap().trim(), 16).unwrap() + 2];
    soon(events.read_exact(&mut part)).await.unwrap();
    part.truncate(part.len() - 2);
    part
}

/// The rest of a body in chunks, up to its end.
async fn rest(events: &mut TcpStream) -> String {
    let mut body = Vec::new();
    loop {
        match &piece(events).await[..] {
            [] => return String::from_utf8(body).unwrap(),
            part => body.extend_from_slice(part),
        }
    }
}

/// What an event stream says before it ends in order, which is when to come again.
async fn sent_away(events: &mut TcpStream) {
    let text = rest(events).await;
    let (before, retry) = text.rsplit_once("retry: ").expect("told when to come again");
    assert!((500..3000).contains(&retry.trim_end().parse().unwrap()) && retry.ends_with("\n\n"), "{text}");
    assert_eq!(before, "data: 1\n\n".repeat(before.len() / 9), "between two events");
}

/// What a socket hears last, and answers.
async fn closed(socket: &mut TcpStream) {
    let (opcode, word) = soon(frame(socket)).await.unwrap();
    assert_eq!((opcode, &word[..2]), (8, &[0x03, 0xf4][..]), "service restart");
    socket.write_all(&masked(8, &word)).await.unwrap();
    assert_eq!(soon(socket.read(&mut [0; 8])).await.unwrap(), 0, "nothing after the last word");
}

fn of_tenant(tenant: &str, record: Record) -> Record {
    Record { tenant: TenantName::new(tenant).unwrap(), ..record }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_sends_its_tenants_streams_away_to_come_again_and_no_others() {
    let (address, closes) = lasting_gate().await;
    let world = World::new().await;
    let running = world.start("e1");
    world.ready("e1").await;
    let other = || of_tenant("other", record("other.example", "a", 1, RouteState::Open));
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open), other()]);
    world.get_until("shop.example", 200).await;
    let (mut socket, mut silent, mut events) =
        (world.open("shop.example", "/socket").await, world.open("shop.example", "/socket").await, world.open("shop.example", "/events").await);
    let (mut other_socket, mut other_events) = (world.open("other.example", "/socket").await, world.open("other.example", "/events").await);
    for socket in [&mut socket, &mut other_socket] {
        echoes(socket, "hi").await;
    }

    world.control.records(vec![record("shop.example", "a", 1, RouteState::Held), other()]);
    let began = Instant::now();
    // What was said before the last word still arrives, and the last word itself.
    let (opcode, word) = soon(frame(&mut socket)).await.unwrap();
    assert_eq!((opcode, &word[..2]), (8, &[0x03, 0xf4][..]), "service restart");
    socket.write_all(&masked(1, b"late")).await.unwrap();
    socket.write_all(&masked(8, &word)).await.unwrap();
    assert_eq!(soon(socket.read(&mut [0; 8])).await.unwrap(), 0, "nothing after the last word");
    eventually("the upstream heard it", || closes.load(Relaxed) == 1).await;
    sent_away(&mut events).await;
    // Another that never answers is not waited for, and the upstream hears a last word in its place.
    assert_eq!(soon(frame(&mut silent)).await.unwrap().0, 8);
    assert_eq!(soon(silent.read(&mut [0; 8])).await.unwrap(), 0);
    eventually("the upstream heard of the other, too", || closes.load(Relaxed) == 2).await;
    assert!(began.elapsed() < Duration::from_secs(8));

    echoes(&mut other_socket, "still here").await;
    for _ in 0..500 {
        assert_ne!(soon(other_events.read_u8()).await.unwrap(), b'r', "its events go on");
    }
    let mut admin = Visitor { stream: TcpStream::connect((world.at, 9090)).await.unwrap(), read: Vec::new() };
    let metrics = admin.get("admin", "/metrics").await.unwrap().1;
    assert!(metrics.contains("atoll_edge_streams_told_total 3\n") && metrics.contains("atoll_edge_streams_open 2\n"), "{metrics}");

    let release = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.control.records(vec![record("shop.example", "a", 2, RouteState::Open), other()]);
    };
    let (mut again, ()) = tokio::join!(world.open("shop.example", "/socket"), release);
    echoes(&mut again, "back").await;
    drop(again);
    end(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_tenants_events_go_on_and_its_sockets_wait() {
    let (address, _) = lasting_gate().await;
    let world = World::new().await;
    let running = world.start("e1");
    world.ready("e1").await;
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    world.get_until("shop.example", 200).await;
    let (mut socket, mut events) = (world.open("shop.example", "/socket").await, world.open("shop.example", "/events").await);
    world.control.records(vec![record("shop.example", "a", 1, RouteState::ReadOnly)]);
    assert_eq!(soon(frame(&mut socket)).await.unwrap().0, 8);
    for _ in 0..500 {
        assert_ne!(soon(events.read_u8()).await.unwrap(), b'r');
    }
    // Their host is gone: no state is left by which they could go on.
    world.control.records(vec![record("sign.example", "a", 1, RouteState::Open)]);
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n0\r\n\r\n") {
        text.push(soon(events.read_u8()).await.unwrap());
    }
    assert!(String::from_utf8(text).unwrap().contains("retry: "));
    end(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_gives_way_or_stops_sends_its_streams_away_and_none_that_it_got_since() {
    let (address, closes) = lasting_gate().await;
    let world = World::new().await;
    let first = world.start("e1");
    world.ready("e1").await;
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    world.get_until("shop.example", 200).await;
    eventually("written", || world.written().is_some_and(|table| table.len() == 1)).await;
    let open = async || (world.comes_again("shop.example").await, world.open("shop.example", "/events").await);
    let (mut socket, mut events) = open().await;

    let next = world.start("e2");
    closed(&mut socket).await;
    eventually("the upstream heard it", || closes.load(Relaxed) == 1).await;
    sent_away(&mut events).await;
    // Whoever comes again by the old connection is sent on at once; it is no stream of the edge that may serve again.
    ask_on(&mut events, "shop.example", "/events").await;
    assert!(soon(rest(&mut events)).await.starts_with("retry: "));

    world.ready("e2").await;
    let ((mut socket, mut events), began) = (open().await, Instant::now());
    // The next edge stops, and leaves its visitors to the first one.
    let ended = tokio::spawn(end(next));
    closed(&mut socket).await;
    sent_away(&mut events).await;
    drop(events);
    ended.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "a stop does not wait for its bound: {:?}", began.elapsed());

    world.ready("e1").await;
    let ((mut socket, mut events), mut silent) = (open().await, world.comes_again("shop.example").await);
    let mut since = Vec::new();
    while since.len() < 100 || !since.ends_with(b"\n\n") {
        since.extend(piece(&mut events).await);
    }
    assert_eq!(since, b"data: 1\n\n".repeat(since.len() / 9), "its events go on");
    echoes(&mut socket, "still here").await;
    let mut admin = Visitor { stream: TcpStream::connect((world.at, 9090)).await.unwrap(), read: Vec::new() };
    let metrics = admin.get("admin", "/metrics").await.unwrap().1;
    let told = metrics.lines().find_map(|line| line.strip_prefix("atoll_edge_streams_told_total ")).unwrap();
    assert!(told.parse::<u32>().unwrap() >= 3 && metrics.contains("atoll_edge_streams_open 3\n"), "{metrics}");
    let began = Instant::now();
    let ended = tokio::spawn(end(first));
    closed(&mut socket).await;
    sent_away(&mut events).await;
    // One that never answers is not waited for.
    assert_eq!(soon(frame(&mut silent)).await.unwrap().0, 8);
    drop(events);
    ended.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "a stop does not wait for its bound: {:?}", began.elapsed());
}
