//! Seeded histories: a small model of a cluster commits, loses nodes, transfers state and dies; then the rules are asked.
//!
//! The model's promises are those of the engine: a commit is acknowledged once the writer stored it; every member of the view received it and stores
//! it some time later; received and not yet stored commits die with the process; a new view needs a majority of the last one, and who becomes the
//! writer stored all that it received before. The agent records the writer before it is told, views and positions with delay.

use super::*;

const SEEDS: u64 = 5_000;

struct Random(u64);

impl Random {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }
}

#[derive(Clone, Debug)]
struct Node {
    alive: bool,
    stored: i64,
    received: i64,
    wiped: bool,
    half: bool,
}

#[derive(Debug)]
struct World {
    nodes: Vec<Node>,
    view: Vec<usize>,
    writer: usize,
    acknowledged: i64,
    agent: bool,
    falls_back: bool,
    recorded_writer: usize,
    recorded_view: Vec<usize>,
    recorded: i64,
    witnessed: bool,
    lost_quorum: bool,
}

impl World {
    fn new(falls_back: bool) -> Self {
        let node = Node { alive: true, stored: 0, received: 0, wiped: false, half: false };
        Self {
            nodes: vec![node; 3],
            view: vec![0, 1, 2],
            writer: 0,
            acknowledged: 0,
            agent: true,
            falls_back,
            recorded_writer: 0,
            recorded_view: vec![0, 1, 2],
            recorded: 0,
            witnessed: true,
            lost_quorum: false,
        }
    }

    fn commit(&mut self, random: &mut Random) {
        if self.lost_quorum || !self.nodes[self.writer].alive || !self.view.contains(&self.writer) {
            return;
        }
        let seqno = self.nodes[self.writer].received + 1;
        for &member in &self.view {
            self.nodes[member].received = seqno;
        }
        // The process may die between replication and its own store: then nobody was told.
        if random.draw(40) == 0 {
            self.kill(self.writer, random);
            return;
        }
        self.nodes[self.writer].stored = seqno;
        self.acknowledged = seqno;
    }

    fn store_some(&mut self, random: &mut Random) {
        for node in self.nodes.iter_mut().filter(|node| node.alive) {
            let behind = node.received - node.stored;
            node.stored += i64::try_from(random.draw(3)).unwrap().min(behind);
        }
    }

    fn kill(&mut self, index: usize, _random: &mut Random) {
        if !self.nodes[index].alive {
            return;
        }
        self.nodes[index].alive = false;
        self.nodes[index].received = self.nodes[index].stored;
        let survivors: Vec<usize> = self.view.iter().copied().filter(|member| self.nodes[*member].alive).collect();
        if survivors.len() * 2 <= self.view.len() {
            self.lost_quorum = true;
            return;
        }
        self.view = survivors;
        if index == self.writer {
            // Without the agent nobody tells a successor; an endpoint that falls back on one by itself is the dangerous case.
            if !self.agent && !self.falls_back {
                return;
            }
            let successor = self.view[0];
            self.nodes[successor].stored = self.nodes[successor].received;
            self.writer = successor;
            if self.agent {
                self.recorded_writer = successor;
            }
        }
    }

    fn rejoin(&mut self, index: usize, random: &mut Random) {
        if self.nodes[index].alive || self.lost_quorum {
            return;
        }
        if random.draw(4) == 0 {
            // The transfer breaks half-way; what is in the directory then may claim anything.
            self.nodes[index].half = true;
            self.nodes[index].stored = i64::try_from(random.draw(1_000)).unwrap();
            return;
        }
        let full = self.view.iter().map(|member| self.nodes[*member].received).max().unwrap();
        self.nodes[index] = Node { alive: true, stored: full, received: full, wiped: false, half: false };
        self.view.push(index);
        self.view.sort_unstable();
    }

    fn agent_looks(&mut self, random: &mut Random) {
        if !self.agent {
            return;
        }
        if random.draw(3) > 0 {
            self.recorded_view = self.view.clone();
        }
        if !self.lost_quorum && random.draw(3) > 0 {
            self.recorded = self.acknowledged;
        }
    }

    fn evidence(&self) -> Evidence {
        let found = self.nodes.iter().enumerate().map(|(index, node)| {
            let position = (!node.wiped).then(|| Position { uuid: UUID.to_owned(), seqno: node.stored });
            MemberEvidence { node: super::node(index + 1), position, transfer_unfinished: node.half, running: false }
        });
        Evidence {
            nodes: (1..=3).map(super::node).collect(),
            members: self.recorded_view.iter().map(|index| super::node(index + 1)).collect(),
            writer: Some(super::node(self.recorded_writer + 1)),
            recorded: at(self.recorded),
            witnessed: self.witnessed,
            given_up: BTreeSet::new(),
            found: found.collect(),
        }
    }
}

fn play(seed: u64) -> World {
    let mut random = Random(seed);
    let mut world = World::new(random.draw(2) == 0);
    for _ in 0..20 + random.draw(120) {
        match random.draw(40) {
            0 => {
                let index = usize::try_from(random.draw(3)).unwrap();
                world.kill(index, &mut random);
            }
            1 | 2 => {
                let index = usize::try_from(random.draw(3)).unwrap();
                world.rejoin(index, &mut random);
            }
            3 if random.draw(6) == 0 => {
                world.agent = false;
                world.witnessed = !world.falls_back;
            }
            4..=20 => world.commit(&mut random),
            21..=30 => world.store_some(&mut random),
            _ => world.agent_looks(&mut random),
        }
    }
    // All die, one after the other or at once; some disks do not come back.
    for index in 0..3 {
        world.nodes[index].alive = false;
        if random.draw(6) == 0 {
            world.nodes[index].wiped = true;
        }
    }
    world
}

#[test]
fn no_history_lets_a_node_win_that_lacks_an_acknowledged_commit() {
    let (mut formed, mut waited) = (0, 0);
    for seed in 0..SEEDS {
        let world = play(seed);
        let evidence = world.evidence();
        let damaged = |index: usize| world.nodes[index].wiped || world.nodes[index].half;
        match decide_bootstrap(&evidence) {
            Decision::Bootstrap(proof) => {
                formed += 1;
                let index = (0..3).find(|index| super::node(index + 1) == *proof.node()).unwrap();
                assert!(!damaged(index), "seed {seed}: a wiped or half-transferred node won\n{world:#?}");
                let stored = world.nodes[index].stored;
                assert!(stored >= world.acknowledged, "seed {seed}: chosen at {stored}, acknowledged {}\n{world:#?}", world.acknowledged);
                assert_eq!(proof.position().seqno, stored, "seed {seed}");
            }
            other => {
                waited += 1;
                let all_sound = (0..3).all(|index| !damaged(index));
                assert!(!all_sound, "seed {seed}: every disk is sound and still {other:?}\n{world:#?}");
                let safe = evidence.witnessed && !damaged(world.recorded_writer);
                assert!(!safe, "seed {seed}: the last writer is sound, watched, and still {other:?}\n{world:#?}");
            }
        }
    }
    assert!(formed > SEEDS / 4 && waited > SEEDS / 50, "the histories are too tame: {formed} formed, {waited} waited");
}
