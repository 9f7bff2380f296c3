//! A visitor's connection under TLS, as a [`Stream`]: the relay above it does not know.
//!
//! Nothing is kept that is not asked for: octets are taken from the socket only when no plain ones are left, and what is written counts as written only once the
//! socket has taken all of it, so that waiting for a slow visitor is waiting, not buffering.

use std::io::{self, BufRead as _, IoSlice, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::server::{Acceptor, ClientHello};
use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use crate::stream::Stream;

/// Plain octets that are sealed at once: some records, fewer calls.
const AT_ONCE: usize = 64 * 1024;
/// How long the last word of a connection may take.
const LAST_WORD: Duration = Duration::from_secs(2);

/// What must be done on a thread that may wait, before a handshake goes on.
pub type Errand = Box<dyn FnOnce() + Send>;

/// Knows how handshakes are answered.
pub trait Handshakes: Send + Sync + 'static {
    /// Settings for a handshake that began like this, and what must be done first.
    fn settings(&self, hello: &ClientHello<'_>) -> (Arc<ServerConfig>, Option<Errand>);

    /// How it came out.
    fn ended(&self, shaken: Shaken) {
        let _ = shaken;
    }
}

/// How a handshake came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shaken {
    /// In full.
    Full,
    /// By a ticket.
    Resumed,
    /// Not, for whatever reason; most are scanners.
    Failed,
    /// Not in time.
    Late,
}

/// A connection whose handshake is done.
pub(crate) struct TlsStream {
    tcp: TcpStream,
    // Never contended: all of a connection happens on one thread.
    state: Mutex<Box<State>>,
}

struct State {
    tls: ServerConnection,
    /// Plain octets that were sealed but not taken whole by the socket; whoever wrote them asks again.
    owed: usize,
    ended: bool,
}

/// Shakes hands within a time; nothing where that fails, or where there is nothing to say after it.
pub(crate) async fn accept(tcp: TcpStream, handshakes: &dyn Handshakes, within: Duration) -> Option<TlsStream> {
    let shaken = match tokio::time::timeout(within, shake(&tcp, handshakes)).await {
        Ok(Ok(tls)) => Ok(tls),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            Err(Shaken::Failed)
        }
        Err(_) => Err(Shaken::Late),
    };
    let resumed = |tls: &ServerConnection| [Shaken::Full, Shaken::Resumed][usize::from(tls.handshake_kind() == Some(HandshakeKind::Resumed))];
    handshakes.ended(shaken.as_ref().map_or_else(|shaken| *shaken, resumed));
    let mut tls = shaken.ok()?;
    // The relay bounds what is under way itself.
    tls.set_buffer_limit(None);
    let state = Mutex::new(Box::new(State { tls, owed: 0, ended: false }));
    Some(TlsStream { tcp, state })
}

