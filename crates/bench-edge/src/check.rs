//! Whether a proxy answers right, before its figures count.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::world::{FIELD, domain, tenant};

const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until it answers at all.
pub fn answers(at: SocketAddr, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        match ask(at, &domain(0), "/small") {
            Ok((200, _)) => return Ok(()),
            other if Instant::now() > deadline => anyhow::bail!("no answer of 200 at {at} within {within:?}, but {other:?}"),
            _ => std::thread::park_timeout(Duration::from_millis(20)),
        }
    }
}

/// Looks at what reaches the backend, and at what does not. `of` reads the tenant from the field as this proxy writes it.
pub fn right(at: SocketAddr, domains: usize, field: &str) -> Result<()> {
    for n in [0, 1, domains / 2, domains - 1] {
        let (status, seen) = ask(at, &domain(n), "/head")?;
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
    let (status, _) = ask(at, "unknown.example", "/small")?;
    ensure!(status == 404, "an unknown host gets {status}");
    for (path, octets) in [("/small", 1024), ("/large", 64 * 1024)] {
        let (status, body) = ask(at, &domain(7), path)?;
        ensure!(status == 200 && body.len() == octets && body.bytes().all(|b| b == b'x'), "{path}: {status}, {} octets", body.len());
    }
    Ok(())
}

fn ask(at: SocketAddr, host: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let lower = FIELD.to_lowercase();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{lower}: forged\r\nX-Keep: yes\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}
