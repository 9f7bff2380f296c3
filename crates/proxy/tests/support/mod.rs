//! Servers and clients for the relay's tests: plain sockets and plain octets, so that nothing is tidied up on the way.
#![allow(dead_code, reason = "each test file uses its part")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy::{
    AccessLog, Action, Decide, Faces, Forward, Group, Judgement, Labels, Lasting, Options, Page, Put, Reason, Request, ResponseHead, Server, Shelved,
    Upstream,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest time for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Sends everything to one group, but what begins with `/page`.
pub struct Everything {
    pub group: Mutex<Group>,
    pub compresses: bool,
    /// Ends what lasts.
    pub end: CancellationToken,
}

impl Decide for Everything {
    type Ticket = u32;

    async fn decide<'a>(&'a self, request: Request<'a>, _: &'a mut u32) -> Action {
        if request.head.path() == "/page" {
            return Action::Answer(Page::of(Reason::UnknownHost));
        }
        let to = self.group.lock().unwrap().clone();
        Action::Forward(Forward { to, otherwise: Reason::NoReadyInstance })
    }

    fn add(&self, _: &u32, put: &mut Put<'_>) {
        put("Atoll-Tenant", "signed");
    }

    fn judge(&self, tries: &mut u32, answer: &ResponseHead) -> Judgement {
        match answer.find("again") {
            Some(_) => {
                *tries += 1;
                Judgement::Again(Reason::TenantMoving)
            }
            None => Judgement::Pass,
        }
    }

    fn shelf<'t>(&self, _: &'t u32) -> Option<Shelved<'t>> {
        Some(Shelved { tenant: "alpha", mode: cache::Mode::On })
    }

    fn compresses(&self, _: &u32) -> bool {
        self.compresses
    }

    fn lasts(&self, _: &mut u32, _: Request<'_>, _: Lasting, _: &CancellationToken) -> Option<CancellationToken> {
        Some(self.end.clone())
    }

    fn labels<'t>(&self, _: &'t u32) -> Labels<'t> {
        Labels::default()
    }
}

/// A relay in front of some addresses.
pub struct Relay {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub server: Arc<Server<Everything>>,
    pub decide: Arc<Everything>,
    pub ended: JoinHandle<std::io::Result<()>>,
}

impl Relay {
    pub fn start(upstreams: &[SocketAddr]) -> Self {
        Self::with(upstreams, Faces::Visitors, |_| {})
    }

    pub fn with(upstreams: &[SocketAddr], faces: Faces, change: impl FnOnce(&mut Options)) -> Self {
        Self::logging(upstreams, faces, AccessLog::off(), change)
    }

    /// One that compresses answers.
    pub fn squeezing(upstreams: &[SocketAddr], change: impl FnOnce(&mut Options)) -> Self {
        Self::all(upstreams, Faces::Visitors, AccessLog::off(), true, change)
    }

    pub fn logging(upstreams: &[SocketAddr], faces: Faces, log: AccessLog, change: impl FnOnce(&mut Options)) -> Self {
        Self::all(upstreams, faces, log, false, change)
    }

    fn all(upstreams: &[SocketAddr], faces: Faces, log: AccessLog, compresses: bool, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::new("test", faces, 1);
        change(&mut options);
        let members = upstreams.iter().enumerate().map(|(n, address)| Arc::new(Upstream::new(format!("u{n}"), *address)));
        let decide = Arc::new(Everything { group: Mutex::new(Group::new(members)), compresses, end: CancellationToken::new() });
        let server = Server::new(decide.clone(), options, log);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let ended = tokio::spawn(server.clone().serve(listener, stop.clone()));
        Self { address, stop, server, decide, ended }
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A backend that runs a script for each connection.
pub struct Backend {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Backend {
    pub async fn start<F: Future<Output = ()> + Send + 'static>(script: impl Fn(Client, usize) -> F + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(script(Client { stream, read: Vec::new() }, number));
            }
        });
        Self { address, task }
    }

    /// Answers every request with its own head as body.
    pub async fn echo() -> Self {
        Self::start(|mut connection, _| async move {
            while let Some((head, body)) = connection.request().await {
                let text = head + &body;
                connection.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())).await;
            }
        })
        .await
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One end of a connection.
pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Sends nothing more.
    pub async fn close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        // The other side may have hung up, which the script will notice when it reads.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Reads more; `false` at the end.
    pub async fn more(&mut self) -> bool {
        let mut part = [0; 4096];
        let count = tokio::time::timeout(PATIENCE, self.stream.read(&mut part)).await.unwrap().unwrap_or(0);
        self.read.extend_from_slice(&part[..count]);
        count > 0
    }

    /// Takes text up to and with `end`; `None` when the connection ends before.
    pub async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end.as_bytes()) {
                let taken = self.read.drain(..at + end.len()).collect();
                return Some(String::from_utf8(taken).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    pub async fn exactly(&mut self, count: usize) -> Option<String> {
        self.octets(count).await.map(|octets| String::from_utf8_lossy(&octets).into_owned())
    }

    pub async fn octets(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(self.read.drain(..count).collect())
    }

    /// Everything up to the end of the connection.
    pub async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    /// A head with its body, by Content-Length or chunks.
    pub async fn request(&mut self) -> Option<(String, String)> {
        let head = self.until("\r\n\r\n").await?;
        let body = self.body(&head).await?;
        Some((head, body))
    }

    /// An answer to anything but HEAD.
    pub async fn answer(&mut self) -> Option<(String, String)> {
        self.request().await
    }

    async fn body(&mut self, head: &str) -> Option<String> {
        if let Some(length) = field(head, "content-length") {
            return self.exactly(length.parse().unwrap()).await;
        }
        if field(head, "transfer-encoding").is_none() {
            return Some(String::new());
        }
        let mut body = String::new();
        loop {
            let size = usize::from_str_radix(self.until("\r\n").await?.trim(), 16).unwrap();
            if size == 0 {
                while self.until("\r\n").await? != "\r\n" {}
                return Some(body);
            }
            body += &self.exactly(size).await?;
            self.until("\r\n").await?;
        }
    }

    /// A GET on this connection.
    pub async fn get(&mut self, path: &str) -> Option<(String, String)> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        self.answer().await
    }
}

/// Value of a field of a head.
pub fn field(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(this, _)| this.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
}

/// The status of a head.
pub fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap_or_else(|| panic!("no head: {head:?}")).parse().unwrap()
}
