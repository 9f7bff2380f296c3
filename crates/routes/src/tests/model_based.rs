//! The table against a naive one, and its disk form against damage; seeds are printed, and set by `ATOLL_SEED`.
#![expect(clippy::print_stdout, reason = "tests say their seed and figures")]

use std::collections::BTreeMap;

use model::v1alpha1::{EdgeCache, EdgeCompress, EdgeSpec};
use model::{Epoch, Generation};

use super::{cell, record};
use crate::disk::{self, LogEnd};
use crate::*;

/// A small generator (SplitMix64): tests need no quality, but the same numbers everywhere.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let seed = std::env::var("ATOLL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_125);
        println!("ATOLL_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn record(&mut self, hosts: u64) -> Record {
        let host = self.below(hosts);
        let star = if host.is_multiple_of(7) { "*." } else { "" };
        let state = [RouteState::Open, RouteState::Held, RouteState::ReadOnly, RouteState::Suspended, RouteState::Moved][self.below(5) as usize];
        let redirect = (self.below(4) == 0).then(|| Redirect {
            to: model::DomainName::new(format!("h{}.example", self.below(hosts))).unwrap(),
            status: [RedirectStatus::Moved, RedirectStatus::Found, RedirectStatus::Temporary, RedirectStatus::Permanent][self.below(4) as usize],
        });
        let class = [None, Some("gold"), Some("größer")][self.below(3) as usize].map(str::to_owned);
        let base =
            record(&format!("{star}h{host}.example"), &format!("t{}", host / 5), ["a", "b", "gone"][self.below(3) as usize], 1 + self.below(9));
        let edge = EdgeSpec {
            compress: [EdgeCompress::On, EdgeCompress::Off][self.below(2) as usize],
            cache: [EdgeCache::Off, EdgeCache::Static, EdgeCache::On][self.below(3) as usize],
        };
        Record { state, redirect, class, edge, ..base }
    }
}

/// What a table should say, said slowly.
#[derive(Default)]
struct Naive {
    records: BTreeMap<HostPattern, Record>,
    cells: BTreeMap<String, CellEndpoint>,
}

impl Naive {
    fn change(&mut self, change: &Change) {
        match change.clone() {
            Change::SetCell(endpoint) => drop(self.cells.insert(endpoint.cell.to_string(), endpoint)),
            Change::RemoveCell(cell) => drop(self.cells.remove(cell.as_str())),
            Change::SetRecord(record) => drop(self.records.insert(record.host.clone(), record)),
            Change::RemoveRecord(host) => drop(self.records.remove(&host)),
        }
    }

    fn lookup(&self, host: &str) -> Option<(String, Option<(String, u16)>)> {
        let find = |text: &str| self.records.get(&HostPattern::new(text).ok()?);
        let record = find(host).or_else(|| find(&format!("*.{}", host.split_once('.')?.1)))?;
        let endpoint = self.cells.get(record.cell.as_str())?;
        let redirect = record.redirect.as_ref().map(|redirect| (redirect.to.to_string(), redirect.status.code()));
        if record.host == HostPattern::Exact(record.redirect.as_ref().map_or(record.host.domain().clone(), |redirect| redirect.to.clone()))
            && redirect.is_some()
        {
            return None;
        }
        let header = TenantHeader { tenant: record.tenant.clone(), cell: record.cell.clone(), epoch: record.epoch, key_id: endpoint.key_id.clone() };
        Some((format!("{} {:?} {:?}", header.sign(&endpoint.key), record.state, record.class.as_deref()), redirect))
    }

    fn agrees(&self, table: &Table, hosts: u64) {
        assert_eq!(table.len(), self.records.len());
        for host in (0..hosts).flat_map(|host| [format!("h{host}.example"), format!("x.h{host}.example"), format!("y.x.h{host}.example")]) {
            let found = table.lookup(&host).map(|found| {
                let redirect = found.redirect.map(|redirect| (redirect.to.to_owned(), redirect.status.code()));
                (format!("{} {:?} {:?}", found.route.header(), found.route.state(), found.route.class()), redirect)
            });
            assert_eq!(found, self.lookup(&host), "{host}");
        }
        for record in self.records.values() {
            assert_eq!(table.record(&record.host).unwrap().to_record().as_ref(), Some(record));
        }
        assert_eq!(table.rehash(|| ()), table.hash());
        let (fresh, _) = Table::compile(table.incarnation(), table.generation(), self.cells.values().cloned(), self.records.values().cloned());
        assert_eq!((fresh.hash(), fresh.refused()), (table.hash(), table.refused()));
    }
}

