//! Backends of plain octets: they write down what they get, read it in their own way, or do what a case says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::case::Step;
use super::reader::{Found, Reader};
use super::wire::Wire;

/// Most octets kept of one case.
const MOST: usize = 4 * 1024 * 1024;

/// Longer than anything that stands before it: who is waited for is the edge's matter.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a backend found since it was last asked.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// First lines of requests, and offences.
    pub lines: Vec<String>,
    /// Their bodies.
    pub uploads: Vec<Vec<u8>>,
    /// Everything that came.
    pub octets: Vec<u8>,
}

/// What both sides of a case tell each other besides octets.
#[derive(Debug)]
pub struct Signals {
    /// For the visitor.
    pub visitor: Semaphore,
    /// For the backend.
    pub backend: Semaphore,
}

impl Signals {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { visitor: Semaphore::new(0), backend: Semaphore::new(0) })
    }
}

/// A backend.
#[derive(Debug)]
pub struct Backend {
    pub address: SocketAddr,
    pub reader: Reader,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    seen: Mutex<Seen>,
    script: Mutex<Option<(Vec<Step>, Arc<Signals>)>>,
    connections: Mutex<CancellationToken>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self) -> MutexGuard<'_, Option<(Vec<Step>, Arc<Signals>)>> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_script(&self) -> Option<(Vec<Step>, Arc<Signals>)> {
        self.script().take()
    }

    fn connections(&self) -> MutexGuard<'_, CancellationToken> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend {
    pub async fn start(reader: Reader) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { seen: Mutex::default(), script: Mutex::default(), connections: Mutex::default() });
        let state = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, over) = (state.clone(), state.connections().clone());
                tokio::spawn(async move { over.run_until_cancelled(serve(&state, reader, stream)).await });
            }
        });
        Ok(Self { address, reader, shared })
    }

    /// What was found since the last call.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.shared.seen())
    }

    /// Puts before what was found since what was found before.
    pub fn put_back(&self, before: Seen) {
        let mut seen = self.shared.seen();
        let later = std::mem::replace(&mut *seen, before);
        seen.lines.extend(later.lines);
        seen.octets.extend(later.octets);
    }

    /// What the next request is answered with; only once.
    pub fn perform(&self, script: Option<(Vec<Step>, Arc<Signals>)>) {
        *self.shared.script() = script;
    }

    /// Ends every connection: nothing of one case is left for the next.
    pub fn reset(&self) {
        std::mem::take(&mut *self.shared.connections()).cancel();
    }
}

async fn serve(shared: &Shared, reader: Reader, stream: TcpStream) {
    let mut wire = Wire::over(stream);
    wire.patience = PATIENCE;
    loop {
        let waiting = wire.unread().len();
        // A script begins at the end of a head, so that it can answer before the body.
        let script = if wire.unread().windows(4).any(|window| window == b"\r\n\r\n") { shared.next_script() } else { None };
        if let Some((script, signals)) = script {
            let head = wire.until(b"\r\n\r\n").await.unwrap_or_default();
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            // Before anything is answered: what is looked at after the answer must be there.
            note(shared, line, Vec::new(), &head);
            // A visitor who waits for more than came says so itself.
            perform(&mut wire, &script, &signals.backend, &signals.visitor).await;
            wire.all.clear();
            if script.iter().any(|step| matches!(step, Step::End)) {
                return;
            }
            continue;
        }
        let answer = match reader.next(wire.unread()) {
            Found::Request { used, line, body } => {
                let octets = wire.take(used);
                let answer = answer(&line);
                note(shared, line, body, &octets);
                answer
            }
            Found::Bad(offence) => {
                note(shared, format!("! {offence}"), Vec::new(), wire.unread());
                wire.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
                return wire.end().await;
            }
            Found::More => match wire.more().await {
                Ok(true) if waiting < MOST => continue,
                // A pooled connection is quiet for long, and then ends.
                Ok(_) | Err(_) => return,
            },
        };
        if !wire.send(&answer).await {
            return;
        }
        wire.all.clear();
    }
}

fn note(shared: &Shared, line: String, body: Vec<u8>, octets: &[u8]) {
    let mut seen = shared.seen();
    seen.lines.push(line);
    seen.uploads.push(body);
    seen.octets.extend_from_slice(octets);
}

/// The answer says which request it belongs to.
fn answer(line: &str) -> Vec<u8> {
    let length = line.len();
    let body = if line.starts_with("HEAD ") { "" } else { line };
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Does what a script says; what goes wrong shows in what the other side gets.
pub async fn perform(wire: &mut Wire, script: &[Step], mine: &Semaphore, theirs: &Semaphore) -> Option<String> {
    for step in script {
        match step {
            Step::Send(octets) => {
                // Whoever refuses early may have gone: that is seen by its answer.
                wire.send(octets).await;
            }
            Step::Flood(octets, times) => {
                for _ in 0..*times {
                    if !wire.send(octets).await {
                        break;
                    }
                }
            }
            Step::Drip(octets, pause) => {
                for octet in octets {
                    tokio::time::sleep(*pause).await;
                    if !wire.send(&[*octet]).await {
                        break;
                    }
                }
            }
            Step::Until(end) => {
                if let Err(error) = wire.until(end.as_bytes()).await {
                    return Some(format!("{error:#}"));
                }
            }
            Step::See(text) => {
                if let Err(error) = wire.see(text.as_bytes()).await {
                    return Some(format!("{error:#}"));
                }
            }
            Step::Signal => theirs.add_permits(1),
            Step::Await => match tokio::time::timeout(super::SIGNAL, mine.acquire()).await {
                Ok(Ok(permit)) => permit.forget(),
                _ => return Some("the other side never came to the point where it says so".to_owned()),
            },
            Step::End => wire.end().await,
        }
    }
    None
}
