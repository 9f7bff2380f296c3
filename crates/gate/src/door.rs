//! The door for visitors' requests: whose they are must be proved, and owned here at that epoch.

use std::sync::Arc;
use std::time::Duration;

use model::Epoch;
use proxy::{Action, Decide, Forward, Labels, Lasting, Page, Place, Put, Reason, Request};
use routes::{GateTenantState, REFUSAL_HEADER, Refusal, TENANT_HEADER};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::busy::{Proved, Told, UnderWay};
use crate::known::Memory;
use crate::lasting::About;

/// How long a request waits for a push that must be on its way.
const PUSH: Duration = Duration::from_millis(250);
/// Path by which whoever runs the gate asks whether it serves.
const READY: &str = "/.atoll/ready";
/// Name of the header that tells the application whose request it is.
const APPLICATION_HEADER: &str = "X-Atoll-Tenant";

/// Decides about requests that come in at the entry.
#[derive(Debug)]
pub(crate) struct Door {
    pub memory: Arc<Memory>,
    pub stopping: CancellationToken,
}

/// What is remembered of one request.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    proved: Option<Arc<Proved>>,
    /// Kept to the end of the request.
    under_way: Option<UnderWay>,
    stream: Option<Place<About>>,
}

impl Ticket {
    /// Refuses; what is refused is not under way.
    fn refuse(&mut self, refusal: Refusal) -> Action {
        self.under_way = None;
        refuse(refusal)
    }
}

impl Decide for Door {
    type Ticket = Ticket;

    async fn decide<'a>(&'a self, request: Request<'a>, ticket: &'a mut Ticket) -> Action {
        if request.head.find(TENANT_HEADER).is_none() && request.head.target() == READY {
            return Action::Answer(Page { quiet: true, ..self.ready() });
        }
        let Some(text) = request.head.find_only(TENANT_HEADER).and_then(|value| std::str::from_utf8(value).ok()) else {
            return refuse(Refusal::BadMac);
        };
        // What goes through another protocol may write.
        let safe = request.head.is_safe() && request.head.find("upgrade").is_none();
        let mut waiting = None;
        loop {
            let known = self.memory.known();
            let Some(proved) = self.memory.verify(&known, text) else {
                return refuse(Refusal::BadMac);
            };
            let header = &ticket.proved.insert(proved.clone()).header;
            // Counted in the moment in which the state is looked at, so that nobody slips in behind a tenant that was just closed.
            let (under_way, told) = self.memory.busy.begin(proved, !safe);
            ticket.under_way = Some(under_way);
            match judge(told, header.epoch, safe) {
                Verdict::Serve if header.cell == known.state.cell => {
                    // Only here: where another cell serves is said also by a gate that is full.
                    if ticket.under_way.as_ref().is_some_and(UnderWay::is_too_many) {
                        ticket.under_way = None;
                        return Action::Answer(Page::of(Reason::Overloaded));
                    }
                    return Action::Forward(Forward { to: known.entry.clone(), otherwise: Reason::NoReadyInstance });
                }
                Verdict::Serve => return ticket.refuse(Refusal::BadMac),
                Verdict::Refuse(refusal) => return ticket.refuse(refusal),
                Verdict::Wait => {
                    ticket.under_way = None;
                    // A push between the look and the subscription would be missed, so the first wait is another look.
                    let Some((deadline, changes)) = &mut waiting else {
                        waiting = Some((Instant::now() + PUSH, self.memory.changes()));
                        continue;
                    };
                    let pushed = tokio::time::timeout_at(*deadline, changes.changed()).await;
                    if !matches!(pushed, Ok(Ok(()))) {
                        return ticket.refuse(Refusal::NotYet);
                    }
                }
            }
        }
    }

    fn add(&self, ticket: &Ticket, put: &mut Put<'_>) {
        if let Some(proved) = &ticket.proved {
            put(APPLICATION_HEADER, proved.header.tenant.as_str());
        }
    }

    fn lasts(&self, ticket: &mut Ticket, _: Request<'_>, kind: Lasting, leaving: &CancellationToken) -> Option<CancellationToken> {
        let proved = ticket.proved.clone()?;
        Some(ticket.stream.insert(self.memory.lasting.begin(&self.memory, proved, kind, leaving)).end())
    }

    fn labels<'t>(&self, ticket: &'t Ticket) -> Labels<'t> {
        ticket.proved.as_deref().map_or_else(Labels::default, |Proved { header, .. }| Labels {
            tenant: Some(header.tenant.as_str()),
            cell: Some(header.cell.as_str()),
            epoch: Some(header.epoch.0),
        })
    }
}

impl Door {
    fn ready(&self) -> Page {
        if self.stopping.is_cancelled() {
            return Page::text(503, "stopping\n");
        }
        match self.memory.known().state.number.0 {
            0 => Page::text(503, "no state yet\n"),
            number => Page::text(200, format!("ready, state {number}\n")),
        }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Serve,
    Refuse(Refusal),
    /// For a push that must be on its way.
    Wait,
}

/// The table of ports and protocols: what the gate knows of the tenant, against what the edge says.
pub(crate) fn judge(told: Told, said: Epoch, safe: bool) -> Verdict {
    let Some((epoch, state)) = told else { return Verdict::Refuse(Refusal::UnknownTenant) };
    if said > epoch {
        return Verdict::Wait;
    }
    // A moved tenant's epoch is the new owner's: also an edge that already knows it has come to the wrong cell.
    if said < epoch || state == GateTenantState::Moved {
        return Verdict::Refuse(Refusal::Moved(epoch));
    }
    match state {
        GateTenantState::Open => Verdict::Serve,
        GateTenantState::ReadOnly if safe => Verdict::Serve,
        GateTenantState::ReadOnly | GateTenantState::Closed => Verdict::Wait,
        GateTenantState::Suspended => Verdict::Refuse(Refusal::Suspended),
        GateTenantState::Moved => Verdict::Refuse(Refusal::Moved(epoch)),
    }
}

fn refuse(refusal: Refusal) -> Action {
    let reason = match refusal {
        Refusal::Moved(_) | Refusal::NotYet => Reason::TenantMoving,
        Refusal::UnknownTenant | Refusal::BadMac => Reason::Misdirected,
        Refusal::Suspended => Reason::TenantSuspended,
    };
    let mut page = Page::of(reason).with(REFUSAL_HEADER, refusal.to_string());
    page.status = refusal.status();
    Action::Answer(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_epochs() {
        use GateTenantState::{Closed, Moved, Open, ReadOnly, Suspended};
        use Verdict::{Refuse, Serve, Wait};
        let moved = Refuse(Refusal::Moved(Epoch(5)));
        let cases = [
            (None, 5, true, Refuse(Refusal::UnknownTenant)),
            (Some(Open), 5, false, Serve),
            (Some(Open), 4, true, moved),
            (Some(Open), 6, true, Wait),
            (Some(Closed), 5, true, Wait),
            (Some(ReadOnly), 5, true, Serve),
            (Some(ReadOnly), 5, false, Wait),
            (Some(Suspended), 5, true, Refuse(Refusal::Suspended)),
            (Some(Moved), 4, true, moved),
            (Some(Moved), 5, true, moved),
            (Some(Moved), 6, true, Wait),
        ];
        for (state, said, safe, verdict) in cases {
            assert_eq!(judge(state.map(|state| (Epoch(5), state)), Epoch(said), safe), verdict, "{state:?} {said} {safe}");
        }
    }
}
