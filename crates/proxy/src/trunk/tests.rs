//! Two ends of a trunk and a wire between them that passes octets in any parts: every channel is a connection of its own, whoever waits is woken, and nothing grows
//! without bound.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests, which say their seed")]

use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Wake, Waker};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::frame::{Frame, HEAD, Kind};
use super::state::{Broken, Side, State};
use super::{WAITING, WINDOW};

/// Channels open at once, and steps of one run.
const CHANNELS: usize = 12;
const STEPS: usize = 3000;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Octet `at` of what one side says in a channel.
fn octet(side: usize, channel: u32, at: usize) -> u8 {
    (at.wrapping_mul(31) ^ at >> 8).wrapping_add(channel as usize * 7 + side) as u8
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Said {
    Open,
    Ended,
    Gone,
    Reset,
}

/// One side of one channel, as its user knows it.
struct User {
    said: Said,
    held: bool,
    sent: usize,
    read: usize,
    reader: Option<Arc<Flag>>,
    writer: Option<Arc<Flag>>,
}

impl User {
    fn new() -> Self {
        Self { said: Said::Open, held: true, sent: 0, read: 0, reader: None, writer: None }
    }
}

struct World {
    rng: StdRng,
    ends: [State; 2],
    /// What is on its way to each end.
    wires: [Vec<u8>; 2],
    users: [BTreeMap<u32, User>; 2],
}

impl World {
    fn new(seed: u64) -> Self {
        let ends = [State::new(Side::Opens), State::new(Side::Takes)];
        Self { rng: StdRng::seed_from_u64(seed), ends, wires: Default::default(), users: Default::default() }
    }

    fn step(&mut self) {
        let side = self.rng.random_range(0..2);
        match self.rng.random_range(0..14) {
            0 => self.open(),
            1..=4 => self.write(side),
            5..=8 => self.read(side),
            9 | 10 => self.send(side),
            11 | 12 => self.deliver(side),
            _ => self.leave(side),
        }
    }

    fn open(&mut self) {
        if self.users[0].values().filter(|user| user.held).count() < CHANNELS {
            let number = self.ends[0].open().unwrap();
            self.users[0].insert(number, User::new());
        }
    }

    /// One of a side's channels that it still holds.
    fn any(&mut self, side: usize) -> Option<u32> {
        let held: Vec<u32> = self.users[side].iter().filter(|(_, user)| user.held).map(|(number, _)| *number).collect();
        (!held.is_empty()).then(|| held[self.rng.random_range(0..held.len())])
    }

    fn write(&mut self, side: usize) {
        let Some(number) = self.any(side) else { return };
        let held = self.users[1 - side].get(&number).is_none_or(|far| far.held);
        let user = self.users[side].get_mut(&number).unwrap();
        if user.said != Said::Open {
            return;
        }
        let longest = [10, 2000, 200_000][self.rng.random_range(0..3)];
        let length = self.rng.random_range(1..longest);
        let data: Vec<u8> = (user.sent..user.sent + length).map(|at| octet(side, number, at)).collect();
        let (first, second) = data.split_at(self.rng.random_range(0..=length));
        match self.ends[side].write(number, &[IoSlice::new(first), IoSlice::new(second)]) {
            Ok(count) => user.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let flag = Arc::<Flag>::default();
                assert!(!self.ends[side].writable(number, &flag.clone().into()));
                user.writer = Some(flag);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                assert!(!held, "nobody let go of {number}");
            }
        }
    }

    fn read(&mut self, side: usize) {
        let Some(number) = self.any(side) else { return };
        let far = self.users[1 - side].get(&number).map(|user| (user.said, user.sent));
        let user = self.users[side].get_mut(&number).unwrap();
        let mut into = vec![0; self.rng.random_range(1..70_000)];
        match self.ends[side].read(number, &mut into) {
            Ok(0) => {
                let (said, sent) = far.unwrap();
                assert!(matches!(said, Said::Ended | Said::Gone), "an end that was not said: {said:?}");
                assert_eq!(user.read, sent, "an end before the last octet");
            }
            Ok(count) => {
                let right = (user.read..user.read + count).all(|at| into[at - user.read] == octet(1 - side, number, at));
                assert!(right, "channel {number}: {count} octets at {} are not what was sent", user.read);
                user.read += count;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let flag = Arc::<Flag>::default();
                assert!(!self.ends[side].readable(number, &flag.clone().into()));
                user.reader = Some(flag);
            }
            Err(error) => {
                assert_eq!((error.kind(), far.unwrap().0), (ErrorKind::ConnectionReset, Said::Reset));
            }
        }
    }

    fn send(&mut self, side: usize) {
        let (mut out, mut awake) = (Vec::new(), Vec::new());
        self.ends[side].send(&mut out, &mut awake);
        // Data in whole, and what is said of channels.
        assert!(out.len() < WAITING + 64 * 1024, "{} octets wait", out.len());
        self.wires[1 - side].append(&mut out);
        awake.into_iter().for_each(Waker::wake);
        self.nobody_sleeps(side);
    }

    fn deliver(&mut self, side: usize) {
        let there = self.wires[side].len();
        let part = self.rng.random_range(0..=there);
        let (mut opened, mut awake) = (Vec::new(), Vec::new());
        let used = self.ends[side].receive(&self.wires[side][..part], &mut opened, &mut awake).unwrap();
        assert!(part - used < HEAD, "{} octets were not used", part - used);
        self.wires[side].drain(..used);
        assert!(side == 1 || opened.is_empty());
        for number in opened {
            self.users[1].insert(number, User::new());
        }
        awake.into_iter().for_each(Waker::wake);
        self.nobody_sleeps(side);
    }

    fn leave(&mut self, side: usize) {
        let Some(number) = self.any(side) else { return };
        let user = self.users[side].get_mut(&number).unwrap();
        match self.rng.random_range(0..4) {
            0 if user.said == Said::Open => {
                self.ends[side].shutdown(number);
                user.said = Said::Ended;
            }
            1 => {
                self.ends[side].close(number, false);
                (user.said, user.held) = (if user.said == Said::Open { Said::Gone } else { user.said }, false);
            }
            2 if user.said == Said::Open => {
                self.ends[side].close(number, true);
                (user.said, user.held) = (Said::Reset, false);
            }
            _ => {}
        }
    }

    /// Whoever waits for what is there was woken.
    fn nobody_sleeps(&mut self, side: usize) {
        let end = &mut self.ends[side];
        for (number, user) in self.users[side].iter_mut().filter(|(_, user)| user.held) {
            let (reader, writer) = (user.reader.take(), user.writer.take());
            if let Some(flag) = reader {
                let ready = end.readable(*number, &flag.clone().into());
                assert!(!ready || flag.0.load(Relaxed), "nobody told the reader of {number}");
                user.reader = (!ready).then_some(flag);
            }
            if let Some(flag) = writer {
                let ready = end.writable(*number, &flag.clone().into());
                assert!(!ready || flag.0.load(Relaxed), "nobody told the writer of {number}");
                user.writer = (!ready).then_some(flag);
            }
        }
    }

    /// Everything on its way arrives, and everything that arrived is read.
    fn settle(&mut self) {
        for _ in 0..100 {
            for side in 0..2 {
                self.send(side);
                while !self.wires[side].is_empty() {
                    self.deliver(side);
                }
                for _ in 0..CHANNELS {
                    self.read(side);
                }
            }
        }
        for side in 0..2 {
            for (number, user) in self.users[side].iter().filter(|(_, user)| user.held) {
                let sent = self.users[1 - side].get(number).map_or(0, |far| far.sent);
                assert_eq!(user.read, sent, "of channel {number} something did not arrive");
            }
        }
    }
}

