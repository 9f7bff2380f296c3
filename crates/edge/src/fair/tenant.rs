//! What one tenant, and one address, takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use proxy::{Crowd, Ended};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::Fair;
use super::class::Class;
use super::rate::{Rate, Taken};

/// How long a request waits for a place among its tenant's.
const WAIT: Duration = Duration::from_secs(1);

/// Longest name that stands beside the counts, as nearly all do.
const SHORT: usize = 31;

/// What one tenant takes. With many tenants it is in no cache when a request comes, so what every request needs stands together and in front, the name that it
/// is found by with it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Tenant {
    length: u8,
    short: [u8; SHORT],
    requests: Taken,
    octets: Taken,
    under_way: AtomicUsize,
    waiting: AtomicUsize,
    counts: Counts,
    freed: Notify,
    /// A name that is longer.
    long: Option<Box<str>>,
}

/// What one address takes.
#[derive(Debug, Default)]
pub(crate) struct Client {
    requests: Taken,
}

/// In front those that every request that goes well adds to.
#[derive(Debug, Default)]
#[repr(C)]
struct Counts {
    requests: AtomicU64,
    answered: AtomicU64,
    octets_out: AtomicU64,
    busy_us: AtomicU64,
    octets_in: AtomicU64,
    limited: AtomicU64,
    shed: AtomicU64,
    server_errors: AtomicU64,
    cut: AtomicU64,
    failed: AtomicU64,
    errors: AtomicU64,
}

/// What a tenant took in a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Requests that ended.
    pub requests: u64,
    /// Requests that were not let in.
    pub refused: u64,
    /// Answers of 500 and above, and answers cut short.
    pub errors: u64,
    /// Octets of request bodies.
    pub bytes_in: u64,
    /// Octets of answers' bodies.
    pub bytes_out: u64,
    /// Sum of the times from request to end of answer, in microseconds.
    pub busy_us: u64,
    /// Of those refused, the ones answered 429; the others were 503.
    #[serde(default)]
    pub limited: u64,
    /// Of the errors, answers of 500 and above; the others were cut short.
    #[serde(default)]
    pub server_errors: u64,
    /// Answers cut short, whatever their status.
    #[serde(default)]
    pub cut: u64,
    /// Requests that the cell answered.
    #[serde(default)]
    pub answered: u64,
    /// Requests that the cell should have answered and did not.
    #[serde(default)]
    pub failed: u64,
}

impl Facts {
    /// As they are kept, without a share of processor time.
    pub(crate) const fn counts(&self) -> ledger::Counts {
        ledger::Counts {
            requests: self.requests,
            limited: self.limited,
            shed: self.refused - self.limited,
            errors: self.server_errors,
            cut: self.cut,
            answered: self.answered,
            failed: self.failed,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            busy_us: self.busy_us,
            cpu_us: 0,
        }
    }
}

/// Who answered a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum By {
    /// The edge or a gate, in the cell's stead where that should have.
    #[default]
    Us,
    /// The edge or a gate, because the tenant is suspended.
    UsAsWanted,
    /// The cell.
    Cell,
}

impl Client {
    pub(crate) fn take(&self, rate: Rate, now: Duration) -> Result<(), Duration> {
        self.requests.take(rate, 1, now)
    }

    pub(crate) fn is_even(&self, now: Duration) -> bool {
        self.requests.is_even(now)
    }
}

