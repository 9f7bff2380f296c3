//! What an edge has counted and control has not taken yet.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use model::TenantName;

use crate::{Counts, Grain, MOST_ROWS, Report, Row, Span};

/// Counts on their way out, in bounded memory. Where they become too many, the oldest times are made coarser (hours, then days); only where even that does not do
/// are the oldest given up, and that is counted.
#[derive(Debug)]
pub struct Outbox {
    incarnation: String,
    sequence: u64,
    most: usize,
    waiting: BTreeMap<Span, HashMap<TenantName, Counts, RandomState>>,
    /// Rows in all spans.
    rows: usize,
    /// Sent, and perhaps counted: from now on it is repeated as it is.
    flight: Option<Report>,
    lost: u64,
}

impl Outbox {
    /// An empty one, of an edge's process that nobody else calls by this name, for at most so many rows.
    #[must_use]
    pub const fn new(incarnation: String, most: usize) -> Self {
        Self { incarnation, sequence: 0, most, waiting: BTreeMap::new(), rows: 0, flight: None, lost: 0 }
    }

    /// Adds what tenants took, to the minute of this second. Gives how many requests had to be given up for it.
    pub fn add(&mut self, second: i64, counts: impl IntoIterator<Item = (TenantName, Counts)>) -> u64 {
        let span = Span::at(second, Grain::Minute);
        for (tenant, counts) in counts.into_iter().filter(|(_, counts)| !counts.is_nothing()) {
            self.put(span, tenant, &counts);
        }
        let before = self.lost;
        while self.rows > self.most {
            self.shrink();
        }
        self.lost - before
    }

    /// The report that is to be sent next: the last one again until it was accepted. None: nothing waits.
    pub fn due(&mut self) -> Option<&Report> {
        if self.flight.is_none() {
            self.flight = self.fill();
        }
        self.flight.as_ref()
    }

    /// The report in flight was counted.
    pub fn accepted(&mut self) {
        self.flight = None;
    }

    /// The report in flight will never be counted: its requests are given up, which the next report says. Gives how many they are.
    pub fn refused(&mut self) -> u64 {
        let Some(report) = self.flight.take() else { return 0 };
        let requests = report.rows.iter().map(|row| row.counts.requests).sum::<u64>();
        self.lost += report.lost + requests;
        requests
    }

    fn put(&mut self, span: Span, tenant: TenantName, counts: &Counts) {
        let tenants = self.waiting.entry(span).or_default();
        let before = tenants.len();
        tenants.entry(tenant).or_default().add(counts);
        self.rows += tenants.len() - before;
    }

    /// Takes the oldest rows.
    fn fill(&mut self) -> Option<Report> {
        let mut rows = Vec::new();
        while rows.len() < MOST_ROWS
            && let Some(mut oldest) = self.waiting.first_entry()
        {
            let span = *oldest.key();
            let taken = oldest.get_mut().extract_if(|_, _| true).take(MOST_ROWS - rows.len());
            rows.extend(taken.map(|(tenant, counts)| Row { span, tenant, counts }));
            if oldest.get().is_empty() {
                oldest.remove();
            }
        }
        if rows.is_empty() && self.lost == 0 {
            return None;
        }
        self.rows -= rows.len();
        self.sequence += 1;
        let from = rows.iter().map(|row| row.span.start).min().unwrap_or(0);
        let to = rows.iter().map(|row| row.span.end()).max().unwrap_or(0);
        Some(Report { incarnation: self.incarnation.clone(), sequence: self.sequence, from, to, rows, lost: std::mem::take(&mut self.lost) })
    }

