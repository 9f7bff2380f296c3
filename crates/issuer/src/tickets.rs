//! Rotation of the keys of session tickets.

use certs::{Book, BookError, Kind, TicketKey, TicketKeys, What};
use jiff::{SignedDuration, Timestamp};

/// The entry's name.
const NAME: &str = "tickets";
/// How long a key seals. Whoever steals one reads no more than what was said in that time by visitors who came back.
const PERIOD: SignedDuration = SignedDuration::from_hours(12);

/// The keys that should stand: one that seals, the next, and the one before for as long as tickets under it are good. Nothing where they stand already.
fn wanted(keys: Option<TicketKeys>, now: Timestamp, make: impl Fn() -> model::Sensitive<String>) -> Option<TicketKeys> {
    let mut keys = keys.unwrap_or_default().0;
    let before = keys.len();
    // A key sealed until the next one's time, and its tickets are good for a period more.
    let old = now.saturating_add(-(PERIOD * 2)).unwrap_or(now);
    keys.retain(|key| key.from >= old);
    let mut changed = keys.len() != before;
    if !keys.iter().any(|key| key.from <= now) {
        keys.push(TicketKey { key: make(), from: now });
        changed = true;
    }
    if !keys.iter().any(|key| key.from > now) {
        let last = keys.iter().map(|key| key.from).max().unwrap_or(now);
        let next = last.saturating_add(PERIOD).unwrap_or(now).max(now.saturating_add(PERIOD / 12).unwrap_or(now));
        keys.push(TicketKey { key: make(), from: next });
        changed = true;
    }
    keys.sort_by_key(|key| key.from);
    changed.then_some(TicketKeys(keys))
}

/// Rotates when it is time.
pub(crate) fn rotate(book: &Book, now: Timestamp) -> Result<(), BookError> {
    // Keys that cannot be read are made anew; visitors then shake hands once more.
    let keys = book.read(Kind::Tickets, NAME).ok().flatten().and_then(|entry| match entry.what {
        What::Tickets(keys) => Some(keys),
        _ => None,
    });
    match wanted(keys, now, || identity::token(32)) {
        Some(keys) => book.put(vec![(NAME.to_owned(), What::Tickets(keys))]).map(|_| ()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_is_known_long_before_it_seals_and_long_after() {
        let hour = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap();
        let make = || identity::token(32);
        let mut keys = wanted(None, hour(0), make).unwrap();
        assert_eq!(keys.0.iter().map(|key| key.from).collect::<Vec<_>>(), [hour(0), hour(12)]);
        let first = keys.0[0].key.clone();
        for now in 1..60 {
            match wanted(Some(keys.clone()), hour(now), make) {
                Some(next) => keys = next,
                None => assert!(now % 12 != 0, "at {now}"),
            }
            assert!(keys.0.iter().any(|key| key.from <= hour(now)) && keys.0.iter().any(|key| key.from > hour(now)), "at {now}: {keys:?}");
            assert_eq!(keys.0.iter().any(|key| key.key == first), now <= 24, "at {now}");
            assert!(keys.0.len() <= 4);
        }
        let late = wanted(Some(keys), hour(1000), make).unwrap();
        assert_eq!(late.0.iter().map(|key| key.from).collect::<Vec<_>>(), [hour(1000), hour(1012)], "after a long sleep nothing old is used");
    }
}
