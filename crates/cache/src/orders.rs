//! Purges on their way from control to edges.
//!
//! Control keeps the last orders in memory under an incarnation of its own. An edge that missed some, or knows another incarnation, forgets everything: too much
//! is forgotten rather than too little, and nothing has to be written down.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::store::Purge;

/// Orders kept for edges that were away for a moment.
const KEEP: usize = 4096;

/// Something is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Rises by one each time.
    pub number: u64,
    /// Whose.
    pub tenant: String,
    /// What.
    pub purge: Purge,
}

/// One line of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// Everything is to be forgotten: orders may have been missed. The next one will be after `number`.
    Begin {
        /// Of control's orders.
        incarnation: String,
        /// The last order that was given.
        number: u64,
    },
    /// This is to be forgotten.
    Order(Order),
    /// Nothing new.
    Alive,
}

/// The orders of one control.
#[derive(Debug)]
pub struct Orders {
    incarnation: String,
    kept: Mutex<VecDeque<Order>>,
    number: watch::Sender<u64>,
}

impl Orders {
    /// None yet. No two may have the same incarnation.
    #[must_use]
    pub fn new(incarnation: String) -> Self {
        Self { incarnation, kept: Mutex::default(), number: watch::Sender::new(0) }
    }

    /// Gives an order, and its number.
    pub fn give(&self, tenant: &str, purge: Purge) -> u64 {
        let mut kept = self.kept();
        let number = *self.number.borrow() + 1;
        kept.push_back(Order { number, tenant: tenant.to_owned(), purge });
        if kept.len() > KEEP {
            kept.pop_front();
        }
        // Under the lock, so that whoever is told finds it.
        self.number.send_replace(number);
        number
    }

    /// Tells of each new order.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.number.subscribe()
    }

    /// What somebody must hear who has heard up to `after`.
    #[must_use]
    pub fn after(&self, incarnation: &str, after: Option<u64>) -> Vec<Line> {
        let kept = self.kept();
        let number = *self.number.borrow();
        let oldest = kept.front().map_or(number + 1, |order| order.number);
        match after.filter(|after| incarnation == self.incarnation && *after <= number && *after + 1 >= oldest) {
            Some(after) => kept.iter().filter(|order| order.number > after).cloned().map(Line::Order).collect(),
            None => vec![Line::Begin { incarnation: self.incarnation.clone(), number }],
        }
    }

    /// The incarnation.
    #[must_use]
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// No code that holds this lock can leave its content half changed.
    fn kept(&self) -> MutexGuard<'_, VecDeque<Order>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_missed_something_forgets_everything() {
        let orders = Orders::new("one".into());
        let begin = |number| vec![Line::Begin { incarnation: "one".into(), number }];
        assert_eq!(orders.after("", None), begin(0));
        assert_eq!(orders.after("one", Some(0)), []);
        for number in 1..=3 {
            assert_eq!(orders.give("alpha", Purge::Tag(number.to_string())), number);
        }
        let lines = orders.after("one", Some(1));
        assert!(matches!(&lines[..], [Line::Order(two), Line::Order(three)] if (two.number, three.number) == (2, 3)), "{lines:?}");
        assert_eq!(orders.after("other", Some(3)), begin(3));
        assert_eq!(orders.after("one", Some(4)), begin(3), "an order that was never given");
        for _ in 0..KEEP {
            orders.give("beta", Purge::All);
        }
        assert_eq!(orders.after("one", Some(2)), begin(3 + KEEP as u64), "no longer kept");
        assert_eq!(orders.after("one", Some(3)).len(), KEEP);
    }
}