impl Tenant {
    /// One that took nothing yet.
    pub(crate) fn new(name: &str) -> Self {
        let mut short = [0; SHORT];
        let begin = name.len().min(SHORT);
        short[..begin].copy_from_slice(&name.as_bytes()[..begin]);
        Self {
            // At most 63: a label of DNS.
            length: u8::try_from(name.len()).unwrap_or(u8::MAX),
            short,
            requests: Taken::default(),
            octets: Taken::default(),
            under_way: AtomicUsize::default(),
            waiting: AtomicUsize::default(),
            counts: Counts::default(),
            freed: Notify::default(),
            long: (begin < name.len()).then(|| name.into()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match &self.long {
            Some(long) => long,
            // It was one.
            None => std::str::from_utf8(&self.short[..usize::from(self.length)]).unwrap_or_default(),
        }
    }

    /// Asks for all that a request needs of it, which is in no cache mostly: lines that are asked for at once take the time of one.
    pub(crate) fn near(&self) {
        let Counts { requests, busy_us, .. } = &self.counts;
        std::hint::black_box((self.length, [requests, busy_us].map(|count| count.load(Relaxed))));
    }

    /// Whether this is its name.
    pub(crate) fn is(&self, name: &str) -> bool {
        if usize::from(self.length) != name.len() {
            return false;
        }
        self.short.get(..name.len()).map_or_else(|| self.long.as_deref() == Some(name), |short| short == name.as_bytes())
    }

    /// Takes one request of the rate, unless octets are owed.
    pub(crate) fn take(&self, class: Class, now: Duration) -> Result<(), Duration> {
        let debt = self.octets.debt(class.octets, now);
        if debt > Duration::ZERO {
            return Err(debt);
        }
        self.requests.take(class.requests, 1, now)
    }

    /// A place among the tenant's requests under way: at once, or within a moment and in order; the tenant again where too many wait or the moment is over.
    pub(crate) async fn place(self: Arc<Self>, fair: &Arc<Fair>, class: Class) -> Result<Place, Arc<Self>> {
        if self.waiting.load(Relaxed) == 0 && self.begin(&fair.crowd, class.under_way) {
            return Ok(Place { fair: fair.clone(), tenant: self });
        }
        let taken = match Waits::begin(&self, class.under_way) {
            Some(_waits) => tokio::time::timeout(WAIT, self.wait(fair, class)).await.ok(),
            None => None,
        };
        taken.ok_or(self)
    }

    async fn wait(self: &Arc<Self>, fair: &Arc<Fair>, class: Class) -> Place {
        loop {
            let freed = self.freed.notified();
            if self.begin(&fair.crowd, class.under_way) {
                return Place { fair: fair.clone(), tenant: self.clone() };
            }
            freed.await;
        }
    }

    /// Counts one more under way, unless there are as many as may be.
    fn begin(&self, all: &Crowd, most: usize) -> bool {
        let before = self.under_way.fetch_update(SeqCst, SeqCst, |count| (count < most).then_some(count + 1));
        if let Ok(before) = before {
            all.enter(before);
        }
        before.is_ok()
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Relaxed)
    }

    pub(crate) fn is_even(&self, now: Duration) -> bool {
        self.requests.is_even(now) && self.octets.is_even(now)
    }

    pub(crate) fn count_refusal(&self, status: u16) {
        let count = if status == 429 { &self.counts.limited } else { &self.counts.shed };
        count.fetch_add(1, Relaxed);
    }

    /// What was taken since the last time.
    pub(crate) fn facts(&self) -> Facts {
        // Most counts of most tenants are nothing, and to see that costs less than to take it.
        let take = |count: &AtomicU64| if count.load(Relaxed) == 0 { 0 } else { count.swap(0, Relaxed) };
        let limited = take(&self.counts.limited);
        Facts {
            requests: take(&self.counts.requests),
            refused: limited + take(&self.counts.shed),
            limited,
            server_errors: take(&self.counts.server_errors),
            cut: take(&self.counts.cut),
            answered: take(&self.counts.answered),
            failed: take(&self.counts.failed),
            errors: take(&self.counts.errors),
            bytes_in: take(&self.counts.octets_in),
            bytes_out: take(&self.counts.octets_out),
            busy_us: take(&self.counts.busy_us),
        }
    }
}

/// A place among a tenant's requests under way.
#[derive(Debug)]
pub(crate) struct Place {
    fair: Arc<Fair>,
    tenant: Arc<Tenant>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.tenant.under_way.fetch_sub(1, SeqCst);
        self.fair.crowd.leave(before - 1);
        // Whoever waits said so before it last looked for a place: either it saw this one, or it is seen here.
        if self.tenant.waiting.load(SeqCst) > 0 {
            self.tenant.freed.notify_one();
        }
    }
}

/// Counts one that waits; no more wait than may be under way.
struct Waits<'a>(&'a Tenant);

impl<'a> Waits<'a> {
    fn begin(tenant: &'a Tenant, most: usize) -> Option<Self> {
        let waits = tenant.waiting.fetch_update(SeqCst, Relaxed, |count| (count < most).then_some(count + 1));
        waits.is_ok().then(|| Self(tenant))
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
        // A word that reached this one as it gave up is passed on.
        self.0.freed.notify_one();
    }
}

/// One request that was let in.
#[derive(Debug)]
pub(crate) struct Pass {
    place: Place,
    octets: Rate,
    /// When it was let in.
    since: Duration,
}

impl Pass {
    pub(super) const fn new(place: Place, octets: Rate, since: Duration) -> Self {
        Self { place, octets, since }
    }

    /// Notes how the request ended; its octets are owed by the tenant's next ones.
    pub(crate) fn ended(&self, ended: &Ended, by: By) {
        // From its beginning: what took an hour was earned in that hour, also where nothing was asked for meanwhile.
        self.place.tenant.octets.owe(self.octets, ended.up + ended.down, self.since);
        let counts = &self.place.tenant.counts;
        counts.requests.fetch_add(1, Relaxed);
        // What does not happen to a request that goes well costs it nothing here.
        if ended.status >= 500 || ended.cut {
            counts.errors.fetch_add(1, Relaxed);
            counts.server_errors.fetch_add(u64::from(ended.status >= 500), Relaxed);
            counts.cut.fetch_add(u64::from(ended.cut), Relaxed);
        }
        match by {
            By::Cell => {
                counts.answered.fetch_add(1, Relaxed);
            }
            By::Us if matches!(ended.status, 502..=504) => {
                counts.failed.fetch_add(1, Relaxed);
            }
            By::Us | By::UsAsWanted => {}
        }
        if ended.up > 0 {
            counts.octets_in.fetch_add(ended.up, Relaxed);
        }
        counts.octets_out.fetch_add(ended.down, Relaxed);
        counts.busy_us.fetch_add(u64::try_from(ended.took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}
