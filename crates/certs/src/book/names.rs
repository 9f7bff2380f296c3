//! Which certificate covers which name, in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use jiff::Timestamp;

use super::Problem;
/// What is known of a certificate without reading it.
#[derive(Debug)]
pub(super) struct Mark {
    pub name: Arc<str>,
    pub number: u64,
    covers: Box<[Box<str>]>,
    not_after: i64,
    spoiled: AtomicBool,
}

impl Mark {
    pub fn new(name: &str, number: u64, covers: &[String], not_after: Timestamp) -> Self {
        let covers = covers.iter().map(|name| name.as_str().into()).collect();
        Self { name: name.into(), number, covers, not_after: not_after.as_second(), spoiled: AtomicBool::new(false) }
    }

    pub fn until(&self) -> Timestamp {
        Timestamp::from_second(self.not_after).unwrap_or_default()
    }

    /// It was found to be of no use.
    pub fn spoil(&self) {
        self.spoiled.store(true, Relaxed);
    }
}

/// All marks, by certificate and by name covered.
#[derive(Debug, Default)]
pub(super) struct Names {
    certificates: HashMap<Arc<str>, Arc<Mark>>,
    hosts: HashMap<Box<str>, Vec<Arc<Mark>>>,
    /// Parents of wildcards.
    wildcards: HashMap<Box<str>, Vec<Arc<Mark>>>,
    pub useless: Vec<Problem>,
}

impl Names {
    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    pub fn of(&self, name: &str) -> Option<Arc<Mark>> {
        self.certificates.get(name).filter(|mark| !mark.spoiled.load(Relaxed)).cloned()
    }

    /// The newest word about a certificate.
    pub fn add(&mut self, mark: Mark) {
        self.remove(&mark.name);
        let mark = Arc::new(mark);
        for name in &mark.covers {
            let marks = match name.strip_prefix("*.") {
                Some(parent) => self.wildcards.entry(parent.into()),
                None => self.hosts.entry(name.clone()),
            };
            let marks = marks.or_default();
            marks.reserve_exact(1);
            marks.push(mark.clone());
        }
        self.certificates.insert(mark.name.clone(), mark);
    }

    pub fn remove(&mut self, name: &str) {
        let Some(mark) = self.certificates.remove(name) else { return };
        self.useless.retain(|problem| problem.name != name);
        for covered in &mark.covers {
            let (map, key) = match covered.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcards, parent),
                None => (&mut self.hosts, &**covered),
            };
            if let Some(marks) = map.get_mut(key) {
                marks.retain(|other| !Arc::ptr_eq(other, &mark));
                if marks.is_empty() {
                    map.remove(key);
                }
            }
        }
    }

    /// The best certificate for a host: of the very name before a wildcard, one that is still good before one that has ended. One that has ended is shown where
    /// there is no other: the visitor judges by a better clock than a machine's whose clock has jumped.
    pub fn find(&self, host: &str, now: i64) -> Option<Arc<Mark>> {
        let exact = self.hosts.get(host);
        let wildcard = host.split_once('.').and_then(|(_, parent)| self.wildcards.get(parent));
        let usable = || exact.into_iter().chain(wildcard).flatten().filter(|mark| !mark.spoiled.load(Relaxed));
        let best = |marks: Option<&Vec<Arc<Mark>>>| {
            let good = |mark: &&Arc<Mark>| mark.not_after > now && !mark.spoiled.load(Relaxed);
            marks.into_iter().flatten().filter(good).max_by_key(|mark| mark.not_after).cloned()
        };
        best(exact).or_else(|| best(wildcard)).or_else(|| usable().max_by_key(|mark| mark.not_after).cloned())
    }

    pub fn problems(&self, now: Timestamp) -> Vec<Problem> {
        let ended = self
            .certificates
            .values()
            .filter(|mark| mark.not_after <= now.as_second())
            .map(|mark| Problem { name: mark.name.to_string(), reason: format!("it ended at {}", mark.until()) });
        let mut all: Vec<_> = self.useless.iter().cloned().chain(ended).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    pub fn ends(&self) -> Vec<(String, Timestamp)> {
        let end = |mark: &Arc<Mark>| (mark.name.to_string(), mark.until());
        let mut ends: Vec<_> = self.certificates.values().map(end).collect();
        ends.sort();
        ends
    }
}
