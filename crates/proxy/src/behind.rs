//! Who a request is from, where others stand in front: what balancers in networks that are trusted say of visitors, and nothing that anybody else says.
//!
//! A balancer adds the address that it sees behind those that it was told, so the fields are read from the right: whoever is trusted told the next one truly, and
//! the first who is not trusted is the visitor. What stands further left is that visitor's own word.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::decide::Came;
use crate::h1::framing::eq;
use crate::h1::head::RequestHead;

/// Most balancers on a request's way that are looked at.
const MOST_HOPS: usize = 32;

/// Who stands in front.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Behind {
    /// Networks whose connections are believed.
    pub networks: Vec<IpNet>,
    /// Their connections begin with a preamble of the PROXY protocol, all of them.
    pub preamble: bool,
}

impl Behind {
    /// Whether an address is believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// How a request of a trusted peer came.
    pub(crate) fn came(&self, head: &RequestHead, peer: SocketAddr, secure: bool) -> Came {
        // Several fields of that name are several opinions.
        let secure = secure || head.find_only("x-forwarded-proto").is_some_and(|word| eq(word.trim_ascii(), b"https"));
        let client = if head.find("x-forwarded-for").is_some() {
            self.client(peer.ip(), lines(head, b"x-forwarded-for").flat_map(|line| line.rsplit(|&b| b == b',')).map(address))
        } else {
            self.client(peer.ip(), lines(head, b"forwarded").flat_map(|line| FromRight(Some(line))).map(|hop| address(node(hop?)?)))
        };
        Came { peer: if client == peer.ip() { peer } else { SocketAddr::new(client, 0) }, secure }
    }

    /// The first address from the right that is not trusted; the last that is where the next cannot be read.
    fn client(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut last = peer;
        for hop in hops.take(MOST_HOPS) {
            let Some(hop) = hop else { return last };
            last = hop;
            if !self.trusts(hop) {
                return last;
            }
        }
        last
    }
}

/// Values of a field that may stand several times, the last first.
fn lines<'h>(head: &'h RequestHead, name: &'static [u8]) -> impl Iterator<Item = &'h [u8]> {
    head.fields().rev().filter(|(this, _)| eq(this, name)).map(|(_, value)| value)
}

/// An address as balancers write it: alone, in brackets, or with its port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// The value of `for` of one hop in `Forwarded` (RFC 7239, 4).
fn node(hop: &[u8]) -> Option<&[u8]> {
    let mut pairs = hop.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    let node = pairs.find_map(|pair| pair.split_at_checked(4).filter(|(name, _)| eq(name, b"for=")).map(|(_, value)| value))?;
    Some(node.strip_prefix(b"\"").and_then(|node| node.strip_suffix(b"\"")).unwrap_or(node))
}

/// The hops of a `Forwarded` line from the right; `None` for what is not well-formed, and nothing after it. Commas within quotes divide nothing: a visitor may have
/// chosen what stands there. From the right, because what stands on the left may be a visitor's with quotes that do not match.
struct FromRight<'v>(Option<&'v [u8]>);

impl<'v> Iterator for FromRight<'v> {
    type Item = Option<&'v [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.0.take()?;
        let mut quoted = false;
        for (at, octet) in line.iter().enumerate().rev() {
            match octet {
                b'"' => quoted = !quoted,
                // No address needs one.
                b'\\' => return Some(None),
                b',' if !quoted => {
                    self.0 = Some(&line[..at]);
                    return Some(Some(&line[at + 1..]));
                }
                _ => {}
            }
        }
        Some((!quoted).then_some(line))
    }
}

#[cfg(test)]
mod tests;
