//! Frames: whose they are, what they say, and a number that is the length of what follows or stands for itself.

/// Octets before a frame's data: channel (4), kind (1), count (3), the greatest first.
pub(crate) const HEAD: usize = 8;
/// The greatest count.
pub(super) const MOST: usize = (1 << 24) - 1;

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It begins.
    Open = 0,
    /// So many octets follow.
    Data = 1,
    /// So many more octets may be sent.
    Room = 2,
    /// Nothing more comes.
    End = 3,
    /// Nothing more comes, and nothing more is read.
    Gone = 4,
    /// As [`Kind::Gone`], and something is missing.
    Reset = 5,
    /// No new channels, please; of no channel.
    Leaving = 6,
}

/// One frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub channel: u32,
    pub kind: Kind,
    pub count: usize,
}

impl Frame {
    /// Reads one; `None` where its kind is unknown.
    pub(super) fn read(head: [u8; HEAD]) -> Option<Self> {
        let [a, b, c, d, kind, e, f, g] = head;
        let kind = match kind {
            0 => Kind::Open,
            1 => Kind::Data,
            2 => Kind::Room,
            3 => Kind::End,
            4 => Kind::Gone,
            5 => Kind::Reset,
            6 => Kind::Leaving,
            _ => return None,
        };
        Some(Self { channel: u32::from_be_bytes([a, b, c, d]), kind, count: u32::from_be_bytes([0, e, f, g]) as usize })
    }

    /// Appends it. A count over [`MOST`] is a mistake of ours.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        debug_assert!(self.count <= MOST, "{self:?}");
        let [a, b, c, d] = self.channel.to_be_bytes();
        let [_, e, f, g] = u32::try_from(self.count).unwrap_or(u32::MAX).to_be_bytes();
        out.extend_from_slice(&[a, b, c, d, self.kind as u8, e, f, g]);
    }
}