async fn shake(tcp: &TcpStream, handshakes: &dyn Handshakes) -> io::Result<ServerConnection> {
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        tcp.readable().await?;
        match acceptor.read_tls(&mut Socket(tcp)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) => {}
            Err((error, mut alert)) => {
                let _ = alert.write(&mut Socket(tcp));
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    };
    let (settings, errand) = handshakes.settings(&accepted.client_hello());
    if let Some(errand) = errand {
        tokio::task::spawn_blocking(errand).await.map_err(io::Error::other)?;
    }
    let mut tls = accepted.into_connection(settings).map_err(|(error, mut alert)| {
        let _ = alert.write(&mut Socket(tcp));
        io::Error::new(io::ErrorKind::InvalidData, error)
    })?;
    loop {
        while tls.wants_write() {
            match tls.write_tls(&mut Socket(tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.writable().await?,
                Err(error) => return Err(error),
            }
        }
        if !tls.is_handshaking() {
            return Ok(tls);
        }
        tcp.readable().await?;
        match tls.read_tls(&mut Socket(tcp)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if let Err(error) = tls.process_new_packets() {
            // One attempt to say why.
            let _ = tls.write_tls(&mut Socket(tcp));
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
    }
}

impl TlsStream {
    /// The protocol that was agreed upon.
    pub(crate) fn protocol(&self) -> Option<Vec<u8>> {
        self.state().tls.alpn_protocol().map(<[u8]>::to_vec)
    }

    /// Whether everything sealed was sent.
    pub(crate) fn flushed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let flushed = self.state().flush(&self.tcp);
            match flushed {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.tcp.poll_write_ready(cx))?,
                other => return Poll::Ready(other),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, Box<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the socket has, once. `WouldBlock` where it has nothing.
    fn fill(&self, state: &mut State) -> io::Result<()> {
        if state.tls.read_tls(&mut Socket(&self.tcp))? == 0 {
            state.ended = true;
        }
        if let Err(error) = state.tls.process_new_packets() {
            // One attempt to say why.
            let _ = state.tls.write_tls(&mut Socket(&self.tcp));
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        // Answers of the protocol's own, such as to a change of keys. What finds no room goes with the next write.
        match state.flush(&self.tcp) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn write_parts(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state();
        state.flush(&self.tcp)?;
        let all: usize = parts.iter().map(|part| part.len()).sum();
        let owed = std::mem::take(&mut state.owed);
        if owed > 0 {
            return Ok(owed.min(all));
        }
        let sealed = state.seal(parts)?;
        match state.flush(&self.tcp) {
            Ok(()) => Ok(sealed),
            Err(error) => {
                if error.kind() == io::ErrorKind::WouldBlock {
                    state.owed = sealed;
                }
                Err(error)
            }
        }
    }
}

impl State {
    /// Whether reading gives something, be it the end.
    fn has_plain(&mut self) -> bool {
        match self.tls.reader().fill_buf() {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Seals some of these octets, as if they stood in one piece: a head and its body share a record.
    fn seal(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: usize = parts.iter().map(|part| part.len()).sum();
        if all <= AT_ONCE {
            return self.tls.writer().write_vectored(parts);
        }
        let mut sealed = 0;
        for part in parts {
            let room = (AT_ONCE - sealed).min(part.len());
            sealed += self.tls.writer().write(&part[..room])?;
        }
        Ok(sealed)
    }

    /// Sends everything that is sealed.
    fn flush(&mut self, tcp: &TcpStream) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut Socket(tcp))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Stream for TlsStream {
    const SECURE: bool = true;

    async fn readable(&self) -> io::Result<()> {
        if self.state().has_plain() {
            return Ok(());
        }
        Stream::readable(&self.tcp).await
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        loop {
            match state.tls.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Framing tells whether something is missing; some clients never say goodbye.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            if state.ended {
                return Ok(0);
            }
            self.fill(&mut state)?;
        }
    }

    async fn writable(&self) -> io::Result<()> {
        Stream::writable(&self.tcp).await
    }

    fn try_write(&self, from: &[u8]) -> io::Result<usize> {
        self.write_parts(&[IoSlice::new(from)])
    }

    fn try_write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_parts(from)
    }

    async fn closed(&self) {
        loop {
            if Stream::readable(&self.tcp).await.is_err() {
                return;
            }
            let mut state = self.state();
            // Goodbye comes as a record. One that holds something else is kept until it is asked for, and then nothing more is taken.
            let took = if state.has_plain() { Ok(()) } else { self.fill(&mut state) };
            match took {
                Ok(()) if state.ended => return,
                Ok(()) if state.has_plain() => match state.tls.reader().fill_buf() {
                    Ok([]) | Err(_) => return,
                    Ok(_) => break,
                },
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        std::future::pending().await
    }

    async fn shutdown(&self) -> io::Result<()> {
        self.state().tls.send_close_notify();
        let last_word = async {
            loop {
                let flushed = self.state().flush(&self.tcp);
                match flushed {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.tcp.writable().await?,
                    other => return other,
                }
            }
        };
        // Who takes nothing more is not waited for.
        let _ = tokio::time::timeout(LAST_WORD, last_word).await;
        self.tcp.shutdown().await
    }

    fn reset_on_drop(&self) {
        self.tcp.reset_on_drop();
    }
}

/// For protocols whose library polls.
impl TlsStream {
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.try_read(into.initialize_unfilled()) {
                Ok(count) => {
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.tcp.poll_read_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, from: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write_vectored(from) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.tcp.poll_write_ready(cx))?,
                other => return Poll::Ready(other),
            }
        }
    }

    /// Says under TLS, and then without, that nothing more comes.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().tls.send_close_notify();
        ready!(self.flushed(cx))?;
        Poll::Ready(socket2::SockRef::from(&self.tcp).shutdown(std::net::Shutdown::Write))
    }
}

/// The socket as the TLS library uses it.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Stream::try_read(self.0, into)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Stream::try_write(self.0, from)
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        Stream::try_write_vectored(self.0, from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
