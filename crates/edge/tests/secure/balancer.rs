//! A real balancer of TCP in front of both doors: HAProxy, which announces visitors by version 2 of the PROXY protocol.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use edge::Behind;
use tokio::net::{TcpSocket, UnixStream};

use super::*;

/// Where visitors sit: nobody trusts it.
const VISITOR: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 9);
/// From where the trusted balancer connects.
const TRUSTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
/// Its ports before the plain door and the one under TLS.
const PLAIN: u16 = 7080;
const SECURE: u16 = 7443;
/// A port behind which another balancer stands, of whom the edge was not told.
const FOREIGN: u16 = 7081;
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n";

/// Ends with the test, also one that fails.
struct Balancer {
    process: Child,
    admin: PathBuf,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Balancer {
    fn start(at: Ipv4Addr, folder: &Path) -> Self {
        let (file, admin) = (folder.join("haproxy.cfg"), folder.join("haproxy.sock"));
        let config = format!(
            "global
  nbthread 1
  maxconn 100
  stats socket {admin} mode 600 level user
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen plain
  bind {at}:{PLAIN}
  option httpchk
  http-check send meth GET uri / ver HTTP/1.1 hdr Host shop.example hdr Connection close
  http-check expect status 200
  server edge {at}:8080 source {TRUSTED} send-proxy-v2 check check-send-proxy inter 100ms
listen secure
  bind {at}:{SECURE}
  server edge {at}:8443 source {TRUSTED} send-proxy-v2
listen foreign
  bind {at}:{FOREIGN}
  server edge {at}:8080 source 127.0.0.2 send-proxy-v2
",
            admin = admin.display()
        );
        std::fs::write(&file, config).unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Where Debian has it, and people without root do not look.
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let program = folders.map(|folder| folder.join("haproxy")).find(|program| program.is_file());
        let program = program.expect("haproxy is missing: `scripts/setup` installs it, or `apt-get install haproxy`");
        let process = Command::new(program).arg("-db").arg("-f").arg(file).stdin(Stdio::null()).spawn().unwrap();
        Self { process, admin }
    }

    /// What its own look at the plain door found, as it stands in its table.
    async fn checked(&self) -> Option<String> {
        let mut stream = UnixStream::connect(&self.admin).await.ok()?;
        stream.write_all(b"show stat\n").await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        let mut lines = text.lines();
        let place = lines.next()?.split(',').position(|name| name == "check_status")?;
        lines.find(|line| line.starts_with("plain,edge,"))?.split(',').nth(place).map(str::to_owned)
    }
}

/// A connection of the visitor's.
async fn connect(to: (Ipv4Addr, u16)) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((VISITOR, 0).into())?;
    socket.connect(to.into()).await
}

/// Whether the first octets were answered as what they are, a request that is none, and nothing behind them was heard.
fn is_refused(answer: &str) -> bool {
    ["HTTP/1.1 400 ", "HTTP/1.1 505 "].iter().any(|status| answer.starts_with(status)) && answer.matches("HTTP/1.1 ").count() == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_is_believed_about_its_visitors_and_nobody_else() {
    let world = World::new().await;
    world.book.put(vec![("shop".to_owned(), certificate(&["shop.example"]))]).unwrap();
    world.start_behind("one", Some(Behind { networks: vec![std::net::IpAddr::from(TRUSTED).into()], preamble: true })).await;
    let balancer = Balancer::start(world.at, world.folder.path());
    let visitor = format!("X-Forwarded-For: {VISITOR}\r\nX-Real-IP: {VISITOR}\r\n");

    eventually("its visitors are served", async || match connect((world.at, PLAIN)).await {
        Ok(mut stream) => {
            let answer = ask(&mut stream, REQUEST).await;
            let served = answer.starts_with("HTTP/1.1 200");
            assert!(!served || answer.contains(&visitor) && !answer.contains("6.6.6.6"), "{answer}");
            served
        }
        Err(_) => false,
    })
    .await;
    // It looks as itself: by a preamble that names no visitor.
    eventually("its own look succeeds", async || balancer.checked().await.as_deref() == Some("L7OK")).await;
    eventually("under TLS too", async || match world.shake("shop.example", b"http/1.1", connect((world.at, SECURE)).await.unwrap()).await {
        Ok(mut stream) => ask(&mut stream, REQUEST).await.contains(&visitor),
        Err(_) => false,
    })
    .await;

    // Who is not in the networks is taken by his first octets, and a preamble is no request.
    let answer = ask(&mut connect((world.at, FOREIGN)).await.unwrap(), REQUEST).await;
    assert!(is_refused(&answer), "{answer}");
    for preamble in
        [&b"PROXY TCP4 6.6.6.6 127.0.0.1 4711 80\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x06\x06\x06\x06\x7f\0\0\x01\x12\x67\0\x50"]
    {
        let mut stream = connect((world.at, 8080)).await.unwrap();
        stream.write_all(preamble).await.unwrap();
        let answer = ask(&mut stream, REQUEST).await;
        assert!(is_refused(&answer), "{answer}");
        let mut stream = connect((world.at, 8443)).await.unwrap();
        stream.write_all(preamble).await.unwrap();
        assert!(world.shake("shop.example", b"http/1.1", stream).await.is_err(), "a preamble is no handshake");
    }
    let answer = ask(&mut connect((world.at, 8080)).await.unwrap(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&visitor), "without one he is served as himself: {answer}");
}
