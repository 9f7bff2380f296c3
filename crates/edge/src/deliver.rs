//! Where a visitor's request goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use cache::Mode;
use model::v1alpha1::{EdgeCache, EdgeCompress};
use proxy::{Action, Decide, Ended, Forward, Group, Judgement, Labels, Page, Put, Reason, Request, ResponseHead, Shelved};
use routes::{REFUSAL_HEADER, Refusal, Route, RouteState, TENANT_HEADER};
use tokio::time::Instant;

use crate::fair::{Fair, Pass};
use crate::https::{HSTS, Https};
use crate::table::{Elsewhere, Lookup, Routes};

/// Longest time for which a request waits for its tenant, however often it was refused.
const HOLD: Duration = Duration::from_secs(10);
/// Most requests that wait at once.
const MOST_HELD: usize = 2000;
/// Pause before a gate that was not told yet is asked again; it has waited a quarter of a second itself.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a gate's disbelief is put to the other gate.
const MOST_DISBELIEFS: u32 = 1;

/// Decides about visitors' requests.
#[derive(Debug)]
pub(crate) struct Deliver {
    pub routes: Arc<Routes>,
    https: Option<Https>,
    pub fair: Arc<Fair>,
    held: AtomicUsize,
}

/// What is remembered of one request.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    route: Option<Route>,
    refusal: Option<Refusal>,
    deadline: Option<Instant>,
    disbeliefs: u32,
    stay: Option<String>,
    /// Kept to the end of the request.
    pass: Option<Pass>,
}

/// Why a request waits.
enum Wait {
    /// For other routes.
    Routes(Reason),
    /// For the gate.
    Gate,
}

impl Deliver {
    pub(crate) fn new(routes: Arc<Routes>, fair: Arc<Fair>, https: Option<Https>) -> Self {
        Self { routes, fair, https, held: AtomicUsize::default() }
    }

    /// Requests that wait now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Waits as it must; the page to answer where it may not, or no longer.
    async fn hold(&self, wait: &Wait, deadline: Instant, changes: &mut tokio::sync::watch::Receiver<u64>) -> Option<Page> {
        let reason = match wait {
            Wait::Routes(reason) => *reason,
            Wait::Gate => Reason::TenantMoving,
        };
        let Some(_place) = Held::take(&self.held) else { return Some(Page::of(reason)) };
        let in_time = match wait {
            Wait::Routes(_) => tokio::time::timeout_at(deadline, changes.changed()).await.is_ok_and(|changed| changed.is_ok()),
            Wait::Gate => {
                tokio::time::sleep(PAUSE).await;
                Instant::now() < deadline
            }
        };
        (!in_time).then(|| Page::of(reason))
    }
}

impl Decide for Deliver {
    type Ticket = Ticket;

