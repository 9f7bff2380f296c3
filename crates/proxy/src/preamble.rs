//! The preamble of the PROXY protocol (versions 1 and 2): the first octets of a connection, by which a balancer in front says whose it is.
//!
//! Purpose: [`take`] takes it off the socket and nothing behind it, so that whatever follows (TLS or plain) finds its own first octet; [`read`] is the pure reader.
//! Invariants: it is bounded (107 octets of version 1, 16 and [`MOST_V2`] of version 2), and what differs from one in its first octets is refused at these.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Longest line of version 1, with its end.
const MOST_V1: usize = 107;
/// What every line of version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// What every preamble of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Octets of version 2 before its addresses: the signature, command, family and length.
const FIXED: usize = 16;
/// Longest rest of version 2: addresses and whatever is said beside them.
const MOST_V2: usize = 1024;

/// What a preamble said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preamble {
    /// Whose the connection is.
    Told(SocketAddr),
    /// Nothing of a visitor: the balancer looks whether we live, or cannot say. The connection is its own.
    Own,
}

/// Why there is no preamble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Bad {
    /// Something else stands in its place.
    #[error("the connection does not begin with a preamble of the PROXY protocol")]
    Missing,
    /// It is longer than it may be.
    #[error("the preamble is too long")]
    TooLong,
    /// Something in it is not what it must be.
    #[error("the preamble is malformed")]
    Malformed,
}

