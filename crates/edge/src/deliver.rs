//! Where a visitor's request goes.

use std::sync::Arc;
use std::time::Duration;

use cache::Mode;
use model::v1alpha1::{EdgeCache, EdgeCompress};
use proxy::{Action, Decide, Ended, Forward, Group, Judgement, Labels, Lasting, Page, Put, REASON_HEADER, Reason, Request, ResponseHead, Shelved};
use routes::{REFUSAL_HEADER, Refusal, Route, RouteState, TENANT_HEADER};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fair::{By, Fair, Pass};
use crate::https::{HSTS, Https};
use crate::queue::{Place, Queue};
use crate::streams::{About, StreamPlace};
use crate::table::{Elsewhere, Lookup, Routes};

/// Longest time for which a request waits for its tenant, however often it was refused.
const HOLD: Duration = Duration::from_secs(10);
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
    pub queue: Queue,
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
    /// Its number among those who wait, should it have to again.
    number: Option<u64>,
    /// Kept to the end of a WebSocket or an event stream.
    stream: Option<StreamPlace>,
    /// Who answered it.
    by: By,
}

/// Why a request waits.
enum Wait {
    /// For other routes.
    Routes(Reason),
    /// For the gate.
    Gate,
}

impl Wait {
    /// What a request to this route waits for, where it has to.
    fn for_route(route: &Route, refusal: Option<Refusal>, request: Request<'_>) -> Option<Self> {
        match (route.state(), refusal) {
            (RouteState::Held | RouteState::Moved, _) => Some(Self::Routes(Reason::TenantHeld)),
            (RouteState::ReadOnly, _) if may_write(request) => Some(Self::Routes(Reason::TenantReadOnly)),
            (_, Some(Refusal::Moved(epoch))) if route.epoch() < epoch => Some(Self::Routes(Reason::TenantMoving)),
            (_, Some(Refusal::NotYet)) => Some(Self::Gate),
            (_, _) => None,
        }
    }

    const fn reason(&self) -> Reason {
        match self {
            Self::Routes(reason) => *reason,
            Self::Gate => Reason::TenantMoving,
        }
    }
}

impl Deliver {
    pub(crate) fn new(routes: Arc<Routes>, fair: Arc<Fair>, https: Option<Https>) -> Self {
        Self { routes, fair, https, queue: Queue::default() }
    }

    /// The place that a request has among those who wait, or one that it takes; `None` where there is none left.
    fn place<'p, 'q>(&'q self, place: &'p mut Option<Place<'q>>, tenant: &str, number: &mut Option<u64>) -> Option<&'p Place<'q>> {
        if place.as_ref().is_none_or(|place| place.tenant() != tenant) {
            // The one of another tenant is given up first.
            *place = None;
            *place = self.queue.enter(tenant, *number);
            *number = place.as_ref().map(Place::number).or(*number);
        }
        place.as_ref()
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
        let (mut changes, mut place) = (None, None::<Place<'_>>);
        loop {
            // Routes are looked up after the subscription, so no change is missed between.
            let (route, group, elsewhere) = match self.routes.lookup(request.head.host()) {
                Lookup::Found(route, group) => (route, group, None),
                Lookup::Elsewhere(route, elsewhere) => (route, Group::default(), Some(elsewhere)),
                Lookup::Unknown => return Action::Answer(Page::of(Reason::UnknownHost)),
                Lookup::NoTable => return Action::Answer(Page::of(Reason::NoRoutes)),
            };
            let route = &*ticket.route.insert(route);
            if ticket.pass.is_none() {
                match self.fair.enter(route.tenant(), route.class(), request.peer.ip(), request.at).await {
                    Ok(pass) => ticket.pass = Some(pass),
                    Err(denied) => return Action::Answer(Page::of(denied.reason).retry_after(denied.after)),
                }
            }
            if let Some(elsewhere) = &elsewhere {
                return Action::Answer(redirect_page(elsewhere, request));
            }
            if route.state() == RouteState::Suspended {
                ticket.by = By::UsAsWanted;
                return Action::Answer(Page::of(Reason::TenantSuspended));
            }
            let wait = Wait::for_route(route, ticket.refusal, request);
            let Some(wait) = wait else {
                // Those who waited go one after the other; meanwhile the tenant may have closed again.
                if let Some(place) = &place
                    && place.turn().await
                {
                    continue;
                }
                return Action::Forward(Forward { to: group, otherwise: Reason::UpstreamUnreachable });
            };
            let deadline = *ticket.deadline.get_or_insert_with(|| Instant::now() + HOLD);
            let Some(changes) = &mut changes else {
                changes = Some(self.routes.changes());
                continue;
            };
            let Some(taken) = self.place(&mut place, route.tenant(), &mut ticket.number) else { return Action::Answer(Page::of(wait.reason())) };
            taken.closed();
            if let Some(page) = hold(&wait, deadline, changes).await {
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
        let Some(value) = answer.find(REFUSAL_HEADER) else {
            // A gate that reached nobody says so; an instance that says the same harms its own figures alone.
            let gates = matches!(answer.status(), 502..=504) && answer.find(REASON_HEADER).is_some();
            ticket.by = if gates { By::Us } else { By::Cell };
            return Judgement::Pass;
        };
        let Some(refusal) = std::str::from_utf8(value).ok().and_then(Refusal::parse) else {
            return Judgement::Replace(Page::of(Reason::GateRefused));
        };
        match refusal {
            Refusal::Suspended => {
                ticket.by = By::UsAsWanted;
                Judgement::Replace(Page::of(Reason::TenantSuspended))
            }
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

    fn lasts(&self, ticket: &mut Ticket, request: Request<'_>, kind: Lasting, leaving: &CancellationToken) -> Option<CancellationToken> {
        let about = About::new(request.head.host(), ticket.route.clone()?, kind);
        Some(ticket.stream.insert(self.routes.stream(about, leaving)).end())
    }

    fn ended(&self, ticket: &Ticket, ended: &Ended) {
        if let Some(pass) = &ticket.pass {
            pass.ended(ended, ticket.by);
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

/// Waits as it must; the page to answer where it may no longer.
async fn hold(wait: &Wait, deadline: Instant, changes: &mut tokio::sync::watch::Receiver<u64>) -> Option<Page> {
    let in_time = match wait {
        Wait::Routes(_) => tokio::time::timeout_at(deadline, changes.changed()).await.is_ok_and(|changed| changed.is_ok()),
        Wait::Gate => {
            tokio::time::sleep(PAUSE).await;
            Instant::now() < deadline
        }
    };
    (!in_time).then(|| Page::of(wait.reason()))
}

/// Whether a request may write, or open what may.
fn may_write(request: Request<'_>) -> bool {
    !request.head.is_safe() || request.head.find("upgrade").is_some()
}
