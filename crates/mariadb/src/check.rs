//! The port on which the endpoint asks whether a node takes writes.
//!
//! Invariants: answers come from memory; where we are not sure we say nothing, and nothing changes; the writer is called up only after every other node was
//! called down twice since the choice (the second question proves that the first answer was taken), so the endpoint never has two.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::cell::{Cell, Known};
use crate::settings::CHECK_PORT;

/// Longest question.
const MOST: usize = 80;
/// Most time for a question and its answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause after the port could not be opened: an agent that ends still has it.
const AGAIN: Duration = Duration::from_secs(1);

/// Answers until it is dropped.
pub(crate) async fn serve(cell: Arc<Cell>) {
    let address = cell.known().order.agent_address();
    let listener = loop {
        match listen(address) {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::warn!(cell = %cell.name, %address, %error, "the check port cannot be opened; the endpoint keeps its writer");
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let cell = cell.clone();
                tokio::spawn(async move { tokio::time::timeout(PATIENCE, answer(&cell, stream)).await });
            }
            Err(error) => {
                tracing::warn!(cell = %cell.name, %error, "a question could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The address may not be there yet: the network comes and goes with the daemon.
fn listen(address: Ipv4Addr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_freebind_v4(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV4::new(address, CHECK_PORT).into())?;
    socket.listen(64)?;
    TcpListener::from_std(socket.into())
}

async fn answer(cell: &Cell, mut stream: TcpStream) -> std::io::Result<()> {
    let mut question = Vec::new();
    while !question.ends_with(b"\n") && question.len() < MOST {
        if stream.read_buf(&mut question).await? == 0 {
            return Ok(());
        }
    }
    let Some(word) = word(&mut cell.known(), String::from_utf8_lossy(&question).trim()) else { return Ok(()) };
    stream.write_all(word.as_bytes()).await?;
    stream.shutdown().await
}

/// The word for a node; none: nothing is to change.
fn word(known: &mut Known, name: &str) -> Option<&'static str> {
    // Without a commit since the choice, the choice is not proved: the old writer keeps its connections unless it is surely gone.
    let writer = known.writer.node.clone()?;
    let asked = known.nodes.keys().find(|node| node.as_str() == name)?.clone();
    if asked != writer {
        *known.writer.denied.entry(asked).or_default() += 1;
        return Some("down\n");
    }
    let others_down = known.nodes.keys().filter(|node| **node != writer).all(|node| known.writer.denied.get(node).is_some_and(|count| *count >= 2));
    if !others_down || known.writer.committed.is_none() {
        return None;
    }
    known.writer.told = true;
    Some("up\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Writer;
    use crate::folder::Record;
    use crate::tests::order;

    #[test]
    fn never_two_writers() {
        let mut known = Known::new(order(), Record { writer: Some("n1".parse().unwrap()), ..Record::default() });
        assert_eq!(word(&mut known, "n9"), None);
        assert_eq!(word(&mut known, "n1"), None, "nothing proved yet");
        known.writer.committed = Some(tokio::time::Instant::now());
        assert_eq!(word(&mut known, "n2"), Some("down\n"));
        assert_eq!(word(&mut known, "n2"), Some("down\n"));
        assert_eq!(word(&mut known, "n3"), Some("down\n"));
        assert_eq!(word(&mut known, "n1"), None, "n3 may not have heard it");
        assert_eq!(word(&mut known, "n3"), Some("down\n"));
        assert_eq!(word(&mut known, "n1"), Some("up\n"));
        known.writer = Writer::new(Some("n2".parse().unwrap()));
        assert_eq!(word(&mut known, "n1"), Some("down\n"));
        known.writer.committed = Some(tokio::time::Instant::now());
        assert_eq!(word(&mut known, "n2"), None);
    }

    #[test]
    fn silent_without_a_writer() {
        let mut known = Known::new(order(), Record::default());
        assert_eq!(word(&mut known, "n1"), None);
    }
}
