//! Many connections to a gate in one: a trunk.
//!
//! A request through edge and gate costs eight calls of the kernel, half of them between the two. Where many requests are under way, a trunk carries them all in
//! one connection: what they say in one turn of a thread goes out with one send and comes in with one read. In it each has a channel, which is to the relay a
//! connection like any other ([`crate::stream::Stream`]): HTTP/1.1 as it stands, with an end, a reset and a window of its own, so whoever is slow holds up nobody.
//!
//! Only what may be sent twice goes by trunk: requests without a body and without an upgrade, of methods that may be repeated. All others, and all while there is
//! no trunk, go by connections of their own. An edge asks for a trunk once several requests to the same gate are under way, and never waits for it; whoever does not
//! know of trunks refuses the first octet and is not asked again for a while.
//!
//! On the wire: [`HELLO`] from each side, then frames (`frame.rs`). The edge opens channels, by a number that it never used before.

mod channel;
mod drive;
mod frame;
mod opener;
mod state;
mod taker;
#[cfg(test)]
mod tests;

pub(crate) use channel::Channel;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use frame::HEAD;
pub(crate) use opener::Trunks;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use state::{Side, State};
pub(crate) use taker::{asked, take};

/// What each side says first. No method begins with its first octet.
const HELLO: [u8; 16] = *b"\0atoll trunk 1\r\n";
/// Octets of a channel that may be under way in one direction.
pub(crate) const WINDOW: usize = 128 * 1024;
/// Octets of all channels that wait to be sent.
const WAITING: usize = 256 * 1024;
