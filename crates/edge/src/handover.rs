//! Listening sockets pass from a running edge to the one that replaces it, so that no connection is refused in between.
//!
//! The running edge listens on `handover.sock`. A new one connects, gets the sockets (`SCM_RIGHTS`) with one octet for each kind, serves on them, and says so
//! with one octet; then the old one stops accepting. The connection stays open: should the new one end while the old one is still there, the old one serves again.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg};

/// Time for either side's next word.
const WITHIN: Duration = Duration::from_secs(10);
const SERVING: u8 = b's';
const PUBLIC: u8 = b'p';
const ADMIN: u8 = b'a';
const SECURE: u8 = b't';
/// Most sockets of an edge.
const MOST: usize = 3;

/// The listening sockets of an edge.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub public: TcpListener,
    pub admin: TcpListener,
    /// For visitors under TLS, where there is one.
    pub secure: Option<TcpListener>,
}

impl Sockets {
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let secure = self.secure.as_ref().map(TcpListener::try_clone).transpose()?;
        Ok(Self { public: self.public.try_clone()?, admin: self.admin.try_clone()?, secure })
    }
}

/// Where the socket of a folder is.
pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join("handover.sock")
}

/// Asks a running edge for its sockets; `None` where none runs. It blocks.
pub(crate) fn ask(folder: &Path) -> io::Result<Option<(Sockets, UnixStream)>> {
    let stream = match UnixStream::connect(path(folder)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    let sockets = receive(&stream)?;
    Ok(Some((sockets, stream)))
}

/// Tells the edge before us that we serve. The stream must then be kept for as long as we do.
pub(crate) fn serving(mut stream: &UnixStream) -> io::Result<()> {
    stream.write_all(&[SERVING])
}

/// Gives the sockets away and waits until they are served. It blocks.
pub(crate) fn give(stream: &UnixStream, sockets: &Sockets) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    send(stream, sockets)?;
    let mut word = [0];
    let mut reader = stream;
    reader.read_exact(&mut word)?;
    if word == [SERVING] { Ok(()) } else { Err(io::Error::other("the new edge said something else")) }
}

/// Waits until the edge after us has ended.
pub(crate) async fn until_gone(stream: UnixStream) {
    use tokio::io::AsyncReadExt as _;
    let stream = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
    if let Ok(mut stream) = stream {
        // A word, an end or an error: each means that it is not there as it should be.
        let _ = stream.read(&mut [0]).await;
    }
}

fn send(stream: &UnixStream, sockets: &Sockets) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let (mut passed, mut kinds) = (vec![sockets.public.as_fd(), sockets.admin.as_fd()], vec![PUBLIC, ADMIN]);
    if let Some(secure) = &sockets.secure {
        passed.push(secure.as_fd());
        kinds.push(SECURE);
    }
    if !control.push(SendAncillaryMessage::ScmRights(&passed)) {
        return Err(io::Error::other("no room for the sockets"));
    }
    let sent = sendmsg(stream, &[IoSlice::new(&kinds)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == kinds.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn receive(stream: &UnixStream) -> io::Result<Sockets> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut kinds = [0; MOST];
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut kinds)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut passed: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            passed.extend(descriptors);
        }
    }
    let mut passed = passed.into_iter();
    match (&kinds[..got.bytes.min(MOST)], passed.next(), passed.next(), passed.next()) {
        ([PUBLIC, ADMIN], Some(public), Some(admin), None) => Ok(Sockets { public: public.into(), admin: admin.into(), secure: None }),
        ([PUBLIC, ADMIN, SECURE], Some(public), Some(admin), Some(secure)) => {
            Ok(Sockets { public: public.into(), admin: admin.into(), secure: Some(secure.into()) })
        }
        _ => Err(io::Error::other("the running edge passed something else than its sockets")),
    }
}
