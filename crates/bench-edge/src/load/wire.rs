//! What connections are made of.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use crate::cases::Transport;
use crate::certificate;
use crate::world::Random;

/// Octets to and fro, under TLS or not.
pub(super) trait Octets: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Octets for T {}

/// One connection.
pub(super) type Stream = Box<dyn Octets>;

/// Opens connections.
pub(super) struct Wire {
    target: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Wire {
    pub(super) fn new(target: SocketAddr, transport: Transport, chain: &Path) -> Result<Self> {
        let tls = match transport {
            Transport::Plain => None,
            Transport::Tls => Some(certificate::visitor(chain, b"http/1.1")?),
            Transport::H2 => Some(certificate::visitor(chain, b"h2")?),
        };
        Ok(Self { target, tls: tls.map(TlsConnector::from) })
    }

    /// A connection, for this host where it is asked under TLS.
    pub(super) async fn open(&self, host: &str, random: &mut Random) -> Result<Stream> {
        let socket = TcpSocket::new_v4()?;
        // Another address of the loopback network each time: ports that wait after a close never run out.
        let [a, b, c, ..] = random.next().to_le_bytes();
        socket.bind((Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254)), 0).into())?;
        let stream = socket.connect(self.target).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let stream = tls.connect(ServerName::try_from(host.to_owned())?, stream).await.context("the handshake")?;
        Ok(Box::new(stream))
    }
}