#[test]
fn channels_are_connections_of_their_own() {
    let first = rand::random::<u32>();
    for seed in (0..8).map(|n| u64::from(first) + n) {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
    }
}

#[test]
fn who_reads_nothing_holds_up_only_itself() {
    let (mut from, mut to) = (State::new(Side::Opens), State::new(Side::Takes));
    let (slow, quick) = (from.open().unwrap(), from.open().unwrap());
    let part = [7; 64 * 1024];
    let (mut wire, mut opened, mut awake) = (Vec::new(), Vec::new(), Vec::new());
    let mut sent = 0;
    for _ in 0..100 {
        sent += from.write(slow, &[IoSlice::new(&part)]).unwrap_or(0);
        assert_eq!(from.write(quick, &[IoSlice::new(&part)]).unwrap(), part.len());
        from.send(&mut wire, &mut awake);
        assert_eq!(to.receive(&wire, &mut opened, &mut awake), Ok(wire.len()));
        wire.clear();
        assert_eq!(to.read(quick, &mut [0; 64 * 1024]).unwrap(), part.len());
        to.send(&mut wire, &mut awake);
        assert_eq!(from.receive(&wire, &mut opened, &mut awake), Ok(wire.len()));
        wire.clear();
    }
    assert_eq!(sent, WINDOW, "as much as its window, and no more");
}

