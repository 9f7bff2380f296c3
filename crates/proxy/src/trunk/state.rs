//! What one end of a trunk knows: its channels, and what waits to be sent. Nothing here touches a socket.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::task::Waker;

use foldhash::fast::FixedState;

use super::frame::{Frame, HEAD, Kind, MOST};
use super::{WAITING, WINDOW};

/// Memory that an idle channel may keep for what comes next.
const KEPT: usize = 4096;

/// Octets that wait to be sent where nobody reads them: what channels say is bounded ([`WAITING`]), so that only somebody who opens and closes them without end
/// can make it so many.
const MOST_WAITING: usize = WAITING + 1024 * 1024;

/// The other end broke the rules of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The edge's.
    Opens,
    /// The gate's.
    Takes,
}

/// How the other end of a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Far {
    Open,
    /// It says nothing more.
    Ended,
    Gone,
    Reset,
}

/// One channel.
#[derive(Debug)]
struct End {
    /// What came and was not read yet, from `start` on.
    input: Vec<u8>,
    start: usize,
    far: Far,
    /// Octets that may be sent.
    credit: usize,
    /// Octets that were read and of which the other end does not know.
    owed: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl End {
    fn new() -> Self {
        Self { input: Vec::new(), start: 0, far: Far::Open, credit: WINDOW, owed: 0, reader: None, writer: None }
    }

    fn unread(&self) -> usize {
        self.input.len() - self.start
    }
}

/// One end of a trunk.
#[derive(Debug)]
pub(crate) struct State {
    side: Side,
    channels: HashMap<u32, End, FixedState>,
    /// The latest channel.
    last: u32,
    /// The rest of a frame's data, and whose it is.
    coming: (u32, usize),
    /// Frames that wait.
    out: Vec<u8>,
    /// Who sends them, where it waits for some.
    pub driver: Option<Waker>,
    /// Who waits for room among them.
    crowded: Vec<u32>,
    /// The other end wants no new channels.
    pub leaving: bool,
    /// The connection has ended.
    over: bool,
}

impl State {
    pub(crate) fn new(side: Side) -> Self {
        let (channels, out, crowded) = (HashMap::default(), Vec::new(), Vec::new());
        Self { side, channels, last: 0, coming: (0, 0), out, driver: None, crowded, leaving: false, over: false }
    }

    /// Opens a channel; `None` where none can be opened any more.
    pub(crate) fn open(&mut self) -> Option<u32> {
        if self.over || self.leaving {
            return None;
        }
        self.last = self.last.checked_add(1)?;
        self.channels.insert(self.last, End::new());
        // At once, and not with the first octets: those may have to wait, and numbers only grow.
        Frame { channel: self.last, kind: Kind::Open, count: 0 }.write(&mut self.out);
        Some(self.last)
    }

    /// Takes what came in, and gives how much of it was used: all, or all but a part of a head. Channels that it opened and those whom it wakes are added to the
    /// lists.
    pub(crate) fn receive(&mut self, octets: &[u8], opened: &mut Vec<u32>, awake: &mut Vec<Waker>) -> Result<usize, Broken> {
        let mut used = 0;
        loop {
            if self.out.len() > MOST_WAITING {
                return Err(Broken);
            }
            let (channel, left) = self.coming;
            if left > 0 {
                let data = &octets[used..];
                let data = &data[..data.len().min(left)];
                if data.is_empty() {
                    return Ok(used);
                }
                if let Some(end) = self.channels.get_mut(&channel) {
                    if end.unread() + end.owed + data.len() > WINDOW {
                        return Err(Broken);
                    }
                    end.input.extend_from_slice(data);
                    awake.extend(end.reader.take());
                }
                used += data.len();
                self.coming.1 -= data.len();
                continue;
            }
            let Some(&head) = octets[used..].first_chunk::<HEAD>() else { return Ok(used) };
            used += HEAD;
            self.frame(Frame::read(head).ok_or(Broken)?, opened, awake)?;
        }
    }

    fn frame(&mut self, frame: Frame, opened: &mut Vec<u32>, awake: &mut Vec<Waker>) -> Result<(), Broken> {
        let Frame { channel, kind, count } = frame;
        if kind == Kind::Leaving {
            self.leaving = true;
            return Ok(());
        }
        if kind == Kind::Open {
            if self.side == Side::Opens || channel <= self.last {
                return Err(Broken);
            }
            self.last = channel;
            self.channels.insert(channel, End::new());
            opened.push(channel);
            return Ok(());
        }
        if channel > self.last {
            return Err(Broken);
        }
        if kind == Kind::Data {
            self.coming = (channel, count);
        }
        // Whoever let go of a channel does not hear what was on its way.
        let Some(end) = self.channels.get_mut(&channel) else { return Ok(()) };
        if kind != Kind::Room && end.far != Far::Open && !(end.far == Far::Ended && matches!(kind, Kind::Gone | Kind::Reset)) {
            return Err(Broken);
        }
        let far = match kind {
            Kind::Open | Kind::Data | Kind::Leaving => return Ok(()),
            Kind::Room => {
                end.credit += count;
                if end.credit > WINDOW {
                    return Err(Broken);
                }
                awake.extend(end.writer.take());
                return Ok(());
            }
            Kind::End => Far::Ended,
            Kind::Gone => Far::Gone,
            Kind::Reset => Far::Reset,
        };
        end.far = far;
        awake.extend(end.reader.take());
        awake.extend(end.writer.take());
        Ok(())
    }

