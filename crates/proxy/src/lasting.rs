//! What lasts, kept by those who decide under a name of theirs, so that a change ends what it is about and nothing else is looked at. What began on a server's
//! connections ends with that server, too.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Streams under way, by a name. `T` is what decides whether one goes on.
pub struct Streams<T> {
    names: Mutex<HashMap<Box<str>, Vec<Stream<T>>>>,
    count: AtomicUsize,
    number: AtomicU64,
    ended: AtomicU64,
}

struct Stream<T> {
    number: u64,
    about: T,
    end: CancellationToken,
    /// It was told to end, and counted.
    told: bool,
}

impl<T> Stream<T> {
    fn tell(&mut self, ended: &AtomicU64) {
        if !std::mem::replace(&mut self.told, true) {
            ended.fetch_add(1, Relaxed);
            self.end.cancel();
        }
    }
}

/// A stream's place; it is given up with this.
pub struct Place<T> {
    streams: Arc<Streams<T>>,
    name: Box<str>,
    number: u64,
    end: CancellationToken,
}

impl<T> Default for Streams<T> {
    fn default() -> Self {
        Self { names: Mutex::default(), count: AtomicUsize::default(), number: AtomicU64::default(), ended: AtomicU64::default() }
    }
}

impl<T> Streams<T> {
    /// Notes a stream, which `leaving` ends at the latest. To be called before it is looked whether it may go on: whoever changes that and looks here afterwards
    /// has seen it.
    pub fn begin(self: &Arc<Self>, name: &str, about: T, leaving: &CancellationToken) -> Place<T> {
        let (number, end) = (self.number.fetch_add(1, Relaxed), leaving.child_token());
        let mut names = self.lock();
        self.count.fetch_add(1, Relaxed);
        names.entry(name.into()).or_default().push(Stream { number, about, end: end.clone(), told: false });
        drop(names);
        Place { streams: self.clone(), name: name.into(), number, end }
    }

    /// Whether nothing is under way: no stream that began before, whatever thread it is on, goes unseen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Streams under way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Streams that were told to end so far; those whose server left are counted once they have.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended.load(Relaxed)
    }

    /// Ends the streams of one name that may not go on.
    pub fn check(&self, name: &str, goes_on: impl FnMut(&mut T) -> bool) {
        if let Some(streams) = self.lock().get_mut(name) {
            self.end(streams, goes_on);
        }
    }

    /// Ends all streams that may not go on.
    pub fn check_all(&self, mut goes_on: impl FnMut(&str, &mut T) -> bool) {
        for (name, streams) in self.lock().iter_mut() {
            self.end(streams, |about| goes_on(name, about));
        }
    }

    fn end(&self, streams: &mut [Stream<T>], mut goes_on: impl FnMut(&mut T) -> bool) {
        for stream in streams {
            if !stream.told && !goes_on(&mut stream.about) {
                stream.tell(&self.ended);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<Stream<T>>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Place<T> {
    /// What tells the stream to end.
    #[must_use]
    pub fn end(&self) -> CancellationToken {
        self.end.clone()
    }

    /// Tells the stream to end.
    pub fn tell(&self) {
        let mut names = self.streams.lock();
        if let Some(stream) = names.get_mut(&self.name).and_then(|streams| streams.iter_mut().find(|stream| stream.number == self.number)) {
            stream.tell(&self.streams.ended);
        }
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        let mut names = self.streams.lock();
        self.streams.count.fetch_sub(1, Relaxed);
        if let Some(streams) = names.get_mut(&self.name) {
            if let Some(at) = streams.iter().position(|stream| stream.number == self.number) {
                let mut stream = streams.swap_remove(at);
                if stream.end.is_cancelled() {
                    // Whoever left told all of its streams at once, without a look at these.
                    stream.tell(&self.streams.ended);
                }
            }
            if streams.is_empty() {
                names.remove(&self.name);
            }
        }
    }
}

impl<T> fmt::Debug for Streams<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Place<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_change_is_about_ends_and_places_are_given_back() {
        let (streams, stays) = (Arc::new(Streams::default()), CancellationToken::new());
        let (one, two, other) = (streams.begin("a", 1, &stays), streams.begin("a", 2, &stays), streams.begin("b", 1, &stays));
        streams.check("a", |about| *about != 1);
        assert_eq!([&one, &two, &other].map(|place| place.end().is_cancelled()), [true, false, false]);
        streams.check("a", |about| *about != 1);
        assert_eq!((streams.ended(), streams.count()), (1, 3), "each is told once");
        drop((one, two));
        streams.check_all(|name, _| name != "b");
        assert!(other.end().is_cancelled());
        drop(other);
        assert!(streams.count() == 0 && streams.is_empty());
    }

    #[test]
    fn a_server_that_leaves_ends_its_own_and_what_is_late() {
        let (streams, leaves, stays) = (Arc::new(Streams::default()), CancellationToken::new(), CancellationToken::new());
        let (early, other) = (streams.begin("a", 1, &leaves), streams.begin("a", 2, &stays));
        leaves.cancel();
        let late = streams.begin("a", 3, &leaves);
        assert_eq!([&early, &late, &other].map(|place| place.end().is_cancelled()), [true, true, false]);
        early.tell();
        drop((early, late, other));
        assert_eq!(streams.ended(), 2, "each is counted once, and only those that were told");
    }
}
