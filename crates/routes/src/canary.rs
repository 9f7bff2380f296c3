//! Which edge gets a change first, and when the others may have it.
//!
//! One distributed bad record has stopped whole fleets of routers at once. So each publication goes to one edge, and to the others when that one says that it
//! stands there. One that refuses stops the publication; one that is lost or silent meanwhile is replaced once, and a second loss at the same change stops it
//! too. What stops is only what is new: everybody serves on from what was released. The next publication is tried from the beginning.
//!
//! Readers without a name (of an earlier release) are never first; where nobody else follows they get everything at once.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Generation;

/// Time for the first edge to apply a change, and a whole table.
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_WHOLE: Duration = Duration::from_secs(60);
/// Edges that may be lost to one change.
const MOST_LOSSES: u32 = 2;

/// The decision; times are since any fixed moment.
#[derive(Debug, Default)]
pub struct Canary {
    latest: Generation,
    released: Generation,
    first: Option<String>,
    /// When the first edge was given what it has not applied yet.
    since: Option<Duration>,
    lost: Option<String>,
    losses: u32,
    stopped: Option<String>,
    readers: BTreeMap<String, Reader>,
    nameless: usize,
}

#[derive(Debug, Default)]
struct Reader {
    connections: usize,
    at: Generation,
}

/// Whether what is new may be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Everybody may have the latest generation.
    Released,
    /// This edge tries it.
    Trying(&'a str),
    /// Nobody follows who could try it.
    Alone,
    /// It is not given to anybody else, and why.
    Stopped(&'a str),
}

impl Canary {
    /// Numbers of another incarnation follow, which do not compare with those before.
    pub fn restart(&mut self) {
        let readers = std::mem::take(&mut self.readers).into_iter().map(|(name, reader)| (name, Reader { at: Generation(0), ..reader })).collect();
        *self = Self { readers, nameless: self.nameless, ..Self::default() };
    }

    /// There is something new.
    pub fn publish(&mut self, latest: Generation, now: Duration) {
        self.latest = latest;
        if self.stopped.take().is_some() {
            (self.losses, self.lost, self.since) = (0, None, None);
        }
        self.settle(now);
    }

    /// An edge follows from where it stands; an empty name is none.
    pub fn join(&mut self, name: &str, at: Option<Generation>, now: Duration) {
        if name.is_empty() {
            self.nameless += 1;
        } else {
            let reader = self.readers.entry(name.to_owned()).or_default();
            reader.connections += 1;
            reader.at = at.unwrap_or_default();
        }
        self.settle(now);
    }

    /// It follows no more.
    pub fn leave(&mut self, name: &str, now: Duration) {
        if name.is_empty() {
            self.nameless = self.nameless.saturating_sub(1);
        } else if let Some(reader) = self.readers.get_mut(name) {
            reader.connections -= 1;
            if reader.connections == 0 {
                self.readers.remove(name);
                if self.first.as_deref() == Some(name) {
                    self.lose("its connection ended", now);
                }
            }
        }
        self.settle(now);
    }

    /// An edge says how far it is, and perhaps that it goes no further.
    pub fn applied(&mut self, name: &str, at: Generation, halted: Option<&str>, now: Duration) {
        if let Some(reader) = self.readers.get_mut(name) {
            reader.at = at;
        }
        if at > self.released && at <= self.latest {
            self.released = at;
            (self.losses, self.lost) = (0, None);
            self.since = (at < self.latest).then_some(now);
        }
        if let Some(why) = halted.filter(|_| self.is_pending() && self.first.as_deref() == Some(name)) {
            self.stopped = Some(format!("edge {name} does not take it: {why}"));
        }
        self.settle(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        let late = self.since.zip(self.first.as_ref().and_then(|first| self.readers.get(first))).is_some_and(|(since, reader)| {
            let patience = if reader.at == self.released { PATIENCE } else { PATIENCE_WHOLE };
            now.saturating_sub(since) >= patience
        });
        // Where it is the only one there is nobody to protect, and nobody else to try.
        if late && self.readers.len() > 1 {
            self.lose("it did not apply it in time", now);
        }
        self.settle(now);
    }

    /// The generation that everybody may have.
    #[must_use]
    pub const fn released(&self) -> Generation {
        self.released
    }

    /// Up to where an edge may go.
    #[must_use]
    pub fn may_have(&self, name: &str) -> Generation {
        let first = self.first.as_deref() == Some(name) && self.stopped.is_none();
        if first { self.latest } else { self.released }
    }

    /// How it stands.
    #[must_use]
    pub fn verdict(&self) -> Verdict<'_> {
        match (&self.stopped, &self.first) {
            _ if !self.is_pending() => Verdict::Released,
            (Some(why), _) => Verdict::Stopped(why),
            (None, Some(first)) => Verdict::Trying(first),
            (None, None) => Verdict::Alone,
        }
    }

    fn is_pending(&self) -> bool {
        self.latest > self.released
    }

    fn lose(&mut self, why: &str, now: Duration) {
        let Some(name) = self.first.take() else { return };
        self.since = None;
        if !self.is_pending() || self.stopped.is_some() {
            return;
        }
        self.losses += 1;
        if self.losses >= MOST_LOSSES {
            self.stopped = Some(format!("edge {name} was lost to it ({why}), as another one before"));
        }
        self.lost = Some(name);
        self.settle(now);
    }

    /// Chooses who is first where something is pending and nobody is.
    fn settle(&mut self, now: Duration) {
        if self.readers.is_empty() && self.nameless > 0 {
            self.released = self.latest;
        }
        if !self.is_pending() {
            self.since = None;
            return;
        }
        if self.stopped.is_some() {
            return;
        }
        if self.first.is_none() {
            // Not the one just lost, where there is another; one that is up to date; the first by name.
            let rank = |(name, reader): &(&String, &Reader)| (self.lost.as_ref() == Some(*name), reader.at != self.released, (*name).clone());
            self.first = self.readers.iter().min_by_key(rank).map(|(name, _)| name.clone());
            self.since = None;
        }
        if self.first.is_some() && self.since.is_none() {
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn g(n: u64) -> Generation {
        Generation(n)
    }

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn two() -> Canary {
        let mut canary = Canary::default();
        canary.publish(g(1), s(0));
        canary.join("b", Some(g(1)), s(0));
        canary.applied("b", g(1), None, s(0));
        canary.join("a", Some(g(1)), s(0));
        assert_eq!(canary.verdict(), Verdict::Released);
        canary
    }

    #[test]
    fn one_edge_first_then_all() {
        let mut canary = two();
        canary.publish(g(2), s(1));
        assert_eq!((canary.may_have("b"), canary.may_have("a")), (g(2), g(1)), "the one that was first stays first");
        canary.publish(g(3), s(1));
        canary.applied("b", g(2), None, s(1));
        assert_eq!((canary.may_have("b"), canary.may_have("a")), (g(3), g(2)));
        canary.applied("b", g(3), None, s(2));
        assert_eq!((canary.verdict(), canary.may_have("a")), (Verdict::Released, g(3)));
    }

    #[test]
    fn a_refusal_stops_it_until_the_next_publication() {
        let mut canary = two();
        canary.publish(g(2), s(1));
        canary.applied("b", g(1), Some("does not parse"), s(1));
        assert!(matches!(canary.verdict(), Verdict::Stopped(why) if why.contains("does not parse")));
        assert_eq!((canary.may_have("b"), canary.may_have("a")), (g(1), g(1)));
        canary.tick(s(1000));
        canary.leave("b", s(1001));
        assert_eq!(canary.may_have("a"), g(1));
        canary.join("b", Some(g(1)), s(1002));
        canary.publish(g(3), s(1003));
        let first = if canary.may_have("a") == g(3) { "a" } else { "b" };
        canary.applied(first, g(3), None, s(1003));
        assert_eq!(canary.verdict(), Verdict::Released);
    }

    #[test]
    fn a_change_takes_no_more_than_two_edges_with_it() {
        let mut canary = two();
        canary.join("c", Some(g(1)), s(0));
        canary.publish(g(2), s(1));
        canary.leave("b", s(1));
        assert_eq!((canary.may_have("a"), canary.may_have("c")), (g(2), g(1)), "another one is tried");
        canary.tick(s(2));
        assert_eq!(canary.may_have("a"), g(2));
        canary.tick(s(3));
        assert!(matches!(canary.verdict(), Verdict::Stopped(_)));
        assert_eq!((canary.may_have("a"), canary.may_have("b"), canary.may_have("c")), (g(1), g(1), g(1)));
    }

    #[test]
    fn a_single_edge_is_waited_for_and_tried_again() {
        let mut canary = Canary::default();
        canary.publish(g(1), s(0));
        assert_eq!(canary.verdict(), Verdict::Alone);
        canary.join("a", None, s(1));
        canary.tick(s(500));
        assert_eq!(canary.may_have("a"), g(1));
        canary.leave("a", s(501));
        canary.join("a", None, s(502));
        assert_eq!(canary.may_have("a"), g(1));
        canary.applied("a", g(1), None, s(503));
        assert_eq!(canary.verdict(), Verdict::Released);
    }

    #[test]
    fn nameless_readers_alone_wait_for_nobody() {
        let mut canary = Canary::default();
        canary.join("", None, s(0));
        canary.publish(g(5), s(0));
        assert_eq!(canary.may_have(""), g(5));
        canary.join("a", Some(g(5)), s(0));
        canary.publish(g(6), s(0));
        assert_eq!((canary.may_have(""), canary.may_have("a")), (g(5), g(6)));
    }
}