    /// Makes the oldest of the finest spans coarser, so that later ones of the same hour fall together with it; gives the oldest up where all are days.
    fn shrink(&mut self) {
        let finest = Grain::ALL.into_iter().find_map(|grain| self.waiting.keys().find(|span| span.grain == grain).copied());
        let Some(span) = finest else { return };
        let Some(tenants) = self.waiting.remove(&span) else { return };
        self.rows -= tenants.len();
        match span.around() {
            Some(around) => tenants.into_iter().for_each(|(tenant, counts)| self.put(around, tenant, &counts)),
            None => self.lost += tenants.values().map(|counts| counts.requests).sum::<u64>(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::share;

    fn tenant(n: u8) -> TenantName {
        TenantName::new(format!("t{n}")).unwrap()
    }

    fn counts(n: u64) -> Counts {
        Counts::of((0..).map(|place| n * (place + 1)).take(11))
    }

    fn sum<'c>(counts: impl IntoIterator<Item = &'c Counts>) -> Counts {
        counts.into_iter().fold(Counts::default(), |mut sum, counts| {
            sum.add(counts);
            sum
        })
    }

    #[test]
    fn a_report_is_the_same_until_it_is_accepted_and_what_comes_meanwhile_is_in_the_next() {
        let mut outbox = Outbox::new("i".to_owned(), 100);
        assert_eq!(outbox.due(), None);
        outbox.add(119, [(tenant(1), counts(1)), (tenant(2), Counts::default())]);
        let first = outbox.due().unwrap().clone();
        assert_eq!((first.sequence, first.from, first.to, first.rows.len()), (1, 60, 120, 1), "who took nothing is left out");
        outbox.add(119, [(tenant(1), counts(2))]);
        assert_eq!(outbox.due(), Some(&first));
        outbox.accepted();
        let second = outbox.due().unwrap();
        assert_eq!((second.sequence, second.rows[0].counts), (2, counts(2)));
    }

    #[test]
    fn the_longest_report_fits_what_control_reads() {
        let mut outbox = Outbox::new("i".repeat(40), 10_000);
        let longest = |n: usize| TenantName::new(format!("t{n:04}{}", "x".repeat(25))).unwrap();
        outbox.add(1_800_000_000, (0..5000).map(|n| (longest(n), Counts::of([u64::MAX / 1_000_000; 11]))));
        let mut rows = Vec::new();
        while let Some(report) = outbox.due() {
            assert!(serde_json::to_vec(report).unwrap().len() < 1 << 20);
            rows.push(report.rows.len());
            outbox.accepted();
        }
        assert_eq!(rows, [2000, 2000, 1000]);
    }

    #[test]
    fn what_does_not_fit_even_as_days_is_given_up_with_its_number() {
        let mut outbox = Outbox::new("i".to_owned(), 3);
        for day in 0..3 {
            assert_eq!(outbox.add(day * 86_400, [(tenant(1), counts(1))]), 0);
        }
        assert_eq!(outbox.add(3 * 86_400, [(tenant(1), counts(1))]), 1);
        let report = outbox.due().unwrap();
        assert_eq!((report.rows.len(), report.lost), (3, 1));
    }

    #[test]
    fn what_is_refused_is_lost_and_the_next_report_says_so() {
        let mut outbox = Outbox::new("i".to_owned(), 100);
        outbox.add(60, [(tenant(1), counts(5))]);
        assert!(outbox.due().is_some());
        assert_eq!(outbox.refused(), 5);
        assert_eq!(outbox.refused(), 0, "nothing is in flight");
        let next = outbox.due().unwrap().clone();
        assert_eq!((next.sequence, next.rows.len(), next.lost), (2, 0, 5));
        assert_eq!(outbox.refused(), 0);
        assert_eq!(outbox.due().unwrap().lost, 5, "and so does the one after a second refusal");
        outbox.accepted();
        assert_eq!(outbox.due(), None);
    }

    proptest! {
        #[test]
        fn whatever_is_added_and_sent_nothing_is_lost_that_is_not_said(
            steps in proptest::collection::vec((0_i64..400_000, 0_u8..6, 0_u64..1000, any::<bool>()), 1..300),
            most in 1_usize..60,
        ) {
            let mut outbox = Outbox::new("i".to_owned(), most);
            let (mut added, mut reported, mut lost) = (Counts::default(), Counts::default(), 0);
            let take = |outbox: &mut Outbox, reported: &mut Counts, lost: &mut u64| {
                let Some(report) = outbox.due().cloned() else { return false };
                reported.add(&sum(report.rows.iter().map(|row| &row.counts)));
                *lost += report.lost;
                outbox.accepted();
                true
            };
            for (second, name, n, send) in steps {
                outbox.add(second, [(tenant(name), counts(n))]);
                added.add(&counts(n));
                prop_assert!(outbox.rows <= most);
                if send {
                    take(&mut outbox, &mut reported, &mut lost);
                }
            }
            while take(&mut outbox, &mut reported, &mut lost) {}
            prop_assert_eq!(added.requests, reported.requests + lost);
            if lost == 0 {
                prop_assert_eq!(added, reported);
            }
        }

        #[test]
        fn shares_make_the_whole(weights in proptest::collection::vec(0_u64..1_000_000, 1..50), cpu in 0_u64..100_000_000) {
            let mut all: Vec<_> = weights.iter().map(|n| Counts { requests: n % 7, bytes_out: *n, ..Counts::default() }).collect();
            share(cpu, all.iter_mut());
            let whole = if weights.iter().all(|n| *n == 0) { 0 } else { cpu };
            prop_assert_eq!(sum(&all).cpu_us, whole);
        }
    }
}