fn random_changes(random: &mut Random, hosts: u64) -> Vec<Change> {
    (0..=random.below(6))
        .map(|_| match random.below(40) {
            0 => Change::SetCell(cell(["a", "b"][random.below(2) as usize], 1 + random.below(3) as u8)),
            1 => Change::RemoveCell(model::CellName::new(["a", "b"][random.below(2) as usize]).unwrap()),
            2..12 => Change::RemoveRecord(random.record(hosts).host),
            _ => Change::SetRecord(random.record(hosts)),
        })
        .collect()
}

fn step(table: &Table, changes: Vec<Change>) -> Delta {
    let from = table.generation();
    Delta { incarnation: table.incarnation().to_owned(), from, to: from.next(), hash: table.hash_after(&changes), changes }
}

fn written(table: &Table) -> Vec<u8> {
    disk::base(table).unwrap().flatten().collect()
}

#[test]
fn a_table_says_what_a_naive_one_says_through_changes_disk_and_log() {
    let mut random = Random::seeded();
    // Some tables of one leaf, and one that grows through splits and shrinks again.
    for (hosts, steps) in [(12, 150), (12, 150), (300, 300), (3000, 400)] {
        let (mut table, _) = Table::compile("i", Generation(1), [cell("a", 1)], []);
        let mut naive = Naive::default();
        naive.change(&Change::SetCell(cell("a", 1)));
        if hosts == 3000 {
            let all: Vec<_> = (0..4000).map(|_| Change::SetRecord(random.record(hosts))).collect();
            all.iter().for_each(|change| naive.change(change));
            table.apply(step(&table, all)).unwrap();
        }
        let (base, mut log) = (written(&table), Vec::new());
        for _ in 0..steps {
            let before = table.clone();
            let delta = step(&table, random_changes(&mut random, hosts));
            log.extend(disk::frame(&delta).unwrap());
            delta.changes.iter().for_each(|change| naive.change(change));
            table.apply(delta).unwrap();
            if random.below(50) == 0 {
                assert_eq!(before.rehash(|| ()), before.hash(), "an older version is not touched");
                naive.agrees(&table, hosts);
            }
        }
        naive.agrees(&table, hosts);
        let mut again = disk::load(&base).unwrap();
        let replayed = disk::replay(&mut again, &log);
        assert_eq!((replayed.applied, replayed.good, replayed.end), (steps, log.len(), LogEnd::Clean));
        naive.agrees(&again, hosts);
        naive.agrees(&disk::load(&written(&table)).unwrap(), hosts);
        assert_eq!(disk::replay(&mut again, &log).applied, 0, "what is there already is passed over");
    }
}

#[test]
fn a_damaged_base_is_never_taken_and_never_panics() {
    let mut random = Random::seeded();
    let mut records: Vec<_> = (0..200).map(|_| random.record(100)).collect();
    records.retain(|record| record.cell.as_str() != "gone");
    let (table, _) = Table::compile("i", Generation(9), [cell("a", 1), cell("b", 2)], records);
    let file = written(&table);
    assert_eq!(disk::load(&file).unwrap().snapshot(), table.snapshot());
    let line = file.iter().position(|&b| b == b'\n').unwrap();
    for round in 0..3000 {
        let mut bad = file.clone();
        match random.below(4) {
            0 => bad.truncate(random.below(file.len() as u64) as usize),
            1 => bad.extend((0..=random.below(40)).map(|_| random.next() as u8)),
            _ => {
                for _ in 0..=random.below(4) {
                    let at = random.below(bad.len() as u64) as usize;
                    bad[at] ^= 1 << random.below(8);
                }
            }
        }
        if bad != file {
            assert!(disk::load(&bad).is_err(), "round {round}");
        }
        // With a checksum that fits, whatever the octets say must still be a table or an error.
        if bad.len() > line + 32 {
            let end = bad.len() - 32;
            let checksum = blake3::hash(&bad[..end]);
            bad[end..].copy_from_slice(checksum.as_bytes());
            if let Ok(table) = disk::load(&bad) {
                let _ = table.rehash(|| ());
                let _ = table.lookup("h1.example");
                let _ = table.snapshot();
            }
        }
    }
}

