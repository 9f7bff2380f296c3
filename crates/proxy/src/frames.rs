//! Where the frames of a WebSocket begin and end (RFC 6455, 5.2), whatever parts their octets come in, and the words by which one ends (5.5.1).

/// Longest head of a frame: two octets, a length of eight, a mask of four.
const LONGEST_HEAD: usize = 14;
/// Opcode by which a side says that it sends nothing more.
const CLOSE: u8 = 8;
/// Status "service restart" (IANA's registry of close codes): whoever reads it should come again after a short while chosen at random.
const RESTART: u16 = 1012;
const REASON: &[u8] = b"service restart";

/// Follows the frames of one direction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames {
    head: [u8; LONGEST_HEAD],
    have: u8,
    left: u64,
    closed: bool,
}

impl Frames {
    /// Whether the next octet begins a frame.
    pub(crate) const fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Whether this side has begun to say that it sends nothing more.
    pub(crate) const fn closed(&self) -> bool {
        self.closed
    }

    /// Follows `octets` to the end of the frame that they belong to, or of themselves; how many that are.
    pub(crate) fn step(&mut self, octets: &[u8]) -> usize {
        let mut used = 0;
        while self.left == 0 {
            let Some(octet) = octets.get(used) else { return used };
            used += 1;
            self.head[usize::from(self.have)] = *octet;
            self.have += 1;
            if self.have >= 2 && usize::from(self.have) == self.head_length() {
                (self.left, self.have) = (self.payload(), 0);
                self.closed |= self.head[0] & 15 == CLOSE;
                if self.left == 0 {
                    return used;
                }
            }
        }
        let part = usize::try_from(self.left).unwrap_or(usize::MAX).min(octets.len() - used);
        self.left -= part as u64;
        used + part
    }

    /// Follows all of `octets`.
    pub(crate) fn pass(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let used = self.step(octets);
            octets = &octets[used..];
        }
    }

    fn head_length(&self) -> usize {
        let length = match self.head[1] & 127 {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.head[1] & 128 == 0 { 0 } else { 4 }
    }

    fn payload(&self) -> u64 {
        let number = |octets: &[u8]| octets.iter().fold(0, |number, octet| number << 8 | u64::from(*octet));
        match self.head[1] & 127 {
            126 => number(&self.head[2..4]),
            127 => number(&self.head[2..10]),
            short => short.into(),
        }
    }
}

/// The frame that sends a visitor away, to come again.
pub(crate) fn restart() -> Vec<u8> {
    close(&[0], |frame| frame)
}

/// The same as a visitor says it to a server.
pub(crate) fn restart_masked(mask: [u8; 4]) -> Vec<u8> {
    close(&mask, |mut frame| {
        frame[1] |= 128;
        frame.splice(2..2, mask);
        frame
    })
}

fn close(mask: &[u8], finish: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let payload = RESTART.to_be_bytes().into_iter().chain(REASON.iter().copied());
    let mut frame = vec![128 | CLOSE, 0];
    frame.extend(payload.zip(mask.iter().cycle()).map(|(octet, mask)| octet ^ mask));
    // A reason of ours is short.
    frame[1] = u8::try_from(frame.len() - 2).unwrap_or_default();
    finish(frame)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as its sender writes it.
    fn frame(opcode: u8, masked: bool, length: usize, form: usize) -> Vec<u8> {
        let form = form.max(match length {
            0..126 => 0,
            126..65_536 => 1,
            _ => 2,
        });
        let mut frame = vec![128 | opcode];
        let bit = if masked { 128 } else { 0 };
        match form {
            0 => frame.push(bit | u8::try_from(length).unwrap_or_default()),
            1 => {
                frame.push(bit | 126);
                frame.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
            }
            _ => {
                frame.push(bit | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + if masked { 4 } else { 0 } + length, 0xa5);
        frame
    }

    #[test]
    fn the_last_words_are_one_frame_each() {
        for word in [restart(), restart_masked([1, 2, 3, 4])] {
            let mut frames = Frames::default();
            assert_eq!(frames.step(&word), word.len());
            assert!(frames.at_boundary() && frames.closed());
        }
        assert_eq!(restart()[2..4], [0x03, 0xf4]);
        let masked = restart_masked([1, 2, 3, 4]);
        assert_eq!((masked[1], [masked[6] ^ 1, masked[7] ^ 2]), (128 | restart()[1], [0x03, 0xf4]));
    }

    proptest! {
        #[test]
        fn boundaries_are_where_the_sender_put_them(sent in prop::collection::vec((0..8u8, any::<bool>(), prop_oneof![0..300usize, 65_000..66_000usize], 0..3usize), 1..8), sizes in prop::collection::vec(1..5000usize, 1..6)) {
            let octets: Vec<Vec<u8>> = sent.iter().map(|(opcode, masked, length, form)| frame(*opcode, *masked, *length, *form)).collect();
            let ends: Vec<usize> = octets.iter().scan(0, |at, frame| { *at += frame.len(); Some(*at) }).collect();
            let all = octets.concat();
            let (mut frames, mut at, mut found, mut sizes) = (Frames::default(), 0, Vec::new(), sizes.iter().cycle());
            while at < all.len() {
                let part = &all[at..(at + sizes.next().copied().unwrap_or(1)).min(all.len())];
                let used = frames.step(part);
                prop_assert!(used > 0 && used <= part.len());
                at += used;
                if frames.at_boundary() {
                    found.push(at);
                }
            }
            prop_assert_eq!(found, ends);
            prop_assert!(!frames.closed());
        }

        #[test]
        fn no_octets_panic_and_parts_do_not_matter(octets in prop::collection::vec(any::<u8>(), 0..200), at in 0..200usize) {
            let (mut whole, mut parts) = (Frames::default(), Frames::default());
            whole.pass(&octets);
            let (one, two) = octets.split_at(at.min(octets.len()));
            parts.pass(one);
            parts.pass(two);
            prop_assert_eq!((whole.at_boundary(), whole.closed(), whole.left), (parts.at_boundary(), parts.closed(), parts.left));
        }
    }
}