    async fn decide<'a>(&'a self, request: Request<'a>, ticket: &'a mut Ticket) -> Action {
        if let Some(https) = &self.https {
            if let Some(page) = https.first(request) {
                return Action::Answer(page);
            }
            ticket.stay = https.stay(request);
        }
        let mut changes = None;
        loop {
            // Routes are looked up after the subscription, so no change is missed between.
            let (route, group, elsewhere) = match self.routes.lookup(request.head.host()) {
                Lookup::Found(route, group) => (route, group, None),
                Lookup::Elsewhere(route, elsewhere) => (route, Group::default(), Some(elsewhere)),
                Lookup::Unknown => return Action::Answer(Page::of(Reason::UnknownHost)),
                Lookup::NoTable => return Action::Answer(Page::of(Reason::NoRoutes)),
            };
            ticket.route = Some(route.clone());
            if ticket.pass.is_none() {
                match self.fair.enter(route.tenant(), route.class(), request.peer.ip()).await {
                    Ok(pass) => ticket.pass = Some(pass),
                    Err(denied) => return Action::Answer(Page::of(denied.reason).retry_after(denied.after)),
                }
            }
            if let Some(elsewhere) = &elsewhere {
                return Action::Answer(redirect_page(elsewhere, request));
            }
            let wait = match (route.state(), ticket.refusal) {
                (RouteState::Suspended, _) => return Action::Answer(Page::of(Reason::TenantSuspended)),
                (RouteState::Held | RouteState::Moved, _) => Some(Wait::Routes(Reason::TenantHeld)),
                (RouteState::ReadOnly, _) if !request.head.is_safe() => Some(Wait::Routes(Reason::TenantReadOnly)),
                (_, Some(Refusal::Moved(epoch))) if route.epoch() < epoch => Some(Wait::Routes(Reason::TenantMoving)),
                (_, Some(Refusal::NotYet)) => Some(Wait::Gate),
                (_, _) => None,
            };
            let Some(wait) = wait else {
                return Action::Forward(Forward { to: group, otherwise: Reason::UpstreamUnreachable });
            };
            let deadline = *ticket.deadline.get_or_insert_with(|| Instant::now() + HOLD);
            let Some(changes) = &mut changes else {
                changes = Some(self.routes.changes());
                continue;
            };
            if let Some(page) = self.hold(&wait, deadline, changes).await {
                return Action::Answer(page);
            }
            if matches!(wait, Wait::Gate) {
                ticket.refusal = None;
            }
        }
    }

    fn add(&self, ticket: &Ticket, put: &mut Put<'_>) {
        if let Some(route) = &ticket.route {
            put(TENANT_HEADER, route.header());
        }
    }

    fn judge(&self, ticket: &mut Ticket, answer: &ResponseHead) -> Judgement {
        let Some(value) = answer.find(REFUSAL_HEADER) else { return Judgement::Pass };
        let Some(refusal) = std::str::from_utf8(value).ok().and_then(Refusal::parse) else {
            return Judgement::Replace(Page::of(Reason::GateRefused));
        };
        match refusal {
            Refusal::Suspended => Judgement::Replace(Page::of(Reason::TenantSuspended)),
            Refusal::Moved(epoch) => {
                // A gate that still says so though the route it asks for was used is asked again like one that was not told yet.
                let stale = ticket.route.as_ref().is_none_or(|route| route.epoch() < epoch);
                ticket.refusal = Some(if stale { refusal } else { Refusal::NotYet });
                Judgement::Again(Reason::TenantMoving)
            }
            Refusal::NotYet => {
                ticket.refusal = Some(refusal);
                Judgement::Again(Reason::TenantMoving)
            }
            Refusal::UnknownTenant | Refusal::BadMac => {
                ticket.disbeliefs += 1;
                let route = ticket.route.as_ref();
                tracing::warn!(%refusal, tenant = route.map(Route::tenant), cell = route.map(Route::cell), "a gate does not believe this edge");
                if ticket.disbeliefs > MOST_DISBELIEFS {
                    return Judgement::Replace(Page::of(Reason::GateRefused));
                }
                ticket.refusal = Some(Refusal::NotYet);
                Judgement::Again(Reason::GateRefused)
            }
        }
    }

    fn adds<'t>(&self, ticket: &'t Ticket) -> Option<(&'static str, &'t str)> {
        ticket.stay.as_deref().map(|stay| (HSTS, stay))
    }

    fn shelf<'t>(&self, ticket: &'t Ticket) -> Option<Shelved<'t>> {
        let route = ticket.route.as_ref()?;
        let mode = match route.cache() {
            EdgeCache::Off => return None,
            EdgeCache::Static => Mode::Static,
            EdgeCache::On => Mode::On,
        };
        Some(Shelved { tenant: route.tenant(), mode })
    }

    fn compresses(&self, ticket: &Ticket) -> bool {
        ticket.route.as_ref().is_some_and(|route| route.compress() == EdgeCompress::On)
    }

    fn ended(&self, ticket: &Ticket, ended: &Ended) {
        if let Some(pass) = &ticket.pass {
            pass.ended(ended);
        }
    }

    fn labels<'t>(&self, ticket: &'t Ticket) -> Labels<'t> {
        ticket.route.as_ref().map_or_else(Labels::default, |route| Labels {
            tenant: Some(route.tenant()),
            cell: Some(route.cell()),
            epoch: Some(route.epoch().0),
        })
    }
}

/// Sends the visitor to the same path on another host, on the port that was asked.
fn redirect_page(elsewhere: &Elsewhere, request: Request<'_>) -> Page {
    let target = if request.head.target() == "*" { "/" } else { request.head.target() };
    let scheme = if request.secure { "https" } else { "http" };
    let location = format!("{scheme}://{}{}{target}", elsewhere.to, request.head.port());
    Page::text(elsewhere.status, format!("{location}\n")).with("Location", location)
}

/// A place among the requests that wait.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn take(held: &'a AtomicUsize) -> Option<Self> {
        let place = Self(held);
        // Counted first, so that the bound holds; the place is given back by its drop.
        (held.fetch_add(1, Relaxed) < MOST_HELD).then_some(()).map(|()| place)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