/// Why a connection goes no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It ended before its first octet, as those do that only look whether the port is open.
    #[error("nothing came")]
    Nothing,
    /// It began with something else.
    #[error(transparent)]
    Bad(#[from] Bad),
    /// The preamble was not there in time.
    #[error("the preamble did not come in time")]
    Late,
    /// The connection ended, or broke.
    #[error("the connection broke within the preamble")]
    Broken(#[source] io::Error),
}

/// Takes the preamble off a connection within a time.
pub(crate) async fn take(stream: &TcpStream, within: Duration) -> Result<Preamble, Refused> {
    let taken = tokio::time::timeout(within, take_all(stream)).await.unwrap_or(Err(Refused::Late))?;
    // Where nothing follows yet the socket is noted as drained: otherwise the first request would be expected at once.
    let _ = stream.try_io(Interest::READABLE, || Ok(recv(stream, &mut [0_u8], RecvFlags::PEEK)?));
    Ok(taken)
}

async fn take_all(stream: &TcpStream) -> Result<Preamble, Refused> {
    let (mut octets, mut have) = ([0_u8; FIXED + MOST_V2], 0);
    loop {
        stream.readable().await.map_err(Refused::Broken)?;
        let room = &mut octets[have..];
        let seen = match stream.try_io(Interest::READABLE, || Ok(recv(stream, room, RecvFlags::PEEK)?.0)) {
            Ok(0) if have == 0 => return Err(Refused::Nothing),
            Ok(0) => return Err(Refused::Broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(seen) => seen,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(Refused::Broken(error)),
        };
        let read = read(&octets[..have + seen])?;
        // Of one that is not whole yet everything that came is a part: taken at once, so that the socket is waited for and not asked over and over.
        let mine = read.map_or(seen, |(used, _)| used.saturating_sub(have));
        let taken = stream.try_io(Interest::READABLE, || Ok(recv(stream, &mut octets[have..have + mine], RecvFlags::empty())?.0));
        // They were seen a moment ago, and nobody else reads here.
        if taken.map_err(Refused::Broken)? != mine {
            return Err(Refused::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        have += mine;
        if let Some((_, preamble)) = read {
            return Ok(preamble);
        }
    }
}

/// Reads a preamble and its length; nothing while more of it must come.
pub(crate) fn read(octets: &[u8]) -> Result<Option<(usize, Preamble)>, Bad> {
    let begins = |with: &[u8]| octets.iter().zip(with).all(|(a, b)| a == b);
    match octets.first() {
        None => Ok(None),
        Some(_) if begins(WORD) => read_line(octets),
        Some(_) if begins(SIGNATURE) => read_binary(octets),
        Some(_) => Err(Bad::Missing),
    }
}

/// Version 1: a line of words.
fn read_line(octets: &[u8]) -> Result<Option<(usize, Preamble)>, Bad> {
    let line = &octets[..octets.len().min(MOST_V1)];
    let Some(end) = line.windows(2).position(|two| two == b"\r\n") else {
        return if line.len() < MOST_V1 { Ok(None) } else { Err(Bad::TooLong) };
    };
    // The word before is longer than the end of a line, so this never turns around.
    let line = std::str::from_utf8(&line[..end]).map_err(|_| Bad::Malformed)?;
    let mut words = line.split(' ').skip(1);
    let (family, rest) = (words.next(), words);
    let preamble = match family {
        // Whatever else such a line says is to be ignored.
        Some("UNKNOWN") => Preamble::Own,
        Some("TCP4") => addresses::<Ipv4Addr>(rest)?,
        Some("TCP6") => addresses::<Ipv6Addr>(rest)?,
        _ => return Err(Bad::Malformed),
    };
    Ok(Some((end + 2, preamble)))
}

/// Two addresses and two ports, of which the first are the visitor's.
fn addresses<'t, A: std::str::FromStr + Into<IpAddr>>(mut words: impl Iterator<Item = &'t str>) -> Result<Preamble, Bad> {
    let all = (words.next(), words.next(), words.next(), words.next(), words.next());
    let (Some(from), Some(to), Some(from_port), Some(to_port), None) = all else { return Err(Bad::Malformed) };
    let address = |word: &str| word.parse::<A>().map_err(|_| Bad::Malformed);
    let (from, _, port, _) = (address(from)?, address(to)?, port(from_port)?, port(to_port)?);
    Ok(Preamble::Told(SocketAddr::new(from.into(), port)))
}

/// A port as one writes it: no sign, no zero in front.
fn port(word: &str) -> Result<u16, Bad> {
    let plain = word == "0" || !word.starts_with(['0', '+']);
    word.parse().ok().filter(|_| plain).ok_or(Bad::Malformed)
}

/// Version 2: fixed places.
fn read_binary(octets: &[u8]) -> Result<Option<(usize, Preamble)>, Bad> {
    let command = octets.get(12).copied();
    if command.is_some_and(|command| !matches!(command, 0x20 | 0x21)) {
        return Err(Bad::Malformed);
    }
    let (Some(command), Some(&[family, high, low])) = (command, octets.get(13..FIXED).and_then(<[u8]>::first_chunk)) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MOST_V2 {
        return Err(Bad::TooLong);
    }
    let Some(rest) = octets.get(FIXED..FIXED + length) else { return Ok(None) };
    let preamble = match (command, family) {
        (0x20, _) => Preamble::Own,
        // TCP over IPv4: two addresses, two ports.
        (_, 0x11) => {
            let places: &[u8; 12] = rest.first_chunk().ok_or(Bad::Malformed)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *places;
            Preamble::Told(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low]))))
        }
        // TCP over IPv6.
        (_, 0x21) => {
            let (from, rest) = rest.split_first_chunk::<16>().ok_or(Bad::Malformed)?;
            let Some(&[high, low, _, _]) = rest.get(16..20).and_then(<[u8]>::first_chunk) else { return Err(Bad::Malformed) };
            Preamble::Told(SocketAddr::from((*from, u16::from_be_bytes([high, low]))))
        }
        // Nothing said, datagrams, sockets of a file system: known, and of no use.
        (_, family) if family >> 4 <= 3 && family & 15 <= 2 => Preamble::Own,
        _ => return Err(Bad::Malformed),
    };
    Ok(Some((FIXED + length, preamble)))
}

#[cfg(test)]
mod tests;
