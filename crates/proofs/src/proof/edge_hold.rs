//! A tenant changes its owner a thousand times under load: its requests are held at two edges, what is under way in the old cell ends, the new cell opens,
//! and the requests go on. None fails, and none is served by a cell that does not own the tenant. WebSockets and event streams end with a word to come again,
//! and their visitors do.

mod application;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use model::{Epoch, Generation, TenantName};
use routes::{GateTenant, GateTenantState, Record, RouteState};
use tokio::task::JoinSet;

use crate::Options;
use crate::fault::wait_for;
use crate::fleet::Fleet;
use crate::http_client::Visitor;
use crate::outcome::{Outcome, say};

use application::Application;
use streams::{STREAMS, Streams};

const FLIPS: u32 = 1000;
const VISITORS: usize = 16;
const HOST: &str = "shop.example";

/// What visitors saw.
#[derive(Debug, Default)]
struct Seen {
    requests: usize,
    failed: Vec<String>,
    slowest: Duration,
}

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let flips = options.rounds.unwrap_or(FLIPS);
    let fleet = Fleet::start(2, &["cell-a", "cell-b"]).await?;
    let mut applications = Vec::new();
    for _ in &fleet.cells {
        let application = Arc::new(Application::default());
        applications.push((application.clone().serve().await?, application));
    }
    let mut tenant = Ownership { fleet: &fleet, applications: &applications, owner: 0, epoch: 1, pushes: 0 };
    tenant.open(0).await?;
    wait_for("the first answer", Duration::from_secs(20), async || {
        Ok(Visitor::new(fleet.edges[0], HOST).get("/").await?.status == StatusCode::OK
            && Visitor::new(fleet.edges[1], HOST).get("/").await?.status == StatusCode::OK)
    })
    .await?;

    say(&format!("{flips} changes of the owner, {VISITORS} visitors and {STREAMS} streams at two edges"));
    let stop = Arc::new(AtomicBool::new(false));
    let mut visitors = JoinSet::new();
    for number in 0..VISITORS {
        visitors.spawn(visit(fleet.edges[number % 2], number, stop.clone()));
    }
    let streams = Streams::open(&fleet.edges);
    let served = || applications.iter().map(|(_, app)| app.served.load(SeqCst)).sum::<usize>();
    let mut held = Vec::new();
    for flip in 0..=flips as usize {
        if flip > 0 {
            held.push(tenant.flip().await.with_context(|| format!("flip {flip}"))?);
        }
        // Between two changes visitors are served a while, and all streams begin.
        let before = served();
        wait_for("visitors to be served and streams to begin", Duration::from_secs(20), async || {
            Ok(served() >= before + VISITORS && streams.have_begun(flip + 1))
        })
        .await?;
    }
    let heard = streams.leave().await;
    stop.store(true, SeqCst);
    let seen = gather(visitors).await?;
    for what in heard.cut().iter().take(5) {
        say(&format!("  cut: {what}"));
    }
    for what in seen.failed.iter().take(5) {
        say(&format!("  failed: {what}"));
    }
    held.sort_unstable();
    let at = |share: usize| held[(held.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    ensure!(applications.iter().all(|(_, app)| app.served.load(SeqCst) > flips as usize), "a cell was hardly asked");
    let ended = heard.ended.load(SeqCst);
    ensure!(ended > 0 || !heard.cut().is_empty(), "no stream was under way at any change");
    let mut outcome = Outcome::new("edge-hold");
    outcome.note("flips", flips);
    outcome.equal("failed", &seen.failed.len(), &0);
    outcome.equal("wrong_owner", &applications.iter().map(|(_, app)| app.wrong.load(SeqCst)).sum::<usize>(), &0);
    outcome.note("hold_ms_p50", format!("{:.1}", at(50)));
    outcome.at_most("hold_ms_p99", at(99), 1000.0);
    outcome.note("requests", seen.requests);
    outcome.note("slowest_ms", seen.slowest.as_millis());
    outcome.note("streams_ended", ended);
    outcome.equal("streams_cut", &heard.cut().len(), &0);
    Ok(outcome)
}

/// What all visitors saw, once they have ended.
async fn gather(mut visitors: JoinSet<Seen>) -> Result<Seen> {
    let mut seen = Seen::default();
    while let Some(one) = visitors.join_next().await {
        let one = one?;
        seen.requests += one.requests;
        seen.failed.extend(one.failed);
        seen.slowest = seen.slowest.max(one.slowest);
    }
    Ok(seen)
}

/// Who owns the tenant, and how that changes.
struct Ownership<'a> {
    fleet: &'a Fleet,
    applications: &'a [(SocketAddr, Arc<Application>)],
    owner: usize,
    epoch: u64,
    pushes: u64,
}

