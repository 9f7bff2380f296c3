#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;

/// So many wait in this order; when each went, after the release.
async fn crowd(queue: &Arc<Queue>, tenant: &'static str, count: u32) -> Vec<(u32, Duration)> {
    let (release, released) = watch::channel(None::<Instant>);
    let mut waiting = JoinSet::new();
    for number in 0..count {
        let (own, mut released) = (queue.clone(), released.clone());
        waiting.spawn(async move {
            let place = own.enter(tenant, None).unwrap();
            let began = released.wait_for(Option::is_some).await.unwrap().unwrap();
            place.turn().await;
            (number, began.elapsed())
        });
        // Each takes its place before the next comes.
        while queue.counts().0 <= number as usize {
            tokio::task::yield_now().await;
        }
    }
    release.send_replace(Some(Instant::now()));
    let mut went = Vec::new();
    while let Some(one) = waiting.join_next().await {
        went.push(one.unwrap());
    }
    went
}

#[tokio::test(start_paused = true)]
async fn a_handful_goes_at_once() {
    let went = crowd(&Arc::default(), "acme", AT_ONCE).await;
    assert!(went.iter().all(|(_, after)| after.is_zero()), "{went:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_goes_in_its_order_and_at_a_pace_and_is_out_in_a_second() {
    let queue = Arc::<Queue>::default();
    let most = u32::try_from(MOST_OF_ONE).unwrap();
    let mut went = crowd(&queue, "acme", most).await;
    let at_once = went.iter().filter(|(_, after)| after.is_zero()).count();
    assert!((AT_ONCE as usize..=AT_ONCE as usize + 1).contains(&at_once), "{at_once}");
    // The clock ticks in milliseconds: within one there is no order to see.
    went.sort_by_key(|(number, after)| (after.as_millis(), *number));
    assert!(went.is_sorted_by_key(|(number, _)| *number), "{went:?}");
    let last = went.last().unwrap().1;
    assert!(Duration::from_millis(900) < last && last < Duration::from_millis(1100), "{last:?}");
    assert_eq!(queue.counts().0, 0);
    assert!(queue.lock().tenants.is_empty());
}

#[test]
fn one_tenant_does_not_take_all_places() {
    let queue = Queue::default();
    let acme: Vec<_> = std::iter::from_fn(|| queue.enter("acme", None)).collect();
    assert_eq!(acme.len(), MOST_OF_ONE);
    let others: Vec<_> = std::iter::from_fn(|| queue.enter("other", None)).collect();
    assert_eq!((others.len(), queue.counts()), (MOST_HELD - MOST_OF_ONE, (MOST_HELD, 2)));
    drop(acme);
    assert!(queue.enter("acme", None).is_some());
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_keeps_nobody_waiting_and_a_new_hold_begins_anew() {
    let queue = Queue::default();
    let mut places: Vec<_> = (0..100).map(|_| queue.enter("acme", None).unwrap()).collect();
    let last = places.pop().unwrap();
    drop(places);
    assert!(!last.turn().await, "nobody is before it");
    let number = last.number();
    drop(last);
    // Whoever has to wait again stands before those who came later.
    let later = queue.enter("acme", None).unwrap();
    let again = queue.enter("acme", Some(number)).unwrap();
    assert!(again.number() < later.number());
    let now = Instant::now();
    again.turn_at(now);
    again.closed();
    assert_eq!(queue.lock().tenants["acme"].opened, None);
}