    /// Reads of a channel what is there; 0 is the end.
    pub(crate) fn read(&mut self, channel: u32, into: &mut [u8]) -> io::Result<usize> {
        let over = self.over;
        let end = self.end(channel);
        let unread = end.unread();
        if unread == 0 {
            return match end.far {
                Far::Ended | Far::Gone => Ok(0),
                Far::Reset => Err(io::ErrorKind::ConnectionReset.into()),
                Far::Open if over => Err(io::ErrorKind::ConnectionReset.into()),
                Far::Open => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let count = unread.min(into.len());
        into[..count].copy_from_slice(&end.input[end.start..end.start + count]);
        end.start += count;
        if count == unread {
            end.start = 0;
            end.input.clear();
            end.input.shrink_to(KEPT);
        }
        end.owed += count;
        if end.owed >= WINDOW / 2 && end.far == Far::Open && !over {
            let count = std::mem::take(&mut end.owed);
            Frame { channel, kind: Kind::Room, count }.write(&mut self.out);
        }
        Ok(count)
    }

    /// Writes to a channel what finds room.
    pub(crate) fn write(&mut self, channel: u32, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let (over, waiting) = (self.over, self.out.len());
        let end = self.end(channel);
        if over || end.far >= Far::Gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let all = from.iter().map(|part| part.len()).sum::<usize>();
        let count = all.min(end.credit).min(WAITING.saturating_sub(waiting)).min(MOST);
        if count == 0 {
            return if all == 0 { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        end.credit -= count;
        Frame { channel, kind: Kind::Data, count }.write(&mut self.out);
        let mut left = count;
        for part in from {
            let part = &part[..left.min(part.len())];
            self.out.extend_from_slice(part);
            left -= part.len();
        }
        Ok(count)
    }

    /// Whether a read would do something; else its waker is kept.
    pub(crate) fn readable(&mut self, channel: u32, waker: &Waker) -> bool {
        let over = self.over;
        let end = self.end(channel);
        let ready = over || end.unread() > 0 || end.far != Far::Open;
        if !ready {
            keep(&mut end.reader, waker);
        }
        ready
    }

    /// Whether a write would do something; else its waker is kept.
    pub(crate) fn writable(&mut self, channel: u32, waker: &Waker) -> bool {
        let (over, crowded) = (self.over, self.out.len() >= WAITING);
        let end = self.end(channel);
        let ready = over || end.far >= Far::Gone || (end.credit > 0 && !crowded);
        if !ready {
            keep(&mut end.writer, waker);
            if crowded {
                self.crowded.push(channel);
            }
        }
        ready
    }

    /// Whether the other end of a channel has closed, or the whole trunk; else its waker is kept.
    pub(crate) fn closed(&mut self, channel: u32, waker: &Waker) -> bool {
        let over = self.over;
        let end = self.end(channel);
        let closed = over || (end.unread() == 0 && end.far != Far::Open);
        if !closed {
            keep(&mut end.reader, waker);
        }
        closed
    }

    /// Open, and nothing came.
    pub(crate) fn is_silent(&self, channel: u32) -> bool {
        let end = self.channels.get(&channel);
        !self.over && end.is_some_and(|end| end.far == Far::Open && end.unread() == 0)
    }

    /// Says that nothing more will be written.
    pub(crate) fn shutdown(&mut self, channel: u32) {
        if !self.over && self.end(channel).far < Far::Gone {
            Frame { channel, kind: Kind::End, count: 0 }.write(&mut self.out);
        }
    }

    /// Lets go of a channel.
    pub(crate) fn close(&mut self, channel: u32, reset: bool) {
        let Some(end) = self.channels.remove(&channel) else { return };
        if !self.over && end.far < Far::Gone {
            Frame { channel, kind: if reset { Kind::Reset } else { Kind::Gone }, count: 0 }.write(&mut self.out);
        }
    }

    /// Ends the trunk once nobody uses it.
    pub(crate) fn retire(&mut self) {
        if !self.leaving && !self.over {
            self.leaving = true;
            self.leave();
        }
    }

    /// Asks for no new channels.
    pub(crate) fn leave(&mut self) {
        Frame { channel: 0, kind: Kind::Leaving, count: 0 }.write(&mut self.out);
    }

    /// Whether anything waits to be sent.
    pub(crate) const fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Hands over what waits to be sent, for memory to go on with, and adds those who waited for that to the list.
    pub(crate) fn send(&mut self, into: &mut Vec<u8>, awake: &mut Vec<Waker>) {
        std::mem::swap(&mut self.out, into);
        for channel in std::mem::take(&mut self.crowded) {
            awake.extend(self.channels.get_mut(&channel).and_then(|end| end.writer.take()));
        }
    }

    /// No channel has anybody at its other end.
    pub(crate) fn is_unused(&self) -> bool {
        self.channels.values().all(|end| end.far >= Far::Gone)
    }

    /// The connection has ended; all who wait hear of it.
    pub(crate) fn end_all(&mut self, awake: &mut Vec<Waker>) {
        self.over = true;
        self.out = Vec::new();
        for end in self.channels.values_mut() {
            awake.extend(end.reader.take());
            awake.extend(end.writer.take());
        }
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// A channel that somebody holds. It is there until that one closes it.
    fn end(&mut self, channel: u32) -> &mut End {
        self.channels.entry(channel).or_insert_with(End::new)
    }
}

fn keep(place: &mut Option<Waker>, waker: &Waker) {
    if place.as_ref().is_none_or(|kept| !kept.will_wake(waker)) {
        *place = Some(waker.clone());
    }
}