#[test]
fn a_damaged_log_is_followed_up_to_the_damage() {
    let mut random = Random::seeded();
    let (start, _) = Table::compile("i", Generation(1), [cell("a", 1), cell("b", 2)], []);
    let (mut table, mut log, mut ends, mut hashes) = (start.clone(), Vec::new(), vec![0], vec![start.hash()]);
    for _ in 0..40 {
        let delta = step(&table, random_changes(&mut random, 50));
        log.extend(disk::frame(&delta).unwrap());
        table.apply(delta).unwrap();
        ends.push(log.len());
        hashes.push(table.hash());
    }
    for _ in 0..1000 {
        let mut bad = log.clone();
        let at = random.below(log.len() as u64) as usize;
        let cut = random.below(2) == 0;
        if cut {
            bad.truncate(at)
        } else {
            bad[at] ^= 1 << random.below(8)
        }
        let whole = ends.iter().rposition(|&end| end <= at).unwrap();
        let mut table = start.clone();
        let replayed = disk::replay(&mut table, &bad);
        assert_eq!((replayed.applied, replayed.good, table.hash()), (whole, ends[whole], hashes[whole]));
        assert_eq!(replayed.end == LogEnd::Clean, cut && at == ends[whole]);
    }
    let mut table = start.clone();
    let gap = disk::replay(&mut table, &log[ends[1]..]);
    assert_eq!((gap.applied, gap.end), (0, LogEnd::Gap));
}

/// Figures for whoever changes the tree: `ATOLL_HOSTS=1000000 cargo test --release -p routes figures -- --nocapture`.
#[test]
fn figures_and_every_host_is_found_after_the_disk() {
    let hosts: u64 = std::env::var("ATOLL_HOSTS").ok().and_then(|text| text.parse().ok()).unwrap_or(5000);
    let name = |n: u64| format!("www.shop-{n}.example");
    let records = (0..hosts).map(|n| record(&name(n), &format!("tenant-{}", n / 5), "a", 1));
    let clock = std::time::Instant::now();
    let (mut table, _) = Table::compile("i", Generation(1), [cell("a", 1)], records);
    println!("compile {:?}", clock.elapsed());
    let clock = std::time::Instant::now();
    let file = written(&table);
    println!("write {:?}, {} octets", clock.elapsed(), file.len());
    let clock = std::time::Instant::now();
    let again = disk::load(&file).unwrap();
    println!("load {:?}", clock.elapsed());
    let mut random = Random(7);
    let asked: Vec<_> = (0..hosts.min(200_000)).map(|_| name(random.below(hosts))).collect();
    let mut times: Vec<_> = asked
        .iter()
        .map(|host| {
            let clock = std::time::Instant::now();
            assert!(again.lookup(host).is_some());
            clock.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    println!("look-up p50 {} ns, p99 {} ns", times[times.len() / 2], times[times.len() * 99 / 100]);
    let clock = std::time::Instant::now();
    for n in 0..1000 {
        let changes = vec![Change::SetRecord(record(&name(random.below(hosts)), "other", "a", n + 2))];
        let kept = table.clone();
        table.apply(step(&table, changes)).unwrap();
        drop(kept);
    }
    println!("change {:?}", clock.elapsed() / 1000);
    let clock = std::time::Instant::now();
    assert_eq!(table.rehash(|| ()), table.hash());
    println!("rehash {:?}", clock.elapsed());
    assert!((0..hosts).all(|n| again.lookup(&name(n)).is_some_and(|found| found.route.epoch() == Epoch(1))));
    assert!(again.lookup(&name(hosts)).is_none());
}