#[test]
fn what_no_end_of_ours_says_breaks_a_trunk() {
    let frame = |channel, kind, count| Frame { channel, kind, count };
    let too_much = [vec![frame(1, Kind::Open, 0)], vec![frame(1, Kind::Data, WINDOW + 1)]].concat();
    let cases = [
        ("data of no channel", vec![frame(1, Kind::Data, 1)]),
        ("an end of no channel", vec![frame(3, Kind::Gone, 0)]),
        ("a channel twice", vec![frame(1, Kind::Open, 0), frame(1, Kind::Open, 0)]),
        ("a number from before", vec![frame(2, Kind::Open, 0), frame(1, Kind::Open, 0)]),
        ("channel 0", vec![frame(0, Kind::Open, 0)]),
        ("data behind the end", vec![frame(1, Kind::Open, 0), frame(1, Kind::End, 0), frame(1, Kind::Data, 1)]),
        ("a reset behind the last word", vec![frame(1, Kind::Open, 0), frame(1, Kind::Gone, 0), frame(1, Kind::Reset, 0)]),
        ("more room than there is", vec![frame(1, Kind::Open, 0), frame(1, Kind::Room, 1)]),
        ("more than its window", too_much),
    ];
    for (what, frames) in cases {
        let mut octets = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut octets));
        octets.resize(octets.len() + WINDOW + 1, 7);
        assert_eq!(State::new(Side::Takes).receive(&octets, &mut Vec::new(), &mut Vec::new()), Err(Broken), "{what}");
    }
    assert_eq!(State::new(Side::Takes).receive(&[9; HEAD], &mut Vec::new(), &mut Vec::new()), Err(Broken), "an unknown kind");
    let mut octets = Vec::new();
    frame(1, Kind::Open, 0).write(&mut octets);
    assert_eq!(State::new(Side::Opens).receive(&octets, &mut Vec::new(), &mut Vec::new()), Err(Broken), "only edges open channels");
}

#[test]
fn who_opens_and_closes_without_reading_is_cut_off() {
    let mut gate = State::new(Side::Takes);
    let mut broken = false;
    for number in 1..1_000_000 {
        let (mut octets, mut opened) = (Vec::new(), Vec::new());
        Frame { channel: number, kind: Kind::Open, count: 0 }.write(&mut octets);
        broken = gate.receive(&octets, &mut opened, &mut Vec::new()).is_err();
        if broken {
            break;
        }
        opened.iter().for_each(|number| gate.close(*number, false));
    }
    assert!(broken);
}

#[test]
fn the_end_of_a_trunk_is_a_cut_for_whoever_had_not_heard_the_end() {
    let mut edge = State::new(Side::Opens);
    let (open, ended) = (edge.open().unwrap(), edge.open().unwrap());
    let mut octets = Vec::new();
    Frame { channel: open, kind: Kind::Data, count: 2 }.write(&mut octets);
    octets.extend_from_slice(b"ab");
    Frame { channel: ended, kind: Kind::Gone, count: 0 }.write(&mut octets);
    edge.receive(&octets, &mut Vec::new(), &mut Vec::new()).unwrap();
    let flag = Arc::<Flag>::default();
    assert!(!edge.closed(open, &flag.clone().into()));
    let mut awake = Vec::new();
    edge.end_all(&mut awake);
    awake.into_iter().for_each(Waker::wake);
    assert!(flag.0.load(Relaxed));
    let mut into = [0; 9];
    assert_eq!(edge.read(open, &mut into).unwrap(), 2);
    assert_eq!(edge.read(open, &mut into).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(edge.read(ended, &mut into).unwrap(), 0);
    assert_eq!(edge.write(open, &[IoSlice::new(b"c")]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(edge.open(), None);
}

#[test]
fn frames_that_were_spoilt_are_taken_alike_however_they_arrive() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..20_000 {
        let mut octets = Vec::new();
        for _ in 0..rng.random_range(1..12) {
            let (number, kind) = (rng.random_range(0..4), rng.random_range(0..8));
            let count = if rng.random_ratio(1, 10) { rng.random_range(0..1 << 24) } else { rng.random_range(0..20) };
            let [_, a, b, c] = u32::to_be_bytes(count);
            octets.extend_from_slice(&[0, 0, 0, number, kind, a, b, c]);
            if kind == Kind::Data as u8 {
                octets.resize(octets.len() + count.min(20) as usize, 7);
            }
        }
        crate::fuzz::trunk(&octets, rng.random_range(1..20));
    }
}
