//! Whether a proxy answers right, before its figures count.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustls::{ClientConnection, ProtocolVersion, StreamOwned};

use crate::certificate::{Files, visitor};
use crate::peer::Doors;
use crate::world::{FIELD, domain, tenant};

const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until it answers at all.
pub fn answers(at: SocketAddr, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        match ask(connect(at), &domain(0), "/small") {
            Ok((200, _)) => return Ok(()),
            other if Instant::now() > deadline => anyhow::bail!("no answer of 200 at {at} within {within:?}, but {other:?}"),
            _ => std::thread::park_timeout(Duration::from_millis(20)),
        }
    }
}

/// Looks at what reaches the backend, and at what does not, at each door. `field` names the tenant as this proxy writes it.
pub fn right(at: Doors, certificate: &Files, domains: usize, field: &str) -> Result<()> {
    let plain = |_: &str| connect(at.plain);
    told(plain, domains, field).context("without TLS")?;
    let Some(secure) = at.secure else { return Ok(()) };
    told(|host| shake(secure, certificate, host, b"http/1.1"), domains, field).context("under TLS")?;
    // What is answered over HTTP/2 the load looks at; here, whether it is spoken.
    shake(secure, certificate, &domain(0), b"h2").map(drop)
}

fn told<S: Read + Write>(open: impl Fn(&str) -> Result<S>, domains: usize, field: &str) -> Result<()> {
    let ask = |host: &str, path: &str| ask(open(host), host, path);
    for n in [0, 1, domains / 2, domains - 1] {
        let (status, seen) = ask(&domain(n), "/head")?;
        ensure!(status == 200, "{status} for {}", domain(n));
        let values: Vec<_> = seen
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| name.eq_ignore_ascii_case(field))
            .map(|(_, value)| value.to_owned())
            .collect();
        let [value] = &values[..] else { anyhow::bail!("{field} stands {} times:\n{seen}", values.len()) };
        ensure!(value.split([';', '=']).any(|part| part == tenant(n)), "{value} is not the tenant of {}", domain(n));
        ensure!(!seen.contains("forged"), "a forged field went through:\n{seen}");
    }
    let (status, _) = ask("unknown.shop.example", "/small")?;
    ensure!(status == 404, "an unknown host gets {status}");
    for (path, octets) in [("/small", 1024), ("/large", 64 * 1024)] {
        let (status, body) = ask(&domain(7), path)?;
        ensure!(status == 200 && body.len() == octets && body.bytes().all(|b| b == b'x'), "{path}: {status}, {} octets", body.len());
    }
    Ok(())
}

fn connect(at: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A handshake, whose outcome must be what everybody is measured with.
fn shake(at: SocketAddr, certificate: &Files, host: &str, protocol: &[u8]) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let connection = ClientConnection::new(visitor(&certificate.chain, protocol)?, host.to_owned().try_into()?)?;
    let mut stream = StreamOwned::new(connection, connect(at)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    ensure!(stream.conn.alpn_protocol() == Some(protocol), "another protocol was agreed on: {:?}", stream.conn.alpn_protocol());
    let (version, suite) = (stream.conn.protocol_version(), stream.conn.negotiated_cipher_suite().map(|suite| suite.suite()));
    ensure!(version == Some(ProtocolVersion::TLSv1_3), "{version:?} was agreed on");
    ensure!(suite == Some(rustls::CipherSuite::TLS13_AES_128_GCM_SHA256), "{suite:?} was agreed on");
    Ok(stream)
}

fn ask(stream: Result<impl Read + Write>, host: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = stream?;
    let lower = FIELD.to_lowercase();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{lower}: forged\r\nX-Keep: yes\r\nConnection: close\r\n\r\n")?;
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        // Under TLS some end without saying so; what came is judged.
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error.into()),
        _ => {}
    }
    let text = String::from_utf8(text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}