impl Ownership<'_> {
    /// The first owner.
    async fn open(&mut self, owner: usize) -> Result<()> {
        self.owner = owner;
        self.applications[owner].1.owns.store(true, SeqCst);
        self.push(owner, GateTenantState::Open).await?;
        self.push(1 - owner, GateTenantState::Moved).await?;
        let generation = self.fleet.publish(vec![self.record(RouteState::Open)?])?;
        self.fleet.applied(generation).await
    }

    /// Hands the tenant to the other cell; for how long its requests were held.
    async fn flip(&mut self) -> Result<Duration> {
        let (old, new) = (self.owner, 1 - self.owner);
        let began = Instant::now();
        let generation = self.fleet.publish(vec![self.record(RouteState::Held)?])?;
        self.fleet.applied(generation).await?;
        let number = self.push(old, GateTenantState::Closed).await?;
        let tenant = TenantName::new("acme")?;
        while !self.fleet.report(&self.fleet.cells[old]).await?.tenant_drained(number, &tenant) {
            ensure!(began.elapsed() < Duration::from_secs(20), "the old cell is never done");
        }
        // From here on nobody owns the tenant; a request under way now would be one too many.
        let application = &self.applications[old].1;
        application.owns.store(false, SeqCst);
        ensure!(application.under_way.load(SeqCst) == 0, "the old cell's gate says it is done, its application is not");
        self.epoch += 1;
        self.owner = new;
        self.applications[new].1.owns.store(true, SeqCst);
        self.push(new, GateTenantState::Open).await?;
        self.push(old, GateTenantState::Moved).await?;
        self.fleet.publish(vec![self.record(RouteState::Open)?])?;
        Ok(began.elapsed())
    }

    fn record(&self, state: RouteState) -> Result<Record> {
        self.fleet.cells[self.owner].record(HOST, &TenantName::new("acme")?, Epoch(self.epoch), state)
    }

    async fn push(&mut self, cell: usize, state: GateTenantState) -> Result<Generation> {
        self.pushes += 1;
        let number = Generation(self.pushes);
        let (address, cell) = (self.applications[cell].0, &self.fleet.cells[cell]);
        let tenant = GateTenant { tenant: TenantName::new("acme")?, epoch: Epoch(self.epoch), state };
        let state = cell.state(number, address, vec![tenant])?;
        self.fleet.push(cell, &state).await?;
        Ok(number)
    }
}

/// Reads and writes in turn, on a connection that is kept.
async fn visit(edge: SocketAddr, number: usize, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let mut visitor = Visitor::new(edge, HOST);
    while !stop.load(SeqCst) {
        seen.requests += 1;
        let began = Instant::now();
        let word = format!("visitor {number} request {}", seen.requests);
        let (method, body) = if seen.requests % 2 == 0 { (Method::POST, Bytes::from(word)) } else { (Method::GET, Bytes::new()) };
        match visitor.send(method, "/", &[], body.clone()).await {
            Ok(answer) if answer.status == StatusCode::OK && answer.body == body => {}
            Ok(answer) => seen.failed.push(format!("{} {}", answer.status, answer.text())),
            Err(error) => seen.failed.push(format!("{error:#}")),
        }
        seen.slowest = seen.slowest.max(began.elapsed());
    }
    seen
}
