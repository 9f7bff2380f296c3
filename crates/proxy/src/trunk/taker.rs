//! The gate's side: a connection that turns out to be a trunk.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::HELLO;
use super::channel::{Channel, Trunk};
use super::drive::drive;
use super::state::{Side, State};

/// Whether a connection begins as a trunk does. It waits for its first octet, which stays where it is.
pub(crate) async fn asked(stream: &TcpStream) -> bool {
    let mut octet = [1];
    loop {
        if stream.readable().await.is_err() {
            return false;
        }
        match stream.try_io(Interest::READABLE, || Ok(recv(stream, &mut octet, RecvFlags::PEEK)?.0)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read.is_ok_and(|count| count == 1) && octet[0] == HELLO[0],
        }
    }
}

/// Serves a trunk to its end; every channel goes to `serve`. After the stop no new channels are asked for, and those there are have their time.
pub(crate) async fn take(mut stream: TcpStream, within: Duration, stop: CancellationToken, serve: impl FnMut(Channel)) {
    let mut hello = [0; HELLO.len()];
    let greeted = tokio::time::timeout(within, async {
        stream.read_exact(&mut hello).await?;
        if hello != HELLO {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        stream.write_all(&HELLO).await
    });
    if !matches!(greeted.await, Ok(Ok(()))) {
        return;
    }
    let trunk: Arc<Trunk> = Trunk::new(Side::Takes);
    let leave = async {
        stop.cancelled().await;
        trunk.with(State::leave);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        result = drive(&stream, &trunk, serve) => if let Err(error) = result {
            tracing::debug!(%error, "a trunk broke");
        },
        () = leave => {}
    }
}
